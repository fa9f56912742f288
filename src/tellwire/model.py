"""The nouns of all other modules: the receivers of a message (`Target`), its outcome (`Delivery`), the user in a token
(`Identity`), the client that sent a message (`Sender`), and live connections (`ConnectionInfo`, `PresenceCounts`).
"""

import base64
import functools
import os
import re
import time
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final, Self, TypeVar

from msgspec import Struct, field
from msgspec.structs import force_setattr

from tellwire.errors import ConfigError, InvalidMessage
from tellwire.limits import MAX_CONNECTION_ID_BYTES, MAX_TARGET_CONNECTIONS, MAX_USER_ID_BYTES
from tellwire.text import require_id, require_topic

T = TypeVar("T")


def new_connection_id() -> str:
    """Return an id of API Gateway's form: 11 random bytes in URL-safe base64, 15 characters and `=`."""
    return base64.urlsafe_b64encode(os.urandom(11)).decode("ascii")


def new_epoch() -> str:
    """Return a new random epoch of a stream's log."""
    return os.urandom(6).hex()


class _MessageIds:
    """A store of new message ids: a system call for each takes a tenth of the time of a publish.

    No two processes may have the same store. A fork has an empty one. A store that is older than a second is thrown
    away: a function that is started from a snapshot has a copy of the original's store.
    """

    def __init__(self) -> None:
        self._store: list[str] = []
        self._filled_at = 0.0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._store.clear)

    def take(self) -> str:
        """Return `t` and 96 random bits in hexadecimal: unique without a counter that is shared.

        The `t` tells it from ids that others make, such as MongoDB's.
        """
        now = time.time()
        if not 0 <= now - self._filled_at < _STORED_SECONDS:
            self._store.clear()
            self._filled_at = now
        try:
            return self._store.pop()
        except IndexError:
            text = os.urandom(_ID_BYTES * _STORED_IDS).hex()
            self._store += [f"t{text[start : start + 2 * _ID_BYTES]}" for start in range(0, len(text), 2 * _ID_BYTES)]
            return self._store.pop()


_ID_BYTES: Final = 12
_STORED_IDS: Final = 128
_STORED_SECONDS: Final = 1.0
_message_ids: Final = _MessageIds()

new_message_id: Final = _message_ids.take


