"""Where handlers run: a port with two adapters, this process and one of its own."""

import asyncio
import contextlib
import threading
import time
import traceback
from collections.abc import Callable
from typing import Protocol

from tellwire.apigateway.runner.handlers import Handler, HandlerFailed, call_handler
from tellwire.apigateway.runner.invocation import Invocation, LambdaContext, new_log_stream


class Host(Protocol):
    """An execution environment of one function."""

    async def start(self) -> None:
        """Load the code now rather than at the first invocation.

        Raises:
            ConfigError: it cannot be run here.
        """
        ...

    async def run(self, event: bytes, invocation: Invocation) -> bytes:
        """Call the handler with an event and return its result, both JSON. Many may run at once.

        Whoever stops waiting does not stop the handler.

        Raises:
            HandlerFailed: there is no result.
        """
        ...

    async def reload(self) -> None:
        """Let later invocations run the code as it is on disk now. Those that run go on with what they have."""
        ...

    async def close(self) -> None:
        """End what runs."""
        ...


class InProcess:
    """Handlers in this process, each invocation in a thread of its own, where a debugger and `breakpoint()` find it.

    `load` gives the handler, and is asked again after `reload`.
    """

    def __init__(self, load: Callable[[], Handler], now: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._handler: Handler | None = None
        self._now = now
        self._log_stream = new_log_stream()

    @classmethod
    def of(cls, handler: Handler, now: Callable[[], float] = time.monotonic) -> "InProcess":
        """Return the environment of a handler that is already there."""
        return cls(lambda: handler, now)

    async def start(self) -> None:
        # In a thread: a module may well say asyncio.run while it is imported.
        self._handler = await asyncio.to_thread(self._load)

    async def run(self, event: bytes, invocation: Invocation) -> bytes:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[bytes] = loop.create_future()

        def work() -> None:
            try:
                result = self._call(event, invocation)
            except HandlerFailed as error:
                _tell(loop, outcome, error)
            else:
                _tell(loop, outcome, result)

        # Not a pool: its threads would keep the process from ending while a handler sleeps.
        threading.Thread(target=work, name=invocation.function_name, daemon=True).start()
        return await outcome

    def _call(self, event: bytes, invocation: Invocation) -> bytes:
        if self._handler is None:
            try:
                self._handler = self._load()
            except Exception as error:
                traceback.print_exc()
                raise HandlerFailed.of(error) from error
        return call_handler(self._handler, event, invocation, LambdaContext(invocation, self._log_stream, self._now))

    async def reload(self) -> None:
        self._handler = None
        self._log_stream = new_log_stream()
        try:
            await self.start()
        except Exception:  # noqa: BLE001 - a module may raise anything
            # Somebody is in the middle of writing; until they are done, invocations fail.
            traceback.print_exc()

    async def close(self) -> None:
        pass


def _tell(loop: asyncio.AbstractEventLoop, outcome: "asyncio.Future[bytes]", result: bytes | HandlerFailed) -> None:
    def resolve() -> None:
        if outcome.done():
            return
        if isinstance(result, HandlerFailed):
            outcome.set_exception(result)
        else:
            outcome.set_result(result)

    # The loop may be gone before a handler that nobody waits for.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(resolve)
