"""Opening of a table: its first bytes tell the format, never its name.

CSV is read as it is, from a gz file, or from a zip with one file; xlsx and ods are read as spreadsheets. Other formats
that people try are refused by name, with a way out.
"""

import io
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any, BinaryIO, Final

from examples.parts_upload.causes import shown
from examples.parts_upload.tables.csv_rows import CsvRows
from examples.parts_upload.tables.dialect import RecognizedColumns
from examples.parts_upload.tables.ods import OdsSheets
from examples.parts_upload.tables.spreadsheet import Spreadsheet
from examples.parts_upload.tables.table import Table, TableRefused
from examples.parts_upload.tables.unpacking import open_entry, open_gzip, open_zip
from examples.parts_upload.tables.xlsx import XlsxSheets

_SAVE_AS_CSV: Final = "Save the list as CSV or .xlsx and try again."
_UNPACK: Final = "Unpack it and try again with the list inside."

_MODEL: Final = "is a model, not its parts list. Export the parts list as CSV from the program that made it."

# The beginnings of formats, and the words for them.
_REFUSED: Final = (
    (b"\xd0\xcf\x11\xe0", f"is an old Excel workbook (.xls), or has a password. {_SAVE_AS_CSV}"),
    (b"%PDF", f"is a PDF. {_SAVE_AS_CSV}"),
    (b"{\\rtf", f"is a formatted text (RTF). {_SAVE_AS_CSV}"),
    (b"\x89PNG", "is an image, not a parts list."),
    (b"\xff\xd8\xff", "is an image, not a parts list."),
    (b"GIF8", "is an image, not a parts list."),
    (b"7z\xbc\xaf\x27", f"is a 7z archive. {_UNPACK}"),
    (b"Rar!\x1a", f"is a RAR archive. {_UNPACK}"),
    (b"BZh", f"is packed with bzip2. {_UNPACK}"),
    (b"\xfd7zXZ", f"is packed with xz. {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"is packed with zstd. {_UNPACK}"),
    (b"[{", f"is JSON, not a table. {_SAVE_AS_CSV}"),
    (b'{"', f"is JSON, not a table. {_SAVE_AS_CSV}"),
    (b"0 FILE ", _MODEL),
    (b"0 Name:", _MODEL),
)
_TAR: Final = (257, b"ustar")
_XML: Final = (b"<?xml", b"<inventory", b"<!doctype", b"<html", b"<table")
_MODELS: Final = (".ldr", ".mpd", ".lxfml")
_HEAD_BYTES: Final = 512
_ZIP: Final = b"PK"
_GZIP: Final = b"\x1f\x8b"


def open_table(file: io.BufferedReader, recognized: RecognizedColumns) -> Table:
    """Open the table in a file. `recognized` tells a header among the first rows.

    Raises:
        OSError: the file cannot be read; one that is packed has to be `seekable`.
        TableRefused: it is in a format that is not read.
    """
    head = file.peek(_HEAD_BYTES)[:_HEAD_BYTES]
    if _is_zip(head):
        return _table_in_zip(file, recognized)
    if head.startswith(_GZIP):
        unpacked = open_gzip(file)
        return _unpacked(CsvRows(unpacked, recognized, unpacked.position, "gz, "))
    _require_text(head)
    return CsvRows(file, recognized)


@contextmanager
def seekable(stream: io.BufferedReader) -> "Iterator[io.BufferedReader[Any]]":
    """Yield a stream from elsewhere as a file that can be opened; a zip as a copy, for its directory is at its end."""
    if stream.seekable() or not _is_zip(stream.peek(_HEAD_BYTES)):
        yield stream
        return
    with TemporaryFile(buffering=0) as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        with io.BufferedReader(copy) as file:
            yield file


def _require_text(head: bytes) -> None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for beginning, words in _REFUSED:
        if head.startswith(beginning) or text.startswith(beginning):
            raise TableRefused("NOT_TEXT", words)
    if head.startswith(_TAR[1], _TAR[0]):
        raise TableRefused("NOT_TEXT", f"is a tar archive. {_UNPACK}")
    if text.lower().startswith(_XML):
        raise TableRefused("NOT_TEXT", f"is XML or HTML, not a table. {_SAVE_AS_CSV}")


def _is_zip(head: bytes) -> bool:
    return head.startswith(_ZIP) and head[2:4] in (b"\x03\x04", b"\x05\x06")


def _table_in_zip(file: BinaryIO, recognized: RecognizedColumns) -> Table:
    archive = open_zip(file)
    names = {entry.filename for entry in archive.infolist()}
    if XlsxSheets.ENTRY in names:
        return Spreadsheet(XlsxSheets(archive), recognized)
    if OdsSheets.ENTRY in names and "META-INF/manifest.xml" in names:
        return Spreadsheet(OdsSheets(archive), recognized)
    _refuse_documents(names)
    entry = _only_entry(archive)
    unpacked = open_entry(archive, entry)
    return _unpacked(CsvRows(unpacked, recognized, unpacked.position, f"{shown(entry.filename)} in a zip, "))


def _unpacked(table: CsvRows) -> CsvRows:
    _require_text(table.head)
    if table.head.startswith((_ZIP + b"\x03", _GZIP)):
        raise TableRefused("PACKED_TWICE", f"has a packed file inside. {_UNPACK}")
    return table


def _refuse_documents(names: set[str]) -> None:
    if "xl/workbook.bin" in names:
        raise TableRefused("NOT_TEXT", f"is a binary Excel workbook (.xlsb). {_SAVE_AS_CSV}")
    if any(name.startswith("Index/") and name.endswith(".iwa") for name in names):
        raise TableRefused("NOT_TEXT", "is a Numbers document. Export it as CSV or Excel and try again.")
    if any(name.lower().endswith(_MODELS) for name in names):
        raise TableRefused("NOT_TEXT", _MODEL)
    if "word/document.xml" in names:
        raise TableRefused("NOT_TEXT", f"is a Word document. {_SAVE_AS_CSV}")


def _only_entry(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """Return the only file of a zip, without those that macOS adds."""
    match [entry for entry in archive.infolist() if not entry.is_dir() and not _is_hidden(entry.filename)]:
        case [entry]:
            return entry
        case []:
            raise TableRefused("EMPTY_FILE", "is an archive without a file.")
        case entries:
            names = ", ".join(shown(entry.filename) for entry in entries[:4])
            more = ", …" if len(entries) > 4 else ""
            words = f"is an archive of {len(entries)} files: {names}{more}. Pack the parts list alone, or unpack it."
            raise TableRefused("TOO_MANY_FILES", words)


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")
