"""What waits between the sockets and whoever iterates: messages, bounded in number and in bytes.

A full inbox refuses nothing. It tells its readers to stop reading until there is room, and TCP tells the server.
"""

import asyncio
from collections import deque

from tellwire.client.lanes import Cursor
from tellwire.client.received import ReceivedMessage
from tellwire.limits import OUTBOX_MAX_BYTES, OUTBOX_MAX_MESSAGES


class Inbox:
    """A queue that ends. The defaults are what the gateway holds back for a slow client, too."""

    def __init__(self, max_messages: int = OUTBOX_MAX_MESSAGES, max_bytes: int = OUTBOX_MAX_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[ReceivedMessage] = deque()
        self._bytes = 0
        self._has_ended = False
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def is_full(self) -> bool:
        """Whether a reader should wait for `room` before it reads on."""
        return not self._has_room.is_set()

    def put(self, *messages: ReceivedMessage) -> None:
        """Add messages, however many came at once. After the end, nobody wants them."""
        if self._has_ended:
            return
        self._messages.extend(messages)
        self._bytes += sum(len(message.payload) for message in messages)
        self._changed.set()
        if len(self._messages) >= self._max_messages or self._bytes >= self._max_bytes:
            self._has_room.clear()

    async def room(self) -> None:
        """Wait until half of what may wait has gone, or the end."""
        await self._has_room.wait()

    async def get(self) -> ReceivedMessage | None:
        """Wait for the next message and take it; None when there are no more."""
        while not self._messages:
            if self._has_ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._messages.popleft()
        self._bytes -= len(message.payload)
        if len(self._messages) <= self._max_messages // 2 and self._bytes <= self._max_bytes // 2:
            self._has_room.set()
        return message

    @property
    def cursor(self) -> str | None:
        """The place in the log of who has taken all that is not waiting here; None if nothing of the log waits."""
        places = (Cursor.read(message.cursor) for message in self._messages)
        first = next((place for place in places if place), None)
        return None if first is None else str(first.before)

    def end(self) -> None:
        """Add no more. What is there can still be taken."""
        self._has_ended = True
        self._changed.set()
        self._has_room.set()
