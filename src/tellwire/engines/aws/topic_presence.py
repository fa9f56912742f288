"""The presence of topics on AWS: who is in a topic, and who is told. No function runs all the time, so nobody counts.

    subscribe, unsubscribe, $disconnect, a post that meets nobody ─▶ a pending user: "look whether this one is here"
    settle(topic), by the function of a client or by the sweeper:
        hold the topic ─▶ the pending users that are due ─▶ which of their connections are subscribed ─▶ verdicts (pure)
        ─▶ one transaction: members and their number ─▶ posts to the watchers ─▶ the pending users are dropped

The subscribed connections are the truth, and a pending user is written before, or beside, whatever changes them. So a
function may die anywhere: another one looks again, and comes to the same verdicts. Who holds a topic is the only one to
count and to tell, so watchers hear everything once and in order. If it dies, watchers may have missed something, which
the head says: the next one tells them all members anew.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NamedTuple

from msgspec import structs

from tellwire import protocol
from tellwire.aws_api.deadline import at_most, last_moments, remaining_seconds
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.connections import ConnectionRow, ConnectionsTable
from tellwire.engines.aws.presence_items import Head, MemberItem, Pending
from tellwire.engines.aws.presence_table import Joined, Left, PresenceTable
from tellwire.engines.aws.topic_members import TopicMember
from tellwire.limits import (
    AWS_PRESENCE_CHANGES,
    AWS_PRESENCE_NAMES_AT_ONCE,
    AWS_PRESENCE_TURN_SECONDS,
    MAX_PRESENCE_MEMBERS,
    PRESENCE_COUNT_SECONDS,
    PRESENCE_GRACE_SECONDS,
)
from tellwire.ports import Clock
from tellwire.publication import StreamKey, topic_of
from tellwire.topic_members import Member, Members, told

logger = logging.getLogger("tellwire.aws")

_SNAPSHOTS: Final = 5
"""Snapshots for one request, if the topic changes while they are sent. After the last one another change is told."""

_MARGIN_SECONDS: Final = 1.0
"""Time that is kept to let a topic go."""


class Verdict(Enum):
    """The outcome of a look at a pending user."""

    JOIN = auto()
    RENEW = auto()
    KEEP = auto()
    LEAVE = auto()
    LATER = auto()
    NOTHING = auto()


_TOLD: Final = (Verdict.JOIN, Verdict.RENEW, Verdict.LEAVE)
_WRITTEN: Final = (*_TOLD, Verdict.KEEP)


class Looked(NamedTuple):
    """A pending user, the member as counted, and the connections that are subscribed."""

    pending: Pending
    member: MemberItem | None
    connections: frozenset[str]

    def verdict(self, now: float) -> Verdict:
        """Return the outcome."""
        pending, member = self.pending, self.member
        if not self.connections:
            if member is None:
                return Verdict.NOTHING
            return Verdict.LEAVE if pending.leaves_at <= now else Verdict.LATER
        if member is None:
            return Verdict.JOIN
        if pending.info is not None and pending.info != member.info:
            return Verdict.RENEW
        return Verdict.NOTHING if self.connections == member.connections else Verdict.KEEP

    @property
    def info(self) -> str | None:
        """The newest info of the user."""
        if self.pending.info is not None or self.member is None:
            return self.pending.info
        return self.member.info

    @property
    def joined(self) -> Joined:
        return Joined(self.pending.user_id, self.info, self.connections, self.member)


class AwsTopicPresence:
    """The users in each topic, for the connections of one WebSocket API."""

    def __init__(self, table: ConnectionsTable, carrier: AwsCarrier, clock: Clock) -> None:
        self._table = table
        self._carrier = carrier
        self._clock = clock

    async def comes(self, topic: str, row: ConnectionRow, info: bytes | None) -> bool:
        """Note that a connection is about to be subscribed. False: its user is known, and nothing is told.

        True: `has_come` tells it. If it is never called, the sweeper looks after the time of grace.
        """
        table, text = self._table.presence, None if info is None else info.decode()
        known = await table.member(topic, row.user_id)
        is_same = known is not None and (text is None or text == known.info)
        if is_same and await table.touch(topic, row.user_id, row.connection_id):
            return False
        due_at = self._clock.now() + PRESENCE_GRACE_SECONDS
        await table.put_coming(topic, row.user_id, row.connection_id, text, due_at)
        return True

    async def has_come(
        self, topic: str, row: ConnectionRow, info: bytes | None, *, is_told: bool, at_most_seconds: float
    ) -> bool:
        """Tell watchers of a connection that is subscribed; `is_told`: if its user is no member. False: there was no
        time for all that is pending.
        """
        table, text = self._table.presence, None if info is None else info.decode()
        if not is_told:
            known = await table.member(topic, row.user_id)
            if known is not None and row.connection_id in known.connections and text in (None, known.info):
                return True
            await table.put_coming(topic, row.user_id, row.connection_id, text, self._clock.now())
        done = await self._take_turns(topic, at_most_seconds, row.user_id)
        if done is None:
            # Whoever holds the topic looks again afterwards.
            await table.put_coming(topic, row.user_id, row.connection_id, text, self._clock.now())
            done = await self._take_turns(topic, at_most_seconds, row.user_id)
        return done is not False

    async def leaves(self, topic: str, user_id: str, connection_id: str) -> None:
        """Note that a connection is about to be subscribed no more. It is told after the time of grace, by the sweeper
        or by whoever settles the topic then.
        """
        await self._table.presence.put_going(topic, user_id, connection_id, self._clock.now() + PRESENCE_GRACE_SECONDS)

    async def watch(self, member: TopicMember, send: Callable[[bytes], Awaitable[object]]) -> bool:
        """Send a subscribed connection who is there, and tell it each change from then on. False: it is not subscribed
        any more.
        """
        await self.settle(member.topic)
        if not await self._table.members.watch(member):
            return False
        number = None
        for _ in range(_SNAPSHOTS):
            listed = await self._table.presence.listed(member.topic, MAX_PRESENCE_MEMBERS)
            # What was told meanwhile may have come before what was read before.
            if listed.head.number == number:
                break
            number = listed.head.number
            await send(_snapshot(member.topic, listed.head.count, listed.members))
        return True

    async def members(self, stream: StreamKey, limit: int = MAX_PRESENCE_MEMBERS) -> Members:
        """Return the number of members of a topic, and at most `limit` of them."""
        listed = await self._table.presence.listed(topic_of(stream) or "", limit)
        return Members(listed.head.count, [_member(one) for one in listed.members])

    async def settle(self, topic: str, user_id: str | None = None) -> bool:
        """Tell watchers of a topic about joins and leaves, as far as it is time. Where another function does so, it
        looks again when it is done. False: there was no time for all. `user_id`: this user is looked at now.
        """
        return await self._take_turns(topic, AWS_PRESENCE_TURN_SECONDS, user_id) is not False

    async def _take_turns(self, topic: str, at_most_seconds: float, user_id: str | None = None) -> bool | None:
        """Settle a topic, and this user whether they are due or not. None: another function holds it."""
        with at_most(at_most_seconds + _MARGIN_SECONDS):
            while _has_time():
                if user_id is None and not await self._is_any_due(topic):
                    return True
                holder = os.urandom(8).hex()
                head = await self._table.presence.hold(topic, holder, self._clock.now())
                if head is None:
                    return None
                if not await _Turn(self._table, self._carrier, self._clock, topic, holder, head, user_id).take():
                    return False
                user_id = None
        return False

    async def _is_any_due(self, topic: str) -> bool:
        now = self._clock.now()
        async for page in self._table.presence.pending(topic):
            if any(one.due_at <= now for one in page):
                return True
        return False


@dataclass
class _Turn:
    """The time for which a function holds a topic. `head` is the newest one that it has written."""

    table: ConnectionsTable
    carrier: AwsCarrier
    clock: Clock
    topic: str
    holder: str
    head: Head
    user_id: str | None
    settled: dict[str, Pending] = field(default_factory=dict)
    is_owed: bool = False
    has_failed: bool = False

    async def take(self) -> bool:
        """Settle those that are due. False: there was no time for all, or watchers are not told."""
        # Whoever held it before may have died before watchers were told.
        self.is_owed = self.head.is_untold
        try:
            is_done = await self._work()
        finally:
            head = structs.replace(self.head, is_untold=self.is_owed or self.has_failed)
            with last_moments():
                await self.presence.release(self.topic, self.holder, head)
        return is_done

    @property
    def presence(self) -> PresenceTable:
        return self.table.presence

    async def _work(self) -> bool:
        while _has_time():
            now = self.clock.now()
            due = await self._due(now)
            if due:
                if not await self._count(due, now):
                    return False
                self.user_id = None
            elif self.is_owed:
                await self._tell_all()
            if not self.is_owed:
                await each(list(self.settled.values()), self.presence.drop)
                self.settled.clear()
                if not due:
                    return True
        return False

    async def _due(self, now: float) -> list[Pending]:
        due: list[Pending] = []
        async for page in self.presence.pending(self.topic):
            due += [one for one in page if self._is_due(one, now)]
            if len(due) >= AWS_PRESENCE_CHANGES:
                break
        return due[:AWS_PRESENCE_CHANGES]

    def _is_due(self, pending: Pending, now: float) -> bool:
        return pending.stamp not in self.settled and (pending.due_at <= now or pending.user_id == self.user_id)

    async def _count(self, due: Sequence[Pending], now: float) -> bool:
        """Count those who have come or gone, and tell watchers. False: another function holds the topic now."""
        looked = await each(due, self._look)
        verdicts = [(one, one.verdict(now)) for one in looked]
        await each([one.pending for one, verdict in verdicts if verdict is Verdict.LATER], self.presence.postpone)
        changes = [
            Left(one.member) if verdict is Verdict.LEAVE and one.member is not None else one.joined
            for one, verdict in verdicts
            if verdict in _WRITTEN
        ]
        told = [(one, verdict) for one, verdict in verdicts if verdict in _TOLD]
        was_owed, self.is_owed = self.is_owed, self.is_owed or bool(told)
        if changes and not await self._fold(changes, told):
            # A connection came to one of them, so all are looked at again; or another function has taken the topic.
            self.is_owed = was_owed
            return await self._hold_on()
        self.settled |= {one.pending.stamp: one.pending for one, verdict in verdicts if verdict is not Verdict.LATER}
        if self.is_owed:
            await self._tell(told, was_owed=was_owed)
        return True

    async def _hold_on(self) -> bool:
        head = await self.presence.hold(self.topic, self.holder, self.clock.now())
        if head is None:
            return False
        self.head = structs.replace(head, told_at=self.head.told_at, is_many=self.head.is_many)
        return True

    async def _fold(self, changes: Sequence[Joined | Left], told: Sequence[tuple[Looked, Verdict]]) -> bool:
        grown_by = sum((verdict is Verdict.JOIN) - (verdict is Verdict.LEAVE) for _, verdict in told)
        if not self.head.is_checked:
            await self.presence.put_check(self.topic, self.clock.now())
        head = structs.replace(
            self.head, count=self.head.count + grown_by, number=self.head.number + 1, is_checked=True
        )
        if not await self.presence.fold(self.topic, self.holder, head, changes):
            return False
        self.head = head
        return True

    async def _look(self, pending: Pending) -> Looked:
        member = await self.presence.member(self.topic, pending.user_id)
        asked = pending.connections | (frozenset() if member is None else member.connections)
        found = [await subscribed(self.table, self.topic, connection_id, self.clock) for connection_id in sorted(asked)]
        return Looked(pending, member, frozenset(one.connection_id for one in found if one is not None))

    # --- telling ------------------------------------------------------------------------------------------------------

    async def _tell(self, changed: Sequence[tuple[Looked, Verdict]], *, was_owed: bool) -> None:
        is_many = self.head.is_many or self.head.count > MAX_PRESENCE_MEMBERS
        if not is_many and not was_owed and len(changed) <= AWS_PRESENCE_NAMES_AT_ONCE:
            sent = [await self._post(payload) for payload in _by_name(self.topic, self.head.count, changed)]
            self.is_owed = not all(sent)
        elif not is_many or self.clock.now() - self.head.told_at >= PRESENCE_COUNT_SECONDS:
            await self._tell_all()

    async def _tell_all(self) -> None:
        """Tell watchers all members, or their number if they are too many."""
        was_many = self.head.is_many or self.head.count > MAX_PRESENCE_MEMBERS
        wait_seconds = PRESENCE_COUNT_SECONDS - (self.clock.now() - self.head.told_at)
        if was_many and 0 < wait_seconds <= PRESENCE_COUNT_SECONDS:
            await asyncio.sleep(wait_seconds)
        if self.head.count > MAX_PRESENCE_MEMBERS:
            payload = protocol.presence(self.topic, self.head.count)
        else:
            listed = await self.presence.listed(self.topic, MAX_PRESENCE_MEMBERS)
            payload = _snapshot(self.topic, listed.head.count, listed.members)
        self.is_owed = not await self._post(payload)
        self.head = structs.replace(self.head, is_many=self.head.count > MAX_PRESENCE_MEMBERS, told_at=self.clock.now())

    async def _post(self, payload: bytes) -> bool:
        """Post to all watchers. False: there was no time for all."""
        delivery = await self.carrier.tell(self._watchers(), payload)
        # Where API Gateway was too busy, the next function tells all members anew.
        self.has_failed = self.has_failed or delivery.failed > 0
        return delivery.unsent == 0

    async def _watchers(self) -> AsyncIterator[list[TopicMember]]:
        async for page, _ in self.table.members.of_topic(self.topic, watchers=True):
            yield page


async def subscribed(table: ConnectionsTable, topic: str, connection_id: str, clock: Clock) -> TopicMember | None:
    """Return the item of a connection that is subscribed with a valid token; None: it is not."""
    found = await table.members.find(topic, connection_id)
    if found is not None and found.token_expires_at <= clock.now():
        # The item may not know of a new token.
        row = await table.at(found.user_id, connection_id)
        return None if row is None or row.token_expires_at <= clock.now() else found
    return found


def _by_name(topic: str, count: int, changed: Sequence[tuple[Looked, Verdict]]) -> list[bytes]:
    """Return a message for each change. The number in the last one is `count`."""
    payloads = []
    for one, verdict in reversed(changed):
        if verdict is Verdict.LEAVE:
            payloads.append(protocol.leave(topic, one.pending.user_id, count))
            count += 1
        else:
            payloads.append(protocol.join(topic, Member(one.pending.user_id, _encoded(one.info)), count))
            count -= verdict is Verdict.JOIN
    return payloads[::-1]


def _snapshot(topic: str, count: int, members: Sequence[MemberItem]) -> bytes:
    return protocol.presence(topic, count, told(map(_member, members)))


def _member(item: MemberItem) -> Member:
    return Member(item.user_id, _encoded(item.info))


def _encoded(info: str | None) -> bytes | None:
    return None if info is None else info.encode()


def _has_time(margin_seconds: float = _MARGIN_SECONDS) -> bool:
    return remaining_seconds() > margin_seconds
