"""The error of a request that was not done."""

from typing import Any

from tellwire.errors import TellwireError


class RequestError(TellwireError):
    """A request that was not done.

    `code` is the server's, or one of ours: `TIMEOUT`, the server did not answer in time, and it may have been done;
    `QUEUE_FULL`, too many wait; `CLOSED`, the client is closed; `USER`, the session has become another user's.
    `details` is whatever the server adds, or None.
    """

    code = "REQUEST_FAILED"

    def __init__(self, code: str, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # that of this one
        self.details = details
