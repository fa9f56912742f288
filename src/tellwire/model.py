"""The nouns of all other modules: the receivers of a message (`Target`), its outcome (`Delivery`), the user in a token
(`Identity`), the client that sent a message (`Sender`), and a live connection (`ConnectionInfo`)."""

import base64
import functools
import os
import time
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final, Self

from msgspec import Struct, field

from tellwire.errors import ConfigError, InvalidMessage


def new_connection_id() -> str:
    """Return an id of API Gateway's form: 11 random bytes in URL-safe base64, 15 characters and `=`."""
    return base64.urlsafe_b64encode(os.urandom(11)).decode("ascii")


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


def is_text(value: str) -> bool:
    """Return True if a string can be encoded as UTF-8. JSON may hold half a surrogate pair, which cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_loopback(host: str | None) -> bool:
    """Tell whether a host name or address is this machine's own."""
    try:
        return (host or "").lower() == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def require_api_key(key: str) -> None:
    """Raise `ConfigError`, without quoting it, unless `key` can travel in an HTTP header as it is."""
    if not key or not all("!" <= character <= "~" for character in key):
        raise ConfigError("TELLWIRE_API_KEY: got one with other characters; allowed: printable ASCII without spaces")


class Identity(Struct, frozen=True):
    """The user in a token.

    `user_id` is the token's `sub`; `expires_at` its `exp`, in epoch seconds; `claims` all it said.
    """

    user_id: str
    expires_at: float
    claims: dict[str, Any] = field(default_factory=dict)


class Target(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """The receivers of a broadcast. Exactly one of the four is set.

    On the wire: `{"user": "u1"}`, `{"connection": "nBUGZLR2Hhyb5qM="}`, `{"connections": ["…", "…"]}` or
    `{"all": true}`.

    Raises:
        InvalidMessage: none of them is set, or more than one, or an id is empty.
    """

    user: str | None = None
    connection: str | None = None
    connections: tuple[str, ...] | None = None
    all: bool | None = None

    def __post_init__(self) -> None:
        # Once per published message, so the most frequent case is the shortest.
        if self.user is not None and self.connection is None and self.connections is None and self.all is None:
            _require_id("target.user", self.user)
        else:
            self._check_other_ways()

    @property
    def connection_ids(self) -> tuple[str, ...]:
        """The connections that it names; empty for a user or for everybody."""
        if self.connections is not None:
            return self.connections
        return () if self.connection is None else (self.connection,)

    def _check_other_ways(self) -> None:
        chosen = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        match chosen:
            case ["connection"]:
                _require_id("target.connection", self.connection)
            case ["connections"]:
                if not isinstance(self.connections, tuple):
                    raise InvalidMessage("target.connections", self.connections, "a list of non-empty strings")
                for each in self.connections:
                    _require_id("target.connections", each)
            case ["all"]:
                if self.all is not True:
                    raise InvalidMessage("target.all", self.all, "true")
            case _:
                raise InvalidMessage("target", chosen, "exactly one of user, connection, connections, all")


def _require_id(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise InvalidMessage(name, value, "a non-empty string")
    if not value.isascii() and not is_text(value):
        raise InvalidMessage(name, value, "text that UTF-8 can carry")


class Delivery(Struct, frozen=True, gc=False):
    """The outcome of one message, counted in connections.

    `delivered`: handed to the connection's socket. It does not mean that the user has seen it.
    `gone`: the connection had ended; no error.
    `failed`: a live connection did not get it (a slow consumer, an error on the way).
    `unsent`: not attempted, for lack of time (a Lambda function's, see `tellwire.aws.deadline`). A lower bound: there
    may have been no time to find all connections.
    `cancelled`: the upload of this state is cancelled, so it was not delivered.
    """

    delivered: int = 0
    gone: int = 0
    failed: int = 0
    unsent: int = 0
    cancelled: bool = False

    def __add__(self, other: Self) -> "Delivery":
        return Delivery(
            self.delivered + other.delivered,
            self.gone + other.gone,
            self.failed + other.failed,
            self.unsent + other.unsent,
            self.cancelled or other.cancelled,
        )


class Sender(Struct, frozen=True):
    """The client that a message of a type of your own came from."""

    user_id: str
    connection_id: str


class ConnectionInfo(Struct, frozen=True, rename="camel"):
    """A live connection: one tab or device of a user. Times are RFC 3339 in UTC."""

    connection_id: str
    user_id: str
    connected_at: str
    last_active_at: str
    expires_at: str
