"""The task that holds a node open behind a host's requests: it opens once, and it alone closes.

A host has many tasks, and none of them lives as long as the node: requests end, and Starlette runs no lifespan of an
application that is mounted. So a task of its own enters the node and leaves it. At the end of an event loop asyncio
cancels the tasks that are left, and waits for them: then the node closes its engine as after a lifespan.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

T = TypeVar("T")


class Keeper(Generic[T]):
    """An asynchronous context manager of many users. `make` returns a new one; its value is theirs."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._make = make
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: asyncio.Future[T] | None = None
        self._end = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """True while it is open, or opens."""
        return self._task is not None and not self._task.done()

    def at_once(self) -> T | None:
        """Return the value if it is open here; None: ask `value`."""
        ready = self._ready
        if ready is None or not ready.done() or not self.is_open or self._loop is not asyncio.get_running_loop():
            return None
        return None if ready.exception() is not None else ready.result()

    async def value(self) -> T:
        """Return the value, and open it if nobody has. Whoever comes meanwhile waits for the same.

        Raises:
            RuntimeError: it is open on another event loop.
        """
        loop = asyncio.get_running_loop()
        if self.is_open and self._loop is not loop:
            raise RuntimeError(
                "this tellwire_app is open on another event loop: make one for each loop, or serve it on one"
            )
        if not self.is_open:
            self._loop, self._ready, self._end = loop, loop.create_future(), asyncio.Event()
            self._task = loop.create_task(self._keep(self._ready, self._end), name="tellwire-node")
        assert self._ready is not None  # noqa: S101 - set together with the task
        return await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Close it, and wait until it is closed. Errors of its closing are raised."""
        self._end.set()
        if self._task is not None:
            await self._task

    async def _keep(self, ready: asyncio.Future[T], end: asyncio.Event) -> None:
        try:
            async with self._make() as value:
                ready.set_result(value)
                await end.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)
            ready.exception()  # perhaps nobody waits for it any more
        finally:
            ready.cancel()
