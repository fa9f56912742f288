"""The protocol of clients: a message's text in, an action out. Pure.

A connection begins with a token: the subprotocol `token.<jwt>` beside `tellwire.v1`, a header `Authorization: Bearer
<jwt>`, or `?token=<jwt>`. After that a client may send JSON messages with a `type`:

    ping                Ping(); the shell answers with `pong`: where the user's stream ends
    auth {token}        Reauthenticate(token); the shell answers with `auth_ok` or `refusal`
    hello {cursor?}     Recover(cursor); the shell answers with `welcome`: the missed messages and the newest states
    subscribe {topic}   Subscribe(topic, cursor, version); the shell answers with `subscribed`, in pages, or `refusal`
    unsubscribe {topic} Unsubscribe(topic); the shell answers with `unsubscribed`
    presence {topic}    WatchPresence(topic); the shell answers with `presence`, and then tells who comes and goes
    publish {topic, …}  Publish(topic, type, data); the shell publishes it, or answers with `refusal`
    ack {cursor}        Acknowledge(cursor); the shell publishes the `seen` state to all devices
    cancel {uploadId}   Cancel(upload_id); the shell publishes the cancelled state, or answers with `refusal`
    read {…}            Mark("read", cursors, up_to); the shell publishes the `marks` state to all devices
    dismiss {key}       Dismiss(key); the shell publishes the dismissed state, or answers with `refusal`
    dismiss {…}         DismissEnded(version), or Mark("dismissed", cursors, up_to)
    history {…}         ReadHistory(before, limit); the shell answers with `ok`
    custom types        Custom(type, data), if the application has a handler
    anything else       Reply(error UNKNOWN_TYPE); not JSON: Reply(error INVALID_JSON). The connection stays open.

The requests are the structs of `wire`, and decoded by them. Whoever gives a request an `id` gets, after all that, one
`ok` or one `error` with it.

The gateway and, on AWS, the `$connect` and `$default` functions run the same code.
"""

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import Struct

from tellwire import wire
from tellwire.errors import InvalidMessage, TellwireError
from tellwire.limits import (
    MAX_HISTORY_PAGE,
    MAX_MARKED_AT_ONCE,
    MAX_REQUEST_ID_CHARACTERS,
    WELCOME_PAGE_BYTES,
)
from tellwire.marks import MarkKind
from tellwire.messages import Error, ErrorMessage, encode_message
from tellwire.model import Identity, timestamp
from tellwire.own_data import require_shallow
from tellwire.position import StreamEnd
from tellwire.stream import HistoryPage, Replay
from tellwire.topic_members import Member

T = TypeVar("T")

SUBPROTOCOL: Final = "tellwire.v1"
"""The subprotocol that the server chooses if a client offers it."""

_TOPIC_PREFIX: Final = "topic:"
"""Of the name of a topic's stream."""

_TOKEN_PREFIX: Final = "token."  # noqa: S105 - a prefix, not a token


class Reply(Struct, frozen=True):
    """Send this message back."""

    payload: bytes


class _Asked(Struct, frozen=True, kw_only=True):
    """An action that a client asked for. `request_id` is the `id` of the request; None: it has none."""

    request_id: str | None = None


class Ping(_Asked, frozen=True):
    """Answer with a `pong`, which says where the user's stream ends."""


_PING: Final = Ping()


class Reauthenticate(_Asked, frozen=True):
    """Verify this token, and set the connection's expiry to the token's."""

    token: str

    def __repr__(self) -> str:
        return "Reauthenticate(token=…)"


class Subscribe(_Asked, frozen=True):
    """Begin with the messages of this topic, and replay those after this cursor; None: the client has nothing yet.

    `version`: see `HelloRequest`. The name of the topic was not checked.
    """

    topic: str
    cursor: str | None = None
    version: int | None = None


class Unsubscribe(_Asked, frozen=True):
    """End the messages of this topic. Its name was not checked."""

    topic: str


class WatchPresence(_Asked, frozen=True):
    """Answer who is in this topic, and tell who comes and goes from then on. Its name was not checked."""

    topic: str


class Publish(_Asked, frozen=True):
    """Publish a message of a custom type to this topic. Neither its name nor the message was checked."""

    topic: str
    type: str
    data: Any


