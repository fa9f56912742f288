"""Tolerant reader of CSV rows: a faulty row does not stop it.

In: a file open for reading bytes. Out: rows, see `table`.

Rules:
- A row's number is the one a spreadsheet shows: the header is usually 1, blank rows count, a cell with line breaks does
  not make two rows, a first line `sep=;` is no row.
- Encoding and dialect are found by evidence (`encodings`, `dialect`). Invalid bytes make their row faulty only.
- A row may have `MAX_ROW_LINES` lines and `MAX_LINE_CHARACTERS` characters, so memory is bounded for any file.
- After a row that cannot be read, reading continues with the *second line* of it. A quote that is opened and never
  closed would otherwise include all later rows; this way it costs one row.
- Lines are read again at most as often as they are read, plus `FREE_WORK`: the length of a file bounds its work.
"""

import csv
from collections.abc import Callable, Iterator
from typing import Final

from examples.parts_upload.causes import Cause, Fault
from examples.parts_upload.tables.cells import is_blank
from examples.parts_upload.tables.dialect import Dialect, RecognizedColumns, find_dialect, recognized_in
from examples.parts_upload.tables.encodings import is_legacy, name_of
from examples.parts_upload.tables.table import Row
from examples.parts_upload.tables.text_lines import MAX_LINE_CHARACTERS, ByteReader, TextLines

# Enough for any cell that people type. They also bound the work: a line is parsed at most this often.
MAX_ROW_LINES: Final = 100
FREE_WORK: Final = 4 * 1024 * 1024

# A row and a cell take as long as this many characters.
_ROW_WORK: Final = 16
_CELL_WORK: Final = 4

_UNDECODABLE: Final = "\ufffd"
_NUL: Final = "\0"


class CsvRows:
    """The rows of a CSV file; of a packed one with its own `position`. `head` is the beginning of its bytes."""

    def __init__(
        self,
        file: ByteReader,
        recognized: RecognizedColumns,
        position: Callable[[], int] | None = None,
        packed_as: str = "",
    ) -> None:
        text = TextLines(file, lambda beginning: recognized_in(beginning, recognized))
        self._text = text
        self._position = position
        self._packed_as = packed_as
        self.head = text.head
        beginning = text.take_beginning()
        self.is_binary = _NUL in beginning
        self.dialect = find_dialect(beginning, recognized)
        self._lines = _RowLines(text)
        self._cells = _reader(self._lines, self.dialect)
        self._row_number = 0
        self._is_in_long_line = False
        self._rows_work = 0
        if self.dialect.has_separator_line:
            self._skip_separator_line()

    @property
    def found(self) -> str:
        """Encoding and delimiter, for people."""
        return f"{self._packed_as}{name_of(self._text.encoding)}, {self.dialect.name}"

    @property
    def is_plain(self) -> bool:
        """True for UTF-8 with commas."""
        return self.found == f"UTF-8, {Dialect().name}"

    @property
    def is_guess(self) -> bool:
        """True for a legacy encoding."""
        return is_legacy(self._text.encoding)

    @property
    def work(self) -> int:
        """Work done so far, see `table`."""
        return self._text.bytes_read + self._lines.characters + self._rows_work

    @property
    def bytes_read(self) -> int:
        """Bytes read from the file so far; a block ahead of the rows."""
        return self._text.bytes_read if self._position is None else self._position()

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        self._rows_work += _ROW_WORK
        if self._is_in_long_line:
            self._is_in_long_line = self._lines.skip_piece()
            return self._row_number, []
        if blank_lines := self._lines.skip_blank_lines():
            self._row_number += blank_lines
            return self._row_number, []
        self._row_number += 1
        self._lines.begin_row()
        try:
            cells = next(self._cells)
        except csv.Error as error:
            return self._row_number, self._fault(error)
        self._rows_work += _CELL_WORK * len(cells)
        if is_blank(cells):
            return self._row_number, []
        if self._lines.are_damaged():
            return self._row_number, Fault(Cause.BAD_ENCODING)
        return self._row_number, cells

    def _fault(self, error: csv.Error) -> Fault:
        self._is_in_long_line = self._lines.ends_in_long_line
        is_too_long = self._lines.has_long_line or "field limit" in str(error)
        self._lines.go_back_to_second_line()
        # A new one: the old one may remember half a row.
        self._cells = _reader(self._lines, self.dialect)
        return Fault(Cause.TOO_LONG if is_too_long else Cause.MALFORMED)

    def _skip_separator_line(self) -> None:
        self._lines.begin_row()
        while (line := next(self._lines, None)) is not None and not line.strip():
            self._row_number += 1


def _reader(lines: "_RowLines", dialect: Dialect) -> Iterator[list[str]]:
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        skipinitialspace=dialect.skips_spaces,
        strict=True,
    )


class _RowLines:
    """The lines of a text, for `csv.reader`; those of the current row can be read again."""

    def __init__(self, text: TextLines) -> None:
        self._text = text
        self._of_row: list[str] = []
        self._row_characters = 0
        self._again: list[str] = []
        self._budget = FREE_WORK
        self.characters = 0
        self.has_long_line = False
        self.ends_in_long_line = False

    def begin_row(self) -> None:
        self._of_row.clear()
        self._row_characters = 0
        self.has_long_line = self.ends_in_long_line = False

    def go_back_to_second_line(self) -> None:
        again = self._of_row[1:-1] if self.ends_in_long_line else self._of_row[1:]
        self._budget -= sum(map(len, again))
        if self._budget > 0:
            self._again.extend(reversed(again))

    def are_damaged(self) -> bool:
        return any(_UNDECODABLE in line or _NUL in line for line in self._of_row)

    def skip_blank_lines(self) -> int:
        """Skip blank lines, and return their number."""
        count = 0 if self._again else self._text.skip_blank_lines()
        self.characters += count
        return count

    def skip_piece(self) -> bool:
        """Read on in a line that is too long, and return whether it still goes on."""
        piece = self._text.readline()
        self.characters += len(piece)
        return bool(piece) and not piece.endswith(("\n", "\r"))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._read()
        self._of_row.append(line)
        self._row_characters += len(line)
        self.characters += len(line)
        if len(line) > MAX_LINE_CHARACTERS:
            self.has_long_line = True
            self.ends_in_long_line = not line.endswith(("\n", "\r"))
        # csv's own error passes through the reader.
        if self._row_characters > MAX_LINE_CHARACTERS or len(self._of_row) > MAX_ROW_LINES:
            raise csv.Error("the row is too long")
        return line

    def _read(self) -> str:
        line = self._text.readline()
        if not line:
            raise StopIteration
        self._budget += len(line)
        return line
