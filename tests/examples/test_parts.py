"""Headers and rows of parts lists."""

import pytest

from examples.parts_upload.parts import REASONS, BadHeader, Cause, Columns, Part, find_columns, read_part

COLUMNS = Columns(width=4, part_number=0, quantity=3, name=1, colour=2)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (["part_number", "name", "colour", "quantity"], COLUMNS),
        (["Part Number", "Name", "Color", "QTY"], COLUMNS),
        (["PART-NO.", "Description", "COLOUR", " Quantity "], COLUMNS),
        (["Quantity", "Price", "Part"], Columns(3, 2, 0, None, None)),
        (["Part", "Part number", "Qty"], Columns(3, 1, 2, None, None)),
    ],
)
def test_columns_are_found_in_any_order_and_spelling(header: list[str], columns: Columns) -> None:
    assert find_columns(header) == columns


@pytest.mark.parametrize("header", [["name", "quantity"], ["part number"], ["3001", "Brick", "Red", "4"], []])
def test_a_header_without_part_number_or_quantity_is_refused(header: list[str]) -> None:
    with pytest.raises(BadHeader, match="at least part number and quantity"):
        find_columns(header)


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(BadHeader, match="Columns 2 and 3 have the same name"):
        find_columns(["part", "quantity", "Quantity"])


def test_a_row_becomes_a_part_without_the_spaces_around_its_cells() -> None:
    assert read_part(7, [" 3001 ", "Brick ", " Red", " 04 "], COLUMNS) == Part(7, "3001", "Brick", "Red", 4)


def test_columns_that_a_list_does_not_have_are_empty() -> None:
    assert read_part(2, ["0", "3001"], Columns(2, 1, 0, None, None)) == Part(2, "3001", "", "", 0)


@pytest.mark.parametrize("quantity", ["", "-1", "1.5", "four", "1,000", "²", "٣", "1e3", "0x10", "1 0", "9" * 19])
def test_a_quantity_is_a_whole_number_0_or_more(quantity: str) -> None:
    assert read_part(2, ["3001", "Brick", "Red", quantity], COLUMNS) is Cause.BAD_QUANTITY


def test_a_part_needs_a_number() -> None:
    assert read_part(2, [" ", "Brick", "Red", "4"], COLUMNS) is Cause.MISSING_PART_NUMBER


@pytest.mark.parametrize("cells", [["3001", "Brick", "Red"], ["3001", "Brick", "Red", "4", ""]])
def test_a_row_is_as_wide_as_the_header(cells: list[str]) -> None:
    assert read_part(2, cells, COLUMNS) is Cause.WRONG_COLUMNS


def test_every_cause_has_its_words() -> None:
    assert set(REASONS) == set(Cause)
