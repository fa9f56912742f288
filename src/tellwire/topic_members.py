"""The members of a topic, and the choice of the changes that are told. Pure.

    a connection of a user ─▶ `MembersHere`: the members by this process, with a time of grace ─▶ `Change`
    `Change` ─▶ `Telling` ─▶ a join or a leave by name; where there are many, only their number, once a second at most

A member is a user, not a connection.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from tellwire.errors import shown
from tellwire.limits import (
    MAX_PRESENCE_BYTES,
    MAX_PRESENCE_INFO_BYTES,
    MAX_PRESENCE_MEMBERS,
    PRESENCE_COUNT_SECONDS,
    PRESENCE_GRACE_SECONDS,
)

INFO_CLAIM: Final = "info"
"""The claim of a token with the traits of its user that others in a topic see, such as a name."""

_BYTES_AROUND_A_MEMBER: Final = 32
"""Names of fields, quotes and commas."""


class Member(Struct, frozen=True, gc=False):
    """A user in a topic. `info` is an encoded JSON object that their token has for others to see; None: none."""

    user_id: str
    info: bytes | None = None


class Members(Struct, frozen=True):
    """The number of users in a topic, and some of them: all, unless they are many."""

    count: int
    members: Sequence[Member] = ()


class Change(Struct, frozen=True, gc=False):
    """A user has come or has another info (`is_join`), or has left."""

    member: Member
    is_join: bool


class ClaimedInfo(NamedTuple):
    """The info in a token. `refused` are the words for one that is not valid, and does not count."""

    info: bytes | None = None
    refused: str = ""


def claimed_info(claims: Mapping[str, Any], name: str = INFO_CLAIM) -> ClaimedInfo:
    """Return the info in a claim: an object of at most `MAX_PRESENCE_INFO_BYTES`, encoded."""
    given = claims.get(name)
    if given is None:
        return ClaimedInfo()
    if not isinstance(given, dict):
        return ClaimedInfo(None, f"{name}: got {shown(given)}; allowed: an object")
    info = msgspec.json.encode(given)
    if len(info) > MAX_PRESENCE_INFO_BYTES:
        return ClaimedInfo(None, f"{name}: got {len(info):,} bytes; allowed: at most {MAX_PRESENCE_INFO_BYTES:,}")
    return ClaimedInfo(info)


def told(members: Iterator[Member], at_most: int = MAX_PRESENCE_MEMBERS) -> list[Member]:
    """Return the members that fit into one `presence`, in count and in bytes."""
    chosen: list[Member] = []
    room = MAX_PRESENCE_BYTES
    for member in islice(members, at_most):
        room -= _encoded_bytes(member)
        if room < 0:
            break
        chosen.append(member)
    return chosen


def _encoded_bytes(member: Member) -> int:
    # A control character takes six bytes in JSON; every other one at most as many as in UTF-8, and one more.
    user = member.user_id
    size = 6 * len(user) if not user.isprintable() else len(user.encode()) + user.count('"') + user.count("\\")
    return _BYTES_AROUND_A_MEMBER + size + len(member.info or b"")


class _User:
    """A member, with the connections here by which they are one."""

    __slots__ = ("connections", "member")

    def __init__(self, member: Member, connection_id: str) -> None:
        self.member = member
        self.connections: tuple[str, ...] = (connection_id,)


class MembersHere:
    """The members of one topic by the connections of this process. Each that leaves stays for the time of grace."""

    __slots__ = ("_grace_seconds", "_leaving", "_users")

    def __init__(self, grace_seconds: float = PRESENCE_GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._users: dict[str, _User] = {}
        self._leaving: dict[str, float] = {}  # in the order of their times

    def __len__(self) -> int:
        return len(self._users)

    def __iter__(self) -> Iterator[Member]:
        return (each.member for each in self._users.values())

    def get(self, user_id: str) -> Member | None:
        """Return a member; None: this user is none."""
        user = self._users.get(user_id)
        return None if user is None else user.member

    def enter(self, user_id: str, connection_id: str, info: bytes | None = None) -> Change | None:
        """Add a connection of a user, or give it another info; None keeps the user's. None is returned where nothing
        has changed.
        """
        self._leaving.pop(user_id, None)
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = _User(Member(user_id, info), connection_id)
            return Change(user.member, is_join=True)
        if connection_id not in user.connections:
            user.connections = (*user.connections, connection_id)
        if info is None or info == user.member.info:
            return None
        user.member = Member(user_id, info)
        return Change(user.member, is_join=True)

    def leave(self, user_id: str, connection_id: str, now: float) -> None:
        """Remove a connection. It need not be there. After a user's last one, the time of grace begins."""
        user = self._users.get(user_id)
        if user is None or connection_id not in user.connections:
            return
        user.connections = tuple(each for each in user.connections if each != connection_id)
        if not user.connections:
            self._leaving[user_id] = now + self._grace_seconds

    @property
    def next_at(self) -> float | None:
        """The time at which the next member has left; None: nobody is leaving."""
        return next(iter(self._leaving.values()), None)

    def gone(self, now: float) -> list[Change]:
        """Remove those whose time of grace has passed, and return them."""
        changes: list[Change] = []
        while (at := self.next_at) is not None and at <= now:
            user_id = next(iter(self._leaving))
            del self._leaving[user_id]
            changes.append(Change(self._users.pop(user_id).member, is_join=False))
        return changes


class Tell(Enum):
    """The answer to a change: it is told, or the number of members, or all of them anew."""

    CHANGE = auto()
    COUNT = auto()
    ALL = auto()


class Telling:
    """The choice of the changes of one topic that its watchers are told. `count`: the number of members at its begin.

    Up to `MAX_PRESENCE_MEMBERS`: each change. Above, their number; and when it has fallen again, all of them anew: once
    in `PRESENCE_COUNT_SECONDS`.
    """

    __slots__ = ("_is_due", "_is_over", "_not_before")

    def __init__(self, count: int = 0) -> None:
        self._is_over = count > MAX_PRESENCE_MEMBERS
        self._is_due = False
        self._not_before = 0.0

    def changed(self, count: int, now: float) -> Tell | None:
        """Return the answer to a change, after which there are `count` members. None: nothing now, see `due`."""
        if not self._is_over and count <= MAX_PRESENCE_MEMBERS:
            return Tell.CHANGE
        self._is_over = self._is_due = True
        return self.due(count, now)

    def lag(self) -> None:
        """Note that somebody was told an older number, and is to be told the newer one."""
        self._is_over = self._is_due = True

    @property
    def next_at(self) -> float | None:
        """The time from which on `due` has something to tell; None: there is nothing."""
        return self._not_before if self._is_due else None

    def due(self, count: int, now: float) -> Tell | None:
        """Return the answer to changes that were not told. None: nothing yet."""
        if not self._is_due or now < self._not_before:
            return None
        self._is_due, self._not_before = False, now + PRESENCE_COUNT_SECONDS
        self._is_over = count > MAX_PRESENCE_MEMBERS
        return Tell.COUNT if self._is_over else Tell.ALL
