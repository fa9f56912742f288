"""A TCP connection until its first bytes: a plain handshake goes to a `Connection`, everything else to `HttpProtocol`.

    connection_made ─▶ data_received ─▶ read_handshake ─▶ a whole, plain handshake ─▶ Connection.open
                                                       └▶ None ─▶ HttpProtocol, which is given the same bytes

When a node is restarted, nearly everything that arrives is a handshake in one piece. `HttpProtocol` has timers, turns
and a queue, as requests need them; a handshake needs none, and making them takes as long as verifying its token.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from tellwire import limits
from tellwire.server.handshake import UpgradeRequest, read_request
from tellwire.server.http_protocol import HttpProtocol

if TYPE_CHECKING:
    from tellwire.server.socket import Connection

_END_OF_HEAD: Final = b"\r\n\r\n"
# The rest of its name may begin with a small letter, as proxies write it. In any other form it is read by HttpProtocol.
_UPGRADE: Final = b"pgrade: websocket\r\n"


class Arrival(asyncio.Protocol):
    """An accepted connection that has sent nothing yet. `options` are those of uvicorn's protocols."""

    __slots__ = ("_deadline", "_make_http", "_options", "transport")

    transport: asyncio.Transport
    _deadline: asyncio.TimerHandle

    def __init__(self, *, make_http: Callable[..., HttpProtocol], **options: Any) -> None:
        self._make_http = make_http
        self._options = options

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._options["server_state"].connections.add(self)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(limits.HEAD_TIMEOUT_SECONDS, self.transport.close)

    def data_received(self, data: bytes) -> None:
        request = read_handshake(data)
        if request is None:
            self.become_http().data_received(data)
            return
        self._leave()
        connection: Connection = self._options["config"].ws_protocol_class(
            self._options["config"], self._options["server_state"], self._options["app_state"]
        )
        connection.connection_made(self.transport)
        self.transport.set_protocol(connection)
        connection.open(request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def become_http(self) -> HttpProtocol:
        """Go on as a connection for requests, and return it. The time for the first head goes on, too."""
        self._leave()
        http = self._make_http(**self._options)
        self.transport.set_protocol(http)
        http.connection_made(self.transport)
        http.expect_head_within(self._deadline.when() - asyncio.get_running_loop().time())
        return http

    def _leave(self) -> None:
        self._deadline.cancel()
        self._options["server_state"].connections.discard(self)


class _Head:
    """The head of a request, as the parser calls it."""

    __slots__ = ("headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def read_handshake(data: bytes) -> UpgradeRequest | None:
    """Return the handshake that these bytes begin with; None if it is no whole one, or no plain one."""
    end = data.find(_END_OF_HEAD, 0, limits.HTTP_HEAD_BYTES_PER_TURN) + len(_END_OF_HEAD)
    # The first head alone: another request may come before the handshake.
    if not data.startswith(b"GET ") or data.find(_UPGRADE, 0, end) < 0:
        return None
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    try:
        parser.feed_data(data[:end])
    except httptools.HttpParserUpgrade:
        pass  # the end of the head; what a client sends before the 101 is not read
    except httptools.HttpParserError:
        return None
    else:
        return None
    if parser.get_http_version() != "1.1" or len(head.headers) > limits.MAX_HEADERS:
        return None
    request = read_request("GET", head.target, head.headers)
    return request if _is_plain(request) else None


def _is_plain(request: UpgradeRequest) -> bool:
    headers = request.headers
    has_body = "content-length" in headers or "transfer-encoding" in headers
    return headers["upgrade"] == "websocket" and not has_body
