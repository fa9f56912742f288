"""A history in this process. It is gone when the process is, which clients notice by the epoch."""

import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence

from tellwire.engines.memory.row_errors import MemoryRowErrors
from tellwire.limits import HISTORY_CACHED_USERS
from tellwire.ports import Clock, SystemClock
from tellwire.stream import Entry, Replay, Said, Stream


def new_epoch() -> str:
    """Return an epoch nobody had before."""
    return os.urandom(6).hex()


class MemoryHistory:
    """A `History` of the users that were spoken to most recently."""

    def __init__(self, clock: Clock | None = None, max_users: int = HISTORY_CACHED_USERS) -> None:
        self._clock = clock or SystemClock()
        self._max_users = max_users
        self._streams: OrderedDict[str, Stream] = OrderedDict()
        self._epoch = new_epoch()
        self._made = 0
        self._highest_version = 0
        self.row_errors = MemoryRowErrors(self._clock)

    def open(self) -> None:
        """Begin; there is nothing to do."""

    async def append(self, user_id: str, said: Said) -> Entry | None:
        return self._stream(user_id).append(said, self._clock.now())

    async def append_all(self, messages: Sequence[tuple[str, Said]]) -> list[Entry | None]:
        now = self._clock.now()
        return [self._stream(user_id).append(said, now) for user_id, said in messages]

    async def read(self, user_id: str, cursor: str | None) -> Replay:
        return self._stream(user_id).read(cursor, self._clock.now())

    async def state(self, user_id: str, key: str) -> Entry | None:
        return self._stream(user_id).state(key, self._clock.now())

    async def acknowledge(self, user_id: str, cursor: str) -> Entry | None:
        return self._stream(user_id).acknowledge(cursor, self._clock.now())

    async def leased(self) -> AsyncIterator[tuple[str, Entry]]:
        for user_id, stream in list(self._streams.items()):
            for entry in stream.leased():
                yield user_id, entry

    async def close(self) -> None:
        """Forget everything."""
        self._streams.clear()

    def _stream(self, user_id: str) -> Stream:
        stream = self._streams.get(user_id)
        if stream is None:
            self._made += 1
            # Versions go on from before: a client that is connected learns of the new epoch only with the next message.
            stream = self._streams[user_id] = Stream(f"{self._epoch}{self._made:06x}", version=self._highest_version)
            if len(self._streams) > self._max_users:
                _, forgotten = self._streams.popitem(last=False)
                self._highest_version = max(self._highest_version, forgotten.version)
        else:
            self._streams.move_to_end(user_id)
        return stream
