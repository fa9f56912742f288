"""The client's conversation, as pure code: a text comes in, an action comes out.

A client need not say anything. What it may say is JSON with a `type`:

    ping            Reply(pong)
    auth {token}    Reauthenticate(token); the shell answers with `auth_ok` or `refusal`
    anything else   Reply(error UNKNOWN_TYPE); not JSON: Reply(error INVALID_JSON). The connection stays open.

The gateway runs this on its sockets; on AWS the `$default` handler runs the same code.
"""

from dataclasses import dataclass

import msgspec
from msgspec import Struct

from tellwire.errors import TellwireError
from tellwire.messages import create_error_message, encode_message
from tellwire.model import Identity, timestamp

CLIENT_TYPES = ("ping", "auth")


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


Action = Reply | Reauthenticate


class _Incoming(Struct):
    type: str


class _Auth(Struct):
    token: str


class _Outgoing(Struct, frozen=True):
    type: str
    data: dict[str, str]
    timestamp: str


_incoming = msgspec.json.Decoder(_Incoming)
_auth = msgspec.json.Decoder(_Auth)
_encode = msgspec.json.Encoder().encode


def receive(text: str) -> Action:
    """Decide what follows from one message of the client."""
    try:
        incoming = _incoming.decode(text)
    except msgspec.ValidationError:
        return _error("UNKNOWN_TYPE", f'a message is a JSON object with a "type": one of {", ".join(CLIENT_TYPES)}')
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return _error("INVALID_JSON", 'this is not JSON; a message looks like {"type": "ping"}')
    match incoming.type:
        case "ping":
            return Reply(_encode(_Outgoing("pong", {}, timestamp())))
        case "auth":
            return _receive_auth(text)
        case unknown:
            return _error("UNKNOWN_TYPE", f"type: got {unknown[:64]!r}; allowed: {', '.join(CLIENT_TYPES)}")


def auth_ok(identity: Identity) -> bytes:
    """Return the answer to a token that was accepted."""
    return _encode(_Outgoing("auth_ok", {"expiresAt": timestamp(identity.expires_at)}, timestamp()))


def refusal(error: TellwireError) -> bytes:
    """Return an error frame that says why, without anything from inside."""
    return encode_message(create_error_message(error.code, str(error)))


def _receive_auth(text: str) -> Action:
    try:
        return Reauthenticate(_auth.decode(text).token)
    except msgspec.DecodeError:
        return _error("INVALID_MESSAGE", 'auth needs a token: {"type": "auth", "token": "<jwt>"}')


def _error(code: str, message: str) -> Reply:
    return Reply(encode_message(create_error_message(code, message)))