class Recover(_Asked, frozen=True):
    """Replay the messages after this cursor; None: the client has nothing yet. `version`: see `HelloRequest`.

    After that, subscribe to `topics`, in this order.
    """

    cursor: str | None
    version: int | None = None
    topics: Sequence[Subscribe] = ()


class Acknowledge(_Asked, frozen=True):
    """Record that the user has seen the log up to this cursor."""

    cursor: str


class Cancel(_Asked, frozen=True):
    """Cancel this upload."""

    upload_id: str


class Dismiss(_Asked, frozen=True):
    """Show the upload of this key no more."""

    key: str


class DismissEnded(_Asked, frozen=True):
    """Show no upload more that has ended, with a state of at most this version."""

    version: int


class Mark(_Asked, frozen=True):
    """Mark messages of the log: those at the cursors, and all up to `up_to`."""

    kind: MarkKind
    cursors: Sequence[str]
    up_to: str | None


class ReadHistory(_Asked, frozen=True):
    """Answer with the messages of the log before a cursor, or with the newest. No topic: of the user's stream."""

    before: str | None
    limit: int
    topic: str | None = None


class Custom(_Asked, frozen=True):
    """Call the application's handler of this type. `data` is the message's JSON; None if it has none."""

    type: str
    data: Any


WHOLE_HISTORY: Final = (Recover, DismissEnded)
"""The requests for which the whole history may be read, so fewer of them are allowed than of others."""

TopicRequest = Subscribe | Unsubscribe | WatchPresence | Publish
"""The requests about a topic. Their refusals name it."""

Request = (
    Ping
    | Reauthenticate
    | Recover
    | TopicRequest
    | Acknowledge
    | Cancel
    | Mark
    | Dismiss
    | DismissEnded
    | ReadHistory
    | Custom
)
Action = Reply | Request


class _Identified(Struct):
    id: Any = None


class _Typed(_Identified, kw_only=True):
    type: str


_identified: Final = msgspec.json.Decoder(_Identified)
_typed: Final = msgspec.json.Decoder(_Typed)
_custom: Final = msgspec.json.Decoder(wire.CustomRequest)

_EXAMPLES: Final = {
    "ping": 'a ping looks like {"type": "ping"}',
    "auth": 'auth needs a token: {"type": "auth", "token": "<jwt>"}',
    "hello": "a hello has one cursor, or cursors by the names of their streams (user, topic:<name>): "
    '{"type": "hello", "cursor": "<epoch>:<offset>", "version": 5}; either may be left out',
    "subscribe": "subscribe needs a topic, and may have the cursor and the version that the client has of it: "
    '{"type": "subscribe", "topic": "moc:1:comments", "cursor": "<epoch>:<offset>"}',
    "unsubscribe": 'unsubscribe needs a topic: {"type": "unsubscribe", "topic": "moc:1:comments"}',
    "presence": "presence needs a topic that the connection is subscribed to: "
    '{"type": "presence", "topic": "moc:1:comments"}',
    "publish": "publish needs a topic and a message with a type of your own: "
    '{"type": "publish", "topic": "moc:1:comments", "message": {"type": "comment_added", "data": {}}}',
    "ack": 'ack needs a cursor: {"type": "ack", "cursor": "<epoch>:<offset>"}',
    "read": f"read needs cursors, from 1 to {MAX_MARKED_AT_ONCE}, or a cursor upTo which all is read: "
    '{"type": "read", "cursors": ["<epoch>:<offset>"]}',
    "dismiss": "dismiss needs exactly one of key, endedUpTo, cursors and upTo: "
    '{"type": "dismiss", "key": "upload:<uploadId>"}, {"type": "dismiss", "endedUpTo": 5} (a version), '
    f'{{"type": "dismiss", "cursors": ["<epoch>:<offset>"]}} (1 to {MAX_MARKED_AT_ONCE})',
    "history": f"history needs an id, and may have a limit from 1 to {MAX_HISTORY_PAGE} and a cursor to read before: "
    '{"type": "history", "id": "7", "stream": "user", "before": "<epoch>:<offset>", "limit": 50}',
    "cancel": 'cancel needs an upload: {"type": "cancel", "uploadId": "…"}',
}
NO_TOPICS: Final[Mapping[str, StreamEnd]] = MappingProxyType({})
"""The ends of topics of a connection without topics."""

