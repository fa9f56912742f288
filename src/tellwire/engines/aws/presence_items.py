"""The items of the presence of topics, in the table of connections. Pure.

    userId               connectionId
    presence#<topic>     #!<topic>          the head: the number of members, and which function tells watchers just now
                         #&<user>           a member: a user whose join was counted, with connections to look at
    pending#<n>          #-<topic> <user>   a user who may have come or gone, to be looked at from a time on
    presenceChecks#<n>   #:<topic>          a topic with members: their connections are looked up from a time on

Each is in the index `byConnection` too, as all items are, so its sort key has what spreads it there. A topic's name has
no space. An id that is too long for a sort key is replaced by its hash.
"""

import hashlib
import math
from typing import Any, Final, TypeAlias
from zlib import crc32

from msgspec import Struct

from tellwire.aws_api.dynamodb import Item
from tellwire.limits import AWS_PRESENCE_PARTITIONS

Key: TypeAlias = dict[str, Any]

MEMBERS_FROM: Final = "#&"
MEMBERS_TO: Final = "#,"
"""Between these are the members of a topic; before them is the head."""

PENDING_MARK: Final = "#-"
CHECK_MARK: Final = "#:"
"""The beginnings of the sort keys in their partitions: a user may have an id that looks like one."""

_LONGEST_USER_BYTES: Final = 700
"""A sort key has 1,024 bytes at most, and a topic's name up to 256."""


class Head(Struct, frozen=True):
    """The head of a topic. `number` grows with each change of its members.

    `is_untold`: watchers may not know of the last change. `is_many`: what they were told last was a number alone.
    """

    count: int = 0
    number: int = 0
    is_untold: bool = False
    is_many: bool = False
    is_checked: bool = False
    told_at: float = 0.0


class MemberItem(Struct, frozen=True):
    """A user who is counted. `touches` grows with each connection that is added."""

    user_id: str
    info: str | None
    connections: frozenset[str]
    touches: int


class Pending(Struct, frozen=True):
    """A user to be looked at from `due_at` on. A user without a connection has left from `leaves_at` on.

    `stamp` is another one after each change.
    """

    topic: str
    user_id: str
    connections: frozenset[str]
    info: str | None
    due_at: float
    leaves_at: float
    stamp: str
    key: Key


def head_key(topic: str) -> Key:
    """Return the key of a topic's head."""
    return _key(members_partition(topic), f"#!{topic}")


def member_key(topic: str, user_id: str) -> Key:
    """Return the key of a member."""
    return _key(members_partition(topic), f"#{_user(user_id)}")


def pending_key(topic: str, user_id: str) -> Key:
    """Return the key of a pending user."""
    return _key(pending_partition(number_of(topic)), f"{pending_prefix(topic)}{_user(user_id)}")


def check_key(topic: str) -> Key:
    """Return the key of the check of a topic."""
    return _key(checks_partition(number_of(topic)), f"{CHECK_MARK}{topic}")


def members_partition(topic: str) -> str:
    """Return the partition of a topic's head and members."""
    return f"presence#{topic}"


def pending_partition(number: int) -> str:
    """Return a partition of pending users."""
    return f"pending#{number}"


def pending_prefix(topic: str) -> str:
    """Return the beginning of the sort keys of a topic's pending users."""
    return f"{PENDING_MARK}{topic} "


def checks_partition(number: int) -> str:
    """Return a partition of checks."""
    return f"presenceChecks#{number}"


def number_of(topic: str) -> int:
    """Return the number of a topic's partition among those of pending users and of checks."""
    return crc32(topic.encode()) % AWS_PRESENCE_PARTITIONS


def read_head(item: Item) -> Head:
    """Read a head; an empty item is that of a topic without members."""
    return Head(
        int(_number(item, "memberCount", 0)),
        int(_number(item, "changeNumber", 0)),
        "isUntold" in item,
        "isMany" in item,
        "isChecked" in item,
        _number(item, "toldAt", 0),
    )


def read_member(item: Item) -> MemberItem:
    """Read a member."""
    return MemberItem(
        str(item["memberUserId"]["S"]), _text(item, "info"), _connections(item), int(_number(item, "touches", 0))
    )


def read_pending(item: Item) -> Pending:
    """Read a pending user."""
    return Pending(
        str(item["connectionId"]["S"]).removeprefix(PENDING_MARK).partition(" ")[0],
        str(item["memberUserId"]["S"]),
        _connections(item),
        _text(item, "info"),
        _number(item, "dueAt", 0),
        _number(item, "leavesAt", -math.inf),
        str(item["stamp"]["S"]),
        {name: item[name] for name in ("userId", "connectionId")},
    )


def read_check(item: Item) -> tuple[str, float]:
    """Read a check: its topic, and when it is due."""
    return str(item["connectionId"]["S"]).removeprefix(CHECK_MARK), _number(item, "dueAt", 0)


def _user(user_id: str) -> str:
    if len(user_id.encode()) <= _LONGEST_USER_BYTES:
        return f"&{user_id}"
    return f"+{hashlib.sha256(user_id.encode()).hexdigest()}"


def _key(partition: str, sort_key: str) -> Key:
    return {"userId": {"S": partition}, "connectionId": {"S": sort_key}}


def _connections(item: Item) -> frozenset[str]:
    return frozenset(item.get("connections", {}).get("SS", ()))


def _text(item: Item, name: str) -> str | None:
    return str(item[name]["S"]) if name in item else None


def _number(item: Item, name: str, default: float) -> float:
    return float(item[name]["N"]) if name in item else default
