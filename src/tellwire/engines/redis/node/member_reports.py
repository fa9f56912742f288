"""The members of topics by this node, and the reports of them to Redis: each change soon, again until Redis has it.

enter     a user's first connection ─▶ a join is reported
leave     after a user's last one, and the time of grace ─▶ a leave is reported, unless the user is back
checked   Redis knows another report of this node than the last ─▶ all are reported, and who is no member is removed
close     all leave after a time of grace: the clients of a node that stops are about to come back elsewhere

Reports have numbers, each once. So a Redis that was emptied or has forgotten some, and other nodes that have taken this
one for dead, are noticed by one number of each topic.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from tellwire.engines.redis.link.waiting import Answer
from tellwire.engines.redis.node.member_store import MembersHead, MemberStore, Report, Reported
from tellwire.engines.redis.node.nodes import OwnNode
from tellwire.errors import HistoryUnavailable
from tellwire.limits import (
    PRESENCE_GRACE_SECONDS,
    REDIS_LEFT_SECONDS,
    REDIS_LEFT_TOPICS,
    REDIS_MEMBERS_AT_ONCE,
    REDIS_PROBE_SECONDS,
    REDIS_REGISTERED_AT_ONCE,
)
from tellwire.ports import Clock, Present
from tellwire.publication import StreamKey
from tellwire.topic_members import MembersHere

logger = logging.getLogger("tellwire.engines.redis")

_NONE: Final = 0


class _Topic:
    """The members of one topic by this node. `changed` are users of whom Redis is to be told, and `telling` those of
    the report that is on its way. `last` is the number of the last report that Redis has taken; None: nobody knows. Any
    from `unsure` on may have been taken, too.
    """

    __slots__ = ("changed", "here", "is_compared", "last", "must_compare", "outcome", "telling", "unsure", "waiting")

    def __init__(self) -> None:
        self.here = MembersHere()
        self.changed: dict[str, None] = {}
        self.telling: tuple[str, ...] | None = None
        self.waiting: dict[str, Answer] = {}
        self.last: int | None = _NONE
        self.unsure: int | None = None
        self.outcome: Reported | None = None
        self.is_compared = self.must_compare = False

    @property
    def is_over(self) -> bool:
        """True if nothing is left of it to be told."""
        return not (len(self.here) or self.changed or self.telling is not None or self.is_compared)

    def may_follow(self, before: int) -> bool:
        """Return True if Redis has forgotten nothing that it was told, as `before` was the last report it knew."""
        return self.last in (None, before) or (self.unsure is not None and before >= self.unsure)


class MemberReports:
    """The members by this node. `run` must run as long as it is used."""

    def __init__(self, store: MemberStore, node: OwnNode, clock: Clock) -> None:
        self._store = store
        self._node = node
        self._clock = clock
        self._topics: dict[StreamKey, _Topic] = {}
        # Those with something to tell, in the order in which that came.
        self._changed: dict[StreamKey, None] = {}
        self._wake = asyncio.Event()
        # The ends of times of grace, in their order.
        self._ends: deque[tuple[float, StreamKey]] = deque()
        self._has_ends = asyncio.Event()
        self._numbers = itertools.count(1)
        # The topics without a member by this node, and since when.
        self._left: dict[StreamKey, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[StreamKey]:
        return iter(self._topics)

    def __contains__(self, stream: StreamKey) -> bool:
        return stream in self._topics

    def enter(self, connection: Present, stream: StreamKey, info: bytes | None) -> None:
        """A connection is subscribed to a topic, or its user has another info."""
        topic = self._topics.get(stream)
        if topic is None:
            topic = self._topics[stream] = _Topic()
        change = topic.here.enter(connection.user_id, connection.connection_id, info)
        if change is not None:
            self._note(stream, topic, change.member.user_id)

    def leave(self, connection: Present, stream: StreamKey) -> None:
        """A connection is subscribed no more."""
        topic = self._topics.get(stream)
        if topic is not None:
            now = self._clock.monotonic()
            topic.here.leave(connection.user_id, connection.connection_id, now)
            self._ends.append((now + PRESENCE_GRACE_SECONDS, stream))
            self._has_ends.set()

    async def told(self, stream: StreamKey, user_id: str) -> Reported | None:
        """Wait until Redis has all that is known here of a user in a topic. Returns the last report; None: of nobody.

        Raises:
            HistoryUnavailable: it cannot be told, just now.
        """
        topic = self._topics.get(stream)
        if topic is None:
            return None
        if user_id in topic.changed or user_id in (topic.telling or ()):
            if user_id not in topic.waiting:
                topic.waiting[user_id] = Answer()
            # Several may wait for it; one that is cancelled does not stop it.
            await asyncio.shield(topic.waiting[user_id])
        return topic.outcome

    def last(self, stream: StreamKey) -> int | None:
        """Return the number of the report that Redis must have now; None: that is not known, or on its way."""
        topic = self._topics.get(stream)
        if topic is None or topic.changed or topic.telling is not None or topic.unsure is not None:
            return None
        return topic.last

    def epoch(self, stream: StreamKey) -> str | None:
        """Return the epoch of the last report; None: there is none."""
        topic = self._topics.get(stream)
        return None if topic is None or topic.outcome is None else topic.outcome.epoch

    def check(self, stream: StreamKey, head: MembersHead, last: int | None) -> None:
        """Compare the report that Redis knew with `last`, the newest one before Redis was asked."""
        topic = self._topics.get(stream)
        if topic is not None and topic.must_compare:
            self.compare_soon(stream)  # it could not be done before
        elif last is not None and self.last(stream) == last and head.reports.get(self._node.name, _NONE) != last:
            self.compare_soon(stream)

    def tell_again(self, stream: StreamKey) -> None:
        """Give Redis a report soon, so that the members of a topic do not expire."""
        if stream in self._topics:
            self._changed[stream] = None
            self._wake.set()

    def returned(self) -> None:
        """Note that Redis is there again, perhaps another one, which may not know who has left lately."""
        since = self._clock.monotonic() - REDIS_LEFT_SECONDS
        left, self._left = self._left, {}
        for stream in [each for each, at in left.items() if at > since]:
            self.compare_soon(stream)

    def compare_soon(self, stream: StreamKey) -> None:
        """Compare soon the members by this node with those that Redis knows, and report all differences."""
        topic = self._topics.setdefault(stream, _Topic())
        topic.must_compare = True
        if not topic.is_compared:
            topic.is_compared = True
            task = asyncio.create_task(self._compare(stream, topic))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Tell Redis of all changes. It never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_changes())
            group.create_task(self._end_grace())

    async def close(self) -> None:
        """Report all as left.

        Raises:
            HistoryUnavailable: Redis is away; they leave when the lease of this node has ended.
        """
        for task in self._tasks:
            task.cancel()
        reports = (report for stream in list(self._topics) for report in self._farewell(stream))
        while some := list(itertools.islice(reports, REDIS_REGISTERED_AT_ONCE)):
            for answer in await self._store.report(self._node.name, some):
                if isinstance(answer, HistoryUnavailable):
                    raise answer

    # --- what Redis is told -------------------------------------------------------------------------------------------

    def _note(self, stream: StreamKey, topic: _Topic, user_id: str) -> None:
        topic.changed[user_id] = None
        self._changed[stream] = None
        self._wake.set()

    async def _tell_changes(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._changed:
                try:
                    await self._tell_some()
                except Exception:
                    logger.exception("Redis cannot be told who is in a topic, trying again")
                    await asyncio.sleep(REDIS_PROBE_SECONDS)

    async def _tell_some(self) -> None:
        streams = list(itertools.islice(self._changed, REDIS_REGISTERED_AT_ONCE))
        topics = [self._topics[each] for each in streams]
        reports = [self._next(stream, topic) for stream, topic in zip(streams, topics, strict=True)]
        answers: Sequence[Reported | HistoryUnavailable] = [HistoryUnavailable("this node ends")] * len(reports)
        try:
            answers = await self._store.report(self._node.name, reports)
        finally:
            for stream, topic, report, answer in zip(streams, topics, reports, answers, strict=True):
                if isinstance(answer, HistoryUnavailable):
                    self._failed(stream, topic, report, answer)
                else:
                    self._reported(stream, topic, report, answer)

    def _next(self, stream: StreamKey, topic: _Topic) -> Report:
        """Return the report of the changes in a topic, of as many as one may have."""
        users = tuple(itertools.islice(topic.changed, REDIS_MEMBERS_AT_ONCE))
        for each in users:
            del topic.changed[each]
        topic.telling = users
        if not topic.changed:
            del self._changed[stream]
        members = [member for each in users if (member := topic.here.get(each)) is not None]
        left = [each for each in users if topic.here.get(each) is None]
        number = next(self._numbers) if len(topic.here) or topic.changed else _NONE
        return Report(stream, number, members, left)

    def _reported(self, stream: StreamKey, topic: _Topic, report: Report, answer: Reported) -> None:
        users, topic.telling = topic.telling or (), None
        if not topic.may_follow(answer.before):
            self.compare_soon(stream)
        topic.last, topic.unsure, topic.outcome = report.number, None, answer
        for each in users:
            if each in topic.waiting and each not in topic.changed:
                topic.waiting.pop(each).take(None)
        self._forget_if_over(stream, topic)

    def _failed(self, stream: StreamKey, topic: _Topic, report: Report, error: HistoryUnavailable) -> None:
        """Report the same later, once more: Redis may have taken it."""
        users, topic.telling = topic.telling or (), None
        topic.unsure = topic.unsure or report.number or None
        topic.changed.update(dict.fromkeys(users))
        for each in users:
            if each in topic.waiting:
                topic.waiting.pop(each).take(error)
        asyncio.get_running_loop().call_later(REDIS_PROBE_SECONDS, self.tell_again, stream)

    def _farewell(self, stream: StreamKey) -> Iterator[Report]:
        """Yield the last reports about a topic."""
        topic = self._topics.pop(stream)
        users = iter(dict.fromkeys([*(each.user_id for each in topic.here), *topic.changed]))
        part = list(itertools.islice(users, REDIS_MEMBERS_AT_ONCE))
        while part:
            following = list(itertools.islice(users, REDIS_MEMBERS_AT_ONCE))
            number = next(self._numbers) if following else _NONE
            yield Report(stream, number, left=part, leave_seconds=PRESENCE_GRACE_SECONDS)
            part = following

    def _forget_if_over(self, stream: StreamKey, topic: _Topic) -> None:
        if topic.is_over and self._topics.get(stream) is topic:
            del self._topics[stream]
            self._changed.pop(stream, None)
            self._left.pop(stream, None)
            self._left[stream] = self._clock.monotonic()
            if len(self._left) > REDIS_LEFT_TOPICS:
                del self._left[next(iter(self._left))]

    async def _compare(self, stream: StreamKey, topic: _Topic) -> None:
        try:
            found = await self._store.of_node(stream, self._node.name)
        except HistoryUnavailable as error:
            # The next comparison finds it again.
            logger.debug("the members by this node cannot be compared: %s", error.reason)
        else:
            topic.changed.update(dict.fromkeys([*(each.user_id for each in topic.here), *found]))
            topic.last, topic.must_compare = None, False
            self._changed[stream] = None
            self._wake.set()
        finally:
            topic.is_compared = False
            if stream not in self._changed:
                self._forget_if_over(stream, topic)

    async def _end_grace(self) -> None:
        while True:
            await self._has_ends.wait()
            now = self._clock.monotonic()
            while self._ends and self._ends[0][0] <= now:
                self._end_one(self._ends.popleft()[1], now)
            if self._ends:
                await self._clock.sleep(self._ends[0][0] - now)
            else:
                self._has_ends.clear()

    def _end_one(self, stream: StreamKey, now: float) -> None:
        topic = self._topics.get(stream)
        if topic is not None:
            for change in topic.here.gone(now):
                self._note(stream, topic, change.member.user_id)
