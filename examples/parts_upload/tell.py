"""The last words of a worker.

When its work is done and saved, a gateway that is away only costs the news of it. When its user has cancelled it, they
are told that nothing of it stays.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.parts_upload.report import counted
from tellwire import Message, PublishError, UploadCancelled, broadcast_to_user
from tellwire.progress import Upload

logger = logging.getLogger("parts_upload")


async def tell(user_id: str, messages: Iterable[Message]) -> None:
    """Send the user these messages. What does not get through is logged, not raised."""
    for message in messages:
        try:
            await broadcast_to_user(user_id, message)
        except PublishError as error:
            logger.warning("the job is done, its user does not know: %s", error)


@contextmanager
def cancellable(upload: Upload, item: str = "row") -> Iterator[None]:
    """Let the last state say that nothing stays of an upload that is cancelled in the block. It consists of `item`s."""
    try:
        yield
    except UploadCancelled:
        upload.summary = f"Cancelled after {counted(upload.rows, item)}. Nothing of it was kept."
        raise


def shown_name(path: Path) -> str:
    """Return a file's name as text that can be sent. On Linux a name may be any bytes."""
    return os.fsencode(path.name).decode(errors="replace") or "file"
