"""The guide's CSV worker on Lambda: it imports a parts list from S3 and publishes its progress.

In: S3's events of `uploads/{userId}/{uploadId}/{fileName}.csv`, .xlsx or .ods. Out: the parts at `parts/…`, as a CSV
file with the row numbers of the upload, and messages to the user: progress from 0 to 100, the skipped rows, a
notification.

Rules:
- Memory does not depend on the number of rows: the file is streamed, and the parts are written to a temporary file.
- Progress is measured in bytes: the number of rows is not known before the end.
- A result is stored completely or not at all. The same event again changes nothing, and publishes nothing again.
- A file that is not a parts list fails once, with a message to its user. Other errors are raised, and Lambda retries.
"""

import csv
from io import TextIOWrapper
from tempfile import TemporaryFile
from typing import Any, Final

from uploads import S3Upload, process_event, publish_all

from examples.parts_upload.csv_worker import ROWS
from examples.parts_upload.parts import Part
from examples.parts_upload.parts_file import PartsFile
from examples.parts_upload.report import Report
from examples.parts_upload.tables import seekable
from tellwire.aws import deadline
from tellwire.sync import track_upload

FOLDER: Final = "parts"

# The result may be four times as long, and Lambda's /tmp has 512 MB.
MAX_FILE_BYTES: Final = 100 * 1024 * 1024


def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """Import the parts lists of an S3 event, and return the outcomes by key."""
    with deadline(context):
        return process_event(event, FOLDER, import_parts)


def import_parts(upload: S3Upload) -> str:
    """Import one parts list and return its summary."""
    report = Report(ROWS)
    with track_upload(upload.user_id, upload.upload_id, upload.file_name, total_bytes=upload.size_bytes) as progress:
        with upload.opened(MAX_FILE_BYTES) as stream, seekable(stream) as file, TemporaryFile() as parts:
            rows = PartsFile(file, upload.file_name, report, progress.row_error)
            text = TextIOWrapper(parts, "utf-8", newline="")
            writer = csv.writer(text)
            writer.writerow(Part._fields)
            for batch in rows.batches():
                writer.writerows(batch)
                progress.update(rows=report.total, bytes_read=rows.bytes_read)
            text.flush()
            parts.seek(0)
            upload.store(FOLDER, parts, "text/csv; charset=utf-8")
        progress.summary = report.summary
    publish_all(upload.user_id, report.messages(upload.upload_id, upload.file_name))
    return report.summary
