"""uvicorn's HTTP/1.1 protocol with a timeout and a size limit for a request's head, and header names as they were sent.

uvicorn leaves both limits to a proxy. Without one, a client could hold sockets by sending nothing, or memory by a
header that never ends.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tellwire.limits import HEAD_TIMEOUT_SECONDS, MAX_HEAD_BYTES


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection. Upgrade requests leave from here to `socket.Connection`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_timer: asyncio.TimerHandle | None = None
        self._names: list[bytes] = []
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_timer is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        # Over the limit with the timer still running: all these bytes are one unfinished head.
        if self._head_timer is not None and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request head too large.")
        self._rearm_keep_alive()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._names = []
        self._start_head_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._names.append(name)

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        # API Gateway's events have header names as the client wrote them; uvicorn passes them on in lower case.
        self.scope["headers"] = [(name, value) for name, (_, value) in zip(self._names, self.headers, strict=True)]
        super().handle_websocket_upgrade()

    def _rearm_keep_alive(self) -> None:
        # Any byte ends uvicorn's keep-alive timer. A byte that begins no request must not keep the socket open.
        is_idle = self._head_timer is None and (self.cycle is None or self.cycle.response_complete)
        if is_idle and self.timeout_keep_alive_task is None and self.transport.get_protocol() is self:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
