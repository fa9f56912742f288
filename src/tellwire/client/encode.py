"""Encoding of the messages that a client sends, as pure code."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tellwire.errors import InvalidMessage, MessageTooBig
from tellwire.limits import MAX_MESSAGE_BYTES
from tellwire.wire import AckRequest, AuthRequest, CancelRequest, CustomRequest, HelloRequest, PingRequest

PING: Final = msgspec.json.encode(PingRequest())
"""The demand for a sign of life."""


def hello(cursors: Mapping[str, str]) -> bytes:
    """Encode a `hello`: the question for missed messages. Without cursors nothing was missed."""
    return msgspec.json.encode(HelloRequest(cursors=dict(cursors) or None))


def auth(token: str) -> bytes:
    """Encode the offer of a new token."""
    return msgspec.json.encode(AuthRequest(token))


def own_message(message_type: str, data: Any) -> bytes:
    """Encode a message of an application's own type. Without `data` it has none.

    Raises:
        InvalidMessage: `message_type` is empty, or `data` holds what JSON cannot carry.
        MessageTooBig: over 128 KiB.
    """
    if not isinstance(message_type, str) or not message_type:
        raise InvalidMessage("type", message_type, "a non-empty string")
    try:
        payload = msgspec.json.encode(CustomRequest(message_type, data))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessage("data", data, "what JSON can carry") from error
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageTooBig(len(payload), MAX_MESSAGE_BYTES)
    return payload


def ack(cursor: str) -> bytes:
    """Encode that the user has seen everything up to a cursor."""
    return msgspec.json.encode(AckRequest(cursor))


def cancel(upload_id: str) -> bytes:
    """Encode the wish to cancel an upload.

    Raises:
        InvalidMessage: `upload_id` is empty.
    """
    if not isinstance(upload_id, str) or not upload_id:
        raise InvalidMessage("upload_id", upload_id, "a non-empty string")
    return msgspec.json.encode(CancelRequest(upload_id))
