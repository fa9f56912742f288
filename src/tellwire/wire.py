"""The frames of the protocol, as structs: the one definition for Python, the JSON Schema and TypeScript.

    server → client   welcome, subscribed, unsubscribed, presence, join, leave, seen, marks, dismissed, auth_ok, pong,
                      ok
    client → server   ping, auth, hello, subscribe, unsubscribe, presence, publish, ack, cancel, read, dismiss, history
    both              `Positioned`: the fields that give a published message its position in a stream

Published messages (`upload_progress`, `notification`, `error`, custom types) are in `messages`. From both,
`scripts/export_spec.py` writes `spec/`; from that, `clients/core/scripts/generate-types.mjs` writes TypeScript types.

Rules:
- Names on the wire are camelCase; Python's are snake_case.
- A field that is `UNSET` is left out. Receivers ignore fields and types that they do not know.
- The protocol's own types, and some names of later versions, are reserved: no custom message may have one.
- Pure: bytes in, bytes out.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from tellwire.limits import (
    MAX_EPOCH_CHARACTERS,
    MAX_HELLO_STREAMS,
    MAX_HISTORY_PAGE,
    MAX_MARKED_AT_ONCE,
    MAX_PRESENCE_MEMBERS,
    MAX_REQUEST_ID_CHARACTERS,
    MAX_TOPIC_BYTES,
    ROTATE_AFTER_SECONDS,
)
from tellwire.model import timestamp
from tellwire.text import TOPIC_PATTERN

TIMESTAMP_PATTERN: Final = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{1,9})?(Z|\+00:00)$"
)
CURSOR_PATTERN: Final = r"^.+:[0-9]{1,15}$"
"""`<epoch>:<offset>`. An offset has at most 15 digits: every language reads such a number from JSON exactly."""

_HIGHEST_NUMBER: Final = 10**15 - 1

Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time", "pattern": TIMESTAMP_PATTERN})]
Cursor = Annotated[str, Meta(extra_json_schema={"pattern": CURSOR_PATTERN})]
CursorOrNone = Annotated[str, Meta(extra_json_schema={"pattern": f"^$|{CURSOR_PATTERN}"})]
StreamName = Annotated[str, Meta(pattern=r"^(user|topic:.+)$")]
TopicName = Annotated[
    str, Meta(min_length=1, extra_json_schema={"pattern": TOPIC_PATTERN, "maxLength": MAX_TOPIC_BYTES})
]
"""At most 256 bytes of UTF-8, so at most as many characters."""

Text = Annotated[str, Meta(min_length=1)]
RequestId = Annotated[str, Meta(min_length=1, max_length=MAX_REQUEST_ID_CHARACTERS)]
Counted = Annotated[int, Meta(ge=1)]
Seconds = Annotated[int, Meta(ge=1)]
OffsetRanges = list[Annotated[list[Counted], Meta(min_length=2, max_length=2)]]
Cursors = Annotated[list[str], Meta(min_length=1, max_length=MAX_MARKED_AT_ONCE)]
CursorsByStream = Annotated[dict[StreamName, str], Meta(max_length=MAX_HELLO_STREAMS)]
VersionsByStream = Annotated[dict[StreamName, Counted], Meta(max_length=MAX_HELLO_STREAMS)]

# One `Raw` that holds a JSON array: its messages were encoded when they were published, and are not decoded again.
RawMessages = Annotated[Raw, Meta(extra_json_schema={"type": "array", "items": {"$ref": "#/$defs/PublishedMessage"}})]
RawStates = Annotated[
    Raw,
    Meta(
        extra_json_schema={
            "type": "array",
            "items": {
                "anyOf": [
                    {"$ref": "#/$defs/UploadProgressMessage"},
                    {"$ref": "#/$defs/SeenMessage"},
                    {"$ref": "#/$defs/MarksMessage"},
                    {"$ref": "#/$defs/DismissedMessage"},
                    {"$ref": "#/$defs/CustomMessage"},
                ]
            },
        }
    ),
]

MemberInfo = Annotated[Raw, Meta(extra_json_schema={"type": "object", "additionalProperties": {}})]
"""Of at most `MAX_PRESENCE_INFO_BYTES`, as it was encoded when its token came."""


def _no_messages() -> Raw:
    return Raw(b"[]")


class Positioned(Struct, frozen=True, omit_defaults=True):
    """The position of a message in its stream. A message to a connection or to everybody has none.

    In the log lane `cursor` is the stream's epoch, a colon and the message's offset. In the state lane `key` names the
    subject of a state, and of two versions of a key the higher one is the newer. `topic` is that of a message to one,
    kept or not. `from` is the user who published it, if a client did: only servers set it.
    """

    cursor: Cursor | UnsetType = UNSET
    key: Text | UnsetType = UNSET
    version: Counted | UnsetType = UNSET
    topic: Text | UnsetType = UNSET
    from_: Text | UnsetType = field(default=UNSET, name="from")


# --- server → client --------------------------------------------------------------------------------------------------


class Limits(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Bounds that a client should keep to. A server refuses requests beyond them, and at last closes with 4429.

    Messages: at most `max_request_burst` at once, and on average `max_requests_per_second`; `hello_interval_seconds`
    from one `hello` to the next. At most `max_subscriptions` topics are followed by one connection.
    """

    max_message_bytes: Counted | UnsetType = UNSET
    max_requests_in_flight: Counted | UnsetType = UNSET
    max_requests_per_second: Counted | UnsetType = UNSET
    max_request_burst: Counted | UnsetType = UNSET
    hello_interval_seconds: Seconds | UnsetType = UNSET
    max_subscriptions: Counted | UnsetType = UNSET


