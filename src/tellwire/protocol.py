"""The client's conversation, as pure code: a text comes in, an action comes out.

It begins with a token, as `?token=<jwt>` (the guide's way) or as the subprotocol `token.<jwt>` beside `tellwire.v1`.
Then a client need not say anything. What it may say is JSON with a `type`:

    ping            Reply(pong)
    auth {token}    Reauthenticate(token); the shell answers with `auth_ok` or `refusal`
    hello {cursor}  Recover(cursor); the shell answers with `welcome`: what was missed since, and where things stand
    ack {cursor}    Acknowledge(cursor); the shell lets all devices know what the user has seen
    cancel {uploadId}  Cancel(upload_id); the shell lets all devices, and the worker, know; or it answers with `refusal`
    your own types  Custom(type, data), where there are any
    anything else   Reply(error UNKNOWN_TYPE); not JSON: Reply(error INVALID_JSON). The connection stays open.

The gateway runs this on its sockets; on AWS the `$connect` and `$default` handlers run the same code.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from tellwire.errors import TellwireError, TokenOfAnotherUser
from tellwire.limits import HEARTBEAT_SECONDS, ROTATE_AFTER_SECONDS, WELCOME_PAGE_BYTES
from tellwire.messages import create_error_message, encode_message
from tellwire.model import Identity, timestamp
from tellwire.stream import Replay

SUBPROTOCOL: Final = "tellwire.v1"
"""What the server answers when a client offers it."""

_TOKEN_PREFIX: Final = "token."  # noqa: S105 - a prefix, not a token


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this text back."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Reauthenticate:
    """Check this token, and live by its expiry from now on."""

    token: str

    def __repr__(self) -> str:
        return "Reauthenticate(token=…)"


@dataclass(frozen=True, slots=True)
class Recover:
    """Say what was missed since this cursor; None: the client has nothing yet."""

    cursor: str | None


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The user has seen the log up to this cursor."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """This upload is not wanted any more."""

    upload_id: str


@dataclass(frozen=True, slots=True)
class Custom:
    """A message of a type of your own. `data` is its JSON; None if it brought none."""

    type: str
    data: Any


Action = Reply | Reauthenticate | Recover | Acknowledge | Cancel | Custom


class _Incoming(Struct):
    type: str


class _Hello(Struct):
    cursor: str | None = None


class _Ack(Struct):
    cursor: str


class _Cancel(Struct):
    upload_id: str = msgspec.field(name="uploadId")


class _Custom(Struct):
    data: Any = None


class _Auth(Struct):
    token: str


class _Outgoing(Struct, frozen=True):
    type: str
    data: dict[str, str]
    timestamp: str


_incoming = msgspec.json.Decoder(_Incoming)
_custom = msgspec.json.Decoder(_Custom)
_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class _Request(Generic[T]):
    """A type of message that asks for something: what it holds, what follows from it, and how to write it."""

    def __init__(self, holds: type[T], follows: Callable[[T], Action], looks_like: str) -> None:
        self._decoder = msgspec.json.Decoder(holds)
        self._follows = follows
        self._looks_like = looks_like

    def read(self, text: str) -> Action:
        try:
            return self._follows(self._decoder.decode(text))
        except msgspec.DecodeError:
            return _error("INVALID_MESSAGE", self._looks_like)


_REQUESTS: Final[dict[str, _Request[Any]]] = {
    "auth": _Request(
        _Auth,
        lambda asked: Reauthenticate(asked.token),
        'auth needs a token: {"type": "auth", "token": "<jwt>"}',
    ),
    "hello": _Request(
        _Hello,
        lambda asked: Recover(asked.cursor),
        'the cursor of a hello is a text: {"type": "hello", "cursor": "…"}',
    ),
    "ack": _Request(
        _Ack,
        lambda asked: Acknowledge(asked.cursor),
        'ack needs a cursor: {"type": "ack", "cursor": "…"}',
    ),
    "cancel": _Request(
        _Cancel,
        lambda asked: Cancel(asked.upload_id),
        'cancel needs an upload: {"type": "cancel", "uploadId": "…"}',
    ),
}

CLIENT_TYPES: Final = ("ping", *_REQUESTS)


def offered_subprotocols(header: str) -> list[str]:
    """Return what a client offers in `Sec-WebSocket-Protocol`, in its order."""
    return [name.strip() for name in header.split(",") if name.strip()]


def token_in(subprotocols: Iterable[str], query: Sequence[str]) -> str | None:
    """Return the token of a handshake: the subprotocol's, or else the last `token` of the query."""
    for name in subprotocols:
        if name.startswith(_TOKEN_PREFIX):
            return name.removeprefix(_TOKEN_PREFIX)
    return query[-1] if query else None


