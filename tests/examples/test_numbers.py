"""Quantities as people and spreadsheets write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.parts_upload.numbers import Refused, read_quantity, thousands_separator


@pytest.mark.parametrize(
    ("cell", "quantity"),
    [
        ("4", 4),
        ("0", 0),
        ("04", 4),
        ("+4", 4),
        ("4.0", 4),
        ("4.00", 4),
        ("4,00", 4),
        ("4.", 4),
        ("0.000", 0),
        ("1234.000", 1234),
        ("４", 4),
        ("１２．０", 12),
        ("1 000", 1000),
        ("1\u00a0000", 1000),
        ("1\u202f000\u202f000", 1_000_000),
        ("1'000", 1000),
        ("1,000,000", 1_000_000),
        ("1.000.000", 1_000_000),
        ("1,000.00", 1000),
        ("1.000,00", 1000),
        ('="4"', 4),
        ("\u200b4\ufeff", 4),
        ("9" * 18, 10**18 - 1),
    ],
)
def test_a_whole_number_is_understood_in_any_spelling(cell: str, quantity: int) -> None:
    assert read_quantity(cell) == quantity


@pytest.mark.parametrize(
    "cell",
    ["", "-1", "1.5", "4.50", "four", "²", "٣", "1e3", "1E+03", "0x10", "1 0", "1 00", "1,00,000", "9" * 19],
)
def test_other_texts_are_no_quantity(cell: str) -> None:
    assert read_quantity(cell) is Refused.NOT_WHOLE


@pytest.mark.parametrize("cell", ["1,000", "1.000", "12,500"])
def test_one_group_of_three_may_be_thousands_or_decimals(cell: str) -> None:
    assert read_quantity(cell) is Refused.AMBIGUOUS


def test_a_header_may_tell_which() -> None:
    assert read_quantity("1,000", thousands=",") == 1000
    assert read_quantity("1.000", thousands=",") == 1
    assert read_quantity("1.500", thousands=",") is Refused.NOT_WHOLE
    assert thousands_separator("Qty (1.000 max)") == "."
    assert thousands_separator("Qty (max 1,000)") == ","
    assert thousands_separator("Qty (max 1000.5)") == ""


@given(st.integers(0, 10**15), st.sampled_from([" ", "'", "\u00a0"]), st.sampled_from(["", ".0", ",00"]))
def test_every_number_with_spaces_and_zeros_is_read_back(number: int, separator: str, decimals: str) -> None:
    assert read_quantity(f"{number:,}".replace(",", separator) + decimals) == number or (
        number < 1000 and not separator
    )


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_refused(cell: str) -> None:
    quantity = read_quantity(cell)
    assert isinstance(quantity, Refused) or quantity >= 0
