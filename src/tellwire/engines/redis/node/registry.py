"""The registry of connections in Redis: who is connected, on all nodes.

    {<bucket>}:conns:<stream>   a hash: connection id → its registration; for a user's connections and their number
    {node:<name>}:conns         a hash: connection id → user; for what is left of a node that has died

Two hashes, as they are in different slots of a cluster. The node's is written first and removed last, so nothing is
left of a dead node but what has an expiry.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.engines.redis.node import registration
from tellwire.engines.redis.node.feed import Head, head_of
from tellwire.engines.redis.node.registration import Registration
from tellwire.limits import REDIS_REGISTRATION_SECONDS, REDIS_REMOVED_AT_ONCE
from tellwire.ports import Present
from tellwire.publication import user_stream

_ENTER: Final = script("enter")
_NODE_ADD: Final = script("node_add")


class Entered(tuple[Head | None, list[bytes]]):
    """The head of the stream at the moment of a registration, and the shut-outs that may be for it."""

    __slots__ = ()


class NotEntered(NamedTuple):
    """The reason of a registration that was not made: the shut-outs that may be for it or, without any, the ids of all
    connections of its user, which are too many.
    """

    shut_outs: list[bytes]
    connections: list[str]


class Registry:
    """All registrations."""

    def __init__(self, store: RedisStore, names: Names) -> None:
        self._store = store
        self._names = names

    async def add(
        self, node: str, connection: Present, at_most: int = 0, kinds: Sequence[str] = (), *, is_let_in: bool = False
    ) -> Entered | NotEntered:
        """Register a connection of a node, unless its user has `at_most` (0: any number), or there are shut-outs of
        these kinds. `is_let_in`: those that are known are not for this connection.

        Raises:
            HistoryUnavailable: Redis is away; it may be registered.
        """
        stream = user_stream(connection.user_id)
        own = self._names.of_node("conns", node)
        keys = self._names.all_of_stream(("conns", "meta", "shut"), stream)
        value = registration.encode(Registration.of(connection))
        id_ = connection.connection_id
        arguments = (id_, value, at_most, REDIS_REGISTRATION_SECONDS, "1" if is_let_in else "", *kinds)
        added = Call(_NODE_ADD, [own], [id_, connection.user_id])
        _, answer = await self._store.call_together([added, Call(_ENTER, keys, arguments)])
        match answer[0]:
            case 1:
                return Entered((head_of(*answer[1:5]), answer[5]))
            case 2:
                return NotEntered(answer[1], [])
        return NotEntered([], [each.decode() for each in answer[1]])

    async def remove(self, connections: Mapping[str, str]) -> None:
        """Remove connections, by id and user.

        Raises:
            HistoryUnavailable: Redis is away; some may be left.
        """
        nodes: dict[str, list[str]] = {}
        calls: list[Any] = []
        for connection_id, user_id in connections.items():
            key = self._names.of_stream("conns", user_stream(user_id))
            calls.append(self._store.command("HDEL", key, connection_id, key=key))
            nodes.setdefault(connection_id[:4], []).append(connection_id)
        await asyncio.gather(*calls)
        for node, ids in nodes.items():
            own = self._names.of_node("conns", node)
            await self._store.command("HDEL", own, *ids, key=own)

    async def some_of(self, node: str) -> dict[str, str]:
        """Return some connections of a node, by id, with their users; none: it has none.

        Raises:
            HistoryUnavailable: Redis is away.
        """
        key = self._names.of_node("conns", node)
        words = ("HRANDFIELD", key, REDIS_REMOVED_AT_ONCE, "WITHVALUES")
        found = [each.decode() for each in await self._store.command(*words, key=key, writes=False)]
        return dict(zip(found[::2], found[1::2], strict=True))

    async def of_user(self, user_id: str) -> dict[str, Registration]:
        """Return the registrations of a user's connections, by id.

        Raises:
            HistoryUnavailable: Redis is away.
        """
        key = self._names.of_stream("conns", user_stream(user_id))
        found = await self._store.command("HGETALL", key, key=key, writes=False)
        return {found[at].decode(): registration.decode(found[at + 1]) for at in range(0, len(found), 2)}

    async def ids_of_user(self, user_id: str) -> list[str]:
        """Return the ids of a user's connections.

        Raises:
            HistoryUnavailable: Redis is away.
        """
        key = self._names.of_stream("conns", user_stream(user_id))
        return [each.decode() for each in await self._store.command("HKEYS", key, key=key, writes=False)]

    async def count_of(self, node: str) -> int:
        """Return the number of connections of a node.

        Raises:
            HistoryUnavailable: Redis is away.
        """
        key = self._names.of_node("conns", node)
        return int(await self._store.command("HLEN", key, key=key, writes=False))
