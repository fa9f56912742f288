"""The frames of the protocol, as structs: the one definition for Python, the JSON Schema and TypeScript.

    server → client   welcome, seen, auth_ok, pong; reserved: ok, subscribed, unsubscribed
    client → server   ping, auth, hello, ack, cancel; reserved: subscribe, unsubscribe, read, dismiss, history
    both              `Positioned`: the fields that give a published message its position in a stream

Published messages (`upload_progress`, `notification`, `error`, custom types) are in `messages`. From both,
`scripts/export_spec.py` writes `spec/`; from that, `clients/core/scripts/generate-types.mjs` writes TypeScript types.

Rules:
- Names on the wire are camelCase; Python's are snake_case.
- A field that is `UNSET` is left out. Receivers ignore fields and types that they do not know.
- Reserved names belong to later versions. A client that sends a reserved request is answered `UNKNOWN_TYPE` until then,
  and no custom message may have a reserved type.
- Pure: bytes in, bytes out.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from tellwire.limits import MAX_HISTORY_PAGE, MAX_REQUEST_ID_CHARACTERS, ROTATE_AFTER_SECONDS
from tellwire.model import timestamp

TIMESTAMP_PATTERN: Final = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]{1,9})?(Z|\+00:00)$"
)
CURSOR_PATTERN: Final = r"^.+:[0-9]{1,15}$"
"""`<epoch>:<offset>`. An offset has at most 15 digits: every language reads such a number from JSON exactly."""

Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time", "pattern": TIMESTAMP_PATTERN})]
Cursor = Annotated[str, Meta(extra_json_schema={"pattern": CURSOR_PATTERN})]
CursorOrNone = Annotated[str, Meta(extra_json_schema={"pattern": f"^$|{CURSOR_PATTERN}"})]
StreamName = Annotated[str, Meta(pattern=r"^(user|topic:.+)$")]
Text = Annotated[str, Meta(min_length=1)]
RequestId = Annotated[str, Meta(min_length=1, max_length=MAX_REQUEST_ID_CHARACTERS)]
Counted = Annotated[int, Meta(ge=1)]
Seconds = Annotated[int, Meta(ge=1)]

# One `Raw` that holds a JSON array: its messages were encoded when they were published, and are not decoded again.
RawMessages = Annotated[Raw, Meta(extra_json_schema={"type": "array", "items": {"$ref": "#/$defs/PublishedMessage"}})]
RawStates = Annotated[
    Raw,
    Meta(
        extra_json_schema={
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/$defs/UploadProgressMessage"}, {"$ref": "#/$defs/SeenMessage"}]},
        }
    ),
]


def _no_messages() -> Raw:
    return Raw(b"[]")


class Positioned(Struct, frozen=True, omit_defaults=True):
    """The position of a message in its stream. A message to a connection or to everybody has none.

    In the log lane `cursor` is the stream's epoch, a colon and the message's offset. In the state lane `key` names the
    subject of a state, and of two versions of a key the higher one is the newer. `topic` names the stream of a topic.
    """

    cursor: Cursor | UnsetType = UNSET
    key: Text | UnsetType = UNSET
    version: Counted | UnsetType = UNSET
    topic: Text | UnsetType = UNSET


# --- server → client --------------------------------------------------------------------------------------------------


class Limits(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Bounds that a client should keep to. Reserved: no server sends them yet."""

    max_message_bytes: Counted | UnsetType = UNSET
    max_requests_in_flight: Counted | UnsetType = UNSET
    max_requests_per_second: Counted | UnsetType = UNSET


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


class AuthOk(Struct, frozen=True, rename="camel"):
    """The new token was accepted: the connection lives until it expires."""

    expires_at: Timestamp


class Pong(Struct, frozen=True):
    """The answer to a `ping`."""


class Ok(Struct, frozen=True):
    """The request with this `id` was done. Reserved."""

    id: RequestId


class Subscribed(Struct, frozen=True):
    """The client gets the messages of `topic` from here on. Reserved."""

    topic: Text
    cursor: Cursor | UnsetType = UNSET
    recovered: bool | UnsetType = UNSET


