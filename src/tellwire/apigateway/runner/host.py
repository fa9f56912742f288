"""Execution environments of handlers: a port, and its adapter for handlers in this process."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from tellwire.apigateway.runner.handlers import Handler, call_handler
from tellwire.apigateway.runner.invocation import Invocation, LambdaContext, new_log_stream

T = TypeVar("T")


class Environment(Protocol):
    """An execution environment with a place for one more invocation."""

    async def run(self, event: bytes, invocation: Invocation) -> bytes:
        """Call the handler with an event and return its result, both JSON. This takes the place.

        Cancelling this coroutine does not stop the handler.

        Raises:
            HandlerFailed: there is no result.
        """
        ...

    def give_up(self, request_id: str) -> None:
        """End the environment of an invocation that has timed out, where that can be done."""
        ...


class Host(Protocol):
    """The execution environments of one function."""

    async def start(self) -> None:
        """Load the code, unless it is loaded.

        Raises:
            ConfigError: it cannot be run here.
        """
        ...

    async def acquire(self) -> Environment:
        """Return an environment with a place. Loading the code does not count as the handler's time, as on Lambda.

        Raises:
            HandlerFailed: the code cannot be loaded.
            ConfigError: as `start`.
        """
        ...

    async def reload(self) -> None:
        """Load the code from disk again, for later invocations. Running ones keep the code they have.

        Raises:
            ConfigError: it cannot be run; until it can, invocations fail.
        """
        ...

    async def close(self) -> None:
        """Stop running handlers and free the resources."""
        ...


class InProcess:
    """A `Host` for a handler in this process: a thread for each invocation, so that a debugger and `breakpoint()` work.

    `load` returns the handler, and is called again after `reload`.
    """

    def __init__(self, load: Callable[[], Handler], now: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._handler: Handler | None = None
        self._now = now
        self._log_stream = new_log_stream()

    @classmethod
    def of(cls, handler: Handler, now: Callable[[], float] = time.monotonic) -> "InProcess":
        """Return the execution environment of a handler that is already loaded."""
        return cls(lambda: handler, now)

    async def start(self) -> None:
        await self._loaded()

    async def acquire(self) -> "InProcess":
        await self._loaded()
        return self

    def give_up(self, request_id: str) -> None:
        pass  # A thread cannot be ended.

    async def _loaded(self) -> Handler:
        if self._handler is None:
            # In a thread: a module may call asyncio.run while it is imported.
            self._handler = await _in_thread(self._load, "load")
        return self._handler

    async def run(self, event: bytes, invocation: Invocation) -> bytes:
        handler = await self._loaded()
        context = LambdaContext(invocation, self._log_stream, self._now)
        return await _in_thread(
            lambda: call_handler(handler, event, context, invocation.tail), invocation.function_name
        )

    async def reload(self) -> None:
        self._handler = None
        self._log_stream = new_log_stream()
        await self.start()

    async def close(self) -> None:
        pass


async def _in_thread(work: Callable[[], T], name: str) -> T:
    """Call `work` in a new daemon thread.

    Not in a pool, whose threads would keep the process from ending while a handler sleeps.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the outcome is awaited
            _resolve(loop, outcome, outcome.set_exception, error)
        else:
            _resolve(loop, outcome, outcome.set_result, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await outcome


def _resolve(
    loop: asyncio.AbstractEventLoop, outcome: "asyncio.Future[Any]", resolve: Callable[[Any], None], result: Any
) -> None:
    # The loop may be closed before a handler whose outcome is no longer awaited.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(lambda: None if outcome.done() else resolve(result))
