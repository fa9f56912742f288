"""Streams in memory, bounded in bytes: the least recently used ones come first when there is no room."""

import itertools
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from tellwire.publication import StreamKey
from tellwire.stream import Stream

ENTRY_BYTES: Final = 550
"""Memory of an entry beside its payload, measured with CPython 3.11: objects, id, places in containers."""

STREAM_BYTES: Final = 1600
"""Memory of a stream without entries, measured likewise."""

_SHED_TO: Final = 0.9


class _Cached:
    __slots__ = ("cost_bytes", "period", "stream")

    def __init__(self, stream: Stream, period: int) -> None:
        self.stream = stream
        self.cost_bytes = 0
        self.period = period


class StreamCache:
    """Streams by their key, in the order of their last use. `measure` must be called after a stream has changed."""

    def __init__(self, max_bytes: int, max_streams: int) -> None:
        self._max_bytes = max_bytes
        self._max_streams = max_streams
        self._streams: OrderedDict[StreamKey, _Cached] = OrderedDict()
        self._period = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, key: StreamKey) -> bool:
        return key in self._streams

    def get(self, key: StreamKey) -> Stream | None:
        """Return a stream, which is now the most recently used one."""
        cached = self._streams.get(key)
        if cached is None:
            return None
        self._streams.move_to_end(key)
        cached.period = self._period
        return cached.stream

    def add(self, key: StreamKey, stream: Stream) -> None:
        """Add a stream, as the most recently used one."""
        self._streams[key] = _Cached(stream, self._period)
        self.measure(key)

    def measure(self, key: StreamKey) -> None:
        """Note the size of a stream that has changed. It need not be there."""
        cached = self._streams.get(key)
        if cached is None:
            return
        stream = cached.stream
        cost = STREAM_BYTES + ENTRY_BYTES * len(stream) + stream.size_bytes
        self.size_bytes += cost - cached.cost_bytes
        cached.cost_bytes = cost

    def remove(self, key: StreamKey) -> Stream | None:
        """Remove a stream. It need not be there."""
        cached = self._streams.pop(key, None)
        if cached is None:
            return None
        self.size_bytes -= cached.cost_bytes
        return cached.stream

    @property
    def is_full(self) -> bool:
        """True if the streams have more bytes, or are more, than there is room for."""
        return self.size_bytes > self._max_bytes or len(self._streams) > self._max_streams

    @property
    def has_too_many(self) -> bool:
        """True if there are more streams than there is room for, whatever their size."""
        return len(self._streams) > self._max_streams

    def __iter__(self) -> Iterator[tuple[StreamKey, Stream]]:
        """Yield the streams there are now, the least recently used first."""
        for key, cached in list(self._streams.items()):
            yield key, cached.stream

    def peek(self, key: StreamKey) -> Stream | None:
        """Return a stream without using it."""
        cached = self._streams.get(key)
        return None if cached is None else cached.stream

    def oldest(self, count: int) -> list[StreamKey]:
        """Return the keys of the least recently used streams; the most recently used one is never among them."""
        return list(itertools.islice(self._streams, min(count, len(self._streams) - 1)))

    def shed(self) -> None:
        """If there is no room, let the least recently used streams shed their entries until there is some."""
        if self.size_bytes <= self._max_bytes:
            return
        for key in self._streams:
            # Some more, so that not every message from now on has to look for room.
            if self.size_bytes <= self._max_bytes * _SHED_TO or key == next(reversed(self._streams)):
                break
            self._streams[key].stream.shed()
            self.measure(key)

    def clear(self) -> None:
        """Remove all streams."""
        self._streams.clear()
        self.size_bytes = 0

    def new_period(self) -> None:
        """Begin the next period, in which the use of streams is noted."""
        self._period += 1

    def unused(self, periods: int) -> list[tuple[StreamKey, Stream]]:
        """Return the streams that were not used in this period and so many before it."""
        found: list[tuple[StreamKey, Stream]] = []
        for key, cached in self._streams.items():
            if cached.period > self._period - periods:
                break
            found.append((key, cached.stream))
        return found
