"""Causes for skipping a row, with their texts for users."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

_SHOWN_CHARACTERS = 40


class Cause(StrEnum):
    """The reason for skipping a row."""

    BAD_ENCODING = "BAD_ENCODING"
    MALFORMED = "MALFORMED"
    TOO_LONG = "TOO_LONG"
    WRONG_COLUMNS = "WRONG_COLUMNS"
    MISSING_PART_NUMBER = "MISSING_PART_NUMBER"
    CHANGED_PART_NUMBER = "CHANGED_PART_NUMBER"
    BAD_QUANTITY = "BAD_QUANTITY"
    AMBIGUOUS_QUANTITY = "AMBIGUOUS_QUANTITY"


REASONS: Final[Mapping[str, str]] = {
    Cause.BAD_ENCODING: "some of its bytes are not text in the file's encoding",
    Cause.MALFORMED: "its quotes do not match",
    Cause.TOO_LONG: "it has a cell of more than 131,072 characters, or is too long as a whole",
    Cause.WRONG_COLUMNS: "it has a filled cell beyond the columns of the header",
    Cause.MISSING_PART_NUMBER: "it has no part number",
    Cause.CHANGED_PART_NUMBER: "a spreadsheet has changed its part number into a rounded number or a date",
    Cause.BAD_QUANTITY: "its quantity is not a whole number, 0 or more",
    Cause.AMBIGUOUS_QUANTITY: "its quantity may have decimals or thousands; write it without a separator",
}


class Fault(NamedTuple):
    """A row that is skipped, with the cell that is the reason; "" if it is not one cell."""

    cause: Cause
    cell: str = ""

    @property
    def text(self) -> str:
        """The reason with its cell, for users."""
        return f"{REASONS[self.cause]}: {shown(self.cell)}" if self.cell else REASONS[self.cause]


def shown(cell: str) -> str:
    """Return the text of a cell in quotes, in one line of bounded length."""
    line = " ".join(cell[: 4 * _SHOWN_CHARACTERS].split())
    return f"“{line}”" if len(line) <= _SHOWN_CHARACTERS else f"“{line[:_SHOWN_CHARACTERS]}…”"
