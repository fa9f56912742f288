"""The presence of topics of one process: whoever is subscribed in the hub is there."""

import asyncio
import heapq

from tellwire.carriers.hub import Hub
from tellwire.engines.topic_watchers import TopicWatchers
from tellwire.limits import MAX_PRESENCE_MEMBERS, PRESENCE_COUNT_SECONDS
from tellwire.ports import Clock, Present
from tellwire.publication import StreamKey
from tellwire.topic_members import Members, MembersHere, told

_NOBODY = Members(0)


class LocalTopicPresence:
    """A `TopicPresence` of the connections of a hub. `watch_time` runs as long as it is used.

    A topic without members takes no memory, and one that nobody watches is told to nobody.
    """

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[StreamKey, MembersHere] = {}
        # A heap with at most one time of each topic: nobody leaves it before.
        self._leaves: list[tuple[float, StreamKey]] = []
        self._in_heap: set[StreamKey] = set()
        self._woken = asyncio.Event()
        self._asking = asyncio.Lock()
        self.watchers = TopicWatchers(hub, clock, self._told)

    def subscribed(self, connection: Present, stream: StreamKey, info: bytes | None) -> None:
        here = self._topics.get(stream)
        if here is None:
            here = self._topics[stream] = MembersHere()
        change = here.enter(connection.user_id, connection.connection_id, info)
        if change is not None:
            self.watchers.changed(stream, change, len(here))
            self._wake()

    def unsubscribed(self, connection: Present, stream: StreamKey) -> None:
        self.watchers.remove(connection.connection_id, stream)
        here = self._topics.get(stream)
        if here is None:
            return
        here.leave(connection.user_id, connection.connection_id, self._clock.monotonic())
        self._note_next(stream, here)

    async def watch(self, connection: Present, stream: StreamKey) -> None:
        async with self._asking:
            self.watchers.add(connection, stream)
            # Each gets a whole list, and thousands may ask at once: others have their turn in between.
            await asyncio.sleep(0)
        self._wake()

    @property
    def told(self) -> int:
        return self.watchers.told

    @property
    def untold(self) -> int:
        return self.watchers.untold

    async def members(self, stream: StreamKey, limit: int = MAX_PRESENCE_MEMBERS) -> Members:
        here = self._topics.get(stream)
        return _NOBODY if here is None else Members(len(here), told(iter(here), limit))

    async def watch_time(self) -> None:
        """Tell the leaves whose time has come, and the numbers of many. It never returns."""
        while True:
            self._woken.clear()
            now = self._clock.monotonic()
            self._end_leaves(now)
            self.watchers.tell_due()
            next_at = self._next_at
            if next_at is None:
                await self._woken.wait()
            else:
                # What comes in the meantime is due a second from now, at the earliest.
                await self._clock.sleep(min(next_at - now, PRESENCE_COUNT_SECONDS))

    def _end_leaves(self, now: float) -> None:
        while self._leaves and self._leaves[0][0] <= now:
            _, stream = heapq.heappop(self._leaves)
            self._in_heap.discard(stream)
            here = self._topics.get(stream)
            if here is None:
                continue
            changes = here.gone(now)
            left = len(here) + len(changes)
            for change in changes:
                left -= 1
                self.watchers.changed(stream, change, left)
            if here:
                self._note_next(stream, here)
            else:
                del self._topics[stream]

    def _note_next(self, stream: StreamKey, here: MembersHere) -> None:
        if here.next_at is not None and stream not in self._in_heap:
            heapq.heappush(self._leaves, (here.next_at, stream))
            self._in_heap.add(stream)
            self._wake()

    @property
    def _next_at(self) -> float | None:
        times = [self._leaves[0][0] if self._leaves else None, self.watchers.next_at]
        return min((each for each in times if each is not None), default=None)

    def _wake(self) -> None:
        self._woken.set()

    def _told(self, stream: StreamKey) -> Members:
        here = self._topics.get(stream)
        return _NOBODY if here is None else Members(len(here), told(iter(here)))
