"""What a client receives, as pure code: a text in, a `ReceivedMessage` out.

More is let through than a producer may send: a client does not fail for a field, or a type, that is newer than it is.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message. `data` is its JSON as dictionaries and lists, with the names on the wire (`uploadId`).

    `timestamp` (RFC 3339) and `id` are None where the server gives none. So are `cursor`, the place of a message of the
    log, and `key` and `version`, those of a state. `payload` is what came, byte for byte. What is no message, such as
    API Gateway's own `{"message": "Forbidden", …}`, has the type `""` and its JSON, or None, as `data`.
    """

    type: str
    data: Any
    timestamp: str | None = None
    id: str | None = None
    payload: bytes = field(default=b"", repr=False)
    cursor: str | None = None
    key: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class WelcomePage:
    """One page of what was missed. `cursor` is where a client is after the last one; `""`: the server keeps nothing."""

    cursor: str
    recovered: bool
    messages: list[ReceivedMessage]
    states: list[ReceivedMessage]
    last: bool


class _Envelope(Struct):
    type: str
    data: Any = None
    timestamp: Any = None
    id: Any = None
    cursor: Any = None
    key: Any = None
    version: Any = None


class _WelcomeData(Struct):
    cursor: str
    recovered: bool
    last: bool
    messages: list[Raw] = []
    state: list[Raw] = []


class _Welcome(Struct):
    data: _WelcomeData


_envelope: Final = msgspec.json.Decoder(_Envelope)
_welcome: Final = msgspec.json.Decoder(_Welcome)
_anything: Final = msgspec.json.Decoder()


def read_message(payload: bytes) -> ReceivedMessage:
    """Read what the server sent, whatever it is."""
    try:
        envelope = _envelope.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ReceivedMessage("", _json(payload), payload=payload)
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
    )


def read_welcome(message: ReceivedMessage) -> WelcomePage | None:
    """Read a `welcome`; None if it is none that we understand."""
    try:
        page = _welcome.decode(message.payload).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return WelcomePage(page.cursor, page.recovered, _all(page.messages), _all(page.state), page.last)


def _all(raw: list[Raw]) -> list[ReceivedMessage]:
    return [read_message(bytes(each)) for each in raw]


def _json(payload: bytes) -> Any:
    try:
        return _anything.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
