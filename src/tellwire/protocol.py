"""The protocol of clients: a message's text in, an action out. Pure.

A connection begins with a token, as `?token=<jwt>` or as the subprotocol `token.<jwt>` beside `tellwire.v1`. After that
a client may send JSON messages with a `type`:

    ping                Reply(pong)
    auth {token}        Reauthenticate(token); the shell answers with `auth_ok` or `refusal`
    hello {cursor?}     Recover(cursor); the shell answers with `welcome`: the missed messages and the newest states
    ack {cursor}        Acknowledge(cursor); the shell publishes the `seen` state to all devices
    cancel {uploadId}   Cancel(upload_id); the shell publishes the cancelled state, or answers with `refusal`
    custom types        Custom(type, data), if the application has a handler
    anything else       Reply(error UNKNOWN_TYPE); not JSON: Reply(error INVALID_JSON). The connection stays open.

The requests are the structs of `wire`, and decoded by them.

The gateway and, on AWS, the `$connect` and `$default` functions run the same code.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Struct

from tellwire import wire
from tellwire.errors import TellwireError
from tellwire.limits import MAX_REQUEST_ID_CHARACTERS, WELCOME_PAGE_BYTES
from tellwire.messages import create_error_message, encode_message
from tellwire.model import Identity, timestamp
from tellwire.stream import Replay

SUBPROTOCOL: Final = "tellwire.v1"
"""The subprotocol that the server chooses if a client offers it."""

_TOKEN_PREFIX: Final = "token."  # noqa: S105 - a prefix, not a token


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this message back."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Reauthenticate:
    """Verify this token, and set the connection's expiry to the token's."""

    token: str

    def __repr__(self) -> str:
        return "Reauthenticate(token=…)"


@dataclass(frozen=True, slots=True)
class Recover:
    """Replay the messages after this cursor; None: the client has nothing yet."""

    cursor: str | None


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Record that the user has seen the log up to this cursor."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel this upload."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class Custom:
    """Call the application's handler of this type. `data` is the message's JSON; None if it has none."""

    type: str
    data: Any


Action = Reply | Reauthenticate | Recover | Acknowledge | Cancel | Custom


class _Typed(Struct):
    type: str


_typed: Final = msgspec.json.Decoder(_Typed)
_custom: Final = msgspec.json.Decoder(wire.CustomRequest)

_EXAMPLES: Final = {
    "ping": 'a ping looks like {"type": "ping"}',
    "auth": 'auth needs a token: {"type": "auth", "token": "<jwt>"}',
    "hello": "a hello has one cursor, or cursors by the names of their streams (user, topic:<name>): "
    '{"type": "hello", "cursor": "<epoch>:<offset>"}',
    "ack": 'ack needs a cursor: {"type": "ack", "cursor": "<epoch>:<offset>"}',
    "cancel": 'cancel needs an upload: {"type": "cancel", "uploadId": "…"}',
}
_ID_RULE: Final = f"the id of a request is a text of 1 to {MAX_REQUEST_ID_CHARACTERS} characters"


def offered_subprotocols(header: str) -> list[str]:
    """Return the subprotocols of a `Sec-WebSocket-Protocol` header, in their order."""
    return [name.strip() for name in header.split(",") if name.strip()]


def token_in(subprotocols: Iterable[str], query: Sequence[str]) -> str | None:
    """Return the token of a handshake: the subprotocol's, or else the last `token` of the query."""
    for name in subprotocols:
        if name.startswith(_TOKEN_PREFIX):
            return name.removeprefix(_TOKEN_PREFIX)
    return query[-1] if query else None


def receive(text: str, custom_types: Collection[str] = ()) -> Action:
    """Return the action for a client's message. `custom_types` are the types with a handler."""
    try:
        return _action_of(wire.decode_request(text))
    except msgspec.ValidationError as error:
        return _action_of_unknown(text, custom_types, error)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return _error("INVALID_JSON", 'this is not JSON; a message looks like {"type": "ping"}')


def _action_of(request: wire.Request) -> Action:
    match request:
        case wire.PingRequest():
            return Reply(wire.encode(wire.PongMessage(timestamp=timestamp())))
        case wire.AuthRequest(token=token):
            return Reauthenticate(token)
        case wire.HelloRequest(cursor=cursor, cursors=cursors):
            return Recover(cursor if cursors is None else cursors.get("user"))
        case wire.AckRequest(cursor=cursor):
            return Acknowledge(cursor)
        case wire.CancelRequest(upload_id=upload_id):
            return Cancel(upload_id)


def _action_of_unknown(text: str, custom_types: Collection[str], error: msgspec.ValidationError) -> Action:
    """Return the action for a message that is not a valid request: a custom, an invalid or an unknown one."""
    allowed = ", ".join((*wire.REQUEST_TYPES, *custom_types))
    try:
        message_type = _typed.decode(text).type
    except msgspec.ValidationError:
        return _error("UNKNOWN_TYPE", f'a message is a JSON object with a "type": one of {allowed}')
    except (msgspec.DecodeError, RecursionError):
        return _error("INVALID_JSON", 'this is not JSON; a message looks like {"type": "ping"}')
    if message_type in wire.REQUEST_TYPES:
        is_of_id = str(error).endswith("`$.id`")
        return _error("INVALID_MESSAGE", _ID_RULE if is_of_id else _EXAMPLES[message_type])
    if message_type in custom_types:
        return _custom_action(message_type, text)
    return _error("UNKNOWN_TYPE", f"type: got {message_type[:64]!r}; allowed: {allowed}")


def auth_ok(identity: Identity) -> bytes:
    """Return the answer to an accepted token."""
    return wire.encode(wire.AuthOkMessage(wire.AuthOk(timestamp(identity.expires_at)), timestamp()))


def welcome(head: wire.Welcome, replay: Replay) -> Iterator[bytes]:
    """Yield the pages of a welcome: the missed messages, oldest first, and then the newest states.

    `head` has the fields that all pages share. A message that is too big for a page is yielded alone, before the next
    page.
    """
    page: list[bytes] = []
    size = 0
    for message in replay.messages:
        if page and size + len(message) > WELCOME_PAGE_BYTES:
            yield _page(head, page)
            page, size = [], 0
        if len(message) > WELCOME_PAGE_BYTES:
            yield message
        else:
            page.append(message)
            size += len(message) + 1
    states: list[bytes] = []
    for state in [entry.payload for entry in replay.snapshot]:
        if size + len(state) > WELCOME_PAGE_BYTES:
            yield _page(head, page, states)
            page, states, size = [], [], 0
        states.append(state)
        size += len(state) + 1
    yield _page(head, page, states, is_last=True)


def _page(head: wire.Welcome, messages: list[bytes], states: Sequence[bytes] = (), *, is_last: bool = False) -> bytes:
    return wire.welcome_page(head, messages, states, is_last=is_last)


def refusal(error: TellwireError) -> bytes:
    """Return the `error` message for an error."""
    return encode_message(create_error_message(error.code, str(error)))


def _custom_action(message_type: str, text: str) -> Action:
    try:
        return Custom(message_type, _custom.decode(text).data)
    except msgspec.ValidationError:
        return _error("INVALID_MESSAGE", _ID_RULE)
    except (msgspec.DecodeError, RecursionError):
        return _error("INVALID_JSON", "the data of this message is not JSON, or too deep")


def _error(code: str, message: str) -> Reply:
    return Reply(encode_message(create_error_message(code, message)))
