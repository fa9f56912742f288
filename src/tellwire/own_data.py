"""The data of a message as JSON: text and numbers of other libraries become plain, and nothing changes silently. Pure.

A string of any class is a string, and U+FFFD stands for what UTF-8 cannot carry. A number of NumPy is a number. NaN and
the infinities, which JSON lacks, are refused, as is data that is nested too deep for some client.
"""

import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tellwire.errors import InvalidMessage
from tellwire.json_depth import is_deeper
from tellwire.limits import MAX_DEPTH
from tellwire.numeric import any_number, is_truth_value
from tellwire.text import repaired, string_of

# Once for each value of the data: `list | tuple` would make a type each time.
_ARRAYS: Final = (list, tuple)
_NESTED: Final = (dict, list, tuple)

_NOT_FINITE: Final = "a finite number; JSON has no NaN and no infinity"


def plain_value(value: Any) -> Any:
    """Return a value that the encoder does not know as one that it does. It is the encoder's `enc_hook`."""
    if (text := string_of(value)) is not None:
        return repaired(text)
    if is_truth_value(value) and not isinstance(value, bool):
        return bool(value)
    number = any_number(value)  # `require_finite` looks at NaN and the infinities
    if number is None:
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
    return number


def repaired_data(name: str, data: Any) -> Any:
    """Return data with all its words repaired, as `dict`, `list` and values of JSON.

    Raises:
        InvalidMessage: it is nested deeper than `MAX_DEPTH`.
        TypeError: JSON cannot carry it.
    """
    return _repaired(name, msgspec.to_builtins(data, enc_hook=plain_value), MAX_DEPTH)


def require_finite(name: str, data: Any) -> None:
    """Raise `InvalidMessage` if data holds NaN or an infinity, which the encoder writes as `null`."""
    level: list[Any] = [msgspec.to_builtins(data, enc_hook=plain_value)]
    while level:
        for value in level:
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidMessage(name, value, _NOT_FINITE)
        level = [child for value in level for child in _children(value)]


def require_shallow(name: str, text: bytes) -> None:
    """Raise `InvalidMessage` if a valid JSON text is nested deeper than `MAX_DEPTH`."""
    if is_deeper(text, MAX_DEPTH):
        raise _too_deep(name)


class _Deeper:
    """The given value of an error about depth: data that is too deep to show."""

    def __repr__(self) -> str:
        return "deeper ones"


def _too_deep(name: str) -> InvalidMessage:
    return InvalidMessage(name, _Deeper(), f"arrays and objects that are nested at most {MAX_DEPTH} deep")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, _ARRAYS) else ()


def _repaired(name: str, value: Any, depth_left: int) -> Any:
    if isinstance(value, str):
        return repaired(value)
    if not isinstance(value, _NESTED):
        return value
    if not depth_left:
        raise _too_deep(name)
    if isinstance(value, dict):
        return {_repaired(name, key, 0): _repaired(name, each, depth_left - 1) for key, each in value.items()}
    return [_repaired(name, each, depth_left - 1) for each in value]
