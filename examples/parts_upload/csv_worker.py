"""The guide's CSV worker: it imports a parts list into SQLite and publishes its progress.

In: a parts list of any size and format (see `tables`), a database file, the user and the upload id. Out: the parts in
the table `parts`, a `Report`, and messages to every device of the user: progress from 0 to 100 with the number of
skipped rows, an `error` message that groups them, a notification. The gateway has the complete list of skipped rows.

Rules:
- Memory does not depend on the number of rows: they are read, checked and stored batch by batch. A batch has at most
  `batch_rows` rows and a bounded amount of text.
- The number of rows is not known before the end, so progress is measured in bytes, unless `total_rows` is given.
- A bad row is reported and skipped. A file that is not a parts list, or that changes meanwhile, raises `UploadFailed`.
- An upload is stored completely or not at all; the same `upload_id` again replaces its earlier parts. A cancelled
  upload leaves nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from examples.parts_upload.causes import REASONS
from examples.parts_upload.parts_file import BATCH_ROWS, PartsFile, opened, size_bytes
from examples.parts_upload.parts_store import opened_store
from examples.parts_upload.publishing import display_name, publish_all, summary_if_cancelled
from examples.parts_upload.report import Kind, Report
from tellwire import track_upload

# The function that a worker awaits between two batches.
Pause = Callable[[], Awaitable[object]]

ROWS: Final = Kind("row", "part", "imported", "BAD_ROWS", REASONS)


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
            opened(path, file_name) as (file, require_unchanged),
            opened_store(database, upload_id) as store,
        ):
            rows = PartsFile(file, file_name, report, upload.row_error)
            for parts in rows.batches(batch_rows):
                store.add(parts)
                upload.update(rows=report.total, bytes_read=rows.bytes_read)
                await pause()
                # After the pause, so that a cancel during the last pause counts, too.
                upload.raise_if_cancelled()
            require_unchanged()
            await store.commit()
        upload.summary = report.summary
    await publish_all(user_id, report.messages(upload_id, file_name))
    return report
