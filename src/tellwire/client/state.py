"""The state of a client, as an application sees it."""

from dataclasses import dataclass
from typing import Literal

from tellwire.client.close_codes import CloseReason

Status = Literal["idle", "connecting", "open", "waiting", "closed"]


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A snapshot. `attempt` counts the attempts since the connection was open last.

    `retry_at` is when the next one begins, in epoch seconds, while waiting. `reason` says why there is no connection.
    `recovered` is there while it is open, once the welcome has ended: False says that something may be missing, and
    comes as a new state each time. `user` is whose messages these are: by the server's word, or before it
    by that of the option `user` or of the token. None: nobody said it yet.
    """

    status: Status
    attempt: int = 0
    retry_at: float | None = None
    reason: CloseReason | None = None
    recovered: bool | None = None
    user: str | None = None
