"""Publications: encoded messages with the fields that their stream needs. Pure.

    message, target ─▶ Publication.of ─▶ broker, history, carriers, hub, outbox: none of them decodes the payload

A publication belongs to the stream of its target, a user's or a topic's. A user's is kept there; whether a topic's is,
the rules of topics say, which its broker knows. A publication for connections, or for all, has no stream: it is for
live connections only.
"""

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NewType

from msgspec import UNSET, Struct, structs

from tellwire.errors import InvalidMessage, MessageTooBig
from tellwire.fields import epoch_seconds, plain_ttl
from tellwire.limits import MAX_LEASE_SECONDS, MAX_MESSAGE_BYTES, MAX_UPLOAD_ID_BYTES, MIN_LEASE_SECONDS
from tellwire.messages import (
    TERMINAL_STATUSES,
    Error,
    ErrorMessage,
    EscalatedNotificationMessage,
    Escalation,
    Message,
    NotificationMessage,
    StateMessage,
    UploadProgressMessage,
    UploadStatus,
    encode_with_id,
    type_of,
)
from tellwire.model import Target
from tellwire.parts import Part
from tellwire.wire import of_topic, room_in_log, room_of_state

StreamKey = NewType("StreamKey", str)
"""The name of a stream: `user:<id>`, `topic:<name>` or `escalations:<user id>`, of which no device hears."""

NO_RUNS: Final[Mapping[str, str]] = MappingProxyType({})
"""The superseded runs of an upload that has none."""

_USER_PREFIX = "user:"
_TOPIC_PREFIX = "topic:"
_UPLOAD_PREFIX = "upload:"
_ESCALATIONS_PREFIX = "escalations:"

_ROOM_IN_LOG = room_in_log()
# A character has up to six bytes in JSON.
_FITS_WITH_ANY_KEY = MAX_MESSAGE_BYTES - room_of_state("\0" * 2 * MAX_UPLOAD_ID_BYTES)


DISMISSED: Final = "dismissed"
"""The type, and the status, of the state of an ended upload that the user wants to see no more."""

CURRENT: Final = "current"
"""The status of a state of the project's own types, as long as it is there."""

REMOVED: Final = "removed"
"""The status of a state of the project's own types that is there no more. Devices that know it are told, others not."""

OWN_STATUSES: Final = frozenset({CURRENT, REMOVED})
UNSHOWN_STATUSES: Final = frozenset({DISMISSED, REMOVED})
"""The statuses of states that a device without them is not told of."""

OWN_STATE_PREFIX: Final = "state:"
"""The beginning of the keys of states of the project's own types, and of no others."""

# They have fields that devices do not get.
_WITH_MORE: Final = frozenset({StateMessage, EscalatedNotificationMessage})

# https://www.w3.org/TR/trace-context/#traceparent-header: version 00, and no id of zeros alone.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_ENDED: Final = TERMINAL_STATUSES | UNSHOWN_STATUSES


def user_stream(user_id: str) -> StreamKey:
    """Return the name of a user's stream."""
    return StreamKey(_USER_PREFIX + user_id)


def topic_stream(topic: str) -> StreamKey:
    """Return the name of a topic's stream."""
    return StreamKey(_TOPIC_PREFIX + topic)


def escalation_stream(user_id: str) -> StreamKey:
    """Return the name of the stream of a user's escalations: states alone, to which no connection is subscribed."""
    return StreamKey(_ESCALATIONS_PREFIX + user_id)


def is_of_user(stream: StreamKey) -> bool:
    """Return True if a stream is that of a user."""
    return stream.startswith(_USER_PREFIX)


def is_of_escalations(stream: StreamKey) -> bool:
    """Return True if a stream is that of a user's escalations."""
    return stream.startswith(_ESCALATIONS_PREFIX)


def is_of_topic(stream: StreamKey) -> bool:
    """Return True if a stream is that of a topic."""
    return stream.startswith(_TOPIC_PREFIX)


def user_of(stream: StreamKey) -> str | None:
    """Return the user of a stream; None if it is a topic's."""
    return stream.removeprefix(_USER_PREFIX) if is_of_user(stream) else None


def topic_of(stream: StreamKey) -> str | None:
    """Return the topic of a stream; None if it is a user's."""
    return stream.removeprefix(_TOPIC_PREFIX) if is_of_topic(stream) else None