class Welcome(Struct, frozen=True, rename="camel"):
    """One page of the answer to a `hello`: the messages that the client missed, and the newest states.

    `messages` are those of the log lane, oldest first; `state` is the newest of each key; `last` is true on the final
    page. `cursor` is the position of a client that has all pages; empty if the server keeps no history. With
    `recovered` false something may be missing. A client sends a `ping` after `heartbeat_seconds` without anything
    received, and moves to a new connection after `rotate_after_seconds`. The connection ends at `expires_at`.
    """

    connection_id: Text
    user_id: Text
    cursor: CursorOrNone
    recovered: bool
    expires_at: Timestamp
    heartbeat_seconds: Seconds
    rotate_after_seconds: Seconds = ROTATE_AFTER_SECONDS
    limits: Limits | UnsetType = UNSET
    messages: RawMessages = field(default_factory=_no_messages)
    state: RawStates = field(default_factory=_no_messages)
    last: bool = True


class Seen(Struct, frozen=True):
    """The user has seen everything up to `cursor`, on some device."""

    cursor: Cursor


class Marks(Struct, frozen=True):
    """The messages of the log that the user has read, and those that they want to see no more, on some device.

    Both are ranges of offsets in the log of `epoch`: pairs of the first and the last one, in their order. Whatever is
    dismissed is read, too. Marks of another epoch than a message's say nothing about it.
    """

    epoch: Text
    read: OffsetRanges
    dismissed: OffsetRanges


class Dismissed(Struct, frozen=True):
    """The state of this key was dismissed on some device: show it no more. An upload's key is `upload:<uploadId>`."""

    key: Text


class AuthOk(Struct, frozen=True, rename="camel"):
    """The new token was accepted: the connection lives until it expires."""

    expires_at: Timestamp


class TopicEnd(Struct, frozen=True, omit_defaults=True):
    """The end of the stream of a topic: that of its log, and the highest version of a state."""

    cursor: Cursor | UnsetType = UNSET
    version: Counted | UnsetType = UNSET


class Pong(Struct, frozen=True, omit_defaults=True):
    """The answer to a `ping`: where the user's own stream ends, if the server knows.

    `cursor` is the end of its log, `version` the highest one of a state. A client that has less a moment later has
    missed something, and says `hello`. `topics` has the ends of the topics that the connection is subscribed to, as
    far as the server knows them: a client that has less says `subscribe` with its cursor.
    """

    cursor: Cursor | UnsetType = UNSET
    version: Counted | UnsetType = UNSET
    topics: dict[str, TopicEnd] | UnsetType = UNSET


class Ok(Struct, frozen=True, omit_defaults=True):
    """The request with this `id` was done. Some have a `result`: `history` a `HistoryResult`, and a request of an own
    type the message of its handler.
    """

    id: RequestId
    result: Raw | UnsetType = UNSET


class HistoryResult(Struct, frozen=True):
    """Kept messages of a log, the newest first. `more`: there are older ones."""

    messages: RawMessages
    more: bool


