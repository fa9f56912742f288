"""Troubles of a cluster during a play: nodes that are killed or stopped, a Redis that is killed, hangs, or is full …

Each is a coroutine that ends when everything runs again. `TROUBLES` has them by name.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

from bench.cluster import Cluster
from bench.lossless import Stage
from bench.processes import in_thread


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of troubles, in seconds: a dead process stays dead, a node or Redis is silent, and all is well between.

    `node_silent` is longer than a node's lease, so that the others take it for dead.
    """

    dead: float = 2.0
    between: float = 2.0
    node_silent: float = 30.0
    redis_silent: float = 5.0
    random: float = 40.0


@dataclass(frozen=True, slots=True)
class Scene:
    """The cluster and the play that a trouble disturbs, its durations, and its random numbers."""

    cluster: Cluster
    stage: Stage
    times: Times
    generator: random.Random


Trouble = Callable[[Scene], Coroutine[Any, Any, None]]


async def nothing(scene: Scene) -> None:
    """Disturb the devices only."""
    await asyncio.sleep(2 * scene.times.between)


async def node_killed(scene: Scene) -> None:
    """Kill one node after the other with -9, and start each again."""
    for node in scene.generator.sample(scene.cluster.nodes, len(scene.cluster.nodes)):
        await in_thread(node.kill)
        await asyncio.sleep(scene.times.dead)
        await scene.cluster.start_nodes([node])
        await asyncio.sleep(scene.times.between)


async def all_nodes_killed(scene: Scene) -> None:
    """Kill all nodes at once with -9, and start them again."""
    for node in scene.cluster.nodes:
        node.kill()
    await asyncio.sleep(scene.times.dead)
    await scene.cluster.start_nodes(scene.cluster.nodes)
    await asyncio.sleep(scene.times.between)


async def redis_killed(scene: Scene) -> None:
    """Kill Redis with -9, twice, and start it again with its append-only file."""
    for _ in range(2):
        await in_thread(scene.cluster.redis.kill)
        await asyncio.sleep(scene.generator.random() * scene.times.dead)
        await in_thread(scene.cluster.redis.start)
        await asyncio.sleep(scene.times.between)


async def redis_paused(scene: Scene) -> None:
    """`CLIENT PAUSE`: for a moment, then for longer than anybody waits; then stop its process for a while."""
    for seconds in (scene.times.redis_silent / 10, scene.times.redis_silent):
        await asyncio.to_thread(scene.cluster.redis.command, "CLIENT", "PAUSE", str(int(1000 * seconds)), "ALL")
        await asyncio.sleep(seconds + scene.times.between)
    scene.cluster.redis.freeze()
    await asyncio.sleep(scene.times.redis_silent)
    scene.cluster.redis.thaw()
    await asyncio.sleep(scene.times.between)


async def redis_connections_killed(scene: Scene) -> None:
    """`CLIENT KILL` of every connection, again and again: those of commands, those of channels, and both."""
    for kinds in 3 * [("normal",), ("pubsub",), ("normal", "pubsub")]:
        for kind in kinds:
            await _cut(scene.cluster, kind)
        await asyncio.sleep(scene.generator.random() * scene.times.between)


async def channels_lost(scene: Scene) -> None:
    """Cut the channels of a node while it is stopped. Then no message comes that would tell it of the gap."""
    await asyncio.sleep(scene.times.between)
    node = scene.generator.choice(scene.cluster.nodes)
    node.freeze()
    for _ in range(5):
        await asyncio.sleep(scene.times.dead / 5)
        await _cut(scene.cluster, "pubsub")
    scene.stage.hush()
    await asyncio.sleep(scene.times.dead / 2)
    await _cut(scene.cluster, "pubsub")
    node.thaw()
    await asyncio.sleep(scene.times.between)


async def _cut(cluster: Cluster, kind: str) -> None:
    await asyncio.to_thread(cluster.redis.command, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


async def redis_full(scene: Scene) -> None:
    """Fill Redis: it refuses every write (`OOM`)."""
    await asyncio.to_thread(scene.cluster.redis.command, "CONFIG", "SET", "maxmemory", "1")
    await asyncio.sleep(scene.times.dead)
    await asyncio.to_thread(scene.cluster.redis.command, "CONFIG", "SET", "maxmemory", "0")
    await asyncio.sleep(scene.times.between)


async def node_stopped(scene: Scene) -> None:
    """Stop a node with SIGSTOP: its sockets stay open and silent, the others take it for dead. Then let it go on."""
    node = scene.generator.choice(scene.cluster.nodes)
    node.freeze()
    await asyncio.sleep(scene.times.node_silent)
    node.thaw()
    await asyncio.sleep(scene.times.between)


async def rolling_restart(scene: Scene) -> None:
    """Restart one node after the other with SIGTERM: each drains."""
    for node in scene.cluster.nodes:
        await in_thread(node.stop)
        await scene.cluster.start_nodes([node])
        await asyncio.sleep(scene.times.between)


async def everything(scene: Scene) -> None:
    """Have troubles at random, two at a time."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + scene.times.random
    times = scene.times
    quick = Times(times.dead / 2, times.between / 2, times.node_silent / 4, times.redis_silent / 2)
    quickly = replace(scene, times=quick)
    of_nodes: list[Trouble] = [node_killed, node_stopped, rolling_restart]
    of_redis: list[Trouble] = [redis_killed, redis_paused, redis_connections_killed, redis_full]

    async def go_through(troubles: list[Trouble]) -> None:
        while loop.time() < ends_at:
            await scene.generator.choice(troubles)(quickly)

    async with asyncio.TaskGroup() as group:
        group.create_task(go_through(of_nodes))
        group.create_task(go_through(of_redis))


NODES_LIVE: Final = frozenset(
    {"redis-killed", "redis-paused", "redis-connections-killed", "redis-full", "channels-lost"}
)
"""The troubles during which every node lives: there, nodes alone must find whatever the channels have lost."""

TROUBLES: Final[dict[str, Trouble]] = {
    "devices-only": nothing,
    "node-killed": node_killed,
    "all-nodes-killed": all_nodes_killed,
    "redis-killed": redis_killed,
    "redis-paused": redis_paused,
    "redis-connections-killed": redis_connections_killed,
    "redis-full": redis_full,
    "channels-lost": channels_lost,
    "node-stopped": node_stopped,
    "rolling-restart": rolling_restart,
    "everything": everything,
}
