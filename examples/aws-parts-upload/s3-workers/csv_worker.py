"""The guide's CSV worker on Lambda: a parts list that lands in S3 is read while its user watches on every device.

In: S3's events of `uploads/{userId}/{uploadId}/{fileName}.csv`. Out: the parts at `parts/…`, as a CSV file with the row
numbers of the upload, and what the user sees: progress from 0 to 100, the rows left out, a notification.

Rules:
- Ten rows or a million, memory stays the same: the file is read as it comes, and the parts wait in a file of their own.
- Progress goes by bytes: nobody knows how many rows there are before the end.
- A result is stored whole or not at all. The same event again changes nothing, and says nothing twice.
- A file that is no parts list fails once, with words for its user. Anything else raises, and Lambda tries again.
"""

import csv
from io import TextIOWrapper
from itertools import islice
from tempfile import TemporaryFile
from typing import Any, Final

from uploads import Upload, tell, work_on

from examples.parts_upload.csv_rows import CsvRows
from examples.parts_upload.csv_worker import BATCH_ROWS, ROWS, keep_parts, read_header
from examples.parts_upload.parts import Part
from examples.parts_upload.report import Report
from tellwire.aws import deadline
from tellwire.sync import track_upload

FOLDER: Final = "parts"

# The result may be four times as long, and Lambda's /tmp holds 512 MB.
MAX_FILE_BYTES: Final = 100 * 1024 * 1024


def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """Import what an event of S3 tells of, and return by key what became of it."""
    with deadline(context):
        return work_on(event, FOLDER, import_parts)


def import_parts(upload: Upload) -> str:
    """Import one parts list and return its summary."""
    report = Report(ROWS)
    with track_upload(upload.user_id, upload.upload_id, upload.file_name, total_bytes=upload.size_bytes) as progress:
        with upload.opened(MAX_FILE_BYTES) as file, TemporaryFile() as parts:
            rows = CsvRows(file)
            columns = read_header(rows, upload.file_name)
            text = TextIOWrapper(parts, "utf-8", newline="")
            writer = csv.writer(text)
            writer.writerow(Part._fields)
            while batch := list(islice(rows, BATCH_ROWS)):
                writer.writerows(keep_parts(batch, columns, report, progress.row_error))
                progress.update(rows=report.total, bytes_read=rows.bytes_read)
            text.flush()
            parts.seek(0)
            upload.store(FOLDER, parts, "text/csv; charset=utf-8")
        progress.summary = report.summary
    tell(upload.user_id, report.messages(upload.upload_id, upload.file_name))
    return report.summary
