"""A spreadsheet file as a table: the first of its sheets that has a header.

Rules:
- A sheet is chosen by a header in its first rows. If no sheet has one, the rows of the first are yielded.
- Reading goes on in blocks. A block without a finished row is yielded as a blank row, so that other work has its turn.
- A row has at most `MAX_COLUMNS` cells; a filled cell further right takes the place of the last one. It has at most
  `MAX_ROW_CHARACTERS` characters.
"""

from collections import deque
from collections.abc import Generator, Iterator
from typing import Final, Protocol, TypeAlias

from examples.parts_upload.causes import Cause, Fault, shown
from examples.parts_upload.tables.cells import is_blank
from examples.parts_upload.tables.dialect import RecognizedColumns
from examples.parts_upload.tables.table import Row

MAX_COLUMNS: Final = 1000
MAX_CELL_CHARACTERS: Final = 131_072
MAX_ROW_CHARACTERS: Final = 256 * 1024
_HEADER_ROWS: Final = 50
_MAX_SHEETS: Final = 20

# A byte of XML takes as long as this many characters of CSV.
_BYTE_WORK: Final = 2
_ROW_WORK: Final = 16
_CELL_WORK: Final = 4

# Rows as they are read, and the sizes of blocks.
Steps: TypeAlias = Iterator[Row | int]


class Sheets(Protocol):
    """The sheets of a file. `format` is its name for people."""

    format: str

    def names(self) -> Generator[int, None, list[str]]:
        """Yield sizes of blocks, and return the names of the visible sheets."""
        ...

    def rows(self, index: int) -> Steps:
        """Yield the rows of a visible sheet, and sizes of blocks."""
        ...

    @property
    def position(self) -> int:
        """Position in the packed file, for progress."""
        ...


class Spreadsheet:
    """The table in a spreadsheet file."""

    is_plain = False
    is_guess = False
    is_binary = False

    def __init__(self, sheets: Sheets, recognized: RecognizedColumns) -> None:
        self._sheets = sheets
        self._recognized = recognized
        self._rows = self._chosen()
        self._last = 0
        self.found = sheets.format
        self.work = 0

    @property
    def bytes_read(self) -> int:
        """Position in the file, for progress."""
        return self._sheets.position

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        row = next(self._rows)
        if isinstance(row, int):
            self.work += _BYTE_WORK * row
            return self._last, []
        number, cells = row
        self._last = number
        self.work += _ROW_WORK
        if isinstance(cells, list):
            self.work += _CELL_WORK * len(cells) + sum(map(len, cells))
            return number, [] if is_blank(cells) else cells
        return row

    def _chosen(self) -> Steps:
        """Yield the rows of the first sheet with a header."""
        names = yield from self._sheets.names()
        first: list[Row] = []
        for index, name in enumerate(names[:_MAX_SHEETS]):
            rows = self._sheets.rows(index)
            beginning = yield from self._beginning(rows)
            if any(isinstance(cells, list) and self._recognized(cells) for _, cells in beginning):
                self.found = f"{self._sheets.format}, sheet {shown(name)}"
                yield from beginning
                yield from rows
                return
            first = first or beginning
        yield from first

    def _beginning(self, rows: Steps) -> Generator[Row | int, None, list[Row]]:
        """Return the first rows that are not blank, up to a header, and yield blocks."""
        beginning: list[Row] = []
        for row in rows:
            if isinstance(row, int):
                yield row
                continue
            cells = row[1]
            if isinstance(cells, list) and is_blank(cells):
                yield row
                continue
            beginning.append(row)
            if len(beginning) >= _HEADER_ROWS or (isinstance(cells, list) and self._recognized(cells)):
                break
        return beginning


class RowCells:
    """The cells of one row, as they are read."""

    def __init__(self) -> None:
        self._cells: dict[int, str] = {}
        self._characters = 0
        self._is_too_long = False

    def put(self, column: int, text: str) -> None:
        """Put a cell, if it is not empty."""
        self._characters += len(text)
        if len(text) > MAX_CELL_CHARACTERS or self._characters > MAX_ROW_CHARACTERS:
            self._is_too_long = True
        elif text:
            self._cells[min(column, MAX_COLUMNS)] = text

    def take(self) -> list[str] | Fault:
        """Return the cells, and begin the next row."""
        cells: list[str] | Fault = [self._cells.get(column, "") for column in range(max(self._cells, default=-1) + 1)]
        if self._is_too_long:
            cells = Fault(Cause.TOO_LONG)
        self._cells, self._characters, self._is_too_long = {}, 0, False
        return cells


class Gathered:
    """Text that comes in pieces, up to the length of a cell."""

    def __init__(self) -> None:
        self._pieces: deque[str] = deque()
        self._characters = 0

    def add(self, text: str) -> None:
        """Add a piece; one beyond the longest cell is dropped, and the text stays too long."""
        if self._characters <= MAX_CELL_CHARACTERS:
            self._pieces.append(text)
            self._characters += len(text)

    def take(self) -> str:
        """Return the text, and begin the next one."""
        text = "".join(self._pieces)
        self._pieces.clear()
        self._characters = 0
        return text
