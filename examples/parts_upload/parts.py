"""Columns and rows of a parts list.

In: cells, as text. Out: a `Part`, or the `Cause` of a fault. Pure.

Rules:
- Columns are found by their names, in any order and spelling (`Part Number`, `part_number`, `PART-NUMBER`). Part number
  and quantity are required, name and colour optional, others ignored.
- A row has as many cells as the header. Its quantity is a whole number, 0 or more. The same part may come twice.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple


class Cause(StrEnum):
    """The reason for skipping a row."""

    BAD_ENCODING = "BAD_ENCODING"
    MALFORMED = "MALFORMED"
    WRONG_COLUMNS = "WRONG_COLUMNS"
    MISSING_PART_NUMBER = "MISSING_PART_NUMBER"
    BAD_QUANTITY = "BAD_QUANTITY"


REASONS: Final[Mapping[str, str]] = {
    Cause.BAD_ENCODING: "some of its bytes are not text in the file's encoding",
    Cause.MALFORMED: "its quotes do not match, or it is too long",
    Cause.WRONG_COLUMNS: "it has more or fewer cells than the header",
    Cause.MISSING_PART_NUMBER: "it has no part number",
    Cause.BAD_QUANTITY: "its quantity is not a whole number, 0 or more",
}

# The clearest name first: a list with both means `Part Number`, not `Part`.
_PART_NUMBER = ("partnumber", "partno", "partnum", "partid", "part")
_QUANTITY = ("quantity", "qty", "count", "amount")
_NAME = ("partname", "name", "description")
_COLOUR = ("colour", "color", "colourname", "colorname")

# Any number of this many digits fits into SQLite's 64-bit integers.
_MAX_DIGITS = 18


class Part(NamedTuple):
    """A valid row. `row_number` is the spreadsheet's."""

    row_number: int
    part_number: str
    name: str
    colour: str
    quantity: int


class Columns(NamedTuple):
    """Indexes of the columns, from 0. None: the list has no such column."""

    width: int
    part_number: int
    quantity: int
    name: int | None
    colour: int | None


class BadHeader(ValueError):
    """The first row does not name the columns of a parts list. The text is for users."""


def find_columns(header: Sequence[str]) -> Columns:
    """Find the columns that the header names.

    Raises:
        BadHeader: a required column is missing, or a column is named twice.
    """
    names = ["".join(filter(str.isalnum, cell.casefold())) for cell in header]
    part_number, quantity = _find(names, _PART_NUMBER), _find(names, _QUANTITY)
    if part_number is None or quantity is None:
        raise BadHeader("The first row must name the columns, at least part number and quantity.")
    return Columns(len(names), part_number, quantity, _find(names, _NAME), _find(names, _COLOUR))


def _find(names: Sequence[str], candidates: Sequence[str]) -> int | None:
    for candidate in candidates:
        match [index for index, name in enumerate(names) if name == candidate]:
            case [index]:
                return index
            case [first, second, *_]:
                raise BadHeader(f"Columns {first + 1} and {second + 1} have the same name.")
    return None


def read_part(row_number: int, cells: Sequence[str], columns: Columns) -> Part | Cause:
    """Return the part in this row, or the cause of its fault."""
    if len(cells) != columns.width:
        return Cause.WRONG_COLUMNS
    part_number = cells[columns.part_number].strip()
    if not part_number:
        return Cause.MISSING_PART_NUMBER
    quantity = cells[columns.quantity].strip()
    # isdigit alone would accept "²", which int() refuses.
    if not (quantity.isdigit() and quantity.isascii() and len(quantity) <= _MAX_DIGITS):
        return Cause.BAD_QUANTITY
    name = "" if columns.name is None else cells[columns.name].strip()
    colour = "" if columns.colour is None else cells[columns.colour].strip()
    return Part(row_number, part_number, name, colour, int(quantity))
