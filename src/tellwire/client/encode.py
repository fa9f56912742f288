"""Encoding of the messages that a client sends, as pure code."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from tellwire.client.cursors import USER_STREAM
from tellwire.errors import InvalidMessage, MessageTooBig
from tellwire.limits import MAX_HISTORY_PAGE, MAX_MARKED_AT_ONCE, MAX_MESSAGE_BYTES
from tellwire.position import Position
from tellwire.publication import upload_key
from tellwire.wire import (
    AckRequest,
    AuthRequest,
    CancelRequest,
    ClientMessage,
    CustomRequest,
    DismissRequest,
    HelloRequest,
    PingRequest,
    PresenceRequest,
    PublishRequest,
    ReadRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)

PING: Final = msgspec.json.encode(PingRequest())
"""The demand for a sign of life."""


def hello(cursors: Mapping[str, str], version: int | None = None, versions: Mapping[str, int] | None = None) -> bytes:
    """Encode a `hello`: the question for missed messages. Without cursors nothing was missed.

    `version` is that of the user's own stream, `versions` are those of topics, by the names of their streams.
    """
    request = HelloRequest(
        cursors=dict(cursors) or None, version=version or UNSET, versions=dict(versions) if versions else UNSET
    )
    return msgspec.json.encode(request)


def subscribe(topic: str, cursor: str | None, version: int | None) -> bytes:
    """Encode the wish to follow a topic, and the question for its messages after a cursor."""
    return msgspec.json.encode(SubscribeRequest(topic, UNSET if cursor is None else cursor, version or UNSET))


def unsubscribe(topic: str) -> bytes:
    """Encode the wish to follow a topic no longer."""
    return msgspec.json.encode(UnsubscribeRequest(topic))


def presence(request_id: str, topic: str) -> bytes:
    """Encode the question who is in a topic, and who comes and goes from then on."""
    return msgspec.json.encode(PresenceRequest(topic, request_id))


def auth(token: str) -> bytes:
    """Encode the offer of a new token."""
    return msgspec.json.encode(AuthRequest(token))


def own_message(request_id: str, message_type: str, data: Any) -> bytes:
    """Encode a request of an application's own type. Without `data` it has none.

    Raises:
        InvalidMessage: `message_type` is empty, or `data` holds what JSON cannot carry.
        MessageTooBig: over 128 KiB.
    """
    if not isinstance(message_type, str) or not message_type:
        raise InvalidMessage("type", message_type, "a non-empty string")
    return _own(CustomRequest(message_type, data, request_id), data)


def _own(request: CustomRequest | PublishRequest, data: Any) -> bytes:
    try:
        payload = msgspec.json.encode(request)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessage("data", data, "what JSON can carry") from error
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageTooBig(len(payload), MAX_MESSAGE_BYTES)
    return payload


def ack(request_id: str, cursor: str) -> bytes:
    """Encode that the user has seen everything up to a cursor."""
    return msgspec.json.encode(AckRequest(_cursor("cursor", cursor), request_id))


def cancel(request_id: str, upload_id: str) -> bytes:
    """Encode the wish to cancel an upload.

    Raises:
        InvalidMessage: `upload_id` is empty.
    """
    return msgspec.json.encode(CancelRequest(_named(upload_id), request_id))


def read(request_id: str, cursors: Sequence[str] | None, up_to: str | None) -> bytes:
    """Encode that the user has read messages: those at the cursors, and all up to a cursor.

    Raises:
        InvalidMessage: there is neither, or one of them is no cursor.
    """
    if not cursors and up_to is None:
        raise InvalidMessage("read", None, "cursors, up_to, or both")
    return msgspec.json.encode(ReadRequest(_cursors(cursors), _up_to(up_to), request_id))


def dismiss(
    request_id: str, upload_id: str | None, cursors: Sequence[str] | None, up_to: str | None, ended_up_to: int | None
) -> bytes:
    """Encode the wish to see something no more.

    Raises:
        InvalidMessage: there is not exactly one of them, or it is not valid.
    """
    given = {"upload_id": upload_id, "cursors": cursors, "up_to": up_to, "ended_up_to": ended_up_to}
    names = [name for name, each in given.items() if each is not None]
    if len(names) != 1:
        raise InvalidMessage("dismiss", names, f"exactly one of {', '.join(given)}")
    if ended_up_to is not None and (isinstance(ended_up_to, bool) or ended_up_to < 1):
        raise InvalidMessage("ended_up_to", ended_up_to, "the version of a state: a whole number from 1")
    key = UNSET if upload_id is None else upload_key(_named(upload_id))
    version = UNSET if ended_up_to is None else ended_up_to
    return msgspec.json.encode(DismissRequest(key, version, _cursors(cursors), _up_to(up_to), request_id))


def publish(request_id: str, topic: str, message_type: str, data: Any) -> bytes:
    """Encode a message of an application's own type that is for a topic.

    Raises:
        InvalidMessage: `message_type` is empty, or `data` holds what JSON cannot carry.
        MessageTooBig: over 128 KiB.
    """
    if not isinstance(message_type, str) or not message_type:
        raise InvalidMessage("type", message_type, "a non-empty string")
    return _own(PublishRequest(topic, ClientMessage(message_type, data), request_id), data)


def history(request_id: str, before: str | None, limit: int | None, stream: str = USER_STREAM) -> bytes:
    """Encode the question for older messages of a log, by default the user's.

    Raises:
        InvalidMessage: `before` is no cursor, or `limit` is out of bounds.
    """
    if limit is None:
        limit = MAX_HISTORY_PAGE
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_HISTORY_PAGE:
        raise InvalidMessage("limit", limit, f"a whole number from 1 to {MAX_HISTORY_PAGE}")
    request = {"type": "history", "id": request_id, "stream": stream, "limit": limit}
    return msgspec.json.encode(request if before is None else request | {"before": _cursor("before", before)})


def _cursors(cursors: Sequence[str] | None) -> list[str] | UnsetType:
    if not cursors:
        return UNSET
    if isinstance(cursors, str) or len(cursors) > MAX_MARKED_AT_ONCE:
        raise InvalidMessage("cursors", cursors, f"a list of 1 to {MAX_MARKED_AT_ONCE} cursors")
    return [_cursor("cursors", each) for each in cursors]


def _up_to(up_to: str | None) -> str | UnsetType:
    return UNSET if up_to is None else _cursor("up_to", up_to)


def _cursor(name: str, cursor: object) -> str:
    if not isinstance(cursor, str) or Position.parse(cursor) is None:
        raise InvalidMessage(name, cursor, "the cursor of a message, <epoch>:<offset>")
    return cursor


def _named(upload_id: object) -> str:
    if not isinstance(upload_id, str) or not upload_id:
        raise InvalidMessage("upload_id", upload_id, "a non-empty string")
    return upload_id