class Subscribed(Struct, frozen=True):
    """One page of the answer to a `subscribe`, as a `welcome` has them: the messages of `topic` that the client missed,
    and the newest states.

    `cursor` is the position of a client that has all pages; empty if the topic keeps no history. With `recovered` false
    something may be missing. Live messages of the topic may come between the pages.
    """

    topic: Text
    cursor: CursorOrNone
    recovered: bool
    messages: RawMessages = field(default_factory=_no_messages)
    state: RawStates = field(default_factory=_no_messages)
    last: bool = True


class Unsubscribed(Struct, frozen=True, omit_defaults=True):
    """The client gets no more messages of `topic`. With a `code` the server has decided so: the right to it was
    withdrawn.
    """

    topic: Text
    code: Text | UnsetType = UNSET
    message: str | UnsetType = UNSET


class Member(Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """A user who is in a topic. `info` is the object that their token has for others to see, such as a name."""

    user_id: Text
    info: MemberInfo | UnsetType = UNSET


class Presence(Struct, frozen=True, omit_defaults=True):
    """The number of users in `topic`, and their ids and infos, in place of all that was told before.

    At most 200 of them are in `members`; `count` is all. Without `members` there are more than that, and only their
    number has changed: it comes once a second at most.
    """

    topic: Text
    count: Annotated[int, Meta(ge=0)]
    members: Annotated[list[Member], Meta(max_length=MAX_PRESENCE_MEMBERS)] | UnsetType = UNSET


class Join(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A user has come into `topic`, or has another `info`. `count` is the number of users then."""

    topic: Text
    user_id: Text
    count: Annotated[int, Meta(ge=0)]
    info: MemberInfo | UnsetType = UNSET


class Leave(Struct, frozen=True, rename="camel"):
    """A user has left `topic`: their last connection that was subscribed to it ended some seconds ago. `count` is the
    number of users then.
    """

    topic: Text
    user_id: Text
    count: Annotated[int, Meta(ge=0)]


class WelcomeMessage(Struct, frozen=True, tag_field="type", tag="welcome"):
    data: Welcome
    timestamp: Timestamp = field(default_factory=timestamp)


class SeenMessage(Struct, frozen=True, tag_field="type", tag="seen"):
    data: Seen
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET


class MarksMessage(Struct, frozen=True, tag_field="type", tag="marks"):
    data: Marks
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET


class DismissedMessage(Struct, frozen=True, tag_field="type", tag="dismissed"):
    data: Dismissed
    timestamp: Timestamp = field(default_factory=timestamp)
    id: Text | UnsetType = UNSET


class AuthOkMessage(Struct, frozen=True, tag_field="type", tag="auth_ok"):
    data: AuthOk
    timestamp: Timestamp = field(default_factory=timestamp)


class PongMessage(Struct, frozen=True, tag_field="type", tag="pong"):
    data: Pong = Pong()
    timestamp: Timestamp = field(default_factory=timestamp)


class OkMessage(Struct, frozen=True, tag_field="type", tag="ok"):
    data: Ok
    timestamp: Timestamp = field(default_factory=timestamp)


class SubscribedMessage(Struct, frozen=True, tag_field="type", tag="subscribed"):
    data: Subscribed
    timestamp: Timestamp = field(default_factory=timestamp)


class UnsubscribedMessage(Struct, frozen=True, tag_field="type", tag="unsubscribed"):
    data: Unsubscribed
    timestamp: Timestamp = field(default_factory=timestamp)


class PresenceMessage(Struct, frozen=True, tag_field="type", tag="presence"):
    data: Presence
    timestamp: Timestamp = field(default_factory=timestamp)


class JoinMessage(Struct, frozen=True, tag_field="type", tag="join"):
    data: Join
    timestamp: Timestamp = field(default_factory=timestamp)


class LeaveMessage(Struct, frozen=True, tag_field="type", tag="leave"):
    data: Leave
    timestamp: Timestamp = field(default_factory=timestamp)


ServerMessage: TypeAlias = (
    WelcomeMessage
    | SubscribedMessage
    | UnsubscribedMessage
    | PresenceMessage
    | JoinMessage
    | LeaveMessage
    | SeenMessage
    | MarksMessage
    | DismissedMessage
    | AuthOkMessage
    | PongMessage
    | OkMessage
)


# --- client → server --------------------------------------------------------------------------------------------------


class PingRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="ping"):
    """Ask for a `pong`: a sign of life."""

    id: RequestId | UnsetType = UNSET


class AuthRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="auth"):
    """Replace the connection's token; the connection lives until the new one expires."""

    token: str
    id: RequestId | UnsetType = UNSET

    def __repr__(self) -> str:
        return "AuthRequest(token=…)"


class HelloRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="hello"):
    """Ask for the messages after a cursor, and for the newest states.

    `cursor` is that of the user's own stream; `cursors` are those of several streams by name: `user`, or `topic:` and
    the topic's name. Only one of the two is allowed. A client that sends neither has nothing yet, and missed nothing;
    so has one with an empty cursor in `cursors`. Every topic in `cursors` is subscribed to, after the welcome.
    `version` is the highest one of a state of the user's own stream that the client has: it is told of all uploads that
    have ended since. Without it, it is told of those that ended a short time ago. `versions` are those of topics.
    """

    cursor: str | None = None
    cursors: CursorsByStream | None = None
    version: Counted | UnsetType = UNSET
    versions: VersionsByStream | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.cursor is not None and self.cursors is not None:
            raise ValueError("a hello has a cursor or cursors, not both")


class AckRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="ack"):
    """Record that the user has seen everything up to a cursor, for all devices."""

    cursor: str
    id: RequestId | UnsetType = UNSET


