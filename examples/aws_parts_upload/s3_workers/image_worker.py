"""The image worker on Lambda: it makes a thumbnail of each picture in S3 and publishes its progress.

In: S3's events of `uploads/{userId}/{uploadId}/{fileName}.png`, .jpg and others. Out: a JPEG at `thumbnails/…`, and
messages to the user: progress from 0 to 100, then a notification, or the reason why there is no thumbnail.

An S3 event has one picture. The pictures of one upload share its upload id, and each has its own progress.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from uploads import S3Upload, process_event, publish_all

from examples.parts_upload.image_worker import IMAGES
from examples.parts_upload.report import Report
from examples.parts_upload.thumbnail import MAX_FILE_BYTES, BadImage, make_thumbnail
from tellwire import UploadFailed
from tellwire.aws import deadline
from tellwire.sync import track_upload

FOLDER: Final = "thumbnails"

_CHUNK_BYTES: Final = 64 * 1024


def handler(event: dict[str, Any], context: object) -> dict[str, str]:
    """Make thumbnails of the pictures of an S3 event, and return the outcomes by key."""
    with deadline(context):
        return process_event(event, FOLDER, make_thumbnail_of)


def make_thumbnail_of(upload: S3Upload) -> str:
    """Make a thumbnail of one picture and return the summary."""
    name = (upload.user_id, f"{upload.upload_id}/{upload.file_name}", upload.file_name)
    with track_upload(*name, total_bytes=upload.size_bytes) as progress, TemporaryDirectory() as folder:
        picture, thumbnail = Path(folder, "picture"), Path(folder, "thumbnail")
        with upload.opened(MAX_FILE_BYTES) as file, picture.open("wb") as copy:
            while chunk := file.read(_CHUNK_BYTES):
                copy.write(chunk)
                progress.update(bytes_read=copy.tell(), message="Reading…")
        try:
            make_thumbnail(picture, thumbnail)
        except BadImage as bad:
            raise UploadFailed(bad.cause, f"There is no thumbnail of {upload.file_name}: {bad}.") from bad
        with thumbnail.open("rb") as result:
            upload.store(FOLDER, result, "image/jpeg")
        report = Report(IMAGES, kept=1)
        progress.summary = report.summary
    publish_all(upload.user_id, report.messages(upload.upload_id, upload.file_name))
    return report.summary
