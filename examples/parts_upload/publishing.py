"""Final messages of a worker, after its work is saved or its upload was cancelled."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.parts_upload.report import counted
from tellwire import Message, PublishError, Upload, UploadCancelled, broadcast_to_user

logger = logging.getLogger("parts_upload")


async def publish_all(user_id: str, messages: Iterable[Message]) -> None:
    """Publish messages to a user after the work is saved. Errors are logged, not raised."""
    for message in messages:
        try:
            await broadcast_to_user(user_id, message)
        except PublishError as error:
            logger.warning("the job is done, but its user was not notified: %s", error)


@contextmanager
def summary_if_cancelled(upload: Upload, item: str = "row") -> Iterator[None]:
    """Set the summary of an upload that is cancelled in the block. It consists of `item`s."""
    try:
        yield
    except UploadCancelled:
        upload.summary = f"Cancelled after {counted(upload.rows, item)}. Nothing of it was kept."
        raise


def display_name(path: Path) -> str:
    """Return a file's name as valid text. On Linux a name may be any bytes."""
    return os.fsencode(path.name).decode(errors="replace") or "file"
