"""Cursors and streams: the position of a message in the stream of its user or topic, as pure code.

A stream has a log lane, whose messages have a cursor `<epoch>:<offset>`, and a state lane, whose messages have a key
and a version. A message with neither has no position: it went to a connection or to everybody.
"""

from collections.abc import Iterable
from typing import Final

from tellwire.client.decode import ReceivedMessage
from tellwire.position import Position

USER_STREAM: Final = "user"
"""The name of the user's own stream in a map of cursors; that of a topic is `topic:<name>`."""

KEPT_NOTHING: Final = ""
"""The cursor of a client whose server keeps no history."""


def stream_of(message: ReceivedMessage) -> str | None:
    """Return the name of the stream that a message is in; None if it has no position."""
    if not has_position(message):
        return None
    return USER_STREAM if message.topic is None else topic_stream(message.topic)


def topic_stream(topic: str) -> str:
    """Return the name of a topic's stream."""
    return f"topic:{topic}"


def has_position(message: ReceivedMessage) -> bool:
    """Return whether a message is in the log, or a state."""
    return is_state(message) or position_of(message) is not None


def is_state(message: ReceivedMessage) -> bool:
    """Return whether a message is in the state lane."""
    return message.key is not None and message.version is not None


def position_of(message: ReceivedMessage) -> Position | None:
    """Return the position of a message of the log; None for any other."""
    return None if is_state(message) else Position.parse(message.cursor)


def offset_of(message: ReceivedMessage) -> int:
    """Return the offset of a message of the log; 0 for any other."""
    position = position_of(message)
    return position.offset if position else 0


def is_within(message: ReceivedMessage, end: Position) -> bool:
    """Return whether a message of the log is at or before a position."""
    position = position_of(message)
    return position is not None and position.epoch == end.epoch and position.offset <= end.offset


def by_offset(messages: Iterable[ReceivedMessage]) -> list[ReceivedMessage]:
    """Sort messages: the log by offset, then the states as they came."""
    return sorted(messages, key=lambda message: (is_state(message), offset_of(message)))