class CancelRequest(Struct, frozen=True, omit_defaults=True, rename="camel", tag_field="type", tag="cancel"):
    """Cancel an upload."""

    upload_id: str
    id: RequestId | UnsetType = UNSET


class ReadRequest(Struct, frozen=True, omit_defaults=True, rename="camel", tag_field="type", tag="read"):
    """Mark messages of the log as read, for all devices: those at `cursors`, and all up to `up_to`."""

    cursors: Cursors | UnsetType = UNSET
    up_to: str | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.cursors is UNSET and self.up_to is UNSET:
            raise ValueError("a read has cursors, upTo, or both")


class DismissRequest(Struct, frozen=True, omit_defaults=True, rename="camel", tag_field="type", tag="dismiss"):
    """Show something no more, on any device of the user. It has exactly one of these:

    `key`, of an upload that has ended: `upload:` and its id; `ended_up_to`, a version: all uploads that have ended,
    with a state of at most this version; `cursors`, of messages of the log; `up_to`, a cursor: all up to there.
    """

    key: Text | UnsetType = UNSET
    ended_up_to: Counted | UnsetType = UNSET
    cursors: Cursors | UnsetType = UNSET
    up_to: str | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET

    def __post_init__(self) -> None:
        if [self.key, self.ended_up_to, self.cursors, self.up_to].count(UNSET) != 3:
            raise ValueError("a dismiss has exactly one of key, endedUpTo, cursors and upTo")


class SubscribeRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="subscribe"):
    """Ask for the messages of a topic from here on, for those after a cursor, and for the newest states.

    `cursor` and `version` are as in a `hello`. The answer are pages: `subscribed`. Of a topic that the connection is
    subscribed to already, only the messages after the cursor are asked for.
    """

    topic: TopicName
    cursor: str | UnsetType = UNSET
    version: Counted | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET


class UnsubscribeRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="unsubscribe"):
    """Ask for no more messages of a topic. The answer is `unsubscribed`, also if the connection had none."""

    topic: TopicName
    id: RequestId | UnsetType = UNSET


class PresenceRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="presence"):
    """Ask who is in a topic, and for each change from then on. The connection must be subscribed to it.

    The answer is a `presence`. It ends with the subscription.
    """

    topic: TopicName
    id: RequestId | UnsetType = UNSET


class ClientMessage(Struct, frozen=True, omit_defaults=True):
    """A message of a custom type, as a client publishes it. `data` is any JSON."""

    type: Text
    data: Any = None


class PublishRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="publish"):
    """Publish a message of a custom type to a topic, if the server lets its clients do so."""

    topic: TopicName
    message: ClientMessage
    id: RequestId | UnsetType = UNSET


class HistoryRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="history"):
    """Ask for at most `limit` messages of the log of a stream, the newest first: those before a cursor, or the newest.

    `stream` is `user`, or `topic:` and the name of a topic that the connection is subscribed to. The answer is an `ok`
    with this `id`, whose `result` is a `HistoryResult`. It has fewer messages than `limit` if they are long.
    """

    id: RequestId
    stream: StreamName = "user"
    limit: Annotated[int, Meta(ge=1, le=MAX_HISTORY_PAGE)] = MAX_HISTORY_PAGE
    before: str | UnsetType = UNSET


class CustomRequest(Struct, frozen=True, omit_defaults=True):
    """A message of a custom type, for a server with a handler of it. `data` is any JSON."""

    type: Text
    data: Any = None
    id: RequestId | UnsetType = UNSET


