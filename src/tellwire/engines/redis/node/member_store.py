"""The members of topics in Redis: the calls of the scripts, and their answers. See `lua/shared/members.lua`.

{<bucket>}:members:<stream>    a hash: user → its nodes, and its info
{<bucket>}:presence:<stream>   a hash: epoch and number of changes, and the number of each node's last report
{<bucket>}:leaving:<stream>    a sorted set: users who were on nodes that have stopped → the time at which they leave
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec import Struct

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import Time, script
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.errors import HistoryUnavailable
from tellwire.limits import MAX_PRESENCE_MEMBERS, REDIS_MEMBERS_AT_ONCE, REDIS_REGISTRATION_SECONDS
from tellwire.model import new_epoch
from tellwire.publication import StreamKey
from tellwire.topic_members import Member

_REPORT: Final = script("report_members")
_DROP: Final = script("drop_members")
_READ: Final = script("read_members")
_OF_NODE: Final = script("members_of_node")
_KINDS: Final = ("members", "presence", "leaving")


class MembersHead(Struct, frozen=True, gc=False):
    """The number of members of a topic, and that of the last change among them. `reports` has the number of the last
    report of each node that has members; `has_due`: some are to leave now.
    """

    epoch: str
    number: int
    count: int
    reports: dict[str, int] = {}
    has_due: bool = False


class Reported(Struct, frozen=True, gc=False):
    """The outcome of a report. `before` is the number of the report before it, as Redis knew it; 0: none."""

    epoch: str
    number: int
    before: int


class Report(Struct, frozen=True, gc=False):
    """A report of a node: the changes among its members of a topic. `number` 0: it has no members after it.

    `members` are there, and `left` are not. `leave_seconds`: whoever of these is on no other node leaves then.
    """

    stream: StreamKey
    number: int
    members: Sequence[Member] = ()
    left: Sequence[str] = ()
    leave_seconds: float = 0


class MemberStore:
    """The members of all topics in Redis."""

    def __init__(self, store: RedisStore, names: Names, time: Time) -> None:
        self._store = store
        self._names = names
        self._time = time

    async def report(self, node: str, reports: Sequence[Report]) -> list[Reported | HistoryUnavailable]:
        """Give the reports of a node to Redis. An error is the outcome of its report, which may have been taken."""
        answers = await self._store.call_all([self._report_call(node, each) for each in reports])
        return [
            each if isinstance(each, HistoryUnavailable) else Reported(each[0].decode(), each[1], int(each[3]))
            for each in answers
        ]

    async def heads(self, streams: Sequence[StreamKey]) -> list[MembersHead | HistoryUnavailable]:
        """Read the heads of topics. An error is the outcome of its topic."""
        answers = await self._store.call_all([self._read_call(each, 0) for each in streams])
        return [each if isinstance(each, HistoryUnavailable) else _head(each) for each in answers]

    async def read(self, stream: StreamKey, limit: int) -> tuple[MembersHead, dict[str, Member]]:
        """Read the head of a topic, and so many of its members: by user.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        call = self._read_call(stream, limit)
        answer = await self._store.call(call.script, call.keys, call.args)
        listed = answer[3]
        members = [Member(listed[at].decode(), listed[at + 1] or None) for at in range(0, len(listed), 2)]
        return _head(answer), {each.user_id: each for each in members}

    async def drop(self, stream: StreamKey, dead: Iterable[str]) -> None:
        """Remove the members whose time has come to leave, and those of dead nodes.

        Raises:
            HistoryUnavailable: it cannot be done; some may be removed.
        """
        cursor, has_more, nodes = b"0", 1, list(dead)
        is_done = False
        while not is_done or has_more:
            names = [] if is_done else nodes
            args: list[Any] = [*self._common(), cursor, REDIS_MEMBERS_AT_ONCE, *names]
            cursor, has_more = await self._store.call(_DROP, self._keys(stream), args)
            is_done = is_done or cursor == b"0"

    async def of_node(self, stream: StreamKey, node: str) -> set[str]:
        """Return the users in a topic who are members by this node, as Redis knows it.

        Raises:
            HistoryUnavailable: it cannot be read.
        """
        users: set[str] = set()
        cursor = b"0"
        while True:
            args: list[Any] = [node, cursor, REDIS_MEMBERS_AT_ONCE]
            cursor, found = await self._store.call(_OF_NODE, self._keys(stream)[:1], args)
            users.update(each.decode() for each in found)
            if cursor == b"0":
                return users

    def _report_call(self, node: str, report: Report) -> Call:
        args: list[Any] = [*self._common(), node, report.number, f"{report.leave_seconds:g}"]
        for member in report.members:
            args += ("j", member.user_id, member.info or b"")
        for user_id in report.left:
            args += ("l", user_id, b"")
        return Call(_REPORT, self._keys(report.stream), args)

    def _read_call(self, stream: StreamKey, limit: int) -> Call:
        return Call(_READ, self._keys(stream)[:-1], [self._time(), limit])

    def _keys(self, stream: StreamKey) -> list[bytes]:
        return [*self._names.all_of_stream(_KINDS, stream), self._names.channel(stream)]

    def _common(self) -> list[Any]:
        return [self._time(), new_epoch(), REDIS_REGISTRATION_SECONDS, MAX_PRESENCE_MEMBERS]


def _head(answer: Any) -> MembersHead:
    count, has_due, flat = answer[:3]
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    epoch, number = fields.pop(b"e", b"").decode(), int(fields.pop(b"n", 0))
    reports = {name[1:].decode(): int(value) for name, value in fields.items()}
    return MembersHead(epoch, number, count, reports, bool(has_due))
