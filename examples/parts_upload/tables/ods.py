"""Sheets of an OpenDocument spreadsheet (.ods).

Rules:
- Numbers are the stored ones, unless the shown ones have leading zeros. Notes at cells are no text of theirs.
- Rows and cells that the file writes once with a count are repeated; blank ones at the end of a sheet count as one.

Source: OpenDocument 1.3 part 3, 9.1 (tables), 19.6 (repetition).
"""

import zipfile
from collections import deque
from collections.abc import Generator
from typing import Final

from examples.parts_upload.causes import Fault
from examples.parts_upload.tables.spreadsheet import MAX_COLUMNS, Gathered, RowCells, Steps
from examples.parts_upload.tables.table import Row
from examples.parts_upload.tables.unpacking import UnpackedFile, open_entry
from examples.parts_upload.tables.xlsx import plain_number
from examples.parts_upload.tables.xml_blocks import Attributes, XmlHandler, parse_blocks

_CONTENT: Final = "content.xml"
_NUMBERS: Final = ("float", "currency", "percentage")
_MAX_COUNT: Final = 1_048_576


class OdsSheets:
    """The sheets of an open spreadsheet."""

    ENTRY: Final = _CONTENT

    format = "OpenDocument spreadsheet"

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._current: UnpackedFile | None = None

    @property
    def position(self) -> int:
        """Position in the packed file, for progress."""
        return self._current.position() if self._current else 0

    def names(self) -> Generator[int, None, list[str]]:
        """Yield sizes of blocks, and return the names of the sheets."""
        names = _Names()
        yield from parse_blocks(self._opened(), names)
        return names.found

    def rows(self, index: int) -> Steps:
        """Yield the rows of a sheet, and sizes of blocks."""
        sheet = _Sheet(index)
        for size in parse_blocks(self._opened(), sheet):
            yield size
            while sheet.finished:
                count, cells = sheet.finished.popleft()
                yield from _repeated(sheet, count, cells)
            if sheet.has_ended:
                return

    def _opened(self) -> UnpackedFile:
        self._current = open_entry(self._archive, self._archive.getinfo(_CONTENT))
        return self._current


def _repeated(sheet: "_Sheet", count: int, cells: list[str] | Fault) -> Steps:
    """Yield a row as often as it counts; a blank one once, however often it does."""
    is_blank = cells == []
    for _ in range(1 if is_blank else count):
        sheet.row_number += count if is_blank else 1
        row: Row = sheet.row_number, cells
        yield row


class _Names(XmlHandler):
    """The names of all sheets."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "table":
            self.found.append(attributes.get("table:name", ""))


class _Sheet(XmlHandler):
    """The rows of one sheet with their counts, as they are finished."""

    def __init__(self, index: int) -> None:
        self.finished: deque[tuple[int, list[str] | Fault]] = deque()
        self.row_number = 0
        self.has_ended = False
        self._tables_before = index + 1
        self._row_count = 1
        self._cell_count = 1
        self._column = 0
        self._cells = RowCells()
        self._text = Gathered()
        self._value: str | None = None
        self._paragraphs = 0
        self._notes = 0

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "table":
            self._tables_before -= 1
        if self._tables_before or self.has_ended:
            return
        if name in ("table-cell", "covered-table-cell"):
            self._begin_cell(attributes)
        elif name == "table-row":
            self._row_count = _count(attributes, "table:number-rows-repeated")
            self._column = 0
        elif name == "annotation":
            self._notes += 1
        elif not self._notes:
            self._begin_text(name, attributes)

    def text(self, text: str) -> None:
        if self._paragraphs and not self._notes:
            self._text.add(text)

    def end(self, name: str) -> None:
        if self._tables_before or self.has_ended:
            return
        if name in ("table-cell", "covered-table-cell"):
            self._end_cell()
        elif name == "table-row":
            self.finished.append((self._row_count, self._cells.take()))
        elif name == "table":
            self.has_ended = True
        elif name == "annotation":
            self._notes -= 1

    def _begin_text(self, name: str, attributes: Attributes) -> None:
        if name == "p":
            if self._paragraphs:
                self._text.add("\n")
            self._paragraphs += 1
        elif name == "s":
            self._text.add(" " * min(_count(attributes, "text:c"), MAX_COLUMNS))
        elif name in ("tab", "line-break"):
            self._text.add("\t" if name == "tab" else "\n")

    def _begin_cell(self, attributes: Attributes) -> None:
        self._cell_count = _count(attributes, "table:number-columns-repeated")
        self._paragraphs = 0
        kind = attributes.get("office:value-type")
        if kind in _NUMBERS:
            self._value = attributes.get("office:value")
        elif kind == "date":
            self._value = attributes.get("office:date-value")
        else:
            self._value = None

    def _end_cell(self) -> None:
        shown = self._text.take()
        text = shown if self._value is None else _number(self._value, shown)
        if text:
            for column in range(self._column, min(self._column + self._cell_count, MAX_COLUMNS + 1)):
                self._cells.put(column, text)
            if self._column > MAX_COLUMNS:
                self._cells.put(self._column, text)
        self._column += self._cell_count
        self._paragraphs = 0


def _count(attributes: Attributes, name: str) -> int:
    text = attributes.get(name, "1")
    return min(int(text), _MAX_COUNT) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _number(value: str, shown: str) -> str:
    """Return a stored number, or the shown one if it only adds zeros before it."""
    try:
        text = plain_number(float(value[:40]))
    except (ValueError, OverflowError):
        return value
    return shown if shown.isdigit() and shown.lstrip("0") == text else text