class Unsubscribed(Struct, frozen=True):
    """The client gets no more messages of `topic`. Reserved."""

    topic: Text


class WelcomeMessage(Struct, frozen=True, tag_field="type", tag="welcome"):
    data: Welcome
    timestamp: Timestamp = field(default_factory=timestamp)


class SeenMessage(Struct, frozen=True, tag_field="type", tag="seen"):
    data: Seen
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


ServerMessage: TypeAlias = WelcomeMessage | SeenMessage | AuthOkMessage | PongMessage
ReservedServerMessage: TypeAlias = OkMessage | SubscribedMessage | UnsubscribedMessage


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
    the topic's name. Only one of the two is allowed. A client that sends neither has nothing yet, and missed nothing.
    """

    cursor: str | None = None
    cursors: dict[StreamName, str] | None = None
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


class SubscribeRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="subscribe"):
    """Ask for the messages of a topic, and for those after a cursor. Reserved."""

    topic: Text
    cursor: str | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET


class UnsubscribeRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="unsubscribe"):
    """Ask for no more messages of a topic. Reserved."""

    topic: Text
    id: RequestId | UnsetType = UNSET


class ReadRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="read"):
    """Record that the user has read one message. `id` is that of the message. Reserved."""

    id: Text


class DismissRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="dismiss"):
    """Remove a message (`id`) or a state (`key`) for the user. Only one of the two is allowed. Reserved."""

    id: Text | UnsetType = UNSET
    key: Text | UnsetType = UNSET


class HistoryRequest(Struct, frozen=True, omit_defaults=True, tag_field="type", tag="history"):
    """Ask for at most `limit` messages of a stream from before a cursor, newest first. Reserved."""

    stream: StreamName
    limit: Annotated[int, Meta(ge=1, le=MAX_HISTORY_PAGE)]
    before: str | UnsetType = UNSET
    id: RequestId | UnsetType = UNSET


class CustomRequest(Struct, frozen=True, omit_defaults=True):
    """A message of a custom type, for a server with a handler of it. `data` is any JSON."""

    type: Text
    data: Any = None
    id: RequestId | UnsetType = UNSET


Request: TypeAlias = PingRequest | AuthRequest | HelloRequest | AckRequest | CancelRequest
ReservedRequest: TypeAlias = SubscribeRequest | UnsubscribeRequest | ReadRequest | DismissRequest | HistoryRequest


# --- names ------------------------------------------------------------------------------------------------------------


def tag_of(message: Any) -> str:
    """Return the `type` on the wire of a struct's class."""
    return str(message.__struct_config__.tag)


def _tags(union: Any) -> tuple[str, ...]:
    return tuple(tag_of(each) for each in union.__args__)


REQUEST_TYPES: Final = _tags(Request)
"""The types that a client may send, in the order in which an error lists them."""

RESERVED_TYPES: Final = frozenset(
    {*_tags(ServerMessage), *_tags(ReservedServerMessage), *_tags(Request), *_tags(ReservedRequest)}
    # Their fields are not decided yet.
    | {"topic", "presence", "join", "leave"}
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
    # A quote inside a text is escaped, so the empty arrays are found where the struct has them.
    before, _, after = frame.rpartition(b'"messages":[],"state":[]')
    return b'%b"messages":[%b],"state":[%b]%b' % (before, b",".join(messages), b",".join(states), after)


# Formatting is twice as fast as encoding a struct, and every published message passes here. The names are the struct's.
_IN_LOG: Final = b"%b," + encode(Positioned(cursor="%b:%d"))[1:]
_AS_STATE: Final = b"%b," + encode(Positioned(key="%b", version=1))[1:].replace(b'"%b"', b"%b").replace(b"1", b"%d")


def in_log(payload: bytes, epoch: str, offset: int) -> bytes:
    """Return an encoded message with its position in the log lane."""
    return _IN_LOG % (payload[:-1], epoch.encode(), offset)


def as_state(payload: bytes, key: str, version: int) -> bytes:
    """Return an encoded message with its position in the state lane."""
    return _AS_STATE % (payload[:-1], encode(key), version)
