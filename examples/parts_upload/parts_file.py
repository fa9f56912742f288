"""A parts list on disk: opened, read in batches, and proved to be the same at the end.

Rules:
- A file that is missing, unreadable, damaged, or not a parts list raises `UploadFailed`, with a text for its user.
- A file that has grown, shrunk, been replaced or removed since it was opened is not read completely, whatever was read.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import SEEK_SET, BufferedReader, FileIO, RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from examples.parts_upload.headers import BadHeader, recognized_columns
from examples.parts_upload.parts import Part
from examples.parts_upload.parts_list import PartsList, RowError
from examples.parts_upload.report import Report
from examples.parts_upload.tables import Table, TableRefused, next_batch, open_table
from tellwire import UploadFailed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Rows of a batch: a few milliseconds of work, then the event loop continues.
BATCH_ROWS: Final = 500


class PartsFile:
    """The parts in an open file, batch by batch. Skipped rows go to the report, and one by one to `row_error`."""

    def __init__(self, file: BufferedReader, file_name: str, report: Report, row_error: RowError) -> None:
        self._file_name = file_name
        self._report = report
        self._parts = PartsList(report, row_error)
        with self._words_for_users():
            self._table: Table = open_table(file, recognized_columns)

    @property
    def bytes_read(self) -> int:
        """Position in the file, for progress."""
        return self._table.bytes_read

    def batches(self, batch_rows: int = BATCH_ROWS) -> Iterator[list[Part]]:
        """Yield the parts of each batch, which may be none.

        Raises:
            UploadFailed: the file cannot be read, or is not a parts list.
        """
        while parts := self._next_parts(batch_rows):
            yield parts[0]
        with self._words_for_users():
            self._parts.end()
        if not self._table.is_plain:
            self._report.found = self._table.found

    def _next_parts(self, batch_rows: int) -> tuple[list[Part]] | None:
        with self._words_for_users():
            # The header is none of the rows that people count.
            batch = next_batch(self._table, batch_rows + (not self._parts.has_header))
            return (self._parts.read(batch),) if batch else None

    @contextmanager
    def _words_for_users(self) -> Iterator[None]:
        try:
            yield
        except BadHeader as error:
            raise self._without_header(error) from error
        except TableRefused as error:
            raise UploadFailed(error.code, f"{self._file_name} {error.words}") from error

    def _without_header(self, error: BadHeader) -> UploadFailed:
        # For a binary file the missing header would be a misleading reason.
        if self._table.is_binary:
            return UploadFailed("NOT_TEXT", f"{self._file_name} is not a text file. Save it as CSV and try again.")
        if self._parts.is_empty:
            return UploadFailed("EMPTY_FILE", f"{self._file_name} is empty.")
        guess = f" It was read as {self._table.found}. If its letters look wrong, save it as CSV UTF-8."
        return UploadFailed("BAD_HEADER", f"{error}{guess if self._table.is_guess else ''}")


def size_bytes(path: Path) -> int:
    """Return the size of a file; 0 if it cannot be read, for which `opened` raises the error."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def opened(path: Path, file_name: str) -> "Iterator[tuple[BufferedReader[Any], Callable[[], None]]]":
    """Open a file for reading. The second value raises `UploadFailed` if the file has changed since.

    Raises:
        UploadFailed: it is missing, cannot be opened, or is not a file.
    """
    try:
        if path.exists() and not path.is_file():
            raise UploadFailed("NOT_A_FILE", f"{file_name} is not a file.")
        file = _LocalFile(path.open("rb", buffering=0), file_name)
    except FileNotFoundError as error:
        raise UploadFailed("FILE_MISSING", f"{file_name} does not exist.") from error
    except OSError as error:
        raise UploadFailed("FILE_UNREADABLE", f"{file_name} cannot be opened.") from error
    with BufferedReader(file) as buffered:
        before = _version(os.fstat(file.fileno()))

        def require_unchanged() -> None:
            try:
                after = {_version(os.fstat(file.fileno())), _version(path.stat())}
            except OSError:
                after = set()
            if after != {before}:
                text = f"{file_name} was changed while it was read. Wait until it is complete and try again."
                raise UploadFailed("FILE_CHANGED", text)

        yield buffered, require_unchanged


class _LocalFile(RawIOBase):
    """A file on disk whose errors of reading are told to its user. Those of other files may be worth another try."""

    def __init__(self, file: FileIO, file_name: str) -> None:
        self._file = file
        self._file_name = file_name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: "WriteableBuffer", /) -> int | None:
        try:
            return self._file.readinto(buffer)
        except OSError as error:
            raise UploadFailed("FILE_UNREADABLE", f"{self._file_name} cannot be read to its end.") from error

    def seek(self, offset: int, whence: int = SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
