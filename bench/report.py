"""Results for people (a table, a Markdown page) and for programs (JSON)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.figures import Figure, number

RESULTS = Path(__file__).parent / "results"
_VERDICTS = {None: "", True: "met", False: "MISSED"}
_HEADINGS = ("", "median", "quartiles", "target", "")


def row(each: Figure) -> tuple[str, str, str, str, str]:
    """Return a figure's line: name, median, spread, target, verdict."""
    spread = f"{number(each.low)} – {number(each.high)}" if len(each.rounds) > 1 else ""
    target = "" if each.target is None else str(each.target)
    return each.name, f"{number(each.value)} {each.unit}", spread, target, _VERDICTS[each.is_met]


def line(each: Figure) -> str:
    """Return a figure as one line of the table on the screen."""
    name, value, spread, target, verdict = row(each)
    return f"{name:<46} {value:>20}  {spread:>21}  {target:>10}  {verdict}".rstrip()


def save(
    figures: Mapping[str, Sequence[Figure]], machine: Mapping[str, Any], seconds: float, part: str | None = None
) -> Path:
    """Write the JSON file and `latest.md`, and return the path of the first. A `part` has files of its own."""
    RESULTS.mkdir(exist_ok=True)
    end = "" if part is None else f"-{part}"
    path = RESULTS / f"{machine['date'][:10]}-{machine['commit']}{end}.json"
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
        f"All of it, with parameters, is in `{source}`; how to read it is in [README.md](../README.md). Each message "
        "that was sent was received, once: a run in which one was lost gives no figures.",
    ]
    for name, measured in figures.items():
        lines += ["", f"## {name}", "", _markdown(_HEADINGS), "|---|---:|---:|---:|---|"]
        lines += [_markdown(row(each)) for each in measured]
    return "\n".join([*lines, ""])


def _markdown(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
