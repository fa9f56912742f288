"""The parts of the engine that a producer has, on one event loop. It is no node: it holds no connections."""

import asyncio
from math import inf

from tellwire.broker import BrokerCarrier
from tellwire.engines.redis.broker import RedisBroker
from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.scripts import time_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.carrier import RedisCarrier
from tellwire.engines.redis.node.nodes import LiveNodes
from tellwire.engines.redis.row_errors import RedisRowErrors
from tellwire.engines.redis.shared_settings import read_settings
from tellwire.escalation import EscalationRules
from tellwire.limits import MAX_ESCALATION_SECONDS, REDIS_SETTINGS_SECONDS
from tellwire.ports import SystemClock
from tellwire.publication import Publication
from tellwire.topics import TopicRules


class ProducerParts:
    """A store, and the carrier and row errors on it. They have the bounds and rules of the nodes after `ready`. `nodes`
    reaches the connections of all nodes, and keeps nothing.
    """

    def __init__(self, address: RedisAddress, prefix: str, wait_replicas: int) -> None:
        self._clock = SystemClock()
        self._names = Names(prefix, address.db)
        self.store = RedisStore(address, wait_replicas=wait_replicas)
        self._live = LiveNodes(self.store, self._names, self._clock)
        self._topics = TopicRules()
        self._read_at = -inf
        self._opening: asyncio.Future[None] | None = None
        self._compose()

    async def ready(self) -> None:
        """Connect, when used for the first time, and read the bounds of the nodes, from time to time.

        Raises:
            ConfigError: it is no Redis that the engine can work with, or it refuses the login.
            HistoryUnavailable: it cannot be reached.
        """
        if self._clock.monotonic() - self._read_at <= REDIS_SETTINGS_SECONDS:
            return
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
            self._opening.add_done_callback(self._opened)
        # Many may wait for it; one that is cancelled does not stop it.
        await asyncio.shield(self._opening)

    def keeps(self, publication: Publication) -> bool:
        """Return True if a publication is kept, so that to publish it again is safe. Ask after `ready`."""
        return self._history.keeps(publication)

    async def close(self) -> None:
        """Close the connection."""
        if self._opening is not None:
            self._opening.cancel()
        await self._live.close()
        await self.store.close()

    async def _open(self) -> None:
        if self._read_at == -inf:
            await self.store.open()
        # Through the store itself: it then knows whether this Redis keeps everything on its disk.
        topics = await read_settings(self.store, self._names)
        if (topics.retention, topics.rules) != (self._topics.retention, self._topics.rules):
            self._topics = topics
            self._compose()
        self._read_at = self._clock.monotonic()

    def _opened(self, opening: "asyncio.Future[None]") -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # everybody who waits gets it; perhaps nobody does

    def _compose(self) -> None:
        history = self._history = RedisHistory(
            self.store,
            self._names,
            self._clock,
            self._topics.retention,
            topics=self._topics,
            trusts_restart=self.store.keeps_all,
            # Which targets there are, the nodes know; nobody knows what a user has seen before the oldest message.
            escalations=EscalationRules(
                longest_seconds=min(self._topics.retention.max_age_seconds, MAX_ESCALATION_SECONDS)
            ),
        )
        carrier = self.nodes = RedisCarrier(self.store, self._names, self._live)
        broker = RedisBroker(history, carrier, self._live.count_live, count_subscribers=self._live.count_subscribers)
        self.carrier = BrokerCarrier(broker, carrier)
        self.row_errors = RedisRowErrors(
            self.store, self._names, time_of(self._clock), self._topics.retention.max_age_seconds
        )