_ID_RULE: Final = f"the id of a request is a text of 1 to {MAX_REQUEST_ID_CHARACTERS} characters"


def offered_subprotocols(header: str) -> list[str]:
    """Return the subprotocols of a `Sec-WebSocket-Protocol` header, in their order."""
    return [name.strip() for name in header.split(",") if name.strip()]


def token_in(subprotocols: Iterable[str], query: Sequence[str], authorization: str = "") -> str | None:
    """Return the token of a handshake: the subprotocol's, that of `Authorization: Bearer`, or the query's last `token`.

    Another scheme in `authorization` (a proxy's own, `Basic`) is not a token of ours, and does not hide one.
    """
    for name in subprotocols:
        if name.startswith(_TOKEN_PREFIX):
            return name.removeprefix(_TOKEN_PREFIX)
    return bearer_in(authorization) or (query[-1] if query else None)


def bearer_in(authorization: str) -> str | None:
    """Return the token or key of a header `Authorization: Bearer`; None if it has another scheme, or nothing."""
    scheme, _, bearer = authorization.strip().partition(" ")
    return bearer.strip() or None if scheme.lower() == "bearer" else None


def receive(text: str, custom_types: Collection[str] = ()) -> Action:
    """Return the action for a client's message. `custom_types` are the types with a handler."""
    try:
        return action_of(wire.decode_request(text))
    except msgspec.ValidationError as error:
        return _action_of_unknown(text, custom_types, error)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return _error("INVALID_JSON", 'this is not JSON; a message looks like {"type": "ping"}')


def request_id_in(text: str) -> str | None:
    """Return the `id` of a request that is refused as it is; None: it has no valid one."""
    try:
        given = _identified.decode(text).id
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    return given if _is_request_id(given) else None


def action_of(request: wire.Request) -> Action:
    """Return the action for a request."""
    request_id = _given(request.id)
    match request:
        case wire.PingRequest():
            return _PING if request_id is None else Ping(request_id=request_id)  # most messages are such pings
        case wire.AuthRequest(token=token):
            return Reauthenticate(token, request_id=request_id)
        case wire.HelloRequest():
            return _hello(request, request_id)
        case wire.AckRequest(cursor=cursor):
            return Acknowledge(cursor, request_id=request_id)
        case wire.CancelRequest(upload_id=upload_id):
            return Cancel(upload_id, request_id=request_id)
        case wire.ReadRequest() | wire.DismissRequest():
            return _mark_or_dismissal(request, request_id)
        case _:
            return _about_a_stream(request, request_id)


def _hello(request: wire.HelloRequest, request_id: str | None) -> Recover:
    version = _given(request.version)
    if request.cursors is None:
        return Recover(request.cursor, version, request_id=request_id)
    versions = _given(request.versions) or {}
    topics = [
        Subscribe(stream.removeprefix(_TOPIC_PREFIX), cursor or None, versions.get(stream))
        for stream, cursor in request.cursors.items()
        if stream != "user"
    ]
    return Recover(request.cursors.get("user") or None, version, topics, request_id=request_id)


def _mark_or_dismissal(request: wire.ReadRequest | wire.DismissRequest, request_id: str | None) -> Action:
    cursors, up_to = _given(request.cursors) or (), _given(request.up_to)
    if isinstance(request, wire.ReadRequest):
        return Mark("read", cursors, up_to, request_id=request_id)
    if not isinstance(request.key, msgspec.UnsetType):
        return Dismiss(request.key, request_id=request_id)
    if not isinstance(request.ended_up_to, msgspec.UnsetType):
        return DismissEnded(request.ended_up_to, request_id=request_id)
    return Mark("dismissed", cursors, up_to, request_id=request_id)


