"""Numbers of any library as numbers of Python: NumPy's, pandas' and `decimal`'s. Pure.

A count is every object with `__index__`, a measure every one with `__float__`. A truth value is neither, nor is a text.
"""

import math
import operator
from typing import Final

# Those of Python and, before and since its version 2, of NumPy.
_TRUTH_VALUES: Final = frozenset({"bool", "bool_"})


def whole_number(value: object) -> int | None:
    """Return a whole number as an `int`; None if it is something else."""
    if type(value) is int:
        return value
    if is_truth_value(value):
        return None
    try:
        return int(operator.index(value))  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - whatever an object's own code raises
        return None


def finite_number(value: object) -> int | float | None:
    """Return a number that is finite as an `int` or a `float`; None if it is something else."""
    number = any_number(value)
    return None if isinstance(number, float) and not math.isfinite(number) else number


def any_number(value: object) -> int | float | None:
    """Return a number as an `int` or a `float`, NaN and the infinities, too; None if it is something else."""
    whole = whole_number(value)
    if whole is not None or is_truth_value(value) or not hasattr(type(value), "__float__"):
        return whole
    try:
        return float(value)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - whatever an object's own code raises
        return None


def is_truth_value(value: object) -> bool:
    """Return True for a `bool`, Python's or NumPy's."""
    return type(value).__name__ in _TRUTH_VALUES
