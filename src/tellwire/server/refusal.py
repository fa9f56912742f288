"""Refusals of the server itself, which end a connection: of handshakes, and of requests it cannot read. Pure.

A browser hides the status of a refused handshake from its page. So a client that offers our subprotocol is refused by a
close: it gets 101, and with it a close frame that says why.
"""

import http
import logging
from typing import Final

import msgspec

from tellwire import limits
from tellwire.errors import HistoryUnavailable, PublishError, TellwireError
from tellwire.server.framing import close_frame

logger = logging.getLogger("tellwire.gateway")


class Refusal(Exception):
    """A refused request or handshake: its status, and a JSON body with the reason. `detail` is for the log alone.

    `retry_after_seconds` is told with 429 and 503. `close_code` is that of a close in place of the status; None: there
    is no such close, since the client does not keep to the rules of a handshake.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        detail: str = "",
        *,
        retry_after_seconds: int = limits.RETRY_AFTER_SECONDS,
        close_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.close_code = close_code

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, without `Content-Length` and `Connection`."""
        headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
        if self.status == 426:
            headers["Sec-WebSocket-Version"] = "13"
        if self.status in (429, 503):
            headers["Retry-After"] = str(self.retry_after_seconds)
        return headers

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"code": self.code, "message": self.message})

    @classmethod
    def of(cls, error: TellwireError) -> "Refusal":
        """Return the refusal for an error. Words of the server itself, such as those of a store, are for the log."""
        if isinstance(error, PublishError):
            public = HistoryUnavailable("try again in a few seconds")
            return cls(public.http_status, public.code, str(public), str(error), close_code=public.close_code)
        return cls(error.http_status, error.code, str(error), close_code=error.close_code)

    @classmethod
    def for_any(cls, error: Exception) -> "Refusal":
        """Return the refusal for whatever a handshake raised. An error that nobody expected is in the log alone."""
        if isinstance(error, Refusal):
            return error
        if isinstance(error, TellwireError):
            return cls.of(error)
        logger.error("a handshake failed", exc_info=error)
        return cls(500, "INTERNAL_ERROR", "The handshake failed; the server's log has more", close_code=1011)


STOPPING: Final = Refusal(
    503,
    "RESTARTING",
    "The server is restarting; come back",
    retry_after_seconds=limits.RESTART_RETRY_SECONDS,
    close_code=1012,
)
"""The answer to a request that cannot be handled before the server stops."""

DRAINING: Final = Refusal(
    503,
    "DRAINING",
    "The server is draining; come back",
    retry_after_seconds=limits.RESTART_RETRY_SECONDS,
    close_code=1012,
)
"""The answer to a handshake with a server that drains."""


def refused(refusal: Refusal) -> bytes:
    """Return the bytes of the answer."""
    body = refusal.body
    headers = "".join(f"{name}: {value}\r\n" for name, value in refusal.headers.items())
    head = (
        f"HTTP/1.1 {refusal.status} {_phrase(refusal.status)}\r\n{headers}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + body


def refusing_close(refusal: Refusal, close_code: int) -> bytes:
    """Return the close frame in place of the answer. Its reason is `CODE: text`, cut to the size of a frame."""
    return close_frame(close_code, f"{refusal.code}: {refusal.message}")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
