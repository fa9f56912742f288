"""The tables of `spec/protocol.md`, as test data."""

import re
from pathlib import Path
from typing import Final

_PAGE: Final = (Path(__file__).parents[3] / "spec" / "protocol.md").read_text()
_RULES: Final = ("Coming back", "Staying connected", "Requests of a client", "The right user")


def tables(heading: str) -> list[list[list[str]]]:
    """Return the rows of each table under a heading of the page."""
    section = _PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [[_cells(line) for line in table.splitlines()[2:]] for table in found]


def rules() -> set[str]:
    """Return the ids of all rules for clients."""
    closing = tables("Closing")
    named = {row[0] for heading in _RULES for table in tables(heading) for row in table if "." in row[0]}
    codes = {f"close.{code}" for code, *_ in closing[0]}
    errors = {f"error.{error.strip('`')}" for error, _ in closing[1] if "…" not in error}
    (handshakes,) = tables("Connecting")
    refusals = {f"handshake.{code}" for _, codes, *_ in handshakes for code in re.findall(r"`(\w+)`", codes)}
    return named | codes | errors | {"error.TOKEN_other", "error.other"} | refusals


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|\n").split("|")]