def receive(text: str, custom_types: Collection[str] = ()) -> Action:
    """Decide what follows from one message of the client. `custom_types` are those that somebody here handles."""
    allowed = (*CLIENT_TYPES, *custom_types)
    try:
        incoming = _incoming.decode(text)
    except msgspec.ValidationError:
        return _error("UNKNOWN_TYPE", f'a message is a JSON object with a "type": one of {", ".join(allowed)}')
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return _error("INVALID_JSON", 'this is not JSON; a message looks like {"type": "ping"}')
    match incoming.type:
        case "ping":
            return Reply(_encode(_Outgoing("pong", {}, timestamp())))
        case known if known in _REQUESTS:
            return _REQUESTS[known].read(text)
        case other if other in custom_types:
            return _receive_custom(other, text)
        case unknown:
            return _error("UNKNOWN_TYPE", f"type: got {unknown[:64]!r}; allowed: {', '.join(allowed)}")


def auth_ok(identity: Identity) -> bytes:
    """Return the answer to a token that was accepted."""
    return _encode(_Outgoing("auth_ok", {"expiresAt": timestamp(identity.expires_at)}, timestamp()))


def renewed(identity: Identity, user_id: str) -> bytes:
    """Return the answer to a new token on a connection of `user_id`.

    Raises:
        TokenOfAnotherUser: it is not theirs.
    """
    if identity.user_id != user_id:
        raise TokenOfAnotherUser
    return auth_ok(identity)


class Welcome(Struct, frozen=True, rename="camel"):
    """What every page of a welcome begins with. Times are RFC 3339; the seconds are how long a client may be silent,
    and when it should move to a new connection.
    """

    connection_id: str
    user_id: str
    cursor: str
    recovered: bool
    expires_at: str
    heartbeat_seconds: int = HEARTBEAT_SECONDS
    rotate_after_seconds: int = ROTATE_AFTER_SECONDS


def welcome(head: Welcome, replay: Replay) -> Iterator[bytes]:
    """Yield the pages that tell a client what it missed, oldest first, and then the newest states.

    A message that fits into no page goes out by itself, before the page that comes after it.
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


def _page(head: Welcome, messages: Sequence[bytes], states: Sequence[bytes] = (), *, is_last: bool = False) -> bytes:
    return b'{"type":"welcome","data":%b,"messages":[%b],"state":[%b],"last":%b},"timestamp":"%b"}' % (
        _encode(head)[:-1],
        b",".join(messages),
        b",".join(states),
        b"true" if is_last else b"false",
        timestamp().encode(),
    )


def refusal(error: TellwireError) -> bytes:
    """Return an error frame that says why, without anything from inside."""
    return encode_message(create_error_message(error.code, str(error)))


def _receive_custom(message_type: str, text: str) -> Action:
    try:
        return Custom(message_type, _custom.decode(text).data)
    except (msgspec.DecodeError, RecursionError):
        return _error("INVALID_JSON", "the data of this message is not JSON, or too deep")


def _error(code: str, message: str) -> Reply:
    return Reply(encode_message(create_error_message(code, message)))
