"""The front of a node in another program's server: its WebSockets, the watch over their deadlines, and their drain.

connections ─▶ drain: before_drain, then closes spread over a time ─▶ the end: connections that are left are cut
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tellwire.asgi.connection import AsgiConnection, Receive, Send, TextMessage
from tellwire.asgi.handshake import request_of
from tellwire.carriers.hub import write_to_none
from tellwire.gateway.running_node import RunningNode

_TURNS_TO_END = 100


class AsgiSockets:
    """A `Front` of a node."""

    def __init__(self, running: RunningNode) -> None:
        self._running = running
        self._connections: set[AsgiConnection] = set()
        self._drain = running.sockets.drain
        self._loop = asyncio.get_running_loop()
        self._draining: asyncio.Task[None] | None = None
        # Each connection is handed each message by itself, since a server takes them one by one.
        running.hub.frame_with(TextMessage, write_to_none, lambda messages: messages[-1])

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, from its handshake to its end."""
        if (await receive())["type"] != "websocket.connect":
            return  # it is gone already
        connection = AsgiConnection(self._running.sockets, self._running.application, scope, send)
        self._connections.add(connection)
        try:
            await connection.serve(request_of(scope), receive)
        finally:
            self._connections.discard(connection)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Check the deadlines inside the block. Connections that are left after it are cut."""
        watch = asyncio.create_task(self._running.sockets.watch(), name="tellwire-deadlines")
        try:
            yield
        finally:
            tasks = [watch] if self._draining is None else [watch, self._draining]
            for each in tasks:
                each.cancel()
            await asyncio.wait(tasks)
            await self._cut_all()

    def stop(self) -> None:
        """Begin to drain, from any thread: connections are closed, and new ones refused. HTTP goes on."""
        self._drain.begin()
        self._loop.call_soon_threadsafe(self._start_drain)

    def end(self) -> None:
        """End the drain at once."""
        self._drain.force()
        self.stop()

    async def drain(self) -> None:
        """Drain, within `drain_seconds`."""
        self._drain.begin()
        await asyncio.shield(self._start_drain())

    def _start_drain(self) -> asyncio.Task[None]:
        if self._draining is None:
            self._draining = self._loop.create_task(self._drained(), name="tellwire-drain")
        return self._draining

    async def _drained(self) -> None:
        drain = self._drain
        drain.start_clock()
        await drain.work_first(self._running.before_drain)
        await drain.close_all(list(self._connections))
        await drain.until(self._has_none, drain.last_moments_at)
        for each in list(self._connections):
            each.shutdown()
        await drain.until(self._has_none, drain.ends_at)

    def _has_none(self) -> bool:
        return not self._connections

    async def _cut_all(self) -> None:
        for each in list(self._connections):
            each.cut()
        for _ in range(_TURNS_TO_END):
            if not self._connections:
                break
            await asyncio.sleep(0)
