"""The queues between the sockets and the application: one for the user's own messages, one for each topic.

If one of them is full, nothing is read until there is room. So an application iterates over everything that it follows.
The user's own queue is an exception while there are topics and nobody has ever iterated over it: it drops its oldest
messages, so that a program that cares for a topic alone does not stop.
"""

import logging
from collections.abc import Iterator

from tellwire.client.cursors import USER_STREAM, topic_stream
from tellwire.client.decode import ReceivedMessage
from tellwire.client.inbox import Inbox

logger = logging.getLogger("tellwire.client")


class Inboxes:
    """All queues of one application."""

    def __init__(self) -> None:
        self.user = Inbox()
        self._topics: dict[str, Inbox] = {}
        self._is_iterated = False
        self._has_ended = False

    def iterate(self) -> None:
        """Note that somebody takes the user's messages."""
        self._is_iterated = True
        self._set_dropping()

    def add(self, topic: str) -> Inbox:
        """Return a new queue for a topic."""
        inbox = self._topics[topic] = Inbox()
        if self._has_ended:
            inbox.end()
        self._set_dropping()
        return inbox

    def remove(self, topic: str) -> None:
        """Drop the queue of a topic, with its messages."""
        if (inbox := self._topics.pop(topic, None)) is not None:
            inbox.clear()
            inbox.end()
        self._set_dropping()

    def _set_dropping(self) -> None:
        self.user.drops_oldest = bool(self._topics) and not self._is_iterated

    @property
    def _all(self) -> Iterator[Inbox]:
        yield self.user
        yield from self._topics.values()

    @property
    def is_full(self) -> bool:
        """True if a reader should wait for `room` before it reads on."""
        return any(inbox.is_full for inbox in self._all)

    def put(self, messages: list[ReceivedMessage], topic: str | None) -> None:
        """Add messages to the queue of a topic, or to that of the user."""
        inbox = self.user if topic is None else self._topics.get(topic)
        if inbox is not None:
            inbox.put(*messages)

    async def room(self) -> None:
        """Wait until none is full."""
        while (full := next((inbox for inbox in self._all if inbox.is_full), None)) is not None:
            await full.room()

    def cursor(self, stream: str) -> str | None:
        """Return the cursor before the first message of a stream's log that waits here; None if none waits."""
        if stream == USER_STREAM:
            return self.user.cursor(stream)
        named = (inbox for topic, inbox in self._topics.items() if topic_stream(topic) == stream)
        inbox = next(named, None)
        return None if inbox is None else inbox.cursor(stream)

    def clear(self) -> None:
        """Drop all messages that wait."""
        for inbox in self._all:
            inbox.clear()

    def end(self) -> None:
        """Take no more in. The messages that wait can still be taken out."""
        self._has_ended = True
        for inbox in self._all:
            inbox.end()
