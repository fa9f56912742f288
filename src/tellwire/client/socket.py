"""The WebSocket of one link: the shell over the websockets package, and its failures in our terms."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from tellwire.client.close_codes import Refusal, retry_after
from tellwire.client.failures import reason_of
from tellwire.http_messages import redirect_target
from tellwire.limits import CLOSE_TIMEOUT_SECONDS, MAX_FRAME_BYTES
from tellwire.model import is_loopback
from tellwire.ports import Clock
from tellwire.protocol import SUBPROTOCOL

TokenIn = Literal["subprotocol", "query"]

# At DEBUG, websockets logs a handshake's request line and headers, and so the token.
_protocol_logger = logging.getLogger("tellwire.client.frames")
_protocol_logger.setLevel(logging.WARNING)

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_REFUSING_CLOSE: Final = re.compile(r"([A-Z][A-Z0-9_]*): (.*)", re.DOTALL)
_SUBPROTOCOL_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Refused(Exception):
    """The server answered the handshake with something else than 101, or with 101 and a close."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.status} {refusal.error or ''}")
        self.refusal = refusal


class Unreachable(Exception):
    """There was no answer. The text says why."""


class _Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception:
        # A token is for the server it was made for, and for no other.
        return exc


def can_travel(token: object, token_in: TokenIn) -> bool:
    """Return whether something is a token that a handshake can carry."""
    return isinstance(token, str) and bool(token if token_in == "query" else _SUBPROTOCOL_TOKEN.fullmatch(token))  # noqa: S105 - a place


async def open_socket(
    url: str, token: str, token_in: TokenIn, clock: Clock, headers: Mapping[str, str] | None = None
) -> ClientConnection:
    """Connect, with further headers. It takes as long as it takes: whoever waits has a deadline.

    Raises:
        Refused: the server answered with a refusal.
        Unreachable: it did not answer.
    """
    offered = _offered(token, token_in)
    try:
        socket = await _Connect(
            url if offered else f"{url}?{urlencode({'token': token})}",
            subprotocols=offered,
            additional_headers=headers or None,
            # HTTP_PROXY is for the world outside; a proxy cannot reach our loopback.
            proxy=None if is_loopback(urlsplit(url).hostname) else True,
            # API Gateway says yes to permessage-deflate and does not keep to what it agreed to.
            compression=None,
            open_timeout=None,
            # The heartbeat is the link's: a `ping` of the protocol, which every server counts.
            ping_interval=None,
            close_timeout=CLOSE_TIMEOUT_SECONDS,
            logger=_protocol_logger,
        )
    except InvalidStatus as refused:
        raise Refused(_refusal(refused, url, clock.now())) from refused
    except (OSError, EOFError, WebSocketException, ImportError) as error:
        raise Unreachable(reason_of(error)) from error
    close = socket.protocol.close_rcvd
    if close is not None and (refusing := _REFUSING_CLOSE.fullmatch(close.reason)):
        # A gateway refuses by a close, which comes together with the 101. No other close has such a reason.
        await part(socket)
        raise Refused(Refusal(int(close.code), refusing[1], refusing[2]))
    return socket


def _offered(token: str, token_in: TokenIn) -> list[Subprotocol] | None:
    if not token:
        return [Subprotocol(SUBPROTOCOL)]
    return [Subprotocol(SUBPROTOCOL), Subprotocol(f"token.{token}")] if token_in == "subprotocol" else None  # noqa: S105 - a place


async def send_text(socket: ClientConnection, payload: bytes) -> bool:
    """Send one message in frames as big as API Gateway takes. False if the connection is closed."""
    frames = [payload[start : start + MAX_FRAME_BYTES] for start in range(0, len(payload), MAX_FRAME_BYTES)]
    try:
        await socket.send(frames if len(frames) > 1 else payload, text=True)
    except ConnectionClosed:
        return False
    return True


async def part(socket: ClientConnection) -> None:
    """Close with 1000, and cut the socket if that does not come about in time."""
    with contextlib.suppress(TimeoutError):
        # Beside websockets' own timeout, which does not run while its write buffer is full.
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await socket.close()
    socket.transport.abort()


def close_of(closed: ConnectionClosed) -> tuple[int, str]:
    """Return the server's close code and its reason; 1006 if it sent none."""
    return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")


def _refusal(refused: InvalidStatus, url: str, now: float) -> Refusal:
    response = refused.response
    if response.status_code in _REDIRECTS:
        target = redirect_target(url, response.headers.get("Location", ""))
        return Refusal(response.status_code, "REDIRECTED", f"It redirects to {target}")
    wait = 0.0
    if response.status_code in (429, 503):
        wait = retry_after(response.headers.get("Retry-After"), now)
    try:
        answer: Any = msgspec.json.decode(response.body or b"")
        return Refusal(response.status_code, str(answer["code"]), str(answer["message"]), wait)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError):
        return Refusal(response.status_code, retry_after_seconds=wait)
