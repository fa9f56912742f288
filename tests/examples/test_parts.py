"""Rows of parts lists: parts, faults, sums."""

import pytest

from examples.parts_upload.causes import REASONS, Cause, Fault
from examples.parts_upload.headers import Columns, find_columns
from examples.parts_upload.parts import Part, read_part

COLUMNS = Columns(width=4, part_number=(0,), quantity=3, name=(1,), colour=(2,))


def test_a_row_becomes_a_part_without_the_spaces_around_its_cells() -> None:
    assert read_part(7, [" 3001 ", "Brick ", " Red", " 04 "], COLUMNS) == Part(7, "3001", "Brick", "Red", 4)


def test_columns_that_a_list_does_not_have_are_empty() -> None:
    assert read_part(2, ["0", "3001"], Columns(2, (1,), 0)) == Part(2, "3001", "", "", 0)


def test_a_cell_that_cannot_be_used_is_in_the_fault() -> None:
    assert read_part(2, ["3001", "Brick", "Red", " four "], COLUMNS) == Fault(Cause.BAD_QUANTITY, "four")
    assert read_part(2, ["3001", "Brick", "Red", "1,000"], COLUMNS) == Fault(Cause.AMBIGUOUS_QUANTITY, "1,000")
    assert "“four”" in Fault(Cause.BAD_QUANTITY, "four").text


def test_a_cell_in_a_text_is_short_and_in_one_line() -> None:
    assert Fault(Cause.BAD_QUANTITY, "a\nb" * 1000).text.endswith("…”")
    assert len(Fault(Cause.BAD_QUANTITY, "a\nb" * 1000).text) < 120


def test_a_part_needs_a_number() -> None:
    assert read_part(2, [" ", "Brick", "Red", "4"], COLUMNS) == Fault(Cause.MISSING_PART_NUMBER)


@pytest.mark.parametrize(
    "cells", [["3001", "", "", "4"], ["3001", "Brick", "Red", "4", ""], ["3001", "Brick", "Red", "4", " ", "\u200b"]]
)
def test_missing_and_surplus_empty_cells_are_fine(cells: list[str]) -> None:
    part = read_part(2, cells, COLUMNS)
    assert isinstance(part, Part)
    assert (part.part_number, part.quantity) == ("3001", 4)


def test_a_row_may_end_before_the_columns_that_nobody_needs() -> None:
    columns = find_columns(["Part", "Quantity", "Colour", "Notes"])
    assert read_part(2, ["3001", "4"], columns) == Part(2, "3001", "", "", 4)


def test_a_filled_cell_beyond_the_header_is_a_fault() -> None:
    assert read_part(2, ["3001", "Brick", "Red", "4", "", "x"], COLUMNS) == Fault(Cause.WRONG_COLUMNS, "x")


@pytest.mark.parametrize(
    "number", ["1.23457E+11", "3E+03", "1,23E+11", "2026-03-02", "2026-03-02 00:00:00", "3/1/2026", "01. Mrz"]
)
def test_a_part_number_that_a_spreadsheet_has_changed_is_refused(number: str) -> None:
    assert read_part(2, [number, "", "", "4"], COLUMNS) == Fault(Cause.CHANGED_PART_NUMBER, number)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("3001.0", "3001"),
        ('="03001"', "03001"),
        ("\u200b3001", "3001"),
        ("3002\ufeff", "3002"),
        ("10e5", "10e5"),
        ("3069bpb0001", "3069bpb0001"),
    ],
)
def test_a_part_number_is_text_without_decorations(cell: str, number: str) -> None:
    assert read_part(2, [cell, "", "", "4"], COLUMNS) == Part(2, number, "", "", 4)


@pytest.mark.parametrize(
    "cells",
    [
        ["Total", "", "", "8"],
        ["TOTAL:", "", "", "8"],
        ["", "Summe", "", "8"],
        ["", "", "Grand Total", "8"],
        ["合計", "", "", "8"],
        ["Total lots: 12", "", "", ""],
        ["Total", "", "", "8", "9.5 g"],
    ],
)
def test_a_row_of_sums_is_no_part(cells: list[str]) -> None:
    assert read_part(2, cells, COLUMNS) is None


def test_a_part_whose_name_begins_like_a_sum_is_a_part() -> None:
    assert isinstance(read_part(2, ["3001", "Total", "Red", "4"], COLUMNS), Part)


def test_a_colour_survives_by_name_or_by_id() -> None:
    columns = find_columns(["BLItemNo", "BLColorId", "ColorName", "Qty"])
    assert read_part(2, ["3001", "5", "Red", "1"], columns) == Part(2, "3001", "", "Red", 1)
    assert read_part(2, ["3001", "5", "", "1"], columns) == Part(2, "3001", "", "5", 1)


def test_every_cause_has_its_words() -> None:
    assert set(REASONS) == set(Cause)
