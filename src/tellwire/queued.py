"""An upload that waits for its worker: the user sees it before the work begins.

web application: queue_upload ─▶ run ─▶ task queue ─▶ worker: track_upload(…, run=run)
"""

import logging

from tellwire.broadcast import Broadcaster, current_broadcaster
from tellwire.errors import InvalidMessage, PublishError
from tellwire.limits import MAX_WORDS_CHARACTERS, QUEUED_LEASE_SECONDS
from tellwire.messages import UploadProgressMessage
from tellwire.progress_state import ProgressState, new_run
from tellwire.text import shortened, string_of

logger = logging.getLogger("tellwire.progress")


async def queue_upload(
    user_id: str,
    upload_id: str,
    file_name: str,
    *,
    run: str | None = None,
    message: str = "Waiting…",
    lease_seconds: float = QUEUED_LEASE_SECONDS,
    broadcaster: Broadcaster | None = None,
) -> str:
    """Show a user an upload that waits for a worker, and return the name of its run, for `track_upload(run=…)`.

    If no worker has begun after `lease_seconds`, the upload stalls; after twice the time it fails. A gateway that
    cannot be reached is logged: the work itself does not depend on it.

    Raises:
        InvalidMessage: an id or the file name is empty, or another argument is not valid.
        ConfigError: no `broadcaster`, and the environment names no gateway.

    Example:
        run = await queue_upload("user-1", "moc-1", "parts.csv")
        import_parts.delay("user-1", "moc-1", path, run)
    """
    run = new_run() if run is None else run
    words = string_of(message)
    if words is None:
        raise InvalidMessage("message", message, "a string")
    state = ProgressState(
        upload_id, file_name, lease_seconds=lease_seconds, message=shortened(words, MAX_WORDS_CHARACTERS), run=run
    )
    queued = UploadProgressMessage(state.show("queued"))
    try:
        await (broadcaster or current_broadcaster()).broadcast_to_user(user_id, queued)
    except PublishError as error:
        logger.warning("an upload that waits is not shown, the work goes on: %s", error)
    return run