def target_stream(target: Target) -> StreamKey | None:
    """Return the stream of a target; None if it has none."""
    if target.user is not None:
        return user_stream(target.user)
    return None if target.topic is None else topic_stream(target.topic)


def stream_target(stream: StreamKey) -> Target:
    """Return the target of a stream."""
    topic = topic_of(stream)
    return Target(user=stream.partition(":")[2]) if topic is None else Target(topic=topic)


def upload_key(upload_id: str) -> str:
    """Return the key of an upload's state."""
    return f"{_UPLOAD_PREFIX}{upload_id}"


def own_state_key(message_type: str, key: str) -> str:
    """Return the key, in a stream, of a state of a type of the project's own."""
    return f"{OWN_STATE_PREFIX}{message_type}:{key}"


def is_own_state(key: str | None) -> bool:
    """Return True if the key of a state is that of a type of the project's own."""
    return key is not None and key.startswith(OWN_STATE_PREFIX)


def given_key(message_type: str, key: str) -> str:
    """Return the key that a producer gave for a state of an own type, of its key in a stream."""
    return key.removeprefix(own_state_key(message_type, ""))


# gc=False: tens of thousands are alive at once, and none is part of a reference cycle.
class Publication(Struct, frozen=True, gc=False):
    """One encoded message, its target, and the stream that it belongs to (None: to none, and it is not kept).

    `payload` is its JSON. `key` is that of a state; None: it is a message of the log. `published_at` is its timestamp
    in epoch seconds, which orders the states of a run; `seen` has an offset instead.

    For an upload: `status`, `run` (the name of this run; None if its producer does not distinguish runs),
    `lease_seconds` (the longest silence of its worker), and `begins_run` (this looks like the first state of a run).
    `past_runs` are the superseded runs, with their last statuses; the stream adds them. `part` is that of a worker that
    shares the upload; the stream adds it to `parts`, and makes the whole of them.

    A state of the project's own types has the status `current` or `removed`, and its time to live is its lease.

    `replaces` is the version of the state it was made from; it may replace no other. 0: there may be none.

    `ttl_seconds`: it is not replayed after this time. `trace_context` (W3C `traceparent`) is passed on. None: not set.

    `escalation` is that of a notification, which is kept together with it: a state in a stream of its own.
    """

    target: Target
    stream: StreamKey | None
    id: str
    type: str
    payload: bytes
    published_at: float
    key: str | None = None
    status: str | None = None
    run: str | None = None
    lease_seconds: float | None = None
    begins_run: bool = False
    replaces: int | None = None
    ttl_seconds: float | None = None
    trace_context: str | None = None
    past_runs: Mapping[str, str] = NO_RUNS
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    escalation: Escalation | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # For carriers that give it to another process: a `MappingProxyType` cannot be pickled.
        fields = structs.asdict(self) | {"past_runs": dict(self.past_runs)}
        return functools.partial(Publication, **fields), ()

    @classmethod
    def of(
        cls,
        target: Target,
        message: Message,
        ttl_seconds: float | None = None,
        from_user: str | None = None,
        escalation: Escalation | None = None,
    ) -> "Publication":
        """Encode a message for a target. One without an `id` gets a new one. One to a topic gets the topic's name, and
        the user `from_user` whose client published it. `escalation` is for a notification to a user; a message may
        have it, too.

        Raises:
            InvalidMessage: not a message, or its data holds a value that JSON cannot carry; an error that says which
                request or topic it answers; a state for no user and no topic; a wrong `ttl_seconds`; or an escalation
                of something else.
            MessageTooBig: over 128 KiB, together with the position that its stream will give it.
        """
        if ttl_seconds is not None:
            ttl_seconds = plain_ttl("ttl_seconds", ttl_seconds)
        if escalation is not None or type(message) in _WITH_MORE:
            return cls._with_more(target, message, ttl_seconds, escalation)
        message_id, payload = encode_with_id(message)
        if target.topic is not None:
            payload = of_topic(payload, target.topic, from_user)
        stream = target_stream(target)
        published_at = _seconds(message.timestamp)
        if not isinstance(message, UploadProgressMessage):
            if isinstance(message, ErrorMessage):
                _require_no_answer(message.data)
            if stream is not None and len(payload) > MAX_MESSAGE_BYTES - _ROOM_IN_LOG:
                raise MessageTooBig(len(payload), MAX_MESSAGE_BYTES - _ROOM_IN_LOG)
            return cls(target, stream, message_id, type_of(message), payload, published_at, ttl_seconds=ttl_seconds)
        data = message.data
        key = upload_key(data.upload_id)
        if stream is not None and len(payload) > _FITS_WITH_ANY_KEY:
            _require_room_of_state(payload, key)
        status: UploadStatus = data.status or ("complete" if data.progress >= 100 else "running")
        return cls(
            target,
            stream,
            message_id,
            "upload_progress",
            payload,
            published_at,
            key,
            status,
            data.run or data.started_at,
            data.lease_seconds,
            data.progress == 0 and status not in TERMINAL_STATUSES,
            ttl_seconds=ttl_seconds,
            part=None if data.part is None else Part.of_upload(data, status, published_at),
        )

    @classmethod
    def _with_more(
        cls, target: Target, message: Message, ttl_seconds: float | None, escalation: Escalation | None
    ) -> "Publication":
        if isinstance(message, StateMessage) and escalation is None:
            return cls._own_state(target, message, ttl_seconds)
        message, escalation = _escalated(target, message, escalation)
        return structs.replace(cls.of(target, message, ttl_seconds), escalation=escalation)

    @classmethod
    def _own_state(cls, target: Target, message: StateMessage, ttl_seconds: float | None) -> "Publication":
        stream = target_stream(target)
        if stream is None:
            raise InvalidMessage("target", target, "a user or a topic, whose stream keeps the state")
        if ttl_seconds is not None and not MIN_LEASE_SECONDS <= ttl_seconds <= MAX_LEASE_SECONDS:
            allowed = f"{MIN_LEASE_SECONDS} to {MAX_LEASE_SECONDS:,} seconds for a state"
            raise InvalidMessage("ttl_seconds", ttl_seconds, allowed)
        message_id, payload = encode_with_id(message.without_key())
        if target.topic is not None:
            payload = of_topic(payload, target.topic)
        key = own_state_key(message.type, message.key)
        _require_room_of_state(payload, key)
        return cls(
            target,
            stream,
            message_id,
            message.type,
            payload,
            _seconds(message.timestamp),
            key,
            REMOVED if message.data is None else CURRENT,
            lease_seconds=None if message.data is None else ttl_seconds,
        )

    @property
    def is_final(self) -> bool:
        """True for the last state of a run."""
        return self.status in _ENDED


