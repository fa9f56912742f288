"""The guide's CSV worker: it imports a parts list into SQLite and publishes its progress.

In: a CSV file of any size (see `csv_rows`), a database file, the user and the upload id. Out: the parts in the table
`parts`, a `Report`, and messages to every device of the user: progress from 0 to 100 with the number of skipped rows,
an `error` message that groups them, a notification. The gateway has the complete list of skipped rows.

Rules:
- Memory does not depend on the number of rows: they are read, checked and stored `batch_rows` at a time.
- The number of rows is not known before the end, so progress is measured in bytes, unless `total_rows` is given.
- A bad row is reported and skipped. A file that is not a parts list raises `UploadFailed`.
- An upload is stored completely or not at all; the same `upload_id` again replaces its earlier parts. A cancelled
  upload leaves nothing.
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
from examples.parts_upload.publishing import display_name, publish_all, summary_if_cancelled
from examples.parts_upload.report import Kind, Report
from tellwire import UploadFailed, track_upload

# What a worker awaits between two batches.
Pause = Callable[[], Awaitable[object]]

ROWS: Final = Kind("row", "part", "imported", "BAD_ROWS", REASONS)

# A few milliseconds of work, then the event loop continues.
BATCH_ROWS: Final = 500

_TABLE = """
CREATE TABLE IF NOT EXISTS parts (
    upload_id TEXT NOT NULL, row_number INTEGER NOT NULL,
    part_number TEXT NOT NULL, name TEXT NOT NULL, colour TEXT NOT NULL, quantity INTEGER NOT NULL,
    PRIMARY KEY (upload_id, row_number)
) WITHOUT ROWID
"""


async def yield_to_loop() -> None:
    """Pause for one turn of the event loop."""
    await asyncio.sleep(0)


async def import_parts(
    path: Path,
    database: Path,
    user_id: str,
    upload_id: str,
    *,
    total_rows: int | None = None,
    batch_rows: int = BATCH_ROWS,
    pause: Pause = yield_to_loop,
    run: str | None = None,
) -> Report:
    """Import a parts list and publish its progress. `pause` is awaited between two batches; `run` is that of
    `queue_upload`, if the upload has waited.

    Raises:
        UploadFailed: the file cannot be read, or is not a parts list. The user has been notified.
        UploadCancelled: the user cancelled the upload.
    """
    report, file_name = Report(ROWS), display_name(path)
    tracked = track_upload(user_id, upload_id, file_name, total_rows, total_bytes=size_bytes(path), run=run)
    async with tracked as upload:
        with (
            summary_if_cancelled(upload),
            open_csv(path, file_name) as rows,
            replacing_parts(database, upload_id) as store,
        ):
            columns = read_header(rows, file_name)
            while batch := list(islice(rows, batch_rows)):
                store(keep_parts(batch, columns, report, upload.row_error))
                upload.update(rows=report.total, bytes_read=rows.bytes_read)
                await pause()
                # After the pause, so that a cancel during the last pause counts, too.
                upload.raise_if_cancelled()
        upload.summary = report.summary
    await publish_all(user_id, report.messages(upload_id, file_name))
    return report


def size_bytes(path: Path) -> int:
    """Return the size of a file; 0 if it cannot be read, for which `open_csv` raises the error."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextmanager
def open_csv(path: Path, file_name: str) -> Iterator[CsvRows]:
    """Open a file for reading rows.

    Raises:
        UploadFailed: it is missing, cannot be opened, or is not a file.
    """
    try:
        if path.exists() and not path.is_file():
            raise UploadFailed("NOT_A_FILE", f"{file_name} is not a file.")
        file = path.open("rb")
    except FileNotFoundError as error:
        raise UploadFailed("FILE_MISSING", f"{file_name} does not exist.") from error
    except OSError as error:
        raise UploadFailed("FILE_UNREADABLE", f"{file_name} cannot be opened.") from error
    with file:
        yield CsvRows(file)


def read_header(rows: CsvRows, file_name: str) -> Columns:
    """Read the first row and find the columns in it.

    Raises:
        UploadFailed: the file is empty, is not text, or its first row is not a header.
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
    # For a binary file, such as a photograph, the missing header would be a misleading reason.
    if "\0" in rows.head:
        return UploadFailed("NOT_TEXT", f"{file_name} is not a text file. Save it as CSV and try again.")
    return UploadFailed("BAD_HEADER", why)


def keep_parts(
    batch: Iterable[Row], columns: Columns, report: Report, row_error: Callable[[int, str, str], object]
) -> list[Part]:
    """Return the parts in these rows, and report the bad rows."""
    parts = []
    for row_number, cells in batch:
        match cells if isinstance(cells, Cause) else read_part(row_number, cells, columns):
            case Part() as part:
                parts.append(part)
            case cause:
                report.skip(row_number, cause)
                row_error(row_number, cause, REASONS[cause])
    report.kept += len(parts)
    return parts


@contextmanager
def replacing_parts(database: Path, upload_id: str) -> Iterator[Callable[[Iterable[Part]], object]]:
    """Yield a function that stores parts. They replace the earlier parts of this upload, all of them or none."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(_TABLE)
        connection.execute("DELETE FROM parts WHERE upload_id = ?", (upload_id,))
        insert = "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)"
        yield lambda parts: connection.executemany(insert, ((upload_id, *part) for part in parts))
