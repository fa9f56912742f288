"""What a program sees of its connection."""

from dataclasses import dataclass
from typing import Literal

from tellwire.client.reasons import CloseReason

Status = Literal["idle", "connecting", "open", "waiting", "closed"]


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """A snapshot. `attempt` counts the attempts since the connection was open last.

    `retry_at` is when the next one begins, in epoch seconds, while waiting. `reason` says why there is no connection.
    `recovered` is there while it is open, once the server has said what was missed: False says that something may be
    missing, and comes as a new state each time.
    """

    status: Status
    attempt: int = 0
    retry_at: float | None = None
    reason: CloseReason | None = None
    recovered: bool | None = None
