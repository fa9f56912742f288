"""Print the needs of a workload: `python -m bench.scale [--connections N] [--publishes N] …`.

python -m bench.scale                              1 and 10 million connections, as in docs/explanation/scale.md
python -m bench.scale --connections 200000 --publishes 5000
python -m bench.scale --calibrate                  measure the costs and check the model (about six minutes), save
python -m bench.scale --write                      write the tables of docs/explanation/scale.md anew
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from bench import machine
from bench.processes import MissingProgram
from bench.scale import page, tables
from bench.scale.amounts import Amounts
from bench.scale.calibrate import calibrate
from bench.scale.check import check
from bench.scale.costs import Costs
from bench.scale.sizing import size
from bench.scale.stored import Measured, load, save
from bench.scale.workload import Workload, preset

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "scale.md"
_CHECKED_NODES = (1, 2, 3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables. `arguments` None: the command line's."""
    options = _arguments(arguments)
    if options.calibrate:
        try:
            _calibrate(options.engine)
        except MissingProgram as error:
            print(error)
            sys.exit(2)
    measured = load(options.engine)
    if options.write:
        PAGE.write_text(page.with_tables(PAGE.read_text(), measured))
        return
    if options.workload is None:
        for name, table in page.tables_of(measured).items():
            print(f"\n{name}\n\n{table}")
    else:
        _print(options.workload, measured.costs)


def _print(workload: Workload, costs: Costs) -> None:
    sized = size(workload, costs)
    print(tables.installation_table([sized]), tables.waves_table([sized], costs), sep="\n\n")
    print("", tables.bill_table([sized]), tables.ceilings_table(workload, costs), sep="\n\n")


def _workload(options: argparse.Namespace) -> Workload | None:
    """Return the workload that the options give; None: they give none."""
    every = {each.name: getattr(options, each.name) for each in fields(Workload)}
    given = {name: value for name, value in every.items() if value is not None}
    if not given:
        return None
    if "connections" not in given:
        raise ValueError(f"--{next(iter(given)).replace('_', '-')} needs --connections beside it")
    return Workload(**{"publishes": preset(given["connections"]).publishes} | given)


def _calibrate(engine: str) -> None:
    # On SIGTERM the context managers still stop the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = machine.Cores.of_this_process()
    described = machine.describe(cores)
    machine.allow_many_sockets()
    machine.pin(0, cores.load)
    with machine.highest_priority():
        costs = calibrate(cores, engine, Amounts())
        print(tables.costs_table(costs), flush=True)
        several = _CHECKED_NODES if engine == "redis" else (1,)
        checks = [check(cores, costs, nodes, devices) for devices in (1, 2) for nodes in several]
    described["load_average_after"] = os.getloadavg()[0]
    save(Measured(described, costs, checks))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="Nodes and shards for a workload.")
    parser.add_argument("--engine", choices=["memory", "sqlite", "redis"], default="redis")
    parser.add_argument("--calibrate", action="store_true", help="measure the costs first, and keep them")
    parser.add_argument("--write", action="store_true", help="write the tables of docs/explanation/scale.md anew")
    for each in fields(Workload):
        kind = int if each.name in ("connections", "message_bytes") else float
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind, help="of the workload")
    options = parser.parse_args(arguments)
    try:
        options.workload = _workload(options)
    except ValueError as error:
        parser.error(str(error))
    return options


if __name__ == "__main__":
    main()
