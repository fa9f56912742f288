"""The guide's CSV worker: a parts list goes from a file into SQLite while its user watches.

In: a CSV file of any size (`csv_rows` says which), a database file, whose upload it is. Out: the parts in the table
`parts`, a `Report`, and on every device of the user: progress from 0 to 100 with the rows left out so far, an
`error` message that groups them, a notification. The gateway has the list of them all.

Rules:
- Ten rows or a million, memory stays the same: rows are read, checked and stored `batch_rows` at a time.
- Nobody knows how many rows there are before the end, so progress goes by bytes, unless the caller knows `total_rows`.
- A bad row is reported and left out. A file that is no parts list at all raises `UploadFailed`.
- An upload is stored whole or not at all; the same `upload_id` again replaces what it brought before. So of one that is
  cancelled nothing stays.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from examples.parts_upload.csv_rows import CsvRows, Row
from examples.parts_upload.parts import REASONS, BadHeader, Cause, Columns, Part, find_columns, read_part
from examples.parts_upload.report import Kind, Report
from examples.parts_upload.tell import cancellable, shown_name, tell
from tellwire import UploadFailed, track_upload

ROWS: Final = Kind("row", "part", "imported", "BAD_ROWS", REASONS)

# A few milliseconds of work, after which the event loop has its turn.
BATCH_ROWS: Final = 500

_TABLE = """
CREATE TABLE IF NOT EXISTS parts (
    upload_id TEXT NOT NULL, row_number INTEGER NOT NULL,
    part_number TEXT NOT NULL, name TEXT NOT NULL, colour TEXT NOT NULL, quantity INTEGER NOT NULL,
    PRIMARY KEY (upload_id, row_number)
) WITHOUT ROWID
"""


async def give_way() -> None:
    """Let the event loop do what else it has to."""
    await asyncio.sleep(0)


async def import_parts(
    path: Path,
    database: Path,
    user_id: str,
    upload_id: str,
    *,
    total_rows: int | None = None,
    batch_rows: int = BATCH_ROWS,
    pause: Callable[[], Awaitable[None]] = give_way,
) -> Report:
    """Import a parts list and show its user how far it is. `pause` is awaited between two batches.

    Raises:
        UploadFailed: the file cannot be read, or is no parts list. The user has been told.
        UploadCancelled: the user did not want it any more.
    """
    report, file_name = Report(ROWS), shown_name(path)
    async with track_upload(user_id, upload_id, file_name, total_rows, total_bytes=size_bytes(path)) as upload:
        with cancellable(upload), open_csv(path, file_name) as rows, replacing_parts(database, upload_id) as store:
            columns = read_header(rows, file_name)
            while batch := list(islice(rows, batch_rows)):
                store(keep_parts(batch, columns, report, upload.row_error))
                upload.update(rows=report.total, bytes_read=rows.bytes_read)
                await pause()
                # Afterwards, so that a cancel during the last pause is heard as well.
                upload.raise_if_cancelled()
        upload.summary = report.summary
    await tell(user_id, report.messages(upload_id, file_name))
    return report


def size_bytes(path: Path) -> int:
    """Return the size of a file; 0 if it cannot be told, which opening it will explain."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def open_csv(path: Path, file_name: str) -> Iterator[CsvRows]:
    """Open a file for reading rows.

    Raises:
        UploadFailed: it is missing, cannot be opened, or is no file.
    """
    try:
        if path.exists() and not path.is_file():
            raise UploadFailed("NOT_A_FILE", f"{file_name} is not a file.")
        file = path.open("rb")
    except FileNotFoundError as error:
        raise UploadFailed("FILE_MISSING", f"{file_name} is not there.") from error
    except OSError as error:
        raise UploadFailed("FILE_UNREADABLE", f"{file_name} cannot be opened.") from error
    with file:
        yield CsvRows(file)


def read_header(rows: CsvRows, file_name: str) -> Columns:
    """Take the first row and find the columns in it.

    Raises:
        UploadFailed: the file is empty, is not text, or its first row is no header.
    """
    match next(rows, None):
        case None:
            raise UploadFailed("EMPTY_FILE", f"{file_name} is empty.")
        case (_, Cause()):
            raise _no_header(rows, file_name, "The first row, which names the columns, cannot be read.")
        case (_, header):
            try:
                return find_columns(header)
            except BadHeader as error:
                raise _no_header(rows, file_name, str(error)) from error


def _no_header(rows: CsvRows, file_name: str, why: str) -> UploadFailed:
    # A photograph has no header either, but that is not the way to say it.
    if "\0" in rows.head:
        return UploadFailed("NOT_TEXT", f"{file_name} is not a text file. Save it as CSV and try again.")
    return UploadFailed("BAD_HEADER", why)


def keep_parts(
    batch: Iterable[Row], columns: Columns, report: Report, row_error: Callable[[int, str, str], object]
) -> list[Part]:
    """Return the parts in these rows, and report the rows that have none."""
    parts = []
    for row_number, cells in batch:
        match cells if isinstance(cells, Cause) else read_part(row_number, cells, columns):
            case Part() as part:
                parts.append(part)
            case cause:
                report.leave_out(row_number, cause)
                row_error(row_number, cause, REASONS[cause])
    report.kept += len(parts)
    return parts


@contextmanager
def replacing_parts(database: Path, upload_id: str) -> Iterator[Callable[[Iterable[Part]], object]]:
    """Give a function that stores parts in place of what this upload brought before: all of them, or none."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(_TABLE)
        connection.execute("DELETE FROM parts WHERE upload_id = ?", (upload_id,))
        insert = "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)"
        yield lambda parts: connection.executemany(insert, ((upload_id, *part) for part in parts))
