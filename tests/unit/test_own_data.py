"""The data of a message, piece by piece; whole messages are in test_messages."""

from typing import Any

import msgspec
import pytest

from tellwire.errors import InvalidMessage
from tellwire.limits import MAX_DEPTH
from tellwire.own_data import repaired_data, require_finite, require_shallow


class Own(msgspec.Struct):
    """Data in a struct of its own."""

    name: str


def test_repaired_data_is_what_json_has() -> None:
    assert repaired_data("data", {"own": Own("caf\udce9"), "t": ("\ud83d\ude42",)}) == {
        "own": {"name": "caf\ufffd"},
        "t": ["🙂"],
    }


def test_data_that_is_too_deep_is_not_repaired_for_long() -> None:
    data: Any = "\udce9"
    for _ in range(MAX_DEPTH + 1):
        data = [data]
    with pytest.raises(InvalidMessage, match="at most 64 deep"):
        repaired_data("data", data)


def test_a_number_that_is_not_finite_is_named() -> None:
    with pytest.raises(InvalidMessage, match="data: got nan"):
        require_finite("data", {"a": [1.0, {"b": float("nan")}]})
    require_finite("data", {"a": [1.0, None, "nan"]})


def test_a_text_of_the_allowed_depth_passes() -> None:
    require_shallow("data", b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(InvalidMessage):
        require_shallow("data", b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
