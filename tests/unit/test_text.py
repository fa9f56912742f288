"""Text: words are repaired, and ids stay two."""

from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.errors import InvalidMessage
from tellwire.text import escaped_id, is_text, plain, repaired, require_id, shortened, words_of

NOT_UTF8 = b"caf\xe9.csv".decode(errors="surrogateescape")
ANY_STRING = st.text(st.characters(codec=None), max_size=20)


class SafeString(str):
    """A string as a template engine makes it."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


class Colour(str, Enum):  # noqa: UP042 - as older code is written
    """A string that shows itself otherwise."""

    RED = "red"


class Unshowable:
    """An object whose own code fails."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(("given", "text"), [(SafeString("<b>"), "<b>"), (Colour.RED, "red"), ("a", "a")])
def test_a_string_of_any_class_becomes_a_plain_one(given: str, text: str) -> None:
    for each in (plain(given), repaired(given), escaped_id(given), shortened(given, 10), require_id("id", given, 10)):
        assert (type(each), each) == (str, text)


def test_lone_surrogates_become_the_replacement_character() -> None:
    assert repaired(NOT_UTF8) == "caf\ufffd.csv"
    assert repaired("\ud83d\ude42 \ud83d.") == "🙂 \ufffd."  # a pair is one character


@given(ANY_STRING)
def test_repaired_words_are_text_and_text_is_left_alone(words: str) -> None:
    assert is_text(repaired(words))
    assert repaired(words) == words or not is_text(words)


@given(ANY_STRING, ANY_STRING)
def test_two_file_names_stay_two_ids(one: str, other: str) -> None:
    assert is_text(escaped_id(one))
    assert (escaped_id(one) == escaped_id(other)) is (one == other) or "\\" in one + other


def test_long_words_are_cut() -> None:
    assert shortened("x" * 11, 10) == "x" * 9 + "…"
    assert shortened("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize(
    ("given", "text"), [(5, "5"), (None, "None"), (ValueError("no"), "no"), (Unshowable(), "a Unshowable")]
)
def test_anything_has_words(given: object, text: str) -> None:
    assert words_of(given, 20) == text


@pytest.mark.parametrize("given", ["", 5, None, b"u1", NOT_UTF8, "a" * 11, "é" * 6], ids=repr)
def test_an_id_that_no_key_can_hold_is_refused(given: object) -> None:
    with pytest.raises(InvalidMessage, match=r"upload: got .*; allowed: "):
        require_id("upload", given, 10)
