"""The parts of a node on Redis that belong together: its hub, its channels, who is connected, and its lease."""

import asyncio
import contextlib
from typing import Any, Final

import msgspec

from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.carrier import RedisCarrier
from tellwire.engines.redis.node.channels import Channels
from tellwire.engines.redis.node.feed import Head
from tellwire.engines.redis.node.nodes import LiveNodes, OwnNode
from tellwire.engines.redis.node.presence import RedisPresence
from tellwire.engines.redis.node.registry import Registry
from tellwire.engines.redis.node.subscriptions import Subscriptions
from tellwire.engines.redis.node.topic_presence import RedisTopicPresence
from tellwire.engines.redis.node.topics import RedisTopics
from tellwire.engines.redis.shut_outs import RedisShutOuts
from tellwire.errors import HistoryUnavailable
from tellwire.ports import Clock
from tellwire.position import Position, StreamEnd
from tellwire.publication import StreamKey
from tellwire.server.fan_out import make_hub

_header: Final = msgspec.json.Decoder(list[Any])


class NodeParts:
    """A node. Call `open` before use; `run` must run as long as it is used."""

    def __init__(
        self,
        store: RedisStore,
        names: Names,
        clock: Clock,
        *,
        compression: bool = False,
    ) -> None:
        self._names = names
        self.hub = make_hub(clock, compression=compression)
        self.live = LiveNodes(store, names, clock)
        registry = Registry(store, names)
        self.own = OwnNode(store, names, clock, self.live, registry)
        self.channels = Channels(store.address, store.endpoint)
        self.subscriptions = Subscriptions(store, names, self.hub, clock, self.channels)
        self.carrier = RedisCarrier(store, names, self.live)
        self.topics = RedisTopics(store, names, self.own, self.live, self.subscriptions, self.hub)
        self.topic_presence = RedisTopicPresence(store, names, self.own, self.live, self.subscriptions, self.hub, clock)
        self.presence = RedisPresence(
            registry, self.own, self.live, self.subscriptions, self.topics, self.topic_presence, self.hub, clock
        )

    async def open(self) -> None:
        """Claim a name, and listen on the channels of the node and of everybody.

        Raises:
            HistoryUnavailable: Redis is away.
        """
        await self.own.open()
        self.channels.start()
        own = self._names.node_channel(self.own.name)
        for channel in (
            self.channels.subscribe(own, self._to_node),
            self.channels.subscribe(self._names.all_channel, self._to_all),
        ):
            await channel.ready()

    def read_from(self, history: RedisHistory) -> None:
        """Read messages that pub/sub loses from this history."""

        async def renew(stream: StreamKey, known: Head) -> None:
            await history.renew(stream, StreamEnd(Position(known.epoch, known.offset), known.version))

        self.subscriptions.history = history
        self.subscriptions.renew = renew

    def obey(self, shut_outs: RedisShutOuts) -> None:
        """Close connections as the channels say, and where a message of them may be lost."""
        self.subscriptions.on_expel = shut_outs.on_expel
        self.subscriptions.shut_out = shut_outs.check_soon

    async def run(self) -> None:
        """Run the loops of the node. It never returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.own.run())
            group.create_task(self.subscriptions.run())
            group.create_task(self.presence.run())
            group.create_task(self.topics.run())
            group.create_task(self.topic_presence.run())

    async def close(self) -> None:
        """Leave the other nodes, in order."""
        await self.subscriptions.close()
        await self.presence.close()
        with contextlib.suppress(HistoryUnavailable):  # its lease ends by itself
            await self.own.close()
        await self.live.close()
        await self.channels.close()

    def _to_node(self, data: bytes) -> None:
        line, _, payload = data.partition(b"\n")
        kind, ids = _header.decode(line)
        if kind == "c":
            self.hub.hand_to(ids, payload)
        elif kind == "d":
            for each in ids:
                self.hub.close_one(each)

    def _to_all(self, data: bytes) -> None:
        self.hub.hand_to_all(data.partition(b"\n")[2])
