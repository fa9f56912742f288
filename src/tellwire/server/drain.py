"""The drain: a server closes its WebSockets, spread over a time, before it ends.

    begin ─▶ no new sockets, each answer ends its HTTP connection ─▶ the program works, for half of the time
          ─▶ sockets are closed, spread over a time
          ─▶ nobody is accepted, requests in progress are answered ─▶ the last moments: what is left is refused ─▶ end

HTTP goes on while there are sockets, so whoever publishes reaches those that are still here. Each step ends as soon as
it has nothing to do, and all of them together within `seconds`.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from tellwire import limits

logger = logging.getLogger("tellwire.gateway")

_POLL_SECONDS: Final = 0.05


class Socket(Protocol):
    """A WebSocket of the server."""

    @property
    def is_open(self) -> bool: ...

    def close_when_idle(self) -> None:
        """Close it with 1012: now, or when its requests are answered."""
        ...


class Drain:
    """The state of a drain, which all connections of a server share.

    `seconds` are those from the begin to the end; in the first `spread_seconds` of them sockets are closed.
    """

    def __init__(self, seconds: float, spread_seconds: float) -> None:
        self.seconds = seconds
        self._spread_seconds = min(spread_seconds, seconds)
        self.has_begun = False
        # In the last moments: a request that has not ended by now is refused.
        self.is_ending = False
        self._is_forced = False
        self._began_at = 0.0

    def begin(self) -> None:
        """Begin, from any thread and from a signal's handler."""
        self.has_begun = True

    def start_clock(self) -> None:
        """Count the seconds from now on."""
        self._began_at = asyncio.get_running_loop().time()

    def force(self) -> None:
        """End at once."""
        self._is_forced = True

    @property
    def ends_at(self) -> float:
        """The time at which all is over."""
        return self._began_at + self.seconds

    @property
    def last_moments_at(self) -> float:
        """The time from which on requests are refused: early enough for their clients to read that."""
        return self.ends_at - min(limits.DRAIN_LAST_SECONDS, self.seconds / 4)

    async def until(self, is_done: Callable[[], bool], at: float) -> None:
        """Wait until something is done, at most until a time."""
        loop = asyncio.get_running_loop()
        while not (is_done() or self._is_forced) and loop.time() < at:  # noqa: ASYNC110 - a set of uvicorn's has no event
            await asyncio.sleep(min(_POLL_SECONDS, max(0.0, at - loop.time())))

    async def work_first(self, works: Sequence[Callable[[], Awaitable[object]]]) -> None:
        """Do the program's own work, for half of the seconds at most; then it is cancelled. Its errors are logged."""
        tasks = [asyncio.ensure_future(each()) for each in works]
        if not tasks:
            return
        await self.until(lambda: all(each.done() for each in tasks), self._began_at + self.seconds / 2)
        for each in tasks:
            if not each.done():
                logger.warning("a callback of before_drain has not ended in half of drain_seconds, and is cancelled")
                each.cancel()
        ended, _ = await asyncio.wait(tasks, timeout=_POLL_SECONDS)
        for each in ended:
            if not each.cancelled() and (error := each.exception()) is not None:
                logger.error("a callback of before_drain failed", exc_info=error)

    async def close_all(self, sockets: Sequence[Socket]) -> None:
        """Close all the sockets, in random order, at an even pace over the time of the spread.

        With few of them it takes less time: nobody needs a slower pace than `DRAIN_CLOSES_PER_SECOND`.
        """
        # In the order in which they were opened, those that an earlier drain has sent here would leave together again.
        order = random.sample(sockets, len(sockets))
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        needed_seconds = len(order) / limits.DRAIN_CLOSES_PER_SECOND
        seconds = min(self._spread_seconds, needed_seconds, self.last_moments_at - began_at)
        gone = 0
        while not self._is_forced:
            passed = loop.time() - began_at
            due = len(order) if passed >= seconds else int(len(order) * passed / seconds) + 1
            step = min(due, gone + limits.CONNECTIONS_PER_TURN)
            for each in order[gone:step]:
                each.close_when_idle()
            gone = max(gone, step)
            while gone < len(order) and not order[gone].is_open:
                gone += 1
            if gone >= len(order):
                break
            await asyncio.sleep(0 if gone < due else limits.DRAIN_TICK_SECONDS)
