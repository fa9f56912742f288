"""A request and its answer: uvicorn's cycle, when the server stops and when a client must have time to read the answer.

request ─▶ Cycle ─▶ the ASGI application ─▶ AnswerTransport ─▶ the protocol's transport
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tellwire.server.refusal import STOPPING, refused


class Flow(FlowControl):
    """Flow control for the protocol, which alone pauses the transport: it has another reason, too."""

    def __init__(self, transport: asyncio.Transport, wanted: Any) -> None:
        super().__init__(transport)
        self._wanted = wanted

    def pause_reading(self) -> None:
        self.read_paused = True

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._wanted()


class AnswerTransport:
    """The transport as an answer sees it: it is closed when the client has had time to read the answer."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class Cycle(RequestResponseCycle):
    """A request and its answer. One that is cancelled because the server stops is answered with 503."""

    async def run_asgi(self, app: Any) -> None:
        async def stoppable(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                if not (self.response_started or self.disconnected):
                    self.transport.write(refused(STOPPING))
                self.disconnected = True
                self.transport.close()

        await super().run_asgi(stoppable)
