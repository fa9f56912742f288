"""A parts list: which columns it needs, and whether a row is a part.

In: cells, as text. Out: a `Part`, or the `Cause` why it is none. Pure.

Rules:
- Columns are known by their names, in any order and spelling (`Part Number`, `part_number`, `PART-NUMBER`). A part
  number and a quantity are needed, a name and a colour welcome, others ignored.
- A row has as many cells as the header. Its quantity is a whole number, 0 or more. The same part may come twice.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple


class Cause(StrEnum):
    """Why a row was left out."""

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

# The clearest name first: where a list has both, `Part Number` is meant, not `Part`.
_PART_NUMBER = ("partnumber", "partno", "partnum", "partid", "part")
_QUANTITY = ("quantity", "qty", "count", "amount")
_NAME = ("partname", "name", "description")
_COLOUR = ("colour", "color", "colourname", "colorname")

# What SQLite's 64-bit integers hold whatever the digits are.
_MOST_DIGITS = 18


class Part(NamedTuple):
    """A row that is right. `row_number` is the spreadsheet's."""

    row_number: int
    part_number: str
    name: str
    colour: str
    quantity: int


class Columns(NamedTuple):
    """Where to find what, from 0. None: the list has no such column."""

    width: int
    part_number: int
    quantity: int
    name: int | None
    colour: int | None


class BadHeader(ValueError):
    """The first row does not name the columns of a parts list. The message is fit for users."""


def find_columns(header: Sequence[str]) -> Columns:
    """Find the columns that the header names.

    Raises:
        BadHeader: one that is needed is missing, or named twice.
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
    """Return the part in this row, or why there is none."""
    if len(cells) != columns.width:
        return Cause.WRONG_COLUMNS
    part_number = cells[columns.part_number].strip()
    if not part_number:
        return Cause.MISSING_PART_NUMBER
    quantity = cells[columns.quantity].strip()
    # isdigit alone would take "²", which int() does not.
    if not (quantity.isdigit() and quantity.isascii() and len(quantity) <= _MOST_DIGITS):
        return Cause.BAD_QUANTITY
    name = "" if columns.name is None else cells[columns.name].strip()
    colour = "" if columns.colour is None else cells[columns.colour].strip()
    return Part(row_number, part_number, name, colour, int(quantity))
