"""An event loop whose time is its own: it stands while code runs, and leaps to the next timer when all wait.

For code that owns no socket and no thread. A test marked `virtual_time` runs on it: a second of sleep costs nothing,
and lasts a second whatever else the machine does.
"""

import asyncio
import selectors
from collections.abc import Iterator, Mapping
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop of asyncio's, with a clock that only timers and `spend` move."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_Leaping(self))

    def time(self) -> float:
        return self._now

    def spend(self, seconds: float) -> None:
        """Move the time on, as work does that never gives way."""
        self._now += seconds


class _Leaping(selectors.BaseSelector):
    """A selector that waits for no timer."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._inner = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Without a timer, something from outside (a thread's result) is all that can come: wait for it.
        ready = self._inner.select(0 if timeout is not None else None)
        if not ready and timeout is not None and timeout > 0:
            self._loop.spend(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._inner.close()


def virtual_time() -> VirtualTimeLoop:
    """Return the loop of the test that is running."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


def slow_rows(count: int, seconds: float) -> Iterator[int]:
    """Rows, each of which takes its time and does not give way."""
    for row in range(count):
        virtual_time().spend(seconds)
        yield row
