"""Decoding of received messages, as pure code: a text in, a `ReceivedMessage` out.

It allows more than a producer may send: a client does not fail for a field, or a type, that is newer than it is.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message. `data` is its JSON as dictionaries and lists, with the names on the wire (`uploadId`).

    `timestamp` (RFC 3339) and `id` are None where the server gives none. So are `cursor`, the position of a message of
    the log; `key` and `version`, those of a state; and `topic`. `payload` is the text as it came, in bytes.
    """

    type: str
    data: Any
    timestamp: str | None = None
    id: str | None = None
    payload: bytes = field(default=b"", repr=False)
    cursor: str | None = None
    key: str | None = None
    version: int | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class WelcomePage:
    """One page of the answer to a hello.

    `cursor` is the position after the last page; `""` means that the server keeps no history. The durations are None
    where the server does not say them.
    """

    cursor: str
    recovered: bool
    messages: list[ReceivedMessage]
    states: list[ReceivedMessage]
    last: bool
    heartbeat_seconds: float | None = None
    rotate_after_seconds: float | None = None


class _Envelope(Struct):
    type: str
    data: Any = None
    timestamp: Any = None
    id: Any = None
    cursor: Any = None
    key: Any = None
    version: Any = None
    topic: Any = None


class _WelcomeData(Struct, rename="camel"):
    cursor: str
    recovered: bool
    last: bool
    messages: list[Raw] = []
    state: list[Raw] = []
    heartbeat_seconds: Any = None
    rotate_after_seconds: Any = None


class _Welcome(Struct):
    data: _WelcomeData


_envelope: Final = msgspec.json.Decoder(_Envelope)
_welcome: Final = msgspec.json.Decoder(_Welcome)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_message(payload: bytes) -> ReceivedMessage | None:
    """Decode a text from the server; None if it is no message: not JSON, or without a type."""
    try:
        envelope = _envelope.decode(payload)
    except _UNREADABLE:
        return None
    version = envelope.version if type(envelope.version) is int else None
    return ReceivedMessage(
        envelope.type,
        envelope.data,
        _text(envelope.timestamp),
        _text(envelope.id),
        payload,
        _text(envelope.cursor),
        _text(envelope.key),
        version,
        _text(envelope.topic),
    )


def read_welcome(message: ReceivedMessage) -> WelcomePage | None:
    """Decode a `welcome`; None if it is malformed."""
    try:
        page = _welcome.decode(message.payload).data
    except _UNREADABLE:
        return None
    return WelcomePage(
        page.cursor,
        page.recovered,
        _all(page.messages),
        _all(page.state),
        page.last,
        _seconds(page.heartbeat_seconds),
        _seconds(page.rotate_after_seconds),
    )


def _all(raw: list[Raw]) -> list[ReceivedMessage]:
    read = (read_message(bytes(each)) for each in raw)
    return [message for message in read if message is not None]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: object) -> float | None:
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return float(value) if is_one else None  # type: ignore[arg-type]
