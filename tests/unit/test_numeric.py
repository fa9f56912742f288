"""Numbers of other libraries."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from tellwire.numeric import finite_number, whole_number


class Broken:
    """An object whose own code fails."""

    def __index__(self) -> int:
        raise RuntimeError("no")

    def __float__(self) -> float:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [5, np.int64(5), np.uint8(5), np.array(5)], ids=repr)
def test_a_whole_number_becomes_an_int(value: Any) -> None:
    assert (type(whole_number(value)), whole_number(value)) == (int, 5)
    assert (type(finite_number(value)), finite_number(value)) == (int, 5)


@pytest.mark.parametrize("value", [2.5, np.float64(2.5), np.float32(2.5), Decimal("2.5"), Fraction(5, 2)], ids=repr)
def test_another_number_becomes_a_float(value: Any) -> None:
    assert (type(finite_number(value)), finite_number(value)) == (float, 2.5)
    assert whole_number(value) is None


@pytest.mark.parametrize(
    "value",
    [True, np.True_, "5", b"5", None, [5], 5j, Broken(), np.array([1, 2]), float("nan"), float("inf"), Decimal("sNaN")],
)
def test_everything_else_is_no_number(value: Any) -> None:
    assert whole_number(value) is None
    assert finite_number(value) is None


def test_a_number_beyond_all_floats_is_no_measure() -> None:
    assert finite_number(Fraction(10**400, 3)) is None
