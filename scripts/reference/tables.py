"""Tables of Markdown, and the words of a page that are kept when its tables are written anew. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

MISSING = "(words are missing)"
"""The words of a new row, until somebody writes them."""

_ROW = re.compile(r"^\| (.+) \|$", re.MULTILINE)
_BAR = re.compile(r"(?<!\\)\|")


class Reference(NamedTuple):
    """A page, and the function that makes its parts by their names; it gets the page, for words that are kept."""

    path: str
    parts: Callable[[str], Mapping[str, str]]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    head_row, *body = [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in (head, *rows)]
    return "\n".join([head_row, "|---" * len(head) + "|", *body])


def kept_cells(page: str) -> dict[str, list[str]]:
    """Return the rows of all tables of a page, by their first cells."""
    rows = [[cell.strip() for cell in _BAR.split(f" {row[1]} ")] for row in _ROW.finditer(page)]
    return {row[0]: row for row in rows}


def one_line(text: str) -> str:
    """Return the first paragraph of a text as one line that may stand in a table."""
    paragraph = text.strip().partition("\n\n")[0]
    return " ".join(paragraph.split()).replace("|", "\\|")
