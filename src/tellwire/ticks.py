"""The common grid of the updates of all uploads on one event loop: they are concurrent, so they leave as one request.

    first upload opened ── t0 ──┬── t0 + interval ──┬── t0 + 2 intervals ──┬── …
                                └ each upload, whenever it was opened, ticks at these times: one timer for all

The grid begins anew with the first upload that is opened while no other one is.
"""

import asyncio
import contextvars
import logging
import math
from collections.abc import Callable
from time import monotonic
from typing import Final
from weakref import WeakKeyDictionary

logger = logging.getLogger("tellwire.progress")


class Ticks:
    """The grid of one event loop. `next_after` may be called from any thread."""

    def __init__(self) -> None:
        self._origin = 0.0
        self._open = 0
        self._rounds: dict[float, dict[Callable[[], None], contextvars.Context]] = {}
        self._timers: dict[float, asyncio.TimerHandle] = {}

    def join(self, now: float) -> None:
        """Add an upload that opens."""
        if not self._open:
            self._origin = now
        self._open += 1

    def leave(self) -> None:
        """Remove an upload that has ended."""
        self._open -= 1

    def next_after(self, now: float, seconds: float) -> float:
        """Return the next time of the grid of so many seconds: the second one if the first is less than half away."""
        return self._origin + seconds * (math.floor((now - self._origin) / seconds + 0.5) + 1)

    def start(self, seconds: float, tick: Callable[[], None]) -> None:
        """Call `tick` at each time of a grid, in the context of this call, until `stop`."""
        members = self._rounds.setdefault(seconds, {})
        members[tick] = contextvars.copy_context()
        if seconds not in self._timers:
            self._set_timer(seconds)

    def stop(self, seconds: float, tick: Callable[[], None]) -> None:
        """Call it no more. It need not have been started."""
        members = self._rounds.get(seconds, {})
        members.pop(tick, None)
        if not members and (timer := self._timers.pop(seconds, None)) is not None:
            del self._rounds[seconds]
            timer.cancel()

    def _set_timer(self, seconds: float) -> None:
        now = monotonic()
        wait_seconds = self.next_after(now, seconds) - now
        self._timers[seconds] = asyncio.get_running_loop().call_later(wait_seconds, self._tick_all, seconds)

    def _tick_all(self, seconds: float) -> None:
        self._set_timer(seconds)
        for tick, context in tuple(self._rounds[seconds].items()):
            try:
                context.run(tick)
            except Exception:
                logger.exception("an upload cannot be updated")


_of_loops: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, Ticks]] = WeakKeyDictionary()


def ticks_of(loop: asyncio.AbstractEventLoop) -> Ticks:
    """Return the grid of a loop."""
    found = _of_loops.get(loop)
    if found is None:
        found = _of_loops[loop] = Ticks()
    return found
