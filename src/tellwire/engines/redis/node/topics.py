"""The subscribers of a node to topics, and their number in Redis, from which publishers know `delivered`.

    subscribe    the topic's channel is subscribed to ─▶ the number is in Redis, and the head is read ─▶ the hub
    unsubscribe  out of the hub at once, unsubscribed after the last one; Redis is told the number soon
    repaired     a comparison finds another number than ours (Redis was flushed), and those of nodes that are dead

    {<bucket>}:conns:<stream>   a hash: node → the number of its connections that are subscribed

A node writes its own number alone, always the newest, and again until Redis has it. Those who subscribe at once share a
write. So the hash has as many fields as there are nodes, however many subscribers they have.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from tellwire.carriers.hub import Hub
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.engines.redis.link.waiting import Answer
from tellwire.engines.redis.node.feed import Head, head_of
from tellwire.engines.redis.node.nodes import LiveNodes, OwnNode
from tellwire.engines.redis.node.subscriptions import Subscriptions
from tellwire.errors import HistoryUnavailable
from tellwire.limits import REDIS_PROBE_SECONDS, REDIS_REGISTERED_AT_ONCE, REDIS_REGISTRATION_SECONDS
from tellwire.ports import Present
from tellwire.publication import StreamKey

logger = logging.getLogger("tellwire.engines.redis")

_COUNT: Final = script("count_subscribers")


class _Subscription:
    """That of one connection to one topic. `has_begun`: publications come."""

    __slots__ = ("has_begun",)

    def __init__(self) -> None:
        self.has_begun = False


class RedisTopics:
    """The `Subscribers` of one node. `run` must run as long as they are used."""

    def __init__(
        self,
        store: RedisStore,
        names: Names,
        node: OwnNode,
        live: LiveNodes,
        subscriptions: Subscriptions,
        hub: Hub,
    ) -> None:
        self._store = store
        self._names = names
        self._node = node
        self._live = live
        self._subscriptions = subscriptions
        self._hub = hub
        # The topics of each connection that has any.
        self._of_connection: dict[str, dict[StreamKey, _Subscription]] = {}
        # The topics whose number Redis is to be told and, for who waits for that, the head of the stream.
        self._changed: dict[StreamKey, Answer | None] = {}
        self._wake = asyncio.Event()
        subscriptions.counts = self._check

    # --- the Subscribers ----------------------------------------------------------------------------------------------

    async def subscribe(self, connection: Present, stream: StreamKey) -> None:
        if self._hub.get(connection.connection_id) is None:
            return
        known = self._of(connection, stream)
        if known is not None and known.has_begun:
            return
        own = _Subscription()
        self._of_connection.setdefault(connection.connection_id, {})[stream] = own
        try:
            watched = await self._subscriptions.join(stream, connection)
            head = await self._head_when_told(stream)
        except BaseException:
            if self._of(connection, stream) is own and not own.has_begun:
                self.unsubscribe(connection, stream)
            raise
        # It may have left meanwhile, and even have come again.
        newest = self._of(connection, stream)
        if newest is not None and watched.connections.get(connection.connection_id) is connection:
            newest.has_begun = True
            self._subscriptions.begin(watched, head)
            self._hub.join(stream, connection.connection_id)

    def unsubscribe(self, connection: Present, stream: StreamKey) -> None:
        mine = self._of_connection.get(connection.connection_id, {})
        if mine.pop(stream, None) is None:
            return
        if not mine:
            del self._of_connection[connection.connection_id]
        self._hub.part(stream, connection.connection_id)
        self._subscriptions.part(stream, connection)
        self.tell_again(stream)

    def leave(self, connection: Present) -> None:
        """End all subscriptions of a connection. It need not have any."""
        for stream in list(self._of_connection.get(connection.connection_id, ())):
            self.unsubscribe(connection, stream)

    # --- what Redis is told -------------------------------------------------------------------------------------------

    def tell_again(self, stream: StreamKey) -> None:
        """Tell Redis soon how many subscribers a topic has here."""
        self._changed.setdefault(stream, None)
        self._wake.set()

    async def run(self) -> None:
        """Tell Redis of all changes. It never returns."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._changed:
                try:
                    await self._tell_some()
                except Exception:
                    logger.exception("Redis cannot be told who is subscribed, trying again")
                    await asyncio.sleep(REDIS_PROBE_SECONDS)

    async def tell_all(self) -> None:
        """Tell Redis all changes now, as far as it can be told."""
        while self._changed:
            await self._tell_some()

    def _of(self, connection: Present, stream: StreamKey) -> _Subscription | None:
        return self._of_connection.get(connection.connection_id, {}).get(stream)

    async def _head_when_told(self, stream: StreamKey) -> Head | None:
        """Wait until Redis has the number of subscribers, and return the head that the stream had then."""
        answer = self._changed.get(stream)
        if answer is None:
            answer = self._changed[stream] = Answer()
            self._wake.set()
        # Several may wait for it; one that is cancelled does not stop it.
        head: Head | None = await asyncio.shield(answer)
        return head

    async def _tell_some(self) -> None:
        some = list(self._changed.items())[:REDIS_REGISTERED_AT_ONCE]
        for stream, _ in some:
            # Who comes from now on waits for the next time.
            del self._changed[stream]
        try:
            answers = await self._store.call_all([self._count_call(stream) for stream, _ in some])
        except BaseException:
            for _, waiting in some:
                if waiting is not None:
                    waiting.take(HistoryUnavailable("this node ends"))
            raise
        for (stream, waiting), answer in zip(some, answers, strict=True):
            if isinstance(answer, BaseException):
                asyncio.get_running_loop().call_later(REDIS_PROBE_SECONDS, self.tell_again, stream)
            if waiting is not None:
                waiting.take(answer if isinstance(answer, BaseException) else head_of(*answer))

    def _count_call(self, stream: StreamKey) -> Call:
        keys = [self._names.of_stream(kind, stream) for kind in ("conns", "meta")]
        return Call(_COUNT, keys, (self._node.name, self._subscriptions.count(stream), REDIS_REGISTRATION_SECONDS))

    def _check(self, stream: StreamKey, counts: Sequence[bytes]) -> None:
        """Compare the numbers of subscribers that Redis has of a topic."""
        numbers = dict(zip(counts[::2], map(int, counts[1::2]), strict=True))
        if numbers.pop(self._node.name.encode(), 0) != self._subscriptions.count(stream):
            self.tell_again(stream)
        dead = [name for name in numbers if not self._live.is_live(name.decode())]
        if dead:
            self._subscriptions.spawn(self._remove(stream, dead))

    async def _remove(self, stream: StreamKey, dead: Sequence[bytes]) -> None:
        key = self._names.of_stream("conns", stream)
        with suppress(HistoryUnavailable):  # the next comparison finds them again
            await self._store.command("HDEL", key, *dead, key=key)
