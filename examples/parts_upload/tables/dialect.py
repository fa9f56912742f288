"""Dialect of a CSV text, found by evidence in its beginning. Pure.

Rules:
- A first line `sep=;` decides about the delimiter. It is no row: a spreadsheet does not show it.
- Otherwise each delimiter and quote is tried on the first lines. The one under which a header is recognized wins, then
  the one with more columns recognized, then with more rows of the same width. Delimiters in quotes do not count so.
- Spaces after delimiters belong to no cell if a quote follows them.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

# Returns how many columns of a header are recognized; 0 for a row that is no header.
RecognizedColumns: TypeAlias = Callable[[Sequence[str]], int]

_DELIMITERS: Final = (",", ";", "\t", "|")
_TRIED_LINES: Final = 60
_TRIED_CHARACTERS: Final = 16 * 1024
_SEPARATOR_LINE: Final = re.compile(r"\s*\"?sep=([^\w\s\"]|\t)\"?\s*", re.I)
_NAMES: Final = {"\t": "tabs", ",": ","}


class Dialect(NamedTuple):
    """Delimiter and quote of cells. `has_separator_line`: the first line is `sep=;`."""

    delimiter: str = ","
    quote: str = '"'
    skips_spaces: bool = False
    has_separator_line: bool = False

    @property
    def name(self) -> str:
        """The delimiter for people: `separated by ;`."""
        return f"separated by {_NAMES.get(self.delimiter, self.delimiter)}"


def recognized_in(beginning: str, recognized: RecognizedColumns) -> int:
    """Return the number of columns that are recognized in a text with this beginning."""
    return _evidence(_lines(beginning), find_dialect(beginning, recognized), recognized)[0]


def find_dialect(beginning: str, recognized: RecognizedColumns) -> Dialect:
    """Return the dialect of a text with this beginning."""
    lines = _lines(beginning)
    separator = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    tried = lines[1:] if separator else lines
    delimiters = (separator[1],) if separator else _DELIMITERS
    dialects = [
        Dialect(delimiter, quote, _has_spaces(tried, delimiter, quote), bool(separator))
        for delimiter in delimiters
        for quote in _quotes(tried, delimiter)
    ]
    return max(dialects, key=lambda dialect: _evidence(tried, dialect, recognized))


def _lines(beginning: str) -> list[str]:
    return [line for line in beginning[:_TRIED_CHARACTERS].splitlines() if line.strip()][:_TRIED_LINES]


def _quotes(lines: Sequence[str], delimiter: str) -> str:
    """Return the possible quotes: a single one only where no double one is, and it encloses cells of the first line."""
    cells = [cell.strip() for line in lines[:1] for cell in line.split(delimiter)]
    is_single = all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells)
    return "'" if cells and is_single and not any('"' in line for line in lines) else '"'


def _has_spaces(lines: Sequence[str], delimiter: str, quote: str) -> bool:
    pattern = re.compile(f"{re.escape(delimiter)} +{quote}")
    return any(pattern.search(line) for line in lines)


def _evidence(lines: Sequence[str], dialect: Dialect, recognized: RecognizedColumns) -> tuple[int, int]:
    rows = _rows(lines, dialect)
    widths = Counter(len(row) for row in rows if len(row) > 1)
    return max(map(recognized, rows), default=0), max(widths.values(), default=0)


def _rows(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    # Each line alone: a quote that is never closed must not swallow the rest.
    rows = []
    for line in lines:
        reader = csv.reader(
            [line], delimiter=dialect.delimiter, quotechar=dialect.quote, skipinitialspace=dialect.skips_spaces
        )
        rows.append(next(reader, []))
    return rows
