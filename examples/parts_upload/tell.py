"""The last words of a worker: its work is done and saved, so a gateway that is away only costs the news of it."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tellwire import GatewayError, Message, broadcast_to_user

logger = logging.getLogger("parts_upload")


async def tell(user_id: str, messages: Iterable[Message]) -> None:
    """Send the user these messages. What does not get through is logged, not raised."""
    for message in messages:
        try:
            await broadcast_to_user(user_id, message)
        except GatewayError as error:
            logger.warning("the job is done, its user does not know: %s", error)


def shown_name(path: Path) -> str:
    """Return a file's name as text that can be sent. On Linux a name may be any bytes."""
    return os.fsencode(path.name).decode(errors="replace") or "file"
