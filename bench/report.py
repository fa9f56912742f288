"""Results for people (a table, a Markdown page) and for programs (JSON)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.figures import Figure, number

RESULTS = Path(__file__).parent / "results"
_IS_MET = {None: "", True: "met", False: "MISSED"}
_HEADINGS = ("", "median", "quartiles", "target", "")


def row(each: Figure) -> tuple[str, str, str, str, str]:
    """Return a figure's cells: name, median, quartiles, target, and if the target is met."""
    spread = f"{number(each.low)} – {number(each.high)}" if len(each.rounds) > 1 else ""
    target = "" if each.target is None else str(each.target)
    return each.name, f"{number(each.value)} {each.unit}", spread, target, _IS_MET[each.is_met]


def line(each: Figure) -> str:
    """Return a figure as one line of the table on the screen."""
    name, value, spread, target, is_met = row(each)
    return f"{name:<46} {value:>20}  {spread:>21}  {target:>10}  {is_met}".rstrip()


def save(
    figures: Mapping[str, Sequence[Figure]], machine: Mapping[str, Any], seconds: float, part: str | None = None
) -> Path:
    """Write `latest.json` and `latest.md`, and return the path of the first. A `part` has its name in theirs.

    Only the newest results are kept: Git has the older ones.
    """
    RESULTS.mkdir(exist_ok=True)
    end = "" if part is None else f"-{part}"
    path = RESULTS / f"latest{end}.json"
    content = {
        "machine": machine,
        "seconds": round(seconds),
        "figures": {
            name: [asdict(each) | {"is_met": each.is_met} for each in measured] for name, measured in figures.items()
        },
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    (RESULTS / f"latest{end}.md").write_text(_page(figures, machine, path.name))
    return path


def _page(figures: Mapping[str, Sequence[Figure]], machine: Mapping[str, Any], source: str) -> str:
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    lines = [
        "# Latest results",
        "",
        f"Commit {machine['commit']}, {machine['date']}. {machine['cpu']}, {machine['cores']} cores: one for the "
        f"server, one for the load. {machine['kernel']}, Python {machine['python']}, {libraries}.",
        "",
        f"All rounds, with parameters, are in `{source}`; [README.md](../README.md) explains the figures. Each message "
        "that was sent was received exactly once: a run that loses one gives no figures.",
    ]
    for name, measured in figures.items():
        lines += ["", f"## {name}", "", _markdown(_HEADINGS), "|---|---:|---:|---:|---|"]
        lines += [_markdown(row(each)) for each in measured]
    return "\n".join([*lines, ""])


def _markdown(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