def with_trace(publication: Publication, traceparent: str) -> Publication:
    """Return a publication with the context of a trace. One that W3C's rules do not allow does not count."""
    if _TRACEPARENT.fullmatch(traceparent) is None:
        return publication
    return structs.replace(publication, trace_context=traceparent)


def stream_of(publication: Publication) -> StreamKey:
    """Return the stream of a publication that has one.

    Raises:
        ValueError: it is for connections, or for everybody, and is not kept.
    """
    stream = publication.stream
    if stream is None:
        raise ValueError(f"target: got {publication.target}; allowed: one with a stream")
    return stream


def _require_no_answer(error: Error) -> None:
    """Raise if an error names a request or a topic. Clients would take it for the server's answer, and not show it."""
    for name, value in (("data.id", error.id), ("data.topic", error.topic)):
        if value is not UNSET:
            raise InvalidMessage(name, value, "no such field here: only a server's answer has one")


def _escalated(
    target: Target, message: Message, escalation: Escalation | None
) -> tuple[NotificationMessage, Escalation | None]:
    """Return a message as devices get it, and its escalation. Raises `InvalidMessage` if it cannot have one: only a
    single user can have acknowledged it.
    """
    if target.user is None:
        raise InvalidMessage("escalate", target, "a notification to one user: a target with user")
    if not isinstance(message, NotificationMessage):
        raise InvalidMessage("escalate", type_of(message), "a notification: no message of another type")
    if isinstance(message, EscalatedNotificationMessage):
        return message.plain, escalation or message.escalate
    return message, escalation


def _require_room_of_state(payload: bytes, key: str) -> None:
    room = room_of_state(key)
    if len(payload) + room > MAX_MESSAGE_BYTES:
        raise MessageTooBig(len(payload), MAX_MESSAGE_BYTES - room)


def _seconds(time: str) -> float:
    # A message was checked when it was made.
    return epoch_seconds(time) or 0.0
