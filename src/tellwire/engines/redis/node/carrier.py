"""Delivery to connections of any node, and the list of a user's connections, for who is no node, too.

A connection is found by its id, which names its node: `to_node.lua` asks the node's hash, and publishes to its channel.
"""

import asyncio
from typing import Final

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.nodes import LiveNodes, node_of
from tellwire.engines.redis.node.registry import Registry
from tellwire.errors import HistoryUnavailable
from tellwire.model import ConnectionInfo, Delivery
from tellwire.publication import Publication, StreamKey, topic_stream

_TO_NODE: Final = script("to_node")
_TO_TOPIC: Final = script("to_topic")


class RedisCarrier:
    """A `Carrier` over all nodes. It keeps nothing: a publication that is to be kept is a broker's to publish."""

    def __init__(self, store: RedisStore, names: Names, live: LiveNodes) -> None:
        self._store = store
        self._names = names
        self._live = live
        self._registry = Registry(store, names)

    async def deliver(self, publication: Publication) -> Delivery:
        if publication.target.topic is not None:
            return await self._to_topic(topic_stream(publication.target.topic), publication.payload)
        if publication.stream is not None:
            return await self._to_stream(publication.stream, publication.payload)
        if publication.target.all:
            return await self._to_all(publication.payload)
        return await self._to_connections(publication.target.connection_ids, publication.payload)

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        found = (await self._registry.of_user(user_id)).items()
        infos = [each.info(name, user_id) for name, each in found if self._live.is_live(node_of(name))]
        return sorted(infos, key=lambda each: each.connected_at)

    async def count(self, user_id: str) -> int:
        """Return the number of connections of a user, on all nodes that live.

        Raises:
            HistoryUnavailable: nobody knows, just now.
        """
        return await self._live.count_surely(await self._registry.ids_of_user(user_id))

    async def disconnect(self, connection_id: str) -> bool:
        return bool(await self._to_node(node_of(connection_id), [connection_id], b"", kind="d"))

    async def _to_stream(self, stream: StreamKey, payload: bytes) -> Delivery:
        ids = self._names.of_stream("conns", stream)
        channel = self._names.channel(stream)
        found, _ = await asyncio.gather(
            self._store.command("HKEYS", ids, key=ids, writes=False),
            self._store.command("SPUBLISH", channel, b'["u"]\n' + payload, key=channel),
        )
        return Delivery(self._live.count_live(found))

    async def _to_topic(self, stream: StreamKey, payload: bytes) -> Delivery:
        keys = [self._names.of_stream("conns", stream), self._names.channel(stream)]
        return Delivery(self._live.count_subscribers(await self._store.call(_TO_TOPIC, keys, [payload])))

    async def _to_all(self, payload: bytes) -> Delivery:
        names = await self._live.names()
        channel = self._names.all_channel
        *counts, _ = await asyncio.gather(
            *map(self._registry.count_of, names),
            self._store.command("SPUBLISH", channel, b'["a"]\n' + payload, key=channel),
        )
        return Delivery(sum(counts))

    async def _to_connections(self, connection_ids: tuple[str, ...], payload: bytes) -> Delivery:
        by_node: dict[str, list[str]] = {}
        for each in dict.fromkeys(connection_ids):
            by_node.setdefault(node_of(each), []).append(each)
        counts = await asyncio.gather(*(self._to_node(node, ids, payload) for node, ids in by_node.items()))
        delivered = sum(counts)
        return Delivery(delivered, gone=sum(map(len, by_node.values())) - delivered)

    async def _to_node(self, node: str, ids: list[str], payload: bytes, kind: str = "c") -> int:
        """Send a message to connections of a node. Returns how many of them there are."""
        if not all(character.isalnum() or character in "-_" for character in node) or not node.isascii():
            return 0  # made up, and no name of a node
        keys = [self._names.of_node("conns", node), self._names.node_channel(node)]
        found, receivers = await self._store.call(_TO_NODE, keys, [kind, payload, *ids])
        if found and not receivers and self._live.is_live(node):
            raise HistoryUnavailable("the node that holds a connection does not listen just now")
        return int(found) if receivers else 0
