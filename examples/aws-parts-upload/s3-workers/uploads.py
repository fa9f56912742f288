"""Uploads in S3: which an event tells of, whose they are, and that each is worked on once.

A file lies at `uploads/{userId}/{uploadId}/{fileName}`, so whoever lets somebody write there says who its user is. What
becomes of it lies beside, at `{folder}/{userId}/{uploadId}/{fileName}`: its name says that it is there already when S3
sends an event again, which it may.
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

# One event may come twice; the sequencer tells it from another upload of the same name.
_EVENT: Final = "upload-event"
# Whoever may not list a bucket is not told whether an object is missing.
_NOT_THERE: Final = ("403", "404", "AccessDenied", "NoSuchKey")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file in S3 and whose it is. `sequencer` is "" in events that are made by hand."""

    bucket: str
    key: str
    user_id: str
    upload_id: str
    file_name: str
    size_bytes: int
    sequencer: str = ""

    @contextmanager
    def opened(self, max_bytes: int) -> Iterator[io.BufferedReader]:
        """Open the file for reading as it comes, without ever having all of it.

        Raises:
            UploadFailed: it is not there any more, or bigger than `max_bytes`.
        """
        try:
            answer = s3().get_object(Bucket=self.bucket, Key=self.key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_THERE:
                raise UploadFailed("FILE_MISSING", f"{self.file_name} is not there any more.") from error
            raise
        with closing(answer["Body"]) as body:
            if answer["ContentLength"] > max_bytes:
                raise UploadFailed("FILE_TOO_BIG", f"{self.file_name} is bigger than {max_bytes // 1024**2} MB.")
            yield io.BufferedReader(body)

    def result_key(self, folder: str) -> str:
        """Return where something that comes of this upload lies."""
        return f"{folder}/{self.user_id}/{self.upload_id}/{self.file_name}"

    def store(self, folder: str, result: BinaryIO, content_type: str) -> None:
        """Store what came of it: all of it, or nothing."""
        s3().put_object(
            Bucket=self.bucket,
            Key=self.result_key(folder),
            Body=result,
            ContentType=content_type,
            Metadata={_EVENT: self.sequencer},
        )

    def is_done(self, folder: str) -> bool:
        """Tell whether there is a result of this very upload."""
        try:
            result = s3().head_object(Bucket=self.bucket, Key=self.result_key(folder))
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_THERE:
                return False
            raise
        return bool(self.sequencer) and result["Metadata"].get(_EVENT) == self.sequencer


def work_on(event: Mapping[str, Any], folder: str, work: Callable[[Upload], str]) -> dict[str, str]:
    """Do the work for each upload of an event, and return by key what became of it.

    Raises:
        ValueError: the event is not S3's, or a key has not the form it must have.
        Exception: what `work` raises, save `UploadFailed`: its user has been told, and to try again would not help.
    """
    outcomes = {}
    for upload in uploads_in(event):
        if upload.is_done(folder):
            outcomes[upload.key] = "done before"
            continue
        try:
            outcomes[upload.key] = work(upload)
        except UploadFailed as failed:
            logger.warning("%s: %s", upload.key, failed)
            outcomes[upload.key] = str(failed)
    return outcomes


def uploads_in(event: Mapping[str, Any]) -> list[Upload]:
    """Return the uploads that an event of S3 tells of.

    Raises:
        ValueError: it is another event, or a key has not the form it must have.
    """
    match event:
        case {"Records": [*records]} if records:
            return [_upload(record) for record in records]
        case _:
            raise ValueError(f"event: got one with {', '.join(event) or 'nothing'}; allowed: S3's, with Records")


def _upload(record: Mapping[str, Any]) -> Upload:
    match record:
        case {"s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(written), "size": int(size), **more}}}:
            # S3 sends keys as in a form: spaces are plus signs.
            key = unquote_plus(written)
            return Upload(bucket, key, *_names_in(key), size, str(more.get("sequencer", "")))
        case _:
            raise ValueError("event: got a record without bucket, key or size; allowed: S3's, of a created object")


def _names_in(key: str) -> tuple[str, str, str]:
    match key.split("/"):
        case ["uploads", user_id, upload_id, file_name] if all(map(str.strip, (user_id, upload_id, file_name))):
            return user_id, upload_id, file_name
        case _:
            raise ValueError(f"key: got {key!r}; allowed: uploads/{{userId}}/{{uploadId}}/{{fileName}}")


def tell(user_id: str, messages: Iterable[Message]) -> None:
    """Send the user these messages. The work is done and stored: what does not get through is logged, not raised."""
    for message in messages:
        try:
            broadcast_to_user(user_id, message)
        except TellwireError as error:
            logger.warning("the job is done, its user does not know: %s", error)


@functools.cache
def s3() -> Any:
    """Return the client: one for as long as this process lives."""
    return boto3.client("s3")
