"""A clock for tests, which only `advance` moves: two hours pass in no time."""

import asyncio
import contextlib
import heapq
import itertools
import math


class FakeClock:
    """A `Clock` that stands still until `advance` is called."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._order = itertools.count()
        self._moving = asyncio.Lock()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        sleeper = (self._now + seconds, next(self._order), woken)
        heapq.heappush(self._sleepers, sleeper)
        try:
            await woken
        except asyncio.CancelledError:
            # Most timers are cancelled, because the event they guard came in time.
            with contextlib.suppress(ValueError):
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)
            raise

    async def advance(self, seconds: float) -> None:
        """Move the time forward. Each sleeper wakes at its time, and may sleep again.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds: got {seconds}; allowed: zero or more")
        async with self._moving:
            await self._advance(seconds)

    async def _advance(self, seconds: float) -> None:
        end = self._now + seconds
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._now = max(self._now, at)
                woken.set_result(None)
                await _settle()
        self._now = end
        await _settle()


async def _settle() -> None:
    # A few turns of the loop: enough for a woken task to act and to sleep again.
    for _ in range(3):
        await asyncio.sleep(0)
