"""The presence of topics at one node: the users in them, on all nodes, and the connections here that are told of them.

    subscribed ─▶ reports ─▶ Redis: the user is a member by this node ─▶ the topic's channel ─▶ each node's watchers
    watch        told of oneself ─▶ the view of all members, read once while anybody watches ─▶ `presence`
    a message    view (pure) ─▶ join, leave, or their number │ a number is missing ─▶ read again ─▶ `presence`
    compared     with the streams, every few seconds: reports that Redis has not got, dead nodes, a view that is behind
    many         where they are not named, nobody publishes each change: Redis is asked once a second

Pub/sub is a hint here, too: the numbers of changes are compared with those in Redis.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tellwire.carriers.hub import Hub
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import time_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.member_reports import MemberReports
from tellwire.engines.redis.node.member_store import MembersHead, MemberStore, Reported
from tellwire.engines.redis.node.member_view import MembersMessage, MemberView, Verdict, message_of
from tellwire.engines.redis.node.nodes import LiveNodes, OwnNode
from tellwire.engines.redis.node.subscriptions import Subscriptions
from tellwire.engines.topic_watchers import TopicWatchers
from tellwire.errors import HistoryUnavailable
from tellwire.limits import (
    MAX_PRESENCE_MEMBERS,
    PRESENCE_COUNT_SECONDS,
    REDIS_COMPARE_SETTLES_SECONDS,
    REDIS_COMPARED_AT_ONCE,
    REDIS_LEFT_TOPICS,
    REDIS_MEMBER_MESSAGES,
    REDIS_MEMBERS_SETTLE_SECONDS,
)
from tellwire.ports import Clock, Present
from tellwire.publication import StreamKey
from tellwire.topic_members import Members, told

logger = logging.getLogger("tellwire.engines.redis")

_READS: Final = 3


class _Watched:
    """A topic that connections of this node watch, or are about to. `buffer` has the messages that come during a read;
    None: there is none. `coming` are about to watch, and `waiting` has the numbers of changes that they wait for.
    """

    __slots__ = (
        "buffer",
        "coming",
        "must_read",
        "read_at",
        "reading",
        "stream",
        "view",
        "waiting",
    )

    def __init__(self, stream: StreamKey) -> None:
        self.stream = stream
        self.coming = 0
        self.view: MemberView | None = None
        self.buffer: list[MembersMessage] | None = None
        self.reading: asyncio.Task[None] | None = None
        self.read_at = 0.0
        self.must_read = True
        self.waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def place(self) -> tuple[str, int] | None:
        """The place that its view has come to."""
        return None if self.view is None else (self.view.epoch, self.view.number)

    def release(self) -> None:
        """End the waits for changes that the view has now."""
        for number, waiting in self.waiting:
            if self.view is not None and number <= self.view.number and not waiting.done():
                waiting.set_result(None)


class RedisTopicPresence:
    """The `TopicPresence` of one node. `run` must run as long as it is used."""

    def __init__(
        self,
        store: RedisStore,
        names: Names,
        node: OwnNode,
        live: LiveNodes,
        subscriptions: Subscriptions,
        hub: Hub,
        clock: Clock,
    ) -> None:
        self._node = node
        self._live = live
        self._subscriptions = subscriptions
        self._clock = clock
        self._store = MemberStore(store, names, time_of(clock))
        self.reports = MemberReports(self._store, node, clock)
        self.watchers = TopicWatchers(hub, clock, self._known)
        self._watched: dict[StreamKey, _Watched] = {}
        self._to_check: dict[StreamKey, None] = {}
        self._check_now = asyncio.Event()
        self._dropping: set[StreamKey] = set()
        # The dead nodes that were found in a topic and left to another node to remove.
        self._left_to_others: dict[StreamKey, frozenset[str]] = {}
        subscriptions.members = self._received
        subscriptions.compared = self.check_soon
        live.vanished = self.check_all
        store.on_return(self._returned)

    # --- a TopicPresence ----------------------------------------------------------------------------------------------

    def subscribed(self, connection: Present, stream: StreamKey, info: bytes | None) -> None:
        self.reports.enter(connection, stream, info)

    def unsubscribed(self, connection: Present, stream: StreamKey) -> None:
        self.watchers.remove(connection.connection_id, stream)
        self._forget_if_unwatched(stream)
        self.reports.leave(connection, stream)

    async def watch(self, connection: Present, stream: StreamKey) -> None:
        reported = await self.reports.told(stream, connection.user_id)
        topic = self._watched.get(stream)
        if topic is None:
            topic = self._watched[stream] = _Watched(stream)
        topic.coming += 1
        try:
            await self._bring_up(topic, reported)
            # Since then, all changes of the view are told.
            self.watchers.add(connection, stream)
        finally:
            topic.coming -= 1
            self._forget_if_unwatched(stream)

    async def members(self, stream: StreamKey, limit: int = MAX_PRESENCE_MEMBERS) -> Members:
        head, found = await self._store.read(stream, limit)
        if not self._live.known.issuperset(head.reports):
            await self._live.refresh()
        dead = self._dead_of(head)
        if dead or head.has_due:
            await self._store.drop(stream, dead)
            head, found = await self._store.read(stream, limit)
        return Members(head.count, told(iter(found.values()), limit))

    @property
    def told(self) -> int:
        """Changes that were told by name."""
        return self.watchers.told

    @property
    def untold(self) -> int:
        """Changes of which only the number of members was told."""
        return self.watchers.untold

    # --- the whole node -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the loops. It never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.reports.run())
            group.create_task(self._check_when_asked())
            group.create_task(self._ask_for_counts())

    async def close(self) -> None:
        """Leave the members by this node to the time of grace.

        Raises:
            HistoryUnavailable: Redis is away; they leave when the lease of this node has ended.
        """
        await self.reports.close()

    def check_soon(self, stream: StreamKey) -> None:
        """Compare a topic with Redis soon, if it is one with members or watchers here."""
        if stream in self.reports or stream in self._watched:
            self._to_check[stream] = None
            self._check_now.set()

    def check_all(self) -> None:
        """Compare all topics with Redis soon."""
        for stream in (*self.reports, *self._watched):
            self.check_soon(stream)

    def _returned(self) -> None:
        # Another Redis may have the same numbers for other changes.
        for topic in self._watched.values():
            topic.must_read = True
        self.reports.returned()
        self.check_all()

    # --- what watchers are told ---------------------------------------------------------------------------------------

    def _known(self, stream: StreamKey) -> Members:
        topic = self._watched.get(stream)
        view = None if topic is None else topic.view
        return Members(0) if view is None else Members(view.count, told(iter(view.members.values())))

    def _received(self, stream: StreamKey, header: Sequence[Any], payload: bytes) -> None:
        """Handle a message of a stream's channel about its members."""
        topic = self._watched.get(stream)
        if topic is None:
            if self.reports.epoch(stream) not in (None, header[1]):
                self.check_soon(stream)  # Redis was emptied, and another node has noticed
        elif topic.buffer is None:
            self._take(topic, message_of(header, payload))
        elif len(topic.buffer) < REDIS_MEMBER_MESSAGES:
            topic.buffer.append(message_of(header, payload))

    def _take(self, topic: _Watched, message: MembersMessage) -> None:
        view = topic.view
        if view is None:
            return
        match view.take(message):
            case Verdict.CHANGES:
                for change, count in message.changes:
                    self.watchers.changed(topic.stream, change, count)
                topic.release()
            case Verdict.COUNT:
                self.watchers.counted(topic.stream, view.count)
            case Verdict.READ:
                self._read_again_soon(topic, 0.0)
            case Verdict.LOST:
                self.check_soon(topic.stream)
                self._read_again_soon(topic, REDIS_MEMBERS_SETTLE_SECONDS)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _bring_up(self, topic: _Watched, reported: Reported | None) -> None:
        """Wait until the view has a user's own report, for whoever comes."""
        if reported is not None and topic.view is not None and topic.view.lacks(reported):
            # It is on its way through the channel. A read would be ahead of that, and all would be told anew.
            await self._caught_up(topic, reported.number)
        for _ in range(_READS):
            if self._is_fresh(topic, reported):
                return
            await self._read(topic)

    async def _caught_up(self, topic: _Watched, number: int) -> None:
        waiting = number, asyncio.get_running_loop().create_future()
        topic.waiting.append(waiting)
        try:
            async with asyncio.timeout(REDIS_COMPARE_SETTLES_SECONDS):
                await waiting[1]
        except TimeoutError:
            pass
        finally:
            topic.waiting.remove(waiting)

    def _is_fresh(self, topic: _Watched, reported: Reported | None) -> bool:
        view = topic.view
        if view is None or topic.must_read:
            return False
        if view.are_many:
            return self._clock.monotonic() - topic.read_at < PRESENCE_COUNT_SECONDS
        return reported is None or (view.epoch == reported.epoch and view.number >= reported.number)

    async def _read(self, topic: _Watched) -> None:
        """Read all members; who wants that meanwhile shares it.

        Raises:
            HistoryUnavailable: they cannot be read.
        """
        if topic.reading is None:
            topic.buffer = []
            topic.reading = asyncio.create_task(self._read_now(topic))
            topic.reading.add_done_callback(_observe)
        await asyncio.shield(topic.reading)

    async def _read_now(self, topic: _Watched) -> None:
        at = self._clock.monotonic()
        topic.must_read = True
        try:
            head, members = await self._store.read(topic.stream, MAX_PRESENCE_MEMBERS)
            topic.must_read = False
        finally:
            buffered, topic.buffer = topic.buffer or [], None
            topic.reading = None
        topic.read_at = at
        self._take_all(topic, MemberView(head, members))
        for message in buffered:
            self._take(topic, message)

    def _take_all(self, topic: _Watched, view: MemberView) -> None:
        before, topic.view = topic.view, view
        if before is None or (view.count == before.count and (view.are_many or view.members == before.members)):
            return
        self.watchers.counted(topic.stream, view.count)

    def _read_again_soon(self, topic: _Watched, pause_seconds: float) -> None:
        topic.must_read = True
        self._subscriptions.spawn(self._read_again(topic, topic.place, pause_seconds))

    async def _read_again(self, topic: _Watched, place: tuple[str, int] | None, pause_seconds: float) -> None:
        """Read unless the view has moved on meanwhile, and nothing else asks for it."""
        await asyncio.sleep(pause_seconds)
        if self._watched.get(topic.stream) is not topic or not (topic.must_read or topic.place == place):
            return
        try:
            await self._read(topic)
        except HistoryUnavailable as error:
            # The next comparison tries it again.
            logger.info("who is in a topic cannot be read yet: %s", error.reason)

    def _forget_if_unwatched(self, stream: StreamKey) -> None:
        topic = self._watched.get(stream)
        if topic is not None and not topic.coming and stream not in self.watchers:
            del self._watched[stream]

    # --- comparing ----------------------------------------------------------------------------------------------------

    async def _check_when_asked(self) -> None:
        while True:
            await self._check_now.wait()
            self._check_now.clear()
            while self._to_check:
                some = list(self._to_check)[:REDIS_COMPARED_AT_ONCE]
                for each in some:
                    del self._to_check[each]
                try:
                    await self._check(some)
                except Exception:
                    # Nobody else would notice that this has ended.
                    logger.exception("topics cannot be compared with Redis, trying again")

    async def _check(self, streams: Sequence[StreamKey]) -> None:
        last = [self.reports.last(each) for each in streams]
        topics = [self._watched.get(each) for each in streams]
        places = [None if each is None else each.place for each in topics]
        heads = await self._store.heads(streams)
        for stream, head, number, topic, place in zip(streams, heads, last, topics, places, strict=True):
            if isinstance(head, HistoryUnavailable):
                continue
            self.reports.check(stream, head, number)
            self._drop_soon(stream, head)
            if topic is not None and topic is self._watched.get(stream) and topic.place == place:
                self._compare(topic, head)

    def _compare(self, topic: _Watched, head: MembersHead) -> None:
        """Read the members again soon, where the view lacks changes that Redis has."""
        view = topic.view
        if view is None or topic.reading is not None:
            return
        if view.epoch not in (head.epoch, ""):
            self._read_again_soon(topic, REDIS_MEMBERS_SETTLE_SECONDS)
        elif topic.must_read:
            self._read_again_soon(topic, 0.0)
        elif topic.place != (head.epoch, head.number) and not view.are_many:
            # What Redis has published may be on its way to us.
            pause = REDIS_COMPARE_SETTLES_SECONDS
            self._subscriptions.spawn(self._read_again(topic, topic.place, pause))

    def _dead_of(self, head: MembersHead) -> list[str]:
        """Return the nodes that are dead, as far as this one can know."""
        if not self._node.is_settled:
            return []
        return [each for each in head.reports if each != self._node.name and not self._live.is_live(each)]

    def _drop_soon(self, stream: StreamKey, head: MembersHead) -> None:
        """Remove members whose time has come, and those of dead nodes: at first by one of the nodes with members."""
        dead = self._dead_of(head)
        is_ours = self._is_ours(stream, head, dead)
        if (dead or head.has_due) and is_ours and stream not in self._dropping:
            self._dropping.add(stream)
            self._subscriptions.spawn(self._drop(stream, dead))

    def _is_ours(self, stream: StreamKey, head: MembersHead, dead: Iterable[str]) -> bool:
        """Return True if this node is the one to remove the members of dead ones, or that one has not done it."""
        living = sorted(set(head.reports).difference(dead))
        found = frozenset(dead)
        before = self._left_to_others.pop(stream, frozenset())
        if not found or not living or living[0] == self._node.name or found & before:
            return True
        if len(self._left_to_others) >= REDIS_LEFT_TOPICS:
            self._left_to_others.clear()
        self._left_to_others[stream] = found
        return False

    async def _drop(self, stream: StreamKey, dead: Sequence[str]) -> None:
        try:
            await self._store.drop(stream, dead)
        except HistoryUnavailable as error:
            # The next comparison finds them again.
            logger.info("members of a topic who are gone cannot be removed yet: %s", error.reason)
        finally:
            self._dropping.discard(stream)

    # --- many members -------------------------------------------------------------------------------------------------

    async def _ask_for_counts(self) -> None:
        while True:
            await self._clock.sleep(PRESENCE_COUNT_SECONDS)
            topics = [each for each in self._watched.values() if each.view is not None and each.view.are_many]
            for start in range(0, len(topics), REDIS_COMPARED_AT_ONCE):
                try:
                    await self._count(topics[start : start + REDIS_COMPARED_AT_ONCE])
                except Exception:
                    # Nobody else would notice that this has ended.
                    logger.exception("the members of topics cannot be counted, trying again")
            self.watchers.tell_due()

    async def _count(self, topics: Sequence[_Watched]) -> None:
        heads = await self._store.heads([each.stream for each in topics])
        for topic, head in zip(topics, heads, strict=True):
            view = topic.view
            if isinstance(head, HistoryUnavailable) or view is None or topic.reading is not None:
                continue
            if view.epoch != head.epoch:
                self.check_soon(topic.stream)
            elif head.count <= MAX_PRESENCE_MEMBERS and topic.place != (head.epoch, head.number):
                self._read_again_soon(topic, 0.0)
            elif head.number > view.number:
                is_changed = head.count != view.count
                view.note(head)
                if is_changed:
                    self.watchers.counted(topic.stream, head.count)


def _observe(reading: "asyncio.Task[None]") -> None:
    if not reading.cancelled():
        reading.exception()  # everybody who waits gets it; perhaps nobody does


__all__ = ["RedisTopicPresence"]
