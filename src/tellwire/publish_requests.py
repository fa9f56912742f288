"""Publishes over HTTP: bodies become publications, and outcomes become answers, on the gateway and on AWS. Pure.

body  ─▶ read_publish ─▶ Publication ─▶ a broker ─▶ Delivery, or a Problem
batch ─▶ lines_of ─▶ read_line ─▶ … ─▶ line_answer, for each line ─▶ joined
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from tellwire.errors import InvalidMessage, MessageTooBig, TellwireError
from tellwire.fields import plain_ttl
from tellwire.http_problems import INTERNAL_ERROR, LineProblem
from tellwire.limits import MAX_PUBLISH_BYTES, MAX_STATE_KEY_BYTES, MAX_TTL_SECONDS
from tellwire.messages import (
    CustomMessage,
    Escalation,
    KnownMessage,
    Message,
    MessageDecoder,
    StateMessage,
    type_of,
)
from tellwire.model import Delivery, Target
from tellwire.publication import Publication, with_trace

_encode: Final = msgspec.json.Encoder().encode

StateKey = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": MAX_STATE_KEY_BYTES})]
TimeToLive = Annotated[float, Meta(extra_json_schema={"exclusiveMinimum": 0, "maximum": MAX_TTL_SECONDS})]
_EXAMPLE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TraceContext = Annotated[str, Meta(extra_json_schema={"examples": [_EXAMPLE]})]


class PublishRequest(Struct, forbid_unknown_fields=True, rename="camel"):
    """A message and its target. After `ttl_seconds` a device that comes back does not get it.

    A message of an own type with a `key` is a state: only the newest of its type and key counts, and data null removes
    it, as does the end of its `ttl_seconds`, of at most a day. `escalate` is for a notification to a user.
    `trace_context` is a W3C `traceparent`; one that is malformed does not count.
    """

    target: Target
    message: KnownMessage
    ttl_seconds: TimeToLive | None = None
    key: StateKey | None = None
    escalate: Escalation | None = None
    trace_context: TraceContext | None = None


class _CustomPublishRequest(Struct, forbid_unknown_fields=True, rename="camel"):
    target: Target
    message: CustomMessage
    ttl_seconds: TimeToLive | None = None
    key: StateKey | None = None
    escalate: Escalation | None = None
    trace_context: TraceContext | None = None


_decoder: Final = MessageDecoder[PublishRequest, _CustomPublishRequest](PublishRequest, _CustomPublishRequest)


def read_publish(body: bytes) -> Publication:
    """Return the publication of a publish, from its JSON.

    Raises:
        InvalidMessage: it is not valid.
        MessageTooBig: the message is over 128 KiB.
    """
    request = _decoder.decode(body)
    ttl_seconds = request.ttl_seconds
    if ttl_seconds is not None:
        ttl_seconds = plain_ttl("ttlSeconds", ttl_seconds)
    message: Message = request.message
    if request.key is not None:
        if not isinstance(message, CustomMessage):
            raise InvalidMessage("key", request.key, f"no key: {type_of(message)} is no type of your own")
        message = StateMessage(message.type, message.data, message.timestamp, message.id, key=request.key)
    publication = Publication.of(request.target, message, ttl_seconds, escalation=request.escalate)
    return publication if request.trace_context is None else with_trace(publication, request.trace_context)


# --- batches ----------------------------------------------------------------------------------------------------------

Line = Publication | TellwireError
"""A line of a batch, decoded: its publication, or the reason why it has none."""


def count_lines(body: bytes) -> int:
    """Return the number of lines of a body, with the empty ones."""
    return body.count(b"\n") + (not body.endswith(b"\n")) if body else 0


def lines_of(body: bytes) -> Iterator[bytes]:
    """Yield the lines that are not empty, without a list of all."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        if line := body[start:end].strip():
            yield line
        start = end + 1


def read_line(line: bytes) -> Line:
    """Return a line of a batch, decoded."""
    try:
        if len(line) > MAX_PUBLISH_BYTES:
            raise MessageTooBig(len(line), MAX_PUBLISH_BYTES)
        return read_publish(line)
    except TellwireError as error:
        return error


def line_answer(outcome: Delivery | Exception) -> bytes:
    """Return the answer to a line."""
    return encoded(outcome) if isinstance(outcome, Delivery) else _encode(line_problem(outcome))


def line_problem(error: Exception) -> LineProblem:
    """Return the answer to a line that was refused, or that failed."""
    if isinstance(error, TellwireError):
        return LineProblem(error.code, str(error), error.http_status)
    return LineProblem(INTERNAL_ERROR.code, INTERNAL_ERROR.message, 500)


def joined(answers: Sequence[bytes]) -> bytes:
    """Return the answers to the lines as a body."""
    return b"\n".join([*answers, b""])


# Most deliveries are the same few.
@functools.lru_cache(maxsize=64)
def encoded(delivery: Delivery) -> bytes:
    """Return a delivery as JSON."""
    return _encode(delivery)
