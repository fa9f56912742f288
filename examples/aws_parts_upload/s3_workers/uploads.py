"""Uploads in S3: read from events, with their user, and processed once each.

A file is stored at `uploads/{userId}/{uploadId}/{fileName}`, so permission to write there decides its user. The result
is stored at `{folder}/{userId}/{uploadId}/{fileName}`, where it is found if S3 sends an event again, which it may. That
of a spreadsheet is a CSV file, and has that at the end of its name.
"""

import functools
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final
from urllib.parse import unquote_plus

import boto3
from botocore.exceptions import ClientError

from tellwire import Message, TellwireError, UploadFailed
from tellwire.sync import broadcast_to_user

logger = logging.getLogger("uploads")

# One event may come twice; the sequencer distinguishes it from another upload of the same name.
_EVENT: Final = "upload-event"
_SPREADSHEETS: Final = (".xlsx", ".ods")
# Without the right to list a bucket, a missing object is reported as forbidden.
_MISSING: Final = ("403", "404", "AccessDenied", "NoSuchKey")


@dataclass(frozen=True, slots=True)
class S3Upload:
    """A file in S3 with its user. `sequencer` is "" in events that are made by hand."""

    bucket: str
    key: str
    user_id: str
    upload_id: str
    file_name: str
    size_bytes: int
    sequencer: str = ""

    @contextmanager
    def opened(self, max_bytes: int) -> Iterator[io.BufferedReader]:
        """Open the file for streaming, without ever having all of it in memory.

        Raises:
            UploadFailed: it does not exist any more, or is bigger than `max_bytes`.
        """
        try:
            response = s3().get_object(Bucket=self.bucket, Key=self.key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                raise UploadFailed("FILE_MISSING", f"{self.file_name} does not exist any more.") from error
            raise
        with closing(response["Body"]) as body:
            if response["ContentLength"] > max_bytes:
                raise UploadFailed("FILE_TOO_BIG", f"{self.file_name} is bigger than {max_bytes // 1024**2} MB.")
            yield io.BufferedReader(body)

    def result_key(self, folder: str) -> str:
        """Return the key of a result of this upload."""
        suffix = ".csv" if self.file_name.lower().endswith(_SPREADSHEETS) else ""
        return f"{folder}/{self.user_id}/{self.upload_id}/{self.file_name}{suffix}"

    def store(self, folder: str, result: BinaryIO, content_type: str) -> None:
        """Store a result: all of it, or nothing."""
        s3().put_object(
            Bucket=self.bucket,
            Key=self.result_key(folder),
            Body=result,
            ContentType=content_type,
            Metadata={_EVENT: self.sequencer},
        )

    def is_done(self, folder: str) -> bool:
        """Return whether there is a result of this event."""
        try:
            result = s3().head_object(Bucket=self.bucket, Key=self.result_key(folder))
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return False
            raise
        return bool(self.sequencer) and result["Metadata"].get(_EVENT) == self.sequencer


def process_event(event: Mapping[str, Any], folder: str, work: Callable[[S3Upload], str]) -> dict[str, str]:
    """Process each upload of an event, and return the outcomes by key.

    Raises:
        ValueError: the event is not from S3, or a key does not have the required form.
        Exception: any error of `work` except `UploadFailed`: its user has been notified, and a retry would not help.
    """
    outcomes = {}
    for upload in uploads_in(event):
        if upload.is_done(folder):
            outcomes[upload.key] = "already done"
            continue
        try:
            outcomes[upload.key] = work(upload)
        except UploadFailed as failed:
            logger.warning("%s: %s", upload.key, failed)
            outcomes[upload.key] = str(failed)
    return outcomes


def uploads_in(event: Mapping[str, Any]) -> list[S3Upload]:
    """Return the uploads in an S3 event.

    Raises:
        ValueError: the event is not from S3, or a key does not have the required form.
    """
    match event:
        case {"Records": [*records]} if records:
            return [_upload(record) for record in records]
        case _:
            raise ValueError(f"event: got the fields {', '.join(event) or 'none'}; allowed: an S3 event, with Records")


def _upload(record: Mapping[str, Any]) -> S3Upload:
    match record:
        case {"s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(encoded), "size": int(size), **more}}}:
            # S3 encodes keys as in a form: spaces are plus signs.
            key = unquote_plus(encoded)
            return S3Upload(bucket, key, *_names_in(key), size, str(more.get("sequencer", "")))
        case _:
            raise ValueError("event: got a record without bucket, key or size; allowed: records of created objects")


def _names_in(key: str) -> tuple[str, str, str]:
    match key.split("/"):
        case ["uploads", user_id, upload_id, file_name] if all(map(str.strip, (user_id, upload_id, file_name))):
            return user_id, upload_id, file_name
        case _:
            raise ValueError(f"key: got {key!r}; allowed: uploads/{{userId}}/{{uploadId}}/{{fileName}}")


def publish_all(user_id: str, messages: Iterable[Message]) -> None:
    """Publish messages to a user after the work is done and stored. Errors are logged, not raised."""
    for message in messages:
        try:
            broadcast_to_user(user_id, message)
        except TellwireError as error:
            logger.warning("the job is done, but its user was not notified: %s", error)


@functools.cache
def s3() -> Any:
    """Return the S3 client of this process."""
    return boto3.client("s3")