def _about_a_stream(
    request: wire.SubscribeRequest
    | wire.UnsubscribeRequest
    | wire.PresenceRequest
    | wire.PublishRequest
    | wire.HistoryRequest,
    request_id: str | None,
) -> Action:
    match request:
        case wire.SubscribeRequest(topic=topic, cursor=cursor, version=version):
            return Subscribe(topic, _given(cursor) or None, _given(version), request_id=request_id)
        case wire.UnsubscribeRequest(topic=topic):
            return Unsubscribe(topic, request_id=request_id)
        case wire.PresenceRequest(topic=topic):
            return WatchPresence(topic, request_id=request_id)
        case wire.PublishRequest(topic=topic, message=message):
            return Publish(topic, message.type, message.data, request_id=request_id)
        case wire.HistoryRequest(stream=stream, before=before, limit=limit):
            of_topic = None if stream == "user" else stream.removeprefix(_TOPIC_PREFIX)
            return ReadHistory(_given(before), limit, of_topic, request_id=request_id)


def _given(value: T | msgspec.UnsetType) -> T | None:
    return None if isinstance(value, msgspec.UnsetType) else value


def _action_of_unknown(text: str, custom_types: Collection[str], error: msgspec.ValidationError) -> Action:
    """Return the action for a message that is not a valid request: a custom, an invalid or an unknown one."""
    allowed = ", ".join((*wire.REQUEST_TYPES, *custom_types))
    try:
        message = _typed.decode(text)
    except msgspec.ValidationError:
        return _error("UNKNOWN_TYPE", f'a message is a JSON object with a "type": one of {allowed}')
    except (msgspec.DecodeError, RecursionError):
        return _error("INVALID_JSON", 'this is not JSON; a message looks like {"type": "ping"}')
    message_type, request_id = message.type, message.id if _is_request_id(message.id) else None
    if message_type in wire.REQUEST_TYPES:
        is_of_id = str(error).endswith("`$.id`")
        return _error("INVALID_MESSAGE", _ID_RULE if is_of_id else _EXAMPLES[message_type], request_id)
    if message_type in custom_types:
        return _custom_action(message_type, text, request_id)
    return _error("UNKNOWN_TYPE", f"type: got {message_type[:64]!r}; allowed: {allowed}", request_id)


def _is_request_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_REQUEST_ID_CHARACTERS


def pong(end: StreamEnd | None, topics: Mapping[str, StreamEnd] = NO_TOPICS) -> bytes:
    """Return the answer to a ping. None: the end of the stream is not known. `topics` are the ends that are known of
    the topics that the connection is subscribed to.
    """
    data = wire.Pong()
    if end is not None:
        data = wire.Pong(str(end.position), end.version or msgspec.UNSET)
    if topics:
        ends = {name: wire.TopicEnd(str(each.position), each.version or msgspec.UNSET) for name, each in topics.items()}
        data = msgspec.structs.replace(data, topics=ends)
    return wire.encode(wire.PongMessage(data, timestamp()))


def auth_ok(identity: Identity) -> bytes:
    """Return the answer to an accepted token."""
    return wire.encode(wire.AuthOkMessage(wire.AuthOk(timestamp(identity.expires_at)), timestamp()))


def dismissed(key: str) -> bytes:
    """Return the answer about an upload that is not kept any more."""
    return wire.encode(wire.DismissedMessage(wire.Dismissed(key), timestamp()))


def welcome(head: wire.Welcome, replay: Replay) -> Iterator[bytes]:
    """Yield the pages of a welcome: the missed messages, oldest first, and then the newest states.

    `head` has the fields that all pages share. A message or a state that is too big for a page is yielded alone, before
    the next page.
    """
    return _pages(functools.partial(wire.welcome_page, head), replay)


def subscribed(topic: str, replay: Replay) -> Iterator[bytes]:
    """Yield the pages of the answer to a `subscribe`, as a welcome has them."""
    head = wire.Subscribed(topic, replay.cursor, replay.recovered)
    return _pages(functools.partial(wire.subscribed_page, head), replay)


def unsubscribed(topic: str, error: TellwireError | None = None) -> bytes:
    """Return the message that a topic is not subscribed to any more. `error`: the reason of the server."""
    data = wire.Unsubscribed(topic) if error is None else wire.Unsubscribed(topic, error.code, str(error))
    return wire.encode(wire.UnsubscribedMessage(data, timestamp()))


