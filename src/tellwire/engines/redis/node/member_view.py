"""The members of a topic on all nodes, as a node knows them while connections of it watch. Pure.

a read of Redis              all of it
the next message             its changes; of many members, their number alone
one that was read            drop
a number is missing          read: pub/sub has lost something, or there are few enough to be named again
another epoch                Redis was emptied: read, when the nodes have filled it again
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

import msgspec
from msgspec import Struct

from tellwire.engines.redis.node.member_store import MembersHead, Reported
from tellwire.limits import MAX_PRESENCE_MEMBERS
from tellwire.topic_members import Change, Member


class Verdict(Enum):
    """The outcome for a message about the members of a topic."""

    DROP = auto()
    CHANGES = auto()
    COUNT = auto()
    READ = auto()
    LOST = auto()


class MembersMessage(Struct, frozen=True):
    """A message about the members of a topic: the numbers of its changes, and each change with the number of members
    after it, unless they are many.
    """

    epoch: str
    before: int
    number: int
    count: int
    changes: Sequence[tuple[Change, int]] = ()


class _Named(Struct, array_like=True, frozen=True, gc=False):
    kind: str
    user_id: str
    count: int
    info: msgspec.Raw = msgspec.Raw()


_named: Final = msgspec.json.Decoder(list[_Named])


def message_of(header: Sequence[int | str], payload: bytes) -> MembersMessage:
    """Return a message as `lua/shared/members.lua` has published it."""
    _, epoch, before, number, count = header
    named = _named.decode(payload) if payload else ()
    changes = [
        (Change(Member(each.user_id, bytes(each.info) or None), is_join=each.kind == "j"), each.count) for each in named
    ]
    return MembersMessage(str(epoch), int(before), int(number), int(count), changes)


class MemberView:
    """The members of one topic. `members` are all of them or, where they are many, some that were there lately."""

    __slots__ = ("count", "epoch", "members", "number")

    def __init__(self, head: MembersHead, members: dict[str, Member]) -> None:
        self.members = members
        self.note(head)

    @property
    def are_many(self) -> bool:
        """True if there are too many members to tell each of them."""
        return self.count > MAX_PRESENCE_MEMBERS

    def note(self, head: MembersHead) -> None:
        """Take the number of members, and that of the last change."""
        self.epoch, self.number, self.count = head.epoch, head.number, head.count

    def lacks(self, reported: Reported) -> bool:
        """Return True if a report of this node is on its way through the channel."""
        return not self.are_many and self.epoch == reported.epoch and self.number < reported.number

    def take(self, message: MembersMessage) -> Verdict:
        """Take a message, if it is the next one. Only CHANGES and COUNT change anything."""
        is_first = self.epoch == "" and message.before == 0
        if message.epoch != self.epoch and not is_first:
            return Verdict.LOST
        if message.number <= self.number:
            return Verdict.DROP
        if message.before != self.number:
            return Verdict.READ
        if not message.changes:
            if message.count <= MAX_PRESENCE_MEMBERS:
                return Verdict.READ
            self.epoch, self.number, self.count = message.epoch, message.number, message.count
            return Verdict.COUNT
        self.epoch, self.number, self.count = message.epoch, message.number, message.count
        for change, _ in message.changes:
            if change.is_join:
                self.members[change.member.user_id] = change.member
            else:
                self.members.pop(change.member.user_id, None)
        return Verdict.CHANGES
