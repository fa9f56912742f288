"""Sheets of an Excel workbook (.xlsx, .xlsm).

Rules:
- Values are those that Excel has stored, of formulas too. A whole number has no decimals; the format `00000` keeps its
  zeros; a number with the format of a date is written as a date. TRUE is no number.
- The shared texts are all in memory, up to `MAX_SHARED_BYTES`.

Source: ECMA-376 part 1, 18.3 (sheets), 18.4 (shared strings), 18.8 (styles).
"""

import posixpath
import re
import sys
import zipfile
from collections import deque
from collections.abc import Generator, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from examples.parts_upload.tables.spreadsheet import Gathered, RowCells, Steps
from examples.parts_upload.tables.table import Row, TableRefused
from examples.parts_upload.tables.unpacking import DAMAGED, UnpackedFile, open_entry
from examples.parts_upload.tables.xml_blocks import Attributes, XmlHandler, parse_blocks

MAX_SHARED_BYTES: Final = 32 * 1024 * 1024

_WORKBOOK: Final = "xl/workbook.xml"
_RELATIONS: Final = "xl/_rels/workbook.xml.rels"
# Day 0 of a sheet, which knows no time zones.
_EPOCH: Final = datetime(1899, 12, 30)
_DATE_FORMATS: Final = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
# Text in quotes, brackets or after a backslash is no format.
_FORMAT_TEXT: Final = re.compile(r'"[^"]*"|\[[^]]*\]|\\.|_.|\*.')
_ESCAPE: Final = re.compile(r"_x([0-9A-Fa-f]{4})_")
_REFERENCE: Final = re.compile(r"([A-Z]{1,3})[0-9]+")
_MAX_STYLES: Final = 100_000


class _Format(NamedTuple):
    """A format of numbers. `digits`: the zeros of `00000`; 0 for any other format."""

    is_date: bool = False
    digits: int = 0


class XlsxSheets:
    """The sheets of an open workbook."""

    ENTRY: Final = _WORKBOOK

    format = "Excel workbook"

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._book = _Book()
        self._texts: list[str] = []
        self._formats: list[_Format] = []
        self._current: UnpackedFile | None = None

    @property
    def position(self) -> int:
        """Position in the packed file, for progress."""
        return self._current.position() if self._current else 0

    def names(self) -> Generator[int, None, list[str]]:
        """Yield sizes of blocks, and return the names of the visible sheets."""
        yield from self._parse(_WORKBOOK, self._book)
        yield from self._parse(_RELATIONS, self._book)
        styles, shared = _Styles(), _SharedTexts()
        yield from self._parse(self._book.target("styles"), styles)
        yield from self._parse(self._book.target("sharedStrings"), shared)
        self._texts, self._formats = shared.texts, styles.formats
        return [name for name, _ in self._book.sheets]

    def rows(self, index: int) -> Steps:
        """Yield the rows of a visible sheet, and sizes of blocks."""
        sheet = _Sheet(self._texts, self._formats)
        name = self._book.target_of(self._book.sheets[index][1])
        for size in self._parse(name, sheet):
            yield size
            while sheet.finished:
                yield sheet.finished.popleft()
        yield from sheet.finished

    def _parse(self, name: str | None, handler: XmlHandler) -> Iterator[int]:
        if name is None:
            return
        try:
            entry = self._archive.getinfo(name)
        except KeyError as error:
            raise TableRefused(DAMAGED.code, DAMAGED.words) from error
        self._current = open_entry(self._archive, entry)
        yield from parse_blocks(self._current, handler)


class _Book(XmlHandler):
    """The workbook and its relations: names of sheets, names of files."""

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str]] = []
        self._relations: dict[str, tuple[str, str]] = {}

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "sheet" and attributes.get("state", "visible") == "visible":
            relation = next((value for key, value in attributes.items() if key.endswith(":id")), "")
            self.sheets.append((attributes.get("name", ""), relation))
        elif name == "Relationship":
            kind = attributes.get("Type", "").rpartition("/")[2]
            self._relations[attributes.get("Id", "")] = kind, attributes.get("Target", "")

    def target(self, kind: str) -> str | None:
        """Return the name of the only file of a kind."""
        return next((_path(target) for other, target in self._relations.values() if other == kind), None)

    def target_of(self, relation: str) -> str:
        """Return the name of a related file."""
        return _path(self._relations.get(relation, ("", ""))[1])


def _path(target: str) -> str:
    return target[1:] if target.startswith("/") else posixpath.normpath(posixpath.join("xl", target))


