"""Quantities, as people and spreadsheets write them. Pure.

Rules:
- A quantity is a whole number, 0 or more, of at most 18 digits, so that it fits into SQLite's 64-bit integers.
- Understood: `4`, `+4`, `4.0`, `4,00`, full-width digits; thousands in groups of three, separated by spaces or
  apostrophes, or by two points or commas (`1,000,000`).
- `1,000` and `1.000` may be one or a thousand. They are refused, unless the header shows the separator:
  `Qty (1,000 max)`.
"""

import re
from enum import Enum
from typing import Final, TypeAlias

from examples.parts_upload.tables.cells import clean

_MAX_DIGITS = 18
_FULL_WIDTH: Final = {0xFF10 + digit: 0x30 + digit for digit in range(10)} | {0xFF0B: "+", 0xFF0C: ",", 0xFF0E: "."}

_SPACES = " \u00a0\u2009\u202f'\u2019"
_PLAIN: Final = re.compile(r"\+?([0-9]+)(?:[.,]0*)?")
_SPACED: Final = re.compile(rf"\+?([0-9]{{1,3}}(?:([{_SPACES}])[0-9]{{3}})(?:\2[0-9]{{3}})*)(?:[.,]0*)?")
_GROUPED: Final = re.compile(r"\+?([1-9][0-9]{0,2}(?:([.,])[0-9]{3})(?:\2[0-9]{3})*)(?:(?!\2)[.,]0*)?")
_HINT: Final = re.compile(r"(?<![0-9])[1-9][0-9]{0,2}([.,])[0-9]{3}(?![0-9])")


class Refused(Enum):
    """The reasons for refusing a quantity."""

    NOT_WHOLE = "NOT_WHOLE"
    AMBIGUOUS = "AMBIGUOUS"


Quantity: TypeAlias = int | Refused


def thousands_separator(header_cell: str) -> str:
    """Return the separator of thousands that a header shows; "" if it shows none."""
    hint = _HINT.search(header_cell)
    return hint[1] if hint else ""


def read_quantity(cell: str, thousands: str = "") -> Quantity:
    """Read a quantity. `thousands`: the separator that the header shows."""
    if cell.isascii() and cell.isdigit():
        return _whole(cell)
    text = clean(cell).translate(_FULL_WIDTH)
    if match := _SPACED.fullmatch(text):
        return _whole(match[1])
    if match := _GROUPED.fullmatch(text):
        separator, is_alone = match[2], match[1].count(match[2]) == 1
        if is_alone and match.end() == match.end(1) and separator != thousands:
            return _single_group(match[1], separator, thousands)
        return _whole(match[1])
    match = _PLAIN.fullmatch(text)
    return _whole(match[1]) if match else Refused.NOT_WHOLE


def _single_group(text: str, separator: str, thousands: str) -> Quantity:
    """Return the meaning of `1,000` or `1,234` where the header has not shown this separator."""
    whole, _, decimals = text.partition(separator)
    if thousands:
        return Refused.NOT_WHOLE if decimals.strip("0") else _whole(whole)
    return Refused.AMBIGUOUS


def _whole(digits: str) -> Quantity:
    number = digits if digits.isdigit() else re.sub(r"[^0-9]", "", digits)
    return int(number) if len(number) <= _MAX_DIGITS else Refused.NOT_WHOLE
