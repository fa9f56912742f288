"""Tolerant reader of CSV rows: a faulty row does not stop it.

In: a file open for reading bytes. Out: row numbers with cells, or with the `Cause` of a fault.

Rules:
- A row's number is the one a spreadsheet shows: the header is usually 1, blank rows count, a cell with line breaks does
  not make two rows. Blank rows are skipped.
- The encoding is UTF-16 if there is its byte order mark, else UTF-8. Invalid bytes make their row faulty, not the file.
- The delimiter is the most frequent in the first row: comma, semicolon or tab.
- A row may have `MAX_ROW_LINES` lines and `MAX_ROW_CHARACTERS` characters, so memory is bounded for any file.
- After a row that cannot be read, reading continues with the *second line* of it. A quote that is opened and never
  closed would otherwise include all later rows; this way it costs one row.
"""

import codecs
import csv
from collections.abc import Iterator
from io import BufferedReader, TextIOWrapper
from typing import Final, TypeAlias

from examples.parts_upload.parts import Cause

Row: TypeAlias = tuple[int, list[str] | Cause]

# Enough for any cell that people type. They also bound the work: a line is parsed at most this often.
MAX_ROW_LINES: Final = 100
MAX_ROW_CHARACTERS: Final = 1024 * 1024

_DELIMITERS: Final = ",;\t"
_UNDECODABLE: Final = "\ufffd"
_NUL: Final = "\0"


class CsvRows:
    """An iterator of rows. `head` is the beginning of the text, `bytes_read` the position in the file."""

    def __init__(self, file: BufferedReader) -> None:
        beginning = file.peek()
        encoding = encoding_of(beginning)
        self.head = beginning.decode(encoding, errors="replace")
        self._file = file
        self._lines = _Lines(TextIOWrapper(file, encoding, errors="replace", newline=""))
        self._cells = csv.reader(self._lines, delimiter=delimiter_of(self.head), strict=True)
        self._row_number = 0

    @property
    def bytes_read(self) -> int:
        """Bytes read from the file so far; a few thousand ahead of the rows."""
        return self._file.tell()

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        while True:
            self._lines.begin_row()
            self._row_number += 1
            try:
                cells = next(self._cells)
            except csv.Error:
                self._lines.go_back_to_second_line()
                return self._row_number, Cause.MALFORMED
            if self._lines.are_damaged():
                return self._row_number, Cause.BAD_ENCODING
            if "".join(cells).strip():
                return self._row_number, cells


def encoding_of(beginning: bytes) -> str:
    """Return the encoding of a file with this beginning."""
    is_utf_16 = beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "utf-16" if is_utf_16 else "utf-8-sig"


def delimiter_of(head: str) -> str:
    """Return the delimiter of the cells in a file whose text begins with `head`."""
    first_line = next((line for line in head.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=first_line.count)


class _Lines:
    """The lines of a file, for `csv.reader`; those of the current row can be read again."""

    def __init__(self, file: TextIOWrapper) -> None:
        self._file = file
        self._of_row: list[str] = []
        self._characters = 0
        self._again: list[str] = []

    def begin_row(self) -> None:
        self._of_row.clear()
        self._characters = 0

    def go_back_to_second_line(self) -> None:
        self._again.extend(reversed(self._of_row[1:]))

    def are_damaged(self) -> bool:
        return any(_UNDECODABLE in line or _NUL in line for line in self._of_row)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._read()
        self._of_row.append(line)
        self._characters += len(line)
        # csv's own error passes through the reader, which then begins a new row with the next line.
        if self._characters > MAX_ROW_CHARACTERS or len(self._of_row) > MAX_ROW_LINES:
            raise csv.Error("the row is too long")
        return line

    def _read(self) -> str:
        line = self._file.readline(MAX_ROW_CHARACTERS + 1)
        if not line:
            raise StopIteration
        if len(line) > MAX_ROW_CHARACTERS:
            self._skip_rest(line)
        return line

    def _skip_rest(self, piece: str) -> None:
        while piece and not piece.endswith(("\n", "\r")):
            piece = self._file.readline(MAX_ROW_CHARACTERS)
