"""A clock for tests, which only `advance` and `step` move: two hours pass in no time."""

import asyncio
import contextlib
import heapq
import itertools
import math
from typing import Final

# Another number than `now`, so that code that confuses the two fails its tests.
_BEGINNING_SECONDS: Final = 1000.0


class FakeClock:
    """A `Clock` that stands still until `advance` is called. Sleepers are woken by the monotonic time."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._monotonic = _BEGINNING_SECONDS
        self._wall_offset = now - self._monotonic
        self._order = itertools.count()
        self._moving = asyncio.Lock()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._monotonic + self._wall_offset

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        sleeper = (self._monotonic + seconds, next(self._order), woken)
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
        """Move both times forward. Each sleeper wakes at its time, and may sleep again.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        _require_forward(seconds)
        async with self._moving:
            await self._advance(seconds)

    def step(self, seconds: float) -> None:
        """Move `now` alone, forward or back, as a correction of the machine's clock does.

        Raises:
            ValueError: `seconds` is not finite.
        """
        if not math.isfinite(seconds):
            raise ValueError(f"seconds: got {seconds}; allowed: a finite number")
        self._wall_offset += seconds

    def skip(self, seconds: float) -> None:
        """Move both times forward at once, as a pause of the process does: sleepers wake late, at the next `advance`.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """
        _require_forward(seconds)
        self._monotonic += seconds

    async def _advance(self, seconds: float) -> None:
        end = self._monotonic + seconds
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._monotonic = max(self._monotonic, at)
                woken.set_result(None)
                await _settle()
        self._monotonic = end
        await _settle()


def _require_forward(seconds: float) -> None:
    if not 0 <= seconds < math.inf:
        raise ValueError(f"seconds: got {seconds}; allowed: zero or more")


async def _settle() -> None:
    # A few turns of the loop: enough for a woken task to act and to sleep again.
    for _ in range(3):
        await asyncio.sleep(0)
