"""The queue between the sockets and the application, bounded in number and in bytes.

A full inbox refuses nothing. Its readers stop reading until there is room, and TCP tells the server. One that
`drops_oldest` is never full.
"""

import asyncio
from collections import deque

from tellwire.client.cursors import position_of, stream_of
from tellwire.client.decode import ReceivedMessage
from tellwire.limits import OUTBOX_MAX_BYTES, OUTBOX_MAX_MESSAGES
from tellwire.position import Position


class Inbox:
    """A queue that ends. The defaults are the gateway's own bounds for a slow client."""

    def __init__(self, max_messages: int = OUTBOX_MAX_MESSAGES, max_bytes: int = OUTBOX_MAX_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._messages: deque[ReceivedMessage] = deque()
        self._bytes = 0
        self._has_ended = False
        self._error: Exception | None = None
        self._dropped: Position | None = None  # the first one, since messages were last taken
        self._changed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self.drops_oldest = False

    @property
    def is_full(self) -> bool:
        """True if a reader should wait for `room` before it reads on."""
        return not self._has_room.is_set()

    def put(self, *messages: ReceivedMessage) -> None:
        """Add messages, however many come at once. After the end they are dropped."""
        if self._has_ended:
            return
        self._messages.extend(messages)
        self._bytes += sum(len(message.payload) for message in messages)
        self._changed.set()
        if self.drops_oldest:
            self._drop_oldest()
        elif self._is_over:
            self._has_room.clear()

    @property
    def _is_over(self) -> bool:
        return len(self._messages) >= self._max_messages or self._bytes >= self._max_bytes

    def _drop_oldest(self) -> None:
        while self._is_over:
            position = position_of(self._pop())
            self._dropped = self._dropped or position

    def _pop(self) -> ReceivedMessage:
        message = self._messages.popleft()
        self._bytes -= len(message.payload)
        return message

    async def room(self) -> None:
        """Wait until half of the bound is free, or for the end."""
        await self._has_room.wait()

    async def get(self) -> ReceivedMessage | None:
        """Wait for the next message and take it; None when there are no more.

        Raises:
            Exception: the one of `interrupt`, when all messages from before it have been taken.
        """
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self._has_ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        message = self._pop()
        self._dropped = None
        if len(self._messages) <= self._max_messages // 2 and self._bytes <= self._max_bytes // 2:
            self._has_room.set()
        return message

    def interrupt(self, error: Exception | None) -> None:
        """Make `get` raise an error when no message waits; None: no longer."""
        self._error = error
        self._changed.set()

    def cursor(self, stream: str) -> str | None:
        """Return the cursor before the first message of a stream's log that waits here, or was dropped; None if there
        is none.
        """
        positions = (position_of(message) for message in self._messages if stream_of(message) == stream)
        first = self._dropped or next((position for position in positions if position), None)
        return None if first is None else str(first.before)

    def clear(self) -> None:
        """Drop the messages that wait here."""
        self._messages.clear()
        self._bytes = 0
        self._dropped = None
        self._has_room.set()

    def end(self) -> None:
        """Take no more in. The messages that wait can still be taken out."""
        self._has_ended = True
        self._changed.set()
        self._has_room.set()
