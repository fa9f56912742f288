"""What a client receives, as pure code: a text in, a `ReceivedMessage` out.

More is let through than a producer may send: a client does not fail for a field, or a type, that is newer than it is.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import Struct


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message. `data` is its JSON as dictionaries and lists, with the names on the wire (`uploadId`).

    `timestamp` (RFC 3339) and `id` are None where the server gives none. `payload` is what came, byte for byte. What is
    no message, such as API Gateway's own `{"message": "Forbidden", …}`, has the type `""` and its JSON, or None, as
    `data`.
    """

    type: str
    data: Any
    timestamp: str | None = None
    id: str | None = None
    payload: bytes = field(default=b"", repr=False)


class _Envelope(Struct):
    type: str
    data: Any = None
    timestamp: Any = None
    id: Any = None


_envelope: Final = msgspec.json.Decoder(_Envelope)
_anything: Final = msgspec.json.Decoder()


def read_message(payload: bytes) -> ReceivedMessage:
    """Read what the server sent, whatever it is."""
    try:
        envelope = _envelope.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ReceivedMessage("", _json(payload), payload=payload)
    return ReceivedMessage(envelope.type, envelope.data, _text(envelope.timestamp), _text(envelope.id), payload)


def _json(payload: bytes) -> Any:
    try:
        return _anything.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
