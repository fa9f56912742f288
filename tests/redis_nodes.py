"""Nodes on Redis for tests, without sockets: several of them in one process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.parts import NodeParts
from tellwire.engines.redis.node.topic_presence import RedisTopicPresence
from tellwire.ports import Clock
from tests.tools import until


@asynccontextmanager
async def running_node(store: RedisStore, names: Names, clock: Clock) -> AsyncIterator[NodeParts]:
    """Run the parts of a node that know the other nodes."""
    parts = NodeParts(store, names, clock)
    await parts.open()
    async with running_parts(parts):
        yield parts


@asynccontextmanager
async def running_parts(parts: NodeParts) -> AsyncIterator[None]:
    """Run the parts of a node that are open."""
    running = asyncio.create_task(parts.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        await parts.close()


@asynccontextmanager
async def crashed(store: RedisStore, names: Names, clock: Clock) -> AsyncIterator[NodeParts]:
    """Run the parts of a node that ends as with `kill -9`: it takes leave of nobody."""
    parts = NodeParts(store, names, clock)
    await parts.open()
    running = asyncio.create_task(parts.run())
    try:
        yield parts
    finally:
        running.cancel()
        await asyncio.wait([running])
        await parts.subscriptions.close()
        await parts.channels.close()


async def settled(presences: Sequence[RedisTopicPresence]) -> None:
    """Wait until Redis knows all members by these nodes, and each node all that its connections watch."""

    async def is_settled() -> bool:
        for each in presences:
            if any(each.reports.last(stream) is None for stream in each.reports):
                return False
        for each in presences:
            for stream, watched in list(each._watched.items()):
                head, _ = await each._store.read(stream, 0)
                # Of many members the number is asked for in turns, which only the clock brings.
                are_many = watched.view is not None and watched.view.are_many
                if not are_many and watched.place != (head.epoch, head.number):
                    return False
        return True

    await until(is_settled)
