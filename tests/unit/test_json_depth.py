"""The depth of a JSON text, against one that is counted in the decoded value."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.json_depth import is_deeper

TEXT = st.text('[]{}"\\\\a', max_size=6)
VALUES = st.recursive(
    TEXT | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


def depth_of(value: Any) -> int:
    match value:
        case dict():
            return 1 + max((depth_of(each) for each in value.values()), default=0)
        case list():
            return 1 + max((depth_of(each) for each in value), default=0)
        case _:
            return 0


@given(VALUES, st.integers(0, 12))
def test_the_depth_is_that_of_the_value(value: Any, most: int) -> None:
    assert is_deeper(json.dumps(value).encode(), most) is (depth_of(value) > most)


@pytest.mark.parametrize("depth", [64, 65, 300])
def test_brackets_in_texts_hide_nothing(depth: int) -> None:
    text = '["]]]",' * depth + '"[[["' + "]" * depth
    assert json.loads(text)
    assert is_deeper(text.encode(), 64) is (depth > 64)


@pytest.mark.parametrize("part", ["[]", "[[[[[]]]]]", "[" * 60 + "]" * 60, '{"a":"[","b":[{}]}'])
def test_a_message_of_128_kib_takes_a_moment(part: str) -> None:
    text = f"[{','.join([part] * (131_000 // (len(part) + 1)))}]".encode()
    assert not is_deeper(text, 64)
    began = time.process_time()
    is_deeper(text, 64)
    assert time.process_time() - began < 0.5  # some 10 ms on an idle machine


def test_a_very_deep_one_takes_a_moment() -> None:
    began = time.process_time()
    assert is_deeper(b"[" * 65_000 + b"]" * 65_000, 64)
    assert time.process_time() - began < 0.5
