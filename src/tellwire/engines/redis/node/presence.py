"""The presence of a node: its own connections, exactly, and those of the others as Redis has them.

enter     the stream's channel is subscribed to ─▶ registered, unless it is shut out, or there are too many
leave     unsubscribed after the last one, and removed from Redis soon: again and again, as long as that is away
repaired  what Redis does not know any more (it was flushed; this node was taken for dead) is registered again
"""

import asyncio
import logging
from collections.abc import Sequence

from tellwire.carriers.hub import Hub
from tellwire.engines.redis.node.nodes import LiveNodes, OwnNode, node_of
from tellwire.engines.redis.node.registry import Entered, Registry
from tellwire.engines.redis.node.subscriptions import Subscriptions, Watched
from tellwire.engines.redis.node.topic_presence import RedisTopicPresence
from tellwire.engines.redis.node.topics import RedisTopics
from tellwire.engines.redis.shut_outs import decode_shut_outs, kinds_of
from tellwire.errors import HistoryUnavailable
from tellwire.limits import (
    REDIS_LEAVE_SECONDS,
    REDIS_PROBE_SECONDS,
    REDIS_REGISTERED_AT_ONCE,
    REDIS_REGISTRATION_SECONDS,
    REDIS_REMOVED_AT_ONCE,
)
from tellwire.model import ConnectionInfo, PresenceCounts
from tellwire.ports import Clock, Present
from tellwire.publication import user_stream
from tellwire.shut_out import require_let_in

logger = logging.getLogger("tellwire.engines.redis")


