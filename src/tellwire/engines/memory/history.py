"""Streams in the memory of this process. They end with it; clients recognise that by the epoch."""

import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence

from tellwire.engines.memory.row_errors import MemoryRowErrors
from tellwire.limits import HISTORY_CACHED_STREAMS
from tellwire.ports import Clock, SystemClock
from tellwire.publication import Publication, StreamKey, stream_of
from tellwire.stream import Entry, Position, Replay, Stream


def new_epoch() -> str:
    """Return a new random epoch."""
    return os.urandom(6).hex()


class MemoryHistory:
    """A `History` of the streams that were used most recently."""

    def __init__(self, clock: Clock | None = None, max_streams: int = HISTORY_CACHED_STREAMS) -> None:
        self._clock = clock or SystemClock()
        self._max_streams = max_streams
        self._streams: OrderedDict[StreamKey, Stream] = OrderedDict()
        self._epoch = new_epoch()
        self._created = 0
        self._highest_version = 0
        self.row_errors = MemoryRowErrors(self._clock)

    async def append(self, publication: Publication) -> Entry | None:
        return self._stream(stream_of(publication)).append(publication, self._clock.now())

    async def append_all(self, publications: Sequence[Publication]) -> list[Entry | None]:
        now = self._clock.now()
        return [self._stream(stream_of(each)).append(each, now) for each in publications]

    async def read(self, stream: StreamKey, cursor: str | None) -> Replay:
        return self._stream(stream).read(cursor, self._clock.now())

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        return self._stream(stream).state(key, self._clock.now())

    async def position(self, stream: StreamKey) -> Position | None:
        return self._stream(stream).position

    async def leased_uploads(self) -> AsyncIterator[Entry]:
        for stream in list(self._streams.values()):
            for entry in stream.leased_uploads():
                yield entry

    async def close(self) -> None:
        """Drop all streams."""
        self._streams.clear()

    def _stream(self, key: StreamKey) -> Stream:
        stream = self._streams.get(key)
        if stream is None:
            self._created += 1
            # Versions continue: a connected client learns the new epoch only with the next message of the log.
            stream = self._streams[key] = Stream(f"{self._epoch}{self._created:06x}", version=self._highest_version)
            if len(self._streams) > self._max_streams:
                _, evicted = self._streams.popitem(last=False)
                self._highest_version = max(self._highest_version, evicted.version)
        else:
            self._streams.move_to_end(key)
        return stream
