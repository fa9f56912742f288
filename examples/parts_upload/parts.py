"""Rows of a parts list.

In: cells, as text. Out: a `Part`, or the `Fault` of the row; None for a row that is neither. Pure.

Rules:
- A row may have fewer cells than the header, or more that are empty: spreadsheets leave out the last ones of a row.
- The same part may come twice. A spreadsheet may have turned a part number into `3001.0`, which is understood, or into
  `1.23E+11` or a date, which is refused: the number is lost.
- A row of sums, as `Total` below the list, is no part.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from examples.parts_upload.causes import Cause, Fault
from examples.parts_upload.headers import Columns, plain_name
from examples.parts_upload.numbers import Refused, read_quantity
from examples.parts_upload.tables.cells import clean

_MONTH: Final = r"(?:jan|feb|m[aä]r|mrz|apr|ma[iy]|ju[nl]|aug|sep|o[ck]t|nov|de[cz])\.?"
_CHANGED: Final = re.compile(
    r"[0-9](?:[.,][0-9]+)?E\+[0-9]+"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9:.]+)?|[0-9]{1,2}([./])[0-9]{1,2}\1[0-9]{2,4}"
    rf"|[0-9]{{1,2}}\.?[- ]{_MONTH}|{_MONTH}[- ][0-9]{{2}}",
    re.I,
)
_WHOLE: Final = re.compile(r"([0-9]+)\.0+")
_SUMS: Final = re.compile(
    r"(?:grand|sub)?(?:total|totals|totale|totales|totalt|sum|summe|somme|suma|soma|subtotal|gesamt|gesamtsumme|totaal"
    r"|razem|合計|総計|小計)(?:parts|pieces|lots|items|quantity|qty|teile|pieces|pezzi|piezas)?[0-9]*"
)


class Part(NamedTuple):
    """A valid row. `row_number` is the spreadsheet's."""

    row_number: int
    part_number: str
    name: str
    colour: str
    quantity: int


def read_part(row_number: int, cells: Sequence[str], columns: Columns) -> Part | Fault | None:
    """Return the part in this row, or its fault; None for a row of sums."""
    part_number = _first(cells, columns.part_number)
    if _is_sum(cells, columns, part_number):
        return None
    if surplus := next(filter(None, map(clean, cells[columns.width :])), None):
        return Fault(Cause.WRONG_COLUMNS, surplus)
    if not part_number:
        return Fault(Cause.MISSING_PART_NUMBER)
    if _CHANGED.fullmatch(part_number):
        return Fault(Cause.CHANGED_PART_NUMBER, part_number)
    quantity = _quantity(cells, columns)
    if isinstance(quantity, Fault):
        return quantity
    if whole := _WHOLE.fullmatch(part_number):
        part_number = whole[1]
    return Part(row_number, part_number, _first(cells, columns.name), _first(cells, columns.colour), quantity)


def _first(cells: Sequence[str], indexes: Sequence[int]) -> str:
    """Return the first cell of these that is filled."""
    for index in indexes:
        if index < len(cells) and (text := clean(cells[index])):
            return text
    return ""


def _quantity(cells: Sequence[str], columns: Columns) -> int | Fault:
    cell = _first(cells, (columns.quantity,))
    match read_quantity(cell, columns.thousands):
        case Refused.AMBIGUOUS:
            return Fault(Cause.AMBIGUOUS_QUANTITY, cell)
        case Refused():
            return Fault(Cause.BAD_QUANTITY, cell)
        case quantity:
            return quantity


def _is_sum(cells: Sequence[str], columns: Columns, part_number: str) -> bool:
    """Return whether a row has sums: a word for it as the part number, or before any part number."""
    if part_number:
        return not part_number[0].isdigit() and bool(_SUMS.fullmatch(plain_name(part_number)))
    return any(_SUMS.fullmatch(plain_name(cell)) for cell in cells[: columns.width] if clean(cell))
