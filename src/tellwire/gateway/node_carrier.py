"""The carrier of a node's broadcaster: it publishes through the node's engine, from any thread and event loop.

An engine belongs to the loop that the node runs on. A call from there is made at once; one from elsewhere is handed to
that loop, and waits for its answer.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tellwire.background import blocked_loop
from tellwire.broker import BrokerCarrier
from tellwire.engine import Engine
from tellwire.errors import CannotRunHere, GatewayRefused, GatewayUnreachable
from tellwire.limits import PUBLISH_TIMEOUT_SECONDS
from tellwire.model import ConnectionInfo, Delivery
from tellwire.publication import Publication
from tellwire.row_errors import RowErrorChunk

T = TypeVar("T")


class HomeLoop:
    """The event loop that a node runs on. Made there."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process_id = os.getpid()
        self._calls: set[asyncio.Task[Any] | None] = set()
        self._is_closed = False

    async def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of `work`, which runs on this loop.

        Raises:
            CannotRunHere: in a child process, or where the loop stands still because it waits for this call.
            GatewayUnreachable: the node has stopped, or its loop has not answered in time.
        """
        if os.getpid() != self._process_id:
            raise CannotRunHere("the node runs in the parent of this process: publish to its address, with HttpCarrier")
        if asyncio.get_running_loop() is self._loop:
            return await work()
        if blocked_loop() is self._loop:
            raise CannotRunHere(
                "tellwire.sync would wait for the node on the node's own event loop: await node.broadcaster's methods "
                "there, or call tellwire.sync in a thread"
            )
        return await self._hand_over(work)

    def close(self) -> None:
        """Refuse calls from now on, and end those that wait. Called on the loop."""
        self._is_closed = True
        for task in list(self._calls):
            if task is not None:
                task.cancel()

    async def _hand_over(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        call = self._counted(work)
        try:
            handed = asyncio.run_coroutine_threadsafe(call, self._loop)
        except RuntimeError as error:
            call.close()
            raise _stopped() from error
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
                return await asyncio.wrap_future(handed)
        except TimeoutError as error:
            reason = f"the node's event loop has not answered within {PUBLISH_TIMEOUT_SECONDS:g} s"
            raise GatewayUnreachable("this process", reason) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _stopped() from error

    async def _counted(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._is_closed:
            raise _stopped()
        task = asyncio.current_task()
        self._calls.add(task)
        try:
            return await work()
        finally:
            self._calls.discard(task)


class NodeCarrier:
    """A `Carrier` of a node, which may be made before the node runs. `running` returns its parts; None: it does not."""

    def __init__(self, running: Callable[[], tuple[HomeLoop, Engine] | None]) -> None:
        self._running = running

    async def deliver(self, publication: Publication) -> Delivery:
        home, engine = self._now()
        return await home.call(lambda: BrokerCarrier(engine.broker, engine.carrier).deliver(publication))

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        home, engine = self._now()
        return await home.call(lambda: engine.carrier.connections(user_id))

    async def count(self, user_id: str) -> int:
        home, engine = self._now()
        presence = engine.presence
        if presence is None:
            return len(await self.connections(user_id))
        return await home.call(lambda: presence.count(user_id))

    async def disconnect(self, connection_id: str) -> bool:
        home, engine = self._now()
        return await home.call(lambda: engine.carrier.disconnect(connection_id))

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        home, engine = self._now()
        store = engine.row_errors
        if store is None:
            raise GatewayRefused(501, "ROW_ERRORS_NOT_KEPT", "This gateway's engine keeps no lists of row errors")
        await home.call(lambda: store.add_row_errors(chunk))

    def _now(self) -> tuple[HomeLoop, Engine]:
        running = self._running()
        if running is None:
            raise GatewayUnreachable("this process", "the node does not run", not_sent=True)
        return running


def _stopped() -> GatewayUnreachable:
    return GatewayUnreachable("this process", "the node has stopped")
