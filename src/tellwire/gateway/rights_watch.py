"""The watch over rights to topics that a webhook has given: its yes counts for a time only."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

from tellwire.limits import TOPIC_RIGHTS_AT_ONCE, TOPIC_RIGHTS_WATCH_SECONDS
from tellwire.ports import Clock

logger = logging.getLogger("tellwire.gateway")

T = TypeVar("T")


class RightsWatch(Generic[T]):
    """The looks at the rights of connections with topics. `connections` returns them; `recheck` does it for one.

    With a webhook they are looked at from time to time, since its yes counts for a time only. What a token or a
    function has said counts until there is another token, a reload, or the program asks for it.
    """

    def __init__(
        self, connections: Callable[[], Iterable[T]], recheck: Callable[[T], Awaitable[None]], clock: Clock
    ) -> None:
        self._connections = connections
        self._recheck = recheck
        self._clock = clock

    async def watch(self, every_seconds: float) -> None:
        """Look from time to time. It never returns."""
        while True:
            await self._clock.sleep(max(every_seconds, TOPIC_RIGHTS_WATCH_SECONDS))
            await self.look()

    async def look(self) -> None:
        """Look at all of them now, a few at once."""
        found = tuple(self._connections())
        for start in range(0, len(found), TOPIC_RIGHTS_AT_ONCE):
            await asyncio.gather(*map(self._look_at, found[start : start + TOPIC_RIGHTS_AT_ONCE]))
            await asyncio.sleep(0)

    async def _look_at(self, connection: T) -> None:
        try:
            await self._recheck(connection)
        except Exception:
            # Nobody else would notice that the watch has ended.
            logger.exception("the rights of a connection cannot be looked at")
