"""The members of a topic, as an application sees them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Member:
    """A user who is in a topic. `info` is the object in their token for others to see; trust it as little as any text
    of a user.
    """

    user_id: str
    info: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PresenceState:
    """A snapshot. `members` are in the order in which they came; `count` is the number of all of them.

    `is_complete`: the members are all of them; otherwise they are some of those who were there, since a server names
    at most 200. `is_live`: it is kept up to date; it is not before the first answer, and while there is no connection.
    `code` and `message` say why nobody is told: `PRESENCE_OFF`, for one.
    """

    members: tuple[Member, ...] = ()
    count: int = 0
    is_complete: bool = False
    is_live: bool = False
    code: str | None = None
    message: str | None = None