def timestamp(seconds: float | None = None) -> str:
    """Return an RFC 3339 time in UTC with milliseconds, as `2026-11-23T09:18:54.123Z`. None means now."""
    return _timestamp(round((time.time() if seconds is None else seconds) * 1_000_000) // 1000)


# A busy gateway formats the same millisecond many times, and formatting takes as long as decoding a message.
@functools.lru_cache(maxsize=16)
def _timestamp(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def is_loopback(host: str | None) -> bool:
    """Tell whether a host name or address is this machine's own."""
    try:
        return (host or "").lower() == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")


def is_loopback_authority(authority: str | None) -> bool:
    """Tell whether a `Host` header names this machine. A missing or malformed one does not.

    A page of another site may reach this machine by a name of its own (DNS rebinding), and the header has that name.
    """
    found = _AUTHORITY.fullmatch(authority or "")
    return found is not None and is_loopback(found[1].strip("[]"))


def require_api_key(key: str) -> None:
    """Raise `ConfigError`, without quoting it, unless `key` can travel in an HTTP header as it is."""
    if not key or not all("!" <= character <= "~" for character in key):
        raise ConfigError("TELLWIRE_API_KEY: got one with other characters; allowed: printable ASCII without spaces")


class TokenStamp(Struct, frozen=True, gc=False):
    """The traits of a token by which its connections are found again.

    `key` names the key that verified it, by a digest; `token_id` is its `jti`, `issued_at` its `iat` in epoch seconds.
    """

    key: str = ""
    token_id: str | None = None
    issued_at: float | None = None


NO_STAMP: Final = TokenStamp()


class Identity(Struct, frozen=True):
    """The user in a token.

    `user_id` is the token's `sub`, or the claim that the settings name; `expires_at` its `exp`, in epoch seconds;
    `claims` all it said; `stamp` its traits, by which it can be shut out.
    """

    user_id: str
    expires_at: float
    claims: dict[str, Any] = field(default_factory=dict)
    stamp: TokenStamp = NO_STAMP


class Target(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """The receivers of a broadcast. Exactly one of the five is set.

    On the wire: `{"user": "u1"}`, `{"topic": "moc:1:comments"}`, `{"connection": "nBUGZLR2Hhyb5qM="}`,
    `{"connections": ["…", "…"]}` or `{"all": true}`.

    Raises:
        InvalidMessage: none of them is set, or more than one, or an id is empty, too long, or no text, or a topic has
            white space, control characters or any of `*{}`.
    """

    user: str | None = None
    connection: str | None = None
    connections: tuple[str, ...] | None = None
    all: bool | None = None
    topic: str | None = None

    def __post_init__(self) -> None:
        # Once per published message, so the most frequent case is the shortest.
        has_no_other = self.topic is None and self.connection is None and self.connections is None and self.all is None
        if has_no_other and self.user is not None:
            user = require_id("target.user", self.user, MAX_USER_ID_BYTES)
            if user is not self.user:
                force_setattr(self, "user", user)
        else:
            self._check_other_ways()

    @property
    def connection_ids(self) -> tuple[str, ...]:
        """The connections that it names; empty for a user, a topic, or everybody."""
        if self.connections is not None:
            return self.connections
        return () if self.connection is None else (self.connection,)

    def _check_other_ways(self) -> None:
        chosen = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        match chosen:
            case ["connection"]:
                force_setattr(self, "connection", _connection_id("target.connection", self.connection))
            case ["connections"]:
                if not isinstance(self.connections, tuple):
                    raise InvalidMessage("target.connections", self.connections, "a list of non-empty strings")
                if len(self.connections) > MAX_TARGET_CONNECTIONS:
                    given = f"{len(self.connections):,} ids"
                    raise InvalidMessage("target.connections", given, f"at most {MAX_TARGET_CONNECTIONS:,}")
                ids = tuple(_connection_id("target.connections", each) for each in self.connections)
                force_setattr(self, "connections", ids)
            case ["topic"]:
                force_setattr(self, "topic", require_topic("target.topic", self.topic))
            case ["all"]:
                if self.all is not True:
                    raise InvalidMessage("target.all", self.all, "true")
            case _:
                raise InvalidMessage("target", chosen, "exactly one of user, topic, connection, connections, all")


def given(name: str, value: T | None) -> T:
    """Return a value for one of a target's fields, where None would mean that another one is set.

    Raises:
        InvalidMessage: it is None, such as the id of a user who is not signed in.
    """
    if value is None:
        raise InvalidMessage(name, value, "a non-empty string")
    return value


def _connection_id(name: str, value: object) -> str:
    return require_id(name, value, MAX_CONNECTION_ID_BYTES)


class Delivery(Struct, frozen=True, gc=False):
    """The outcome of one message, counted in connections.

    `delivered`: handed to the connection's socket. It does not mean that the user has seen it.
    `gone`: the connection had ended; no error.
    `failed`: a live connection did not get it (a slow consumer, an error on the way).
    `unsent`: not attempted, for lack of time (a Lambda function's, see `tellwire.aws.deadline`). A lower bound: there
    may have been no time to find all connections.
    `cancelled`: the upload of this state is cancelled, so it was not delivered.
    `superseded`: another run of the upload has begun, so it was not delivered.
    """

    delivered: int = 0
    gone: int = 0
    failed: int = 0
    unsent: int = 0
    cancelled: bool = False
    superseded: bool = False

    @property
    def resume(self) -> str | None:
        """A token to go on with a broadcast that had no time for all, by `tellwire.aws.resume_broadcast`. None: there
        is nothing to go on with.
        """
        return None

    def __add__(self, other: Self) -> "Delivery":
        return Delivery(
            self.delivered + other.delivered,
            self.gone + other.gone,
            self.failed + other.failed,
            self.unsent + other.unsent,
            self.cancelled or other.cancelled,
            self.superseded or other.superseded,
        )


class Sender(Struct, frozen=True):
    """The client that a message of a type of your own came from. `request_id` is the `id` that it gave its request;
    None: it gave none.
    """

    user_id: str
    connection_id: str
    request_id: str | None = None


class PresenceCounts(Struct, frozen=True):
    """The nodes that run, and the live connections of all of them."""

    nodes: int
    connections: int


class ConnectionInfo(Struct, frozen=True, rename="camel"):
    """A live connection: one tab or device of a user. Times are RFC 3339 in UTC."""

    connection_id: str
    user_id: str
    connected_at: str
    last_active_at: str
    expires_at: str
