"""Decoding of received messages, as pure code: a text in, a `ReceivedMessage` out.

It allows more than a producer may send: a client does not fail for a field, or a type, that is newer than it is.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tellwire.decode_errors import DECODE_ERRORS


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message. `data` is its JSON as dictionaries and lists, with the names on the wire (`uploadId`).

    `timestamp` (RFC 3339) and `id` are None where the server gives none. So are `cursor`, the position of a message of
    the log; `key` and `version`, those of a state; `topic`; and `from_user`, the user whose client published it.
    `payload` is the text as it came, in bytes.
    `replayed`: a welcome or a page of history brought it, so it may have happened long ago; False: it came live.
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
    replayed: bool = field(default=False, compare=False)
    from_user: str | None = None


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Older messages of the user's log, the newest first. `more`: there are older ones."""

    messages: list[ReceivedMessage]
    more: bool


@dataclass(frozen=True, slots=True)
class WelcomePage:
    """One page of the answer to a hello.

    `cursor` is the position after the last page; `""` means that the server keeps no history. The durations and limits
    are None where the server does not say them.
    """

    cursor: str
    recovered: bool
    messages: list[ReceivedMessage]
    states: list[ReceivedMessage]
    last: bool
    heartbeat_seconds: float | None = None
    rotate_after_seconds: float | None = None
    requests_per_second: float | None = None
    request_burst: float | None = None
    hello_interval_seconds: float | None = None
    max_subscriptions: float | None = None
    user_id: str | None = None


class _Envelope(Struct):
    type: str
    data: Any = None
    timestamp: Any = None
    id: Any = None
    cursor: Any = None
    key: Any = None
    version: Any = None
    topic: Any = None
    from_user: Any = msgspec.field(default=None, name="from")


class _WelcomeData(Struct, rename="camel"):
    cursor: str
    recovered: bool
    last: bool
    messages: list[Raw] = []
    state: list[Raw] = []
    user_id: Any = None
    heartbeat_seconds: Any = None
    rotate_after_seconds: Any = None
    limits: Any = None


class _Welcome(Struct):
    data: _WelcomeData


_envelope: Final = msgspec.json.Decoder(_Envelope)
_welcome: Final = msgspec.json.Decoder(_Welcome)


def read_message(payload: bytes) -> ReceivedMessage | None:
    """Decode a text from the server; None if it is no message: not JSON, or without a type."""
    try:
        envelope = _envelope.decode(payload)
    except DECODE_ERRORS:
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
        from_user=_text(envelope.from_user),
    )


def read_welcome(message: ReceivedMessage) -> WelcomePage | None:
    """Decode a `welcome`; None if it is malformed."""
    try:
        page = _welcome.decode(message.payload).data
    except DECODE_ERRORS:
        return None
    limits = page.limits if isinstance(page.limits, dict) else {}
    return WelcomePage(
        page.cursor,
        page.recovered,
        _all(page.messages),
        _all(page.state),
        page.last,
        _positive(page.heartbeat_seconds),
        _positive(page.rotate_after_seconds),
        _positive(limits.get("maxRequestsPerSecond")),
        _positive(limits.get("maxRequestBurst")),
        _positive(limits.get("helloIntervalSeconds")),
        _positive(limits.get("maxSubscriptions")),
        _text(page.user_id),
    )


def read_history(result: Any) -> HistoryPage:
    """Return the page in the result of a `history` request; one without messages if it is malformed."""
    messages = result.get("messages") if isinstance(result, dict) else None
    raw = [Raw(msgspec.json.encode(each)) for each in messages] if isinstance(messages, list) else []
    return HistoryPage(_all(raw), bool(raw) and result.get("more") is True)


def _all(raw: list[Raw]) -> list[ReceivedMessage]:
    read = (read_message(bytes(each)) for each in raw)
    return [replace(message, replayed=True) for message in read if message is not None]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _positive(value: object) -> float | None:
    is_one = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return float(value) if is_one else None  # type: ignore[arg-type]