class _SharedTexts(XmlHandler):
    """The shared texts, without the readings of Japanese words."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._gathered = Gathered()
        self._bytes = 0
        self._is_text = False
        self._is_reading = False

    def start(self, name: str, attributes: Attributes) -> None:
        self._is_text = name == "t"
        self._is_reading = self._is_reading or name == "rPh"

    def text(self, text: str) -> None:
        if self._is_text and not self._is_reading:
            self._gathered.add(text)

    def end(self, name: str) -> None:
        self._is_text = False
        if name == "rPh":
            self._is_reading = False
        elif name == "si":
            text = _unescaped(self._gathered.take())
            self._bytes += sys.getsizeof(text) + 8
            if self._bytes > MAX_SHARED_BYTES:
                raise TableRefused("TOO_MUCH_TEXT", "has too many different texts for a workbook. Save it as CSV.")
            self.texts.append(text)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), text) if "_x" in text else text


class _Styles(XmlHandler):
    """The formats of numbers, by the index of a cell's style."""

    def __init__(self) -> None:
        self.formats: list[_Format] = []
        self._codes: dict[int, str] = {}
        self._is_in_cells = False

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "numFmt" and len(self._codes) < _MAX_STYLES:
            self._codes[_number(attributes.get("numFmtId"))] = attributes.get("formatCode", "")[:200]
        elif name == "cellXfs":
            self._is_in_cells = True
        elif name == "xf" and self._is_in_cells and len(self.formats) < _MAX_STYLES:
            self.formats.append(self._format(_number(attributes.get("numFmtId"))))

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._is_in_cells = False

    def _format(self, number: int) -> _Format:
        code = self._codes.get(number)
        if code is None:
            return _Format(is_date=number in _DATE_FORMATS)
        plain = _FORMAT_TEXT.sub("", code).lower()
        return _Format(bool(re.search(r"[dyms]", plain)), len(plain) if plain.strip("0") == "" else 0)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


class _Sheet(XmlHandler):
    """The rows of a sheet, as they are finished."""

    def __init__(self, texts: list[str], formats: list[_Format]) -> None:
        self.finished: deque[Row] = deque()
        self._texts = texts
        self._formats = formats
        self._row_number = 0
        self._column = -1
        self._cells = RowCells()
        self._value = Gathered()
        self._kind = "n"
        self._style = 0
        self._is_value = False
        self._is_reading = False

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "c":
            self._begin_cell(attributes)
        elif name in ("v", "t"):
            self._is_value = not self._is_reading
        elif name == "row":
            self._row_number = _number(attributes.get("r")) or self._row_number + 1
            self._column = -1
        elif name == "rPh":
            self._is_reading = True

    def text(self, text: str) -> None:
        if self._is_value:
            self._value.add(text)

    def end(self, name: str) -> None:
        if name in ("v", "t"):
            self._is_value = False
        elif name == "c":
            self._cells.put(self._column, self._cell(self._value.take()))
        elif name == "row":
            self.finished.append((self._row_number, self._cells.take()))
        elif name == "rPh":
            self._is_reading = False

    def _begin_cell(self, attributes: Attributes) -> None:
        reference = _REFERENCE.fullmatch(attributes.get("r", ""))
        self._column = _column(reference[1]) if reference else self._column + 1
        self._kind = attributes.get("t", "n")
        self._style = _number(attributes.get("s"))

    def _cell(self, value: str) -> str:
        if self._kind == "s":
            index = _number(value)
            return self._texts[index] if value and index < len(self._texts) else ""
        if self._kind in ("inlineStr", "str"):
            return _unescaped(value)
        if self._kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        if self._kind == "n" and value:
            format_ = self._formats[self._style] if self._style < len(self._formats) else _Format()
            return _shown_number(value, format_)
        return value


def _column(letters: str) -> int:
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - 64
    return column - 1


def _shown_number(value: str, format_: _Format) -> str:
    try:
        number = float(value[:40])
    except ValueError:
        return value
    if format_.is_date and 0 < number < 2_958_466:
        moment = _EPOCH + timedelta(days=number)
        return moment.strftime("%Y-%m-%d")
    return plain_number(number).zfill(format_.digits)


def plain_number(number: float) -> str:
    """Return a number as a sheet shows it: without decimals if it is whole, with 15 digits otherwise."""
    is_whole = abs(number) < 1e15 and number == int(number)
    return str(int(number)) if is_whole else f"{number:.15g}"