Request: TypeAlias = (
    PingRequest
    | AuthRequest
    | HelloRequest
    | SubscribeRequest
    | UnsubscribeRequest
    | PresenceRequest
    | PublishRequest
    | AckRequest
    | CancelRequest
    | ReadRequest
    | DismissRequest
    | HistoryRequest
)


# --- names ------------------------------------------------------------------------------------------------------------


def tag_of(message: Any) -> str:
    """Return the `type` on the wire of a struct's class."""
    return str(message.__struct_config__.tag)


def _tags(union: Any) -> tuple[str, ...]:
    return tuple(tag_of(each) for each in union.__args__)


REQUEST_TYPES: Final = _tags(Request)
"""The types that a client may send, in the order in which an error lists them."""

RESERVED_TYPES: Final = frozenset(
    {*_tags(ServerMessage), *_tags(Request)}
    # Of a later version: its fields are not decided yet.
    | {"topic"}
)
"""The protocol's own types. A custom message of such a type could be mistaken for a message of the server."""


# --- bytes ------------------------------------------------------------------------------------------------------------

encode: Final = msgspec.json.Encoder().encode
_requests: Final[msgspec.json.Decoder[Request]] = msgspec.json.Decoder(Request)


def decode_request(text: str) -> Request:
    """Read one message of a client.

    Raises:
        msgspec.ValidationError: it is JSON, and none of the requests.
        msgspec.DecodeError, RecursionError, UnicodeEncodeError: it is not JSON.
    """
    return _requests.decode(text)


def welcome_page(head: Welcome, messages: Sequence[bytes], states: Sequence[bytes], *, is_last: bool) -> bytes:
    """Return one page of a welcome. Encoded messages are inserted: as `Raw` fields they would be copied twice more."""
    frame = encode(WelcomeMessage(msgspec.structs.replace(head, last=is_last), timestamp()))
    return _with_arrays(frame, messages, states)


def subscribed_page(head: Subscribed, messages: Sequence[bytes], states: Sequence[bytes], *, is_last: bool) -> bytes:
    """Return one page of the answer to a `subscribe`."""
    frame = encode(SubscribedMessage(msgspec.structs.replace(head, last=is_last), timestamp()))
    return _with_arrays(frame, messages, states)


def _with_arrays(frame: bytes, messages: Sequence[bytes], states: Sequence[bytes]) -> bytes:
    # A quote inside a text is escaped, so the empty arrays are found where the struct has them.
    before, _, after = frame.rpartition(b'"messages":[],"state":[]')
    return b'%b"messages":[%b],"state":[%b]%b' % (before, b",".join(messages), b",".join(states), after)


# Formatting is twice as fast as encoding a struct, and every published message passes here. The names are the struct's.
_IN_LOG: Final = b"%b," + encode(Positioned(cursor="%b:%d"))[1:]
_AS_STATE: Final = b"%b," + encode(Positioned(key="%b", version=1))[1:].replace(b'"%b"', b"%b").replace(b"1", b"%d")


def room_in_log() -> int:
    """Return the bytes that a message in the log lane may be given at most."""
    return len(in_log(b"{}", "e" * MAX_EPOCH_CHARACTERS, _HIGHEST_NUMBER)) - 2


def room_of_state(key: str) -> int:
    """Return the bytes that a state of this key may be given at most."""
    return len(as_state(b"{}", key, _HIGHEST_NUMBER)) - 2


def in_log(payload: bytes, epoch: str, offset: int) -> bytes:
    """Return an encoded message with its position in the log lane."""
    return _IN_LOG % (payload[:-1], epoch.encode(), offset)


def as_state(payload: bytes, key: str, version: int) -> bytes:
    """Return an encoded message with its position in the state lane."""
    return _AS_STATE % (payload[:-1], encode(key), version)


def without_topic(payload: bytes, topic: str) -> bytes:
    """Return an encoded message as it was before `of_topic`: a producer gives the topic beside it."""
    return payload.removesuffix(of_topic(b"{}", topic)[1:]) + b"}"


def of_topic(payload: bytes, topic: str, from_user: str | None = None) -> bytes:
    """Return an encoded message with its topic and, if a client published it, that client's user."""
    fields = Positioned(topic=topic, from_=UNSET if from_user is None else from_user)
    return b"%b,%b" % (payload[:-1], encode(fields)[1:])
