"""Run the benchmarks: `python -m bench [--quick] [fanout|users|history|storage|appends|idle|crowd|handshakes …]`.

`python -m bench peers` is another command (`peers/command.py`).
"""

import argparse
import signal
import sys
import time
from collections.abc import Sequence

from bench import (
    appends,
    aws,
    crowd,
    fanout,
    handshakes,
    history,
    idle,
    machine,
    metering,
    mounted,
    producers,
    progress,
    report,
    storage,
    users,
)
from bench.figures import Figure
from bench.peers import command as peers

MEASUREMENTS = {
    "fanout": fanout.measure,
    "users": users.measure,
    "history": history.measure,
    "storage": storage.measure,
    "appends": appends.measure,
    "idle": idle.measure,
    "crowd": crowd.measure,
    "handshakes": handshakes.measure,
    "metering": metering.measure,
    "mounted": mounted.measure,
    "producers": producers.measure,
    "progress": progress.measure,
    "aws": aws.measure,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print each figure, and save the results of a complete run. `arguments` None: the command line's."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["peers"]:
        peers.main(words[1:])
        return
    options = _arguments(words)
    # On SIGTERM the context managers still stop the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = machine.Cores.of_this_process()
    described = machine.describe(cores)
    machine.allow_many_sockets()
    machine.pin(0, cores.load)
    began = time.monotonic()
    with machine.highest_priority():
        figures = {name: _measure(name, cores, options.quick) for name in options.names or MEASUREMENTS}
    seconds = time.monotonic() - began
    is_part = len(figures) < len(MEASUREMENTS)
    if options.quick or (is_part and not options.keep):
        print(f"\n{seconds:.0f} s; not saved: only a complete run at full length is, or one with --keep")
    elif machine.commit() != described["commit"]:
        print(f"\n{seconds:.0f} s; not saved: the code changed during the run")
    else:
        path = report.save(figures, described, seconds, "-".join(figures) if is_part else None)
        print(f"\n{seconds:.0f} s; saved as {path.name}, with a Markdown page beside it")


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure tellwire; see bench/README.md.")
    parser.add_argument("names", nargs="*", metavar="measurement", help=f"{', '.join(MEASUREMENTS)}; all if none")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first look, not a result")
    parser.add_argument("--keep", action="store_true", help="save the results of a run of some measurements")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(MEASUREMENTS))
    if unknown:
        parser.error(f"got {', '.join(unknown)}; allowed: {', '.join(MEASUREMENTS)}")
    return options


def _measure(name: str, cores: machine.Cores, quick: bool) -> list[Figure]:
    print(f"\n{name}", flush=True)
    measured = []
    for each in MEASUREMENTS[name](cores, quick):
        print(f"  {report.line(each)}", flush=True)
        measured.append(each)
    return measured


if __name__ == "__main__":
    main()