def presence(topic: str, count: int, members: Sequence[Member] | None = None) -> bytes:
    """Return the message with the number of users in a topic, and with those who are told; None: they are too many."""
    told = msgspec.UNSET if members is None else [wire.Member(each.user_id, _raw(each.info)) for each in members]
    return wire.encode(wire.PresenceMessage(wire.Presence(topic, count, told), timestamp()))


def join(topic: str, member: Member, count: int) -> bytes:
    """Return the message that a user has come into a topic, or has another info. `count` is the number of users now."""
    return wire.encode(wire.JoinMessage(wire.Join(topic, member.user_id, count, _raw(member.info)), timestamp()))


def leave(topic: str, user_id: str, count: int) -> bytes:
    """Return the message that a user has left a topic. `count` is the number of users now."""
    return wire.encode(wire.LeaveMessage(wire.Leave(topic, user_id, count), timestamp()))


def _raw(value: bytes | None) -> msgspec.Raw | msgspec.UnsetType:
    return msgspec.UNSET if value is None else msgspec.Raw(value)


class _Page(Protocol):
    def __call__(self, messages: list[bytes], states: Sequence[bytes], *, is_last: bool) -> bytes: ...


def _pages(page_of: _Page, replay: Replay) -> Iterator[bytes]:
    page: list[bytes] = []
    size = 0
    for message in replay.messages:
        if page and size + len(message) > WELCOME_PAGE_BYTES:
            yield page_of(page, (), is_last=False)
            page, size = [], 0
        if len(message) > WELCOME_PAGE_BYTES:
            yield message
        else:
            page.append(message)
            size += len(message) + 1
    states: list[bytes] = []
    for state in [entry.payload for entry in replay.snapshot]:
        if (page or states) and size + len(state) > WELCOME_PAGE_BYTES:
            yield page_of(page, states, is_last=False)
            page, states, size = [], [], 0
        if len(state) > WELCOME_PAGE_BYTES:
            yield state
        else:
            states.append(state)
            size += len(state) + 1
    yield page_of(page, states, is_last=True)


def ok(request_id: str, result: bytes | None = None) -> bytes:
    """Return the answer to a request with an id that was done. `result` is JSON."""
    data = wire.Ok(request_id, msgspec.UNSET if result is None else msgspec.Raw(result))
    return wire.encode(wire.OkMessage(data, timestamp()))


def history_result(page: HistoryPage) -> bytes:
    """Return the result of a `history` request."""
    messages = msgspec.Raw(b"[%b]" % b",".join(page.messages))
    return wire.encode(wire.HistoryResult(messages, page.more))


def refusal(error: TellwireError, request_id: str | None = None, topic: str | None = None) -> bytes:
    """Return the `error` message for an error. `request_id` is the `id` of the request that it answers, `topic` the
    topic that it is about.
    """
    return _error_message(error.code, str(error), request_id, topic)


def failed(request_id: str | None) -> bytes:
    """Return the `error` message for a fault of the server, which says nothing of it."""
    return refusal(TellwireError("The message could not be handled; try again"), request_id)


def _custom_action(message_type: str, text: str, request_id: str | None) -> Action:
    try:
        require_shallow("data", text.encode())
        return Custom(message_type, _custom.decode(text).data, request_id=request_id)
    except InvalidMessage as error:
        return _error(error.code, str(error), request_id)
    except msgspec.ValidationError as error:
        is_of_id = str(error).endswith("`$.id`")
        return _error("INVALID_MESSAGE", _ID_RULE if is_of_id else "data: a number in it is too large", request_id)
    except (msgspec.DecodeError, RecursionError):
        return _error("INVALID_JSON", "the data of this message is not JSON, or too deep", request_id)


def _error(code: str, message: str, request_id: str | None = None) -> Reply:
    return Reply(_error_message(code, message, request_id))


def _error_message(code: str, message: str, request_id: str | None, topic: str | None = None) -> bytes:
    data = Error(code=code, message=message, id=_unset_for_none(request_id), topic=_unset_for_none(topic))
    return encode_message(ErrorMessage(data))


def _unset_for_none(value: T | None) -> T | msgspec.UnsetType:
    return msgspec.UNSET if value is None else value
