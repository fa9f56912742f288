"""Streams in the memory of this process. They end with it; clients recognise that by the epoch.

What does not fit is removed, from the streams that were not used longest: first messages and uploads that have ended,
and a stream as a whole only when there are too many of them. Clients that miss something are told so. Streams that hold
nothing yet are beside these: a client that asks for many names pushes out nothing that is kept.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from msgspec import structs

from tellwire.engines.memory.row_errors import MemoryRowErrors
from tellwire.engines.stream_cache import StreamCache
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable, TellwireError, TooManyEscalations
from tellwire.escalation import EscalationRules, at, waiting
from tellwire.limits import HISTORY_CACHE_BYTES, HISTORY_CACHED_STREAMS, MAX_ESCALATIONS
from tellwire.messages import Escalation
from tellwire.model import new_epoch
from tellwire.ports import Clock, SystemClock
from tellwire.position import Position, StreamEnd
from tellwire.publication import Publication, StreamKey, is_of_user, stream_of
from tellwire.retention import Retention
from tellwire.stream import DEFAULT_RETENTION, HistoryPage, Replay, Stream
from tellwire.topics import TopicRules

_PRUNE_SECONDS: Final = 60.0
_STREAMS_PER_TURN: Final = 200


class MemoryHistory:
    """A `LocalHistory` of the streams that were used most recently. `topics` have the bounds of those of topics."""

    def __init__(
        self,
        clock: Clock | None = None,
        max_streams: int = HISTORY_CACHED_STREAMS,
        retention: Retention = DEFAULT_RETENTION,
        cache_bytes: int = HISTORY_CACHE_BYTES,
        topics: TopicRules | None = None,
        escalations: EscalationRules | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._retention = retention
        self._topics = topics or TopicRules(retention)
        self._escalations = escalations or EscalationRules()
        self.on_escalation: Callable[[Entry], None] = lambda entry: None
        self._cache = StreamCache(cache_bytes, max_streams)
        self._empty: OrderedDict[StreamKey, Stream] = OrderedDict()
        self._max_empty = max_streams
        self._epoch = new_epoch()
        self._created = 0
        self._highest_version = 0
        self.row_errors = MemoryRowErrors(self._clock, retention.max_age_seconds)

    async def append(self, publication: Publication) -> Entry | None:
        return self._append(publication, self._clock.now())

    async def append_all(self, publications: Sequence[Publication]) -> list[Entry | None]:
        now = self._clock.now()
        return [self._append(each, now) for each in publications]

    def append_soon(self, publication: Publication, done: Callable[[Entry | TellwireError | None], None]) -> None:
        outcome: Entry | TellwireError | None
        try:
            outcome = self._append(publication, self._clock.now())
        except TellwireError as error:
            outcome = error
        done(outcome)

    def append_linked_soon(
        self, publications: Sequence[Publication], done: Callable[[list[Entry | None] | HistoryUnavailable], None]
    ) -> None:
        done(self._append_linked(publications))

    async def append_linked(self, publications: Sequence[Publication]) -> list[Entry | None]:
        return self._append_linked(publications)

    async def read(self, stream: StreamKey, cursor: str | None, version: int | None = None) -> Replay:
        return self._stream(stream).read(cursor, self._clock.now(), version)

    async def page(self, stream: StreamKey, before: int | None, limit: int, max_bytes: int) -> HistoryPage:
        return self._stream(stream).page(before, limit, max_bytes, self._clock.now())

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        return self._stream(stream).state(key, self._clock.now())

    async def end(self, stream: StreamKey) -> StreamEnd | None:
        return self.known_end(stream)

    def known_end(self, stream: StreamKey) -> StreamEnd | None:
        known = self._cache.get(stream) or self._empty.get(stream)
        return None if known is None else StreamEnd(known.position, known.version)

    async def position(self, stream: StreamKey) -> Position | None:
        return self._stream(stream).position

    async def forget(self, stream: StreamKey) -> None:
        self._note_removed(self._cache.remove(stream))
        self._empty.pop(stream, None)

    async def leased_uploads(self) -> AsyncIterator[Entry]:
        for _, stream in self._cache:
            for entry in stream.leased_uploads():
                yield entry

    async def close(self) -> None:
        """Drop all streams."""
        self._cache.clear()
        self._empty.clear()

    async def watch(self) -> None:
        """Remove entries that are too old, from time to time. It never returns."""
        while True:
            await self._clock.sleep(_PRUNE_SECONDS)
            await self.prune()

    async def prune(self) -> None:
        """Remove entries that are too old."""
        for number, (key, stream) in enumerate(self._cache, 1):
            stream.remove_old(self._clock.now())
            self._cache.measure(key)
            if number % _STREAMS_PER_TURN == 0:
                await asyncio.sleep(0)

    def _append_linked(self, publications: Sequence[Publication]) -> list[Entry | None]:
        first, *others = publications
        now = self._clock.now()
        entry = self._append(first, now)
        return [entry, *([None] * len(others) if entry is None else [self._append(each, now) for each in others])]

    def _append(self, publication: Publication, now: float) -> Entry | None:
        if publication.escalation is not None:
            return self._append_escalated(publication, publication.escalation, now)
        key = stream_of(publication)
        entry = self._stream(key).append(publication, now)
        if entry is not None:
            if self._empty and key in self._empty:
                self._keep(key)
            self._cache.measure(key)
            self._cache.shed()
        return entry

    def _append_escalated(self, publication: Publication, escalation: Escalation, now: float) -> Entry | None:
        """Keep a publication and the first state of its escalation: both, or none."""
        self._escalations.check(escalation)
        state = waiting(publication, escalation)
        stream = self._stream(stream_of(publication))
        if not stream.knows(publication.id) and not self._stream(stream_of(state)).has_room(state):
            raise TooManyEscalations(MAX_ESCALATIONS)
        entry = self._append(structs.replace(publication, escalation=None), now)
        if entry is None:
            return None
        kept = self._append(at(state, stream.epoch, entry.number), now)
        if kept is not None:
            self.on_escalation(kept)
        return entry

    def _keep(self, key: StreamKey) -> None:
        """Move a stream that holds its first entry to those that are kept."""
        self._cache.add(key, self._empty.pop(key))
        if self._cache.has_too_many:
            self._remove_one()

    def _stream(self, key: StreamKey) -> Stream:
        stream = self._cache.get(key)
        if stream is None and (stream := self._empty.get(key)) is not None:
            self._empty.move_to_end(key)
        if stream is None:
            self._created += 1
            # Versions continue: a connected client learns the new epoch only with the next message of the log.
            epoch = f"{self._epoch}{self._created:06x}"
            retention = (None if is_of_user(key) else self._topics.retention_of(key)) or self._retention
            stream = Stream(epoch, version=self._highest_version, retention=retention)
            self._empty[key] = stream
            if len(self._empty) > self._max_empty:
                self._empty.popitem(last=False)
        return stream

    def _remove_one(self) -> None:
        """Remove the stream that was not used longest, if possible one without a running upload."""
        oldest = self._cache.oldest(_STREAMS_PER_TURN)
        idle = (key for key in oldest if (stream := self._cache.peek(key)) and not stream.has_running_uploads)
        self._note_removed(self._cache.remove(next(idle, oldest[0])))

    def _note_removed(self, removed: Stream | None) -> None:
        if removed is not None:
            self._highest_version = max(self._highest_version, removed.version)
