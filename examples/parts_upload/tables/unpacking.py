"""Packed files, opened within bounds.

Rules:
- A packed file is read as a stream, and is refused when it has unpacked to more than `MAX_UNPACKED_BYTES`.
- The directory of a zip is read only if it is short: its entries are all in memory.
- Damaged data and data that is cut off are refused, never taken for the end.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, BinaryIO, Final

from examples.parts_upload.tables.table import TableRefused

MAX_UNPACKED_BYTES: Final = 256 * 1024 * 1024
MAX_DIRECTORY_BYTES: Final = 256 * 1024

_DIRECTORY_END: Final = b"PK\x05\x06"
_DIRECTORY_END_BYTES: Final = 22
_DIRECTORY_64_END: Final = b"PK\x06\x07"
_MAX_COMMENT_BYTES: Final = 65_535
_ENCRYPTED_FLAG: Final = 1

DAMAGED: Final = TableRefused("FILE_DAMAGED", "is damaged or cut off. Copy or save it again.")


class UnpackedFile:
    """A stream of unpacked bytes. `position` returns the position in the packed file."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, position: Callable[[], int]) -> None:
        self._stream = stream
        self._unpacked_bytes = 0
        self.position = position

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; b"" at the end.

        Raises:
            TableRefused: the data is damaged, or too much.
        """
        try:
            content = self._stream.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
            raise TableRefused(DAMAGED.code, DAMAGED.words) from error
        self._unpacked_bytes += len(content)
        if self._unpacked_bytes > MAX_UNPACKED_BYTES:
            limit = MAX_UNPACKED_BYTES // 1024**2
            raise TableRefused("TOO_BIG_UNPACKED", f"unpacks to more than {limit} MB, which is the most that is read.")
        return content


def open_gzip(file: BinaryIO) -> UnpackedFile:
    """Open a gz file."""
    return UnpackedFile(gzip.GzipFile(fileobj=file), file.tell)


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """Open a zip, whose directory is short.

    Raises:
        TableRefused: it has too many entries, or is damaged.
    """
    _require_short_directory(file)
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise TableRefused(DAMAGED.code, DAMAGED.words) from error


def open_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> UnpackedFile:
    """Open a file in a zip.

    Raises:
        TableRefused: it has a password, or is damaged.
    """
    if entry.flag_bits & _ENCRYPTED_FLAG:
        raise TableRefused("HAS_PASSWORD", "has a password. Save it without one and try again.")
    try:
        stream = archive.open(entry)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise TableRefused(DAMAGED.code, DAMAGED.words) from error
    # The directory may lie about the size.
    size = max(entry.file_size, 1)
    return UnpackedFile(stream, lambda: entry.compress_size * min(stream.tell(), size) // size)


def _require_short_directory(file: BinaryIO) -> None:
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _DIRECTORY_END_BYTES - _MAX_COMMENT_BYTES))
    end = file.read()
    place = end.rfind(_DIRECTORY_END)
    if place < 0 or len(end) < place + _DIRECTORY_END_BYTES:
        raise TableRefused(DAMAGED.code, DAMAGED.words)
    directory_bytes = int.from_bytes(end[place + 12 : place + 16], "little")
    if directory_bytes > MAX_DIRECTORY_BYTES or end[max(0, place - 20) :].startswith(_DIRECTORY_64_END):
        raise TableRefused("TOO_MANY_FILES", "is an archive of too many files. Pack the parts list alone.")
    file.seek(0)
