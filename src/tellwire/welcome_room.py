"""Room for long welcomes: their messages stay in memory until the clients have taken them.

A short welcome needs no room. Long ones share a number of bytes and wait for each other in the order of their arrival,
each without its messages: it reads them when it has room. One that is longer than all the room has it alone.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tellwire.limits import LONG_WELCOME_BYTES, WELCOME_ROOM_BYTES


class WelcomeRoom:
    """The bytes of all long welcomes of a process."""

    def __init__(self, room_bytes: int = WELCOME_ROOM_BYTES, long_bytes: int = LONG_WELCOME_BYTES) -> None:
        self._room_bytes = room_bytes
        self._long_bytes = long_bytes
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self.taken_bytes = 0

    def is_long(self, size_bytes: int) -> bool:
        """Return True if a welcome of this size needs room."""
        return size_bytes > self._long_bytes

    @asynccontextmanager
    async def taken(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for room, and have it in this block."""
        size_bytes = min(size_bytes, self._room_bytes)
        has_room = asyncio.get_running_loop().create_future()
        self._waiting.append((has_room, size_bytes))
        self._admit()
        try:
            await has_room
            yield
        finally:
            if has_room.done() and not has_room.cancelled():
                self.taken_bytes -= size_bytes
            else:
                with suppress(ValueError):  # its turn came after it was cancelled
                    self._waiting.remove((has_room, size_bytes))
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self.taken_bytes + self._waiting[0][1] <= self._room_bytes:
            has_room, size_bytes = self._waiting.popleft()
            if has_room.cancelled():
                continue
            self.taken_bytes += size_bytes
            has_room.set_result(None)
