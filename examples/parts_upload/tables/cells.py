"""Text of a cell without the characters that nobody sees. Pure."""

import re
from typing import Final

# Spaces, control characters, zero-width characters, direction marks, and the byte order mark.
_INVISIBLE = r"\s\x00-\x1f\x7f\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
_EDGES: Final = re.compile(f"^[{_INVISIBLE}]+|[{_INVISIBLE}]+$")
# A spreadsheet keeps the zeros of ="03001".
_FORMULA: Final = re.compile(r'="([^"]*)"')


def clean(cell: str) -> str:
    """Return a cell without invisible characters at its ends, and `="03001"` as `03001`."""
    # Most cells begin and end with a visible ASCII character.
    if cell and cell[0] != "=" and " " < cell[0] < "\x7f" and " " < cell[-1] < "\x7f":
        return cell
    text = _EDGES.sub("", cell)
    formula = _FORMULA.fullmatch(text)
    return clean(formula[1]) if formula else text


def is_blank(cells: list[str]) -> bool:
    """Return whether nobody sees anything in these cells."""
    return not any(map(clean, cells))
