"""The command `python -m bench peers`: install, measure, print, and with `--keep` write results, page and plots."""

import argparse
import signal
import sys
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from bench import machine, report
from bench.figures import number
from bench.page import with_parts
from bench.peers import contenders, plots, scenarios, tables, targets
from bench.peers.catalogue import PEERS
from bench.peers.results import PATH, Results

_PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"
_PLOTS = _PAGE.parent / "performance"
_SOME_MISSED = 1
_SHARES = {"server": "server_busy", "load": "load_busy"}


def main(arguments: Sequence[str]) -> None:
    """Run the command. It ends with status 1 if a delivery was missed, or if anything else failed."""
    options = _arguments(arguments)
    if options.page:
        write_page(Results.read())
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cores = machine.Cores.of_this_process()
    machine.allow_many_sockets()
    found, left_out = contenders.install(options.only)
    for name, why in left_out.items():
        print(f"left out: {name}: {why}", flush=True)
    results = Results.of(machine.describe(cores), found, left_out, is_quick=options.quick)
    machine.pin(0, cores.load)
    began = time.monotonic()
    with machine.highest_priority():
        amounts = scenarios.QUICK if options.quick else scenarios.FULL
        for measured in scenarios.run(_chosen(options.scenario), found, cores, amounts):
            results.add(measured)
            _print_scenario(measured, results)
            print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    results.seconds = round(time.monotonic() - began)
    print("\n" + "\n\n".join(_summary(results)) + f"\n\n{results.seconds} s")
    if options.keep and machine.commit() != results.machine["commit"]:
        print("not saved: the code changed during the run")
    elif options.keep:
        results.save()
        write_page(results)
        print(f"saved as {PATH.name}, with {_PAGE.name} and its plots")
    if results.failures():
        sys.exit(_SOME_MISSED)


def write_page(results: Results) -> None:
    """Write the tables of the page and its plots anew."""
    parts = {name: tables.markdown(results, name) for name in tables.TABLES}
    parts |= {"brief": tables.brief(results), "targets": _targets(results), "run": _run(results)}
    parts["left out"] = _left_out(results)
    drawn = plots.svgs(results)
    parts |= {f"plots of {part}": _plots(part, drawn) for part in {plot.part for plot in plots.PLOTS}}
    _PAGE.write_text(with_parts(_PAGE.read_text(), parts))
    _PLOTS.mkdir(exist_ok=True)
    for name, text in drawn.items():
        (_PLOTS / f"{name}.svg").write_text(text)


def _plots(part: str, drawn: Container[str]) -> str:
    shown = [plot for plot in plots.PLOTS if plot.part == part and plot.name in drawn]
    return "\n".join(f"![{plot.title}]({_PLOTS.name}/{plot.name}.svg)" for plot in shown)


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench peers", description="Measure tellwire beside other servers; see bench/README.md."
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a first look, not a result")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these peers only, such as tellwire centrifugo")
    parser.add_argument("--scenario", nargs="+", metavar="NAME", help=", ".join(_names()))
    parser.add_argument("--keep", action="store_true", help="save the results, and write the page and its plots")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the page from the saved results")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.scenario or ()) - set(_names()))
    unknown += sorted(set(options.only or ()) - {peer.name for peer in PEERS})
    if unknown:
        parser.error(f"got {', '.join(unknown)}; there is no such scenario or peer")
    return options


def _names() -> Sequence[str]:
    return [each.name for each in scenarios.SCENARIOS]


def _chosen(names: Sequence[str] | None) -> Sequence[scenarios.Scenario]:
    return [each for each in scenarios.SCENARIOS if names is None or each.name in names]


def _print_scenario(measured: scenarios.Measured, results: Results) -> None:
    print(f"\n{measured.scenario.name}: {measured.scenario.title}")
    for key, by_metric in measured.samples.figures(measured.scenario.units).items():
        said = "  ".join(f"{name} {number(each.value)} {each.unit}" for name, each in by_metric.items())
        shares = next(iter(by_metric.values())).details if by_metric else {}
        said += "".join(f"  {side} {shares[key]:.2f}" for side, key in _SHARES.items() if key in shares)
        print(f"  {results.contenders[key]['label']:<34} {said}")
    for key, why in measured.samples.stalled.items():
        print(f"  {results.contenders[key]['label']:<34} stalled: {why}")
    for key, why in measured.samples.failures.items():
        print(f"  {results.contenders[key]['label']:<34} FAILED: {why}")
    sys.stdout.flush()


def _summary(results: Results) -> Iterator[str]:
    yield from filter(None, (tables.text(results, name) for name in tables.TABLES))
    aimed = [report.line(each) for each in targets.figures(results)]
    if aimed:
        yield "\n".join(["Targets", *aimed])
    failed = [f"FAILED {scenario}, {key}: {why}" for scenario, key, why in results.failures()]
    if failed:
        yield "\n".join(failed)


def _targets(results: Results) -> str:
    lines = ["| | | target | |", "|---|---:|---:|---|"]
    for each in targets.figures(results):
        name, value, _, target, is_met = report.row(each)
        lines.append(f"| {name} | {value} | {target} | {is_met} |")
    return "\n".join(lines)


def _run(results: Results) -> str:
    described = results.machine
    kind = "a quick run" if results.is_quick else "a full run"
    return (
        f"Commit {described['commit']}, {described['date']}: {kind} of {results.seconds / 60:.0f} minutes. "
        f"{described['cpu']}, {described['cores']} cores, one for the server and one for the load. "
        f"{described['kernel']}, Python {described['python']}; load average at the start "
        f"{described['load_average']:.1f}."
    )


def _left_out(results: Results) -> str:
    lines = [f"- {name}: {why}" for name, why in results.left_out.items()]
    lines += [f"- {key} in `{scenario}`, which failed: {why}" for scenario, key, why in results.failures()]
    lines += [f"- {key} in `{scenario}`, which stalled: {why}" for scenario, key, why in results.stalled()]
    return "\n".join(lines) or "Nothing was left out, and nothing was missed."
