"""Python's garbage collector in `tellwire serve`: no collection looks at the objects of every connection.

A full collection looks at all objects, which takes 100 ms at 20,000 connections, and every user waits. It finds next to
nothing, since what a gateway makes is freed with its last reference. So the objects that have stayed are frozen: later
collections, the full ones too, look only at what is newer. A frozen object is freed as any other with its last
reference; only a cycle of frozen objects stays. So a collection of everything follows when their number has doubled.

Only a process that is the gateway's own may do this, since the collector is that of the whole process.
"""

import gc
import logging
from types import ModuleType
from typing import Final

from tellwire.ports import Clock

logger = logging.getLogger("tellwire.gateway")

_NEVER: Final = 1_000_000_000
_LOOK_SECONDS: Final = 0.25
_COUNT_SECONDS: Final = 600.0
_PASSES: Final = 1
"""Passes over the middle generation after which a collection and a freeze follow: some
10,000 objects, a few ms."""

_FEW_OBJECTS: Final = 500_000


class FrozenHeap:
    """The objects that have stayed, frozen. Call `begin` when everything is imported; `watch` must run from then on."""

    def __init__(self, clock: Clock, collector: ModuleType = gc) -> None:
        self._clock = clock
        self._collector = collector
        self._count_at = clock.monotonic() + _COUNT_SECONDS
        self._after_last = 0

    def begin(self) -> None:
        """Freeze all objects, and leave full collections to `watch`."""
        young, middle, _ = self._collector.get_threshold()
        self._collector.set_threshold(young, middle, _NEVER)
        self._collect_all()

    async def watch(self) -> None:
        """Freeze the objects that have stayed, from time to time. It never returns."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Freeze the objects that have stayed if many are new."""
        if self._collector.get_count()[2] >= _PASSES:
            # What is garbage now must not be frozen.
            self._collector.collect()
            self._collector.freeze()
        now = self._clock.monotonic()
        if now >= self._count_at:
            # Counting follows a list, some ms for a million objects.
            self._count_at = now + _COUNT_SECONDS
            if self._collector.get_freeze_count() > 2 * self._after_last + _FEW_OBJECTS:
                self._collect_all()

    def _collect_all(self) -> None:
        self._collector.unfreeze()
        found = self._collector.collect()
        self._collector.freeze()
        self._after_last = self._collector.get_freeze_count()
        logger.debug("garbage collector: %d objects have stayed, %d were garbage", self._after_last, found)