class RedisPresence:
    """A `Presence` of one node. `run` must run as long as it is used."""

    admits = True

    def __init__(
        self,
        registry: Registry,
        node: OwnNode,
        live: LiveNodes,
        subscriptions: Subscriptions,
        topics: RedisTopics,
        topic_presence: RedisTopicPresence,
        hub: Hub,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._node = node
        self._live = live
        self._subscriptions = subscriptions
        self._topics = topics
        self._topic_presence = topic_presence
        self._hub = hub
        self._clock = clock
        # What Redis is still to be told: connections that have left (their users by id), and that have changed.
        self._left: dict[str, str] = {}
        self._changed: dict[str, Present] = {}
        self._wake = asyncio.Event()
        subscriptions.missing = self._register_again
        node.lost = self._register_all_again

    # --- a Presence ---------------------------------------------------------------------------------------------------

    async def enter(self, connection: Present, at_most: int) -> bool:
        watched = await self._subscriptions.join(user_stream(connection.user_id), connection)
        while True:
            expels = watched.expels
            entered = await self._register(connection, at_most)
            if entered is None:
                return False
            head, shut_outs = entered
            self._subscriptions.begin(watched, head)
            self._require_let_in(connection, shut_outs)
            if watched.expels == expels:
                return True

    def enters_at_once(self, connection: Present, at_most: int) -> bool:
        return False  # the registry of all nodes is asked

    def leave(self, connection: Present) -> None:
        self._topics.leave(connection)
        if self._subscriptions.part(user_stream(connection.user_id), connection):
            self._changed.pop(connection.connection_id, None)
            self._left[connection.connection_id] = connection.user_id
            self._wake.set()

    async def renewed(self, connection: Present) -> None:
        if not self._subscriptions.holds(user_stream(connection.user_id), connection):
            return
        try:
            await self._registry.add(self._node.name, connection)
        except HistoryUnavailable:
            self._register_again([connection])

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        others = [
            each.info(connection_id, user_id)
            for connection_id, each in (await self._registry.of_user(user_id)).items()
            if self._is_elsewhere(connection_id)
        ]
        found = [*others, *await self._hub.connections(user_id)]
        return sorted(found, key=lambda each: each.connected_at)

    async def count(self, user_id: str) -> int:
        others = await self._registry.ids_of_user(user_id)
        return self._hub.count(user_id) + sum(map(self._is_elsewhere, others))

    async def counts(self) -> PresenceCounts:
        names = await self._live.names()
        others = [self._registry.count_of(name) for name in names if name != self._node.name]
        return PresenceCounts(len(names), len(self._hub) + sum(await asyncio.gather(*others)))

    # --- what Redis is told -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell Redis of all changes. It never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_changes())
            group.create_task(self._renew_registrations())

    async def close(self) -> None:
        """Tell Redis that all connections have left, if it can be told."""
        for watched in self._subscriptions.all():
            for connection in list(watched.connections.values()):
                self.leave(connection)
        try:
            async with asyncio.timeout(REDIS_LEAVE_SECONDS):
                while self._left:
                    await self._remove_some()
                await self._topics.tell_all()
                await self._topic_presence.close()
        except (HistoryUnavailable, TimeoutError) as error:
            reason = error.reason if isinstance(error, HistoryUnavailable) else "Redis is slow"
            logger.info("connections that have left are still in Redis: %s", reason)

    async def _tell_changes(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while self._left or self._changed:
                    await self._remove_some()
                    await self._register_some()
            except HistoryUnavailable:
                await asyncio.sleep(REDIS_PROBE_SECONDS)
                self._wake.set()
            except Exception:
                logger.exception("Redis cannot be told who is connected, trying again")
                await asyncio.sleep(REDIS_PROBE_SECONDS)
                self._wake.set()

    async def _remove_some(self) -> None:
        some = dict(list(self._left.items())[:REDIS_REMOVED_AT_ONCE])
        if some:
            await self._registry.remove(some)
            for connection_id in some:
                del self._left[connection_id]

    async def _register_some(self) -> None:
        some = list(self._changed.values())[:REDIS_REGISTERED_AT_ONCE]
        # One that is about to enter registers itself, if its user may have another connection.
        here = [each for each in some if self._hub.get(each.connection_id) is not None]
        outcomes = await asyncio.gather(
            *(self._registry.add(self._node.name, each) for each in here), return_exceptions=True
        )
        for error in outcomes:
            if isinstance(error, BaseException):
                raise error
        for each in some:
            if self._changed.get(each.connection_id) is each:
                del self._changed[each.connection_id]

    async def _renew_registrations(self) -> None:
        """Register all connections anew before they expire, a part at a time."""
        while True:
            streams = self._subscriptions.all()
            pause = REDIS_REGISTRATION_SECONDS / 4 / max(1, len(streams) // REDIS_REGISTERED_AT_ONCE + 1)
            for start in range(0, max(1, len(streams)), REDIS_REGISTERED_AT_ONCE):
                await self._clock.sleep(pause)
                self._tell_again(streams[start : start + REDIS_REGISTERED_AT_ONCE])

    def _register_again(self, connections: Sequence[Present]) -> None:
        self._changed.update((each.connection_id, each) for each in connections)
        self._wake.set()

    def _tell_again(self, streams: Sequence[Watched]) -> None:
        for watched in streams:
            if watched.topic is None:
                self._register_again(list(watched.connections.values()))
            else:
                self._topics.tell_again(watched.stream)
                self._topic_presence.reports.tell_again(watched.stream)

    def _register_all_again(self) -> None:
        self._tell_again(self._subscriptions.all())
        self._subscriptions.compare_all()

    async def _register(self, connection: Present, at_most: int) -> Entered | None:
        """Register a connection that enters. None: its user has too many."""
        kinds = kinds_of(connection.stamp)
        is_let_in = has_removed = False
        while True:
            outcome = await self._registry.add(self._node.name, connection, at_most, kinds, is_let_in=is_let_in)
            if isinstance(outcome, Entered):
                return outcome
            if outcome.shut_outs:
                self._require_let_in(connection, outcome.shut_outs)
                is_let_in = True
                continue
            ids = outcome.connections
            dead = {each: connection.user_id for each in ids if not self._is_alive(connection.user_id, each)}
            if has_removed or not dead:
                return None
            # They are left of a node that has died, and of ours where Redis was away when they left.
            await self._registry.remove(dead)
            has_removed = True

    def _require_let_in(self, connection: Present, shut_outs: Sequence[bytes]) -> None:
        if shut_outs:
            require_let_in(decode_shut_outs(shut_outs), connection.stamp, self._clock.now())

    def _is_alive(self, user_id: str, connection_id: str) -> bool:
        if node_of(connection_id) != self._node.name:
            return self._live.is_live(node_of(connection_id))
        watched = self._subscriptions.of_user(user_id)
        return watched is not None and connection_id in watched.connections

    def _is_elsewhere(self, connection_id: str) -> bool:
        name = node_of(connection_id)
        return name != self._node.name and self._live.is_live(name)
