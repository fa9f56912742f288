"""A small HTTP/1.1 server on loopback for the runtimes of functions, and the exchanges it hands to its application.

    bytes ─▶ httptools ─▶ guard ─▶ Exchange ─▶ application ─▶ answer(status, …), now or later

Only programs may use it: what a browser sends has an origin, or names another host. Every connection carries one
request at a time, as all clients of Lambda's Runtime API do.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

import httptools

from tellwire.limits import MAX_FUNCTION_RESULT_BYTES, MAX_HEAD_BYTES, RUNTIME_CONNECTIONS, RUNTIME_HEAD_SECONDS
from tellwire.model import is_loopback_authority

_NOTHING: Final[Mapping[str, str]] = {}
_FROM_BROWSERS: Final = frozenset({b"origin", b"sec-fetch-site", b"sec-fetch-mode"})


class Exchange:
    """A request, and the way to its answer. `is_too_big`: the body was over the limit, and is not here."""

    def __init__(self, connection: "_Connection", method: str, target: str, headers: Mapping[bytes, bytes]) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.headers = headers
        self.body = b""
        self.is_too_big = False

    @property
    def is_open(self) -> bool:
        """False once the client has gone."""
        return self._connection.is_open

    def header(self, name: bytes) -> str:
        """Return a header by its name in lower case; empty if it is missing."""
        return self.headers.get(name, b"").decode("latin-1")

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] = _NOTHING) -> None:
        """Send the answer: JSON. If the client has gone, nothing happens."""
        self._connection.send(status, body, headers)

    def refuse(self, status: int, error_type: str, message: str) -> None:
        """Send an error in the form of Lambda's Runtime API."""
        self.answer(status, json.dumps({"errorMessage": message, "errorType": error_type}).encode())


class Application(Protocol):
    """The receiver of exchanges."""

    def __call__(self, exchange: Exchange) -> None:
        """Answer the exchange, or keep it and answer it later."""
        ...


class LoopbackServer:
    """An HTTP server on a free port of 127.0.0.1."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._starting = asyncio.Lock()

    @property
    def authority(self) -> str:
        """Host and port, once it has started."""
        assert self._server is not None  # noqa: S101 - a precondition, as documented
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def start(self) -> None:
        """Listen, unless it does."""
        async with self._starting:
            if self._server is None:
                loop = asyncio.get_running_loop()
                self._server = await loop.create_server(self._connection, "127.0.0.1", 0)

    async def close(self) -> None:
        """Close all connections, and stop to listen."""
        if (server := self._server) is not None:
            # From here on, one that the event loop has accepted, and that has not begun, ends at once.
            self._server = None
            server.close()
            for connection in list(self._connections):
                connection.abort()
            await server.wait_closed()

    def _connection(self) -> "_Connection":
        return _Connection(self._application, self._connections, lambda: self._server is not None)


class _Connection(asyncio.Protocol):
    """One connection; also the receiver of its parser's events."""

    def __init__(
        self, application: Application, connections: "set[_Connection]", is_serving: Callable[[], bool]
    ) -> None:
        self._application = application
        self._connections = connections
        self._is_serving = is_serving
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._exchange: Exchange | None = None
        self._is_answering = False
        self._begin()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A class of its own under uvloop, so it cannot be asked.
        self._transport = transport = cast(asyncio.Transport, transport)
        if len(self._connections) >= RUNTIME_CONNECTIONS or not self._is_serving():
            transport.abort()
            return
        self._connections.add(self)
        # Only the first head: a runtime keeps its connection while a handler runs.
        self._head_timer = asyncio.get_running_loop().call_later(RUNTIME_HEAD_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.abort()

    # --- the parser's events ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_answering:
            raise ValueError("a second request before the answer to the first one")
        self._begin()

    def _begin(self) -> None:
        self._target = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._is_too_big = False
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > MAX_FUNCTION_RESULT_BYTES:
            self._is_too_big = True
            self._body.clear()
        if not self._is_too_big:
            self._body += body

    def on_message_complete(self) -> None:
        self._is_answering = True
        exchange = Exchange(
            self, self._parser.get_method().decode("ascii"), self._target.decode("latin-1"), self._headers
        )
        exchange.body, exchange.is_too_big = bytes(self._body), self._is_too_big
        self._body = bytearray()
        if not _FROM_BROWSERS.isdisjoint(self._headers) or not is_loopback_authority(exchange.header(b"host")):
            exchange.refuse(HTTPStatus.FORBIDDEN, "Forbidden", "Only the runtime of a function may use this address")
            return
        self._application(exchange)

    # --- answers ------------------------------------------------------------------------------------------------------

    def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        if self._transport is None or not self._is_answering or self._transport.is_closing():
            return
        self._is_answering = False
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        keeps = self._parser.should_keep_alive()
        if not keeps:
            lines.append("Connection: close")
        self._transport.write("\r\n".join((*lines, "\r\n")).encode("latin-1") + body)
        if not keeps:
            self._transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
