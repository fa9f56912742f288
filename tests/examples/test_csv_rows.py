"""The CSV reader: any bytes in, rows out."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.parts_upload.causes import Cause, Fault
from examples.parts_upload.headers import recognized_columns
from examples.parts_upload.tables import Row
from examples.parts_upload.tables.cells import is_blank
from examples.parts_upload.tables.csv_rows import FREE_WORK, MAX_ROW_LINES, CsvRows
from examples.parts_upload.tables.text_lines import MAX_LINE_CHARACTERS


def rows_of(content: bytes) -> list[Row]:
    """Return the rows that are not blank."""
    return [row for row in CsvRows(io.BytesIO(content), recognized_columns) if row[1]]


def of_text(text: str) -> list[Row]:
    return rows_of(text.encode())


TWO_ROWS: list[Row] = [(1, ["part", "qty"]), (2, ["3001", "4"])]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_any_line_end_will_do_and_the_last_may_be_missing(line_end: str, last: str) -> None:
    assert of_text(f"part,qty{line_end}3001,4{last and line_end}") == TWO_ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_tells_the_encoding_and_is_not_in_the_first_cell(encoding: str) -> None:
    assert rows_of("teil,größe\r\nä,€\r\n".encode(encoding)) == [(1, ["teil", "größe"]), (2, ["ä", "€"])]


def test_utf_16_of_either_byte_order_is_read() -> None:
    text = "part,qty\n3001,4\n"
    assert rows_of(b"\xff\xfe" + text.encode("utf-16-le")) == TWO_ROWS
    assert rows_of(b"\xfe\xff" + text.encode("utf-16-be")) == TWO_ROWS


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_first_row_tells_what_separates_cells(delimiter: str) -> None:
    assert of_text("part,qty\n3001,4\n".replace(",", delimiter)) == TWO_ROWS


def test_quoted_cells_may_hold_commas_quotes_and_line_breaks() -> None:
    assert of_text('a,b\n"1, 2","say ""hi"""\n"two\r\nlines",3\n') == [
        (1, ["a", "b"]),
        (2, ["1, 2", 'say "hi"']),
        (3, ["two\r\nlines", "3"]),
    ]


def test_rows_are_numbered_as_in_a_spreadsheet_where_blank_rows_count() -> None:
    assert of_text('a,b\n\n1,"x\ny"\n , \n2,z\n\n') == [(1, ["a", "b"]), (3, ["1", "x\ny"]), (5, ["2", "z"])]


def test_nothing_in_is_nothing_out() -> None:
    assert rows_of(b"") == []
    assert rows_of(b"\n\r\n  \n") == []


@pytest.mark.parametrize("bad", [b"M\xfcller,1", b"\xc3,1", b"1,\xe2\x82", b"\x00,1", b"\xed\xa0\x80,1"])
def test_bytes_that_are_not_text_spoil_their_row_only(bad: bytes) -> None:
    rows = rows_of("ä,ö\n".encode() + bad + b"\n2,z\n")
    assert rows == [(1, ["ä", "ö"]), (2, Fault(Cause.BAD_ENCODING)), (3, ["2", "z"])]


def test_half_a_character_in_utf_16_spoils_its_row_only() -> None:
    content = "a,b\n1,#\n2,z\n".encode("utf-16-le").replace("#".encode("utf-16-le"), b"\x00\xd8")
    assert rows_of(b"\xff\xfe" + content) == [(1, ["a", "b"]), (2, Fault(Cause.BAD_ENCODING)), (3, ["2", "z"])]


@pytest.mark.parametrize("following", [0, 1, 5, 500])
def test_a_quote_that_is_never_closed_costs_one_row(following: int) -> None:
    good = [f"{number},z\n" for number in range(following)]
    rows = of_text('a,b\n1,"open\n' + "".join(good))
    assert rows[:2] == [(1, ["a", "b"]), (2, Fault(Cause.MALFORMED))]
    assert rows[2:] == [(3 + number, [str(number), "z"]) for number in range(following)]


def test_a_quote_in_the_wrong_place_costs_one_row() -> None:
    assert of_text('a,b\n"1"x,2\n3,4 "inch"\n') == [
        (1, ["a", "b"]),
        (2, Fault(Cause.MALFORMED)),
        (3, ["3", '4 "inch"']),
    ]


def test_a_cell_may_have_many_lines_but_not_too_many() -> None:
    lines = "\n" * (MAX_ROW_LINES - 1)
    assert of_text(f'"{lines}x",2\n3,4\n') == [(1, [f"{lines}x", "2"]), (2, ["3", "4"])]
    rows = of_text(f'"\n{lines}x",2\n3,4\n')
    assert rows[0] == (1, Fault(Cause.MALFORMED))
    assert rows[-1][1] == ["3", "4"]


def test_a_cell_longer_than_csv_takes_costs_one_row() -> None:
    limit = csv.field_size_limit()
    assert of_text(f"{'x' * limit},2\n3,4\n") == [(1, ["x" * limit, "2"]), (2, ["3", "4"])]
    assert of_text(f"{'x' * (limit + 1)},2\n3,4\n") == [(1, Fault(Cause.TOO_LONG)), (2, ["3", "4"])]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("extra", [-1, 0, 1, 5, 3 * MAX_LINE_CHARACTERS])
def test_a_line_longer_than_memory_should_hold_costs_one_row(extra: int, line_end: str) -> None:
    # Short cells, so that the line is too long and not a cell.
    text = ("x," * MAX_LINE_CHARACTERS * 3)[: MAX_LINE_CHARACTERS + extra - len(line_end)] + line_end
    rows = of_text("a,b\n" + text + ("3,4\n" if line_end else ""))
    if extra > 0:
        assert rows[1] == (2, Fault(Cause.TOO_LONG))
    else:
        assert sum(map(len, rows[1][1])) > MAX_LINE_CHARACTERS // 3
    assert rows[2:] == ([(3, ["3", "4"])] if line_end else [])


def test_a_file_made_to_be_slow_costs_no_more_than_twice_its_length() -> None:
    # Each of these lines closes the quote that the one before opened, and opens another.
    line = b'x",' + b"a" * 9000 + b',"\n'
    content = line * 1500
    reader = CsvRows(io.BytesIO(content), recognized_columns)
    assert len(list(reader)) > 10
    assert reader.work < 2 * len(content) + 2 * FREE_WORK


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufffd")), min_size=2, max_size=4
        ),
        min_size=1,
        max_size=8,
    )
)
def test_what_csv_writes_is_read_back(table: list[list[str]]) -> None:
    table = [["a", "b"], *table]
    written = io.StringIO(newline="")
    csv.writer(written).writerows(table)
    rows = [cells for _, cells in of_text(written.getvalue())]
    assert rows == [cells for cells in table if not is_blank(cells)]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_to_the_end(content: bytes) -> None:
    numbers = [number for number, _ in rows_of(content)]
    assert numbers == sorted(set(numbers))
