"""The opening of a node, which a signal ends at once: an engine may wait for its Redis for seconds.

Nobody is connected yet, so there is nothing to drain. As soon as the server runs, signals are its own.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class StoppedEarly(Exception):
    """The end of a node that has not opened."""


class Opening:
    """The wait of a node until it is open. `is_stopped`: `stop` was called."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._task: asyncio.Task[Any] | None = None

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`.

        Raises:
            StoppedEarly: it was stopped.
        """
        self._task = task = asyncio.create_task(work, name="tellwire-opening")
        if self.is_stopped:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if self.is_stopped and this is not None and not this.cancelling():
                raise StoppedEarly from None
            raise

    def stop(self) -> None:
        """End it."""
        self.is_stopped = True
        if self._task is not None:
            self._task.cancel()


@contextmanager
def on_end_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on the event loop for the first SIGTERM or SIGINT inside the block, unless somebody else takes it
    there. A second one has the effect that it had before.

    A signal that the process ignores stays ignored. Outside of the main thread, which alone gets signals, it does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {
        each: handler
        for each in (signal.SIGTERM, signal.SIGINT)
        if (handler := signal.getsignal(each)) is not signal.SIG_IGN
    }

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    def act(*_: Any) -> None:
        restore()
        loop.call_soon_threadsafe(stop)

    for each in before:
        signal.signal(each, act)
    try:
        yield
    finally:
        restore()
