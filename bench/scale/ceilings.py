"""Ceilings: at how many connections of a workload each part is full, and the next step then. Pure.

Each is on its own: as if everything else were large enough.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.scale.costs import Costs
from bench.scale.model import Load
from bench.scale.sizing import GIB, imbalance, size
from bench.scale.workload import Workload

FULL = 0.8
REDIS_CLIENTS = 10_000
"""`maxclients` of Redis, by default."""
LINKS_A_NODE = 2
"""Connections of a node to each shard: one for calls, one for channels."""
LARGE_REDIS_GIB = 64
LARGE_REDIS_MBIT = 5_000
UNEVEN = 1.5
"""The fullest shard has so many times the average: half of the money for more shards is wasted."""
CLUSTER_SIZE = 500
"""Masters of a Redis Cluster with a replica each: its specification names 1,000 nodes as the most."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The connections at which a part is full, and the next step. The lowest ceiling breaks first."""

    connections: float
    part: str
    step: str


def ceilings(workload: Workload, costs: Costs) -> list[Ceiling]:
    """Return all ceilings, the lowest first."""
    return sorted(_ceilings(workload, costs), key=lambda each: each.connections)


def _ceilings(workload: Workload, costs: Costs) -> Iterator[Ceiling]:
    # At a size at which fixed costs of a node and of the watch over leases are small.
    at = workload.scaled(1_000_000)
    sized = size(at, costs)
    each, nodes = sized.load, sized.nodes
    per_node = at.connections / nodes

    yield Ceiling(per_node * FULL / sized.node_share, "a node: its core", "more nodes: `--workers`, then more machines")
    redis = _at_full(at, each)
    yield Ceiling(redis["CPU"], "one Redis: its main thread", "Redis Cluster")
    yield Ceiling(
        redis["memory"],
        f"one Redis: {LARGE_REDIS_GIB} GiB, half used",
        "a shorter history (`history_max_age_seconds`), then Redis Cluster",
    )
    yield Ceiling(redis["network"], f"one Redis: {LARGE_REDIS_MBIT / 1000:.0f} Gbit/s, half used", "Redis Cluster")
    yield Ceiling(
        REDIS_CLIENTS / LINKS_A_NODE * per_node * FULL,
        f"a shard: {REDIS_CLIENTS:,} clients, {LINKS_A_NODE} of each node",
        "`maxclients`, then several clusters",
    )
    shards_each = max(
        sized.load.redis_cores / sized.plan.redis_busy, sized.load.redis_memory / (sized.plan.redis_gib * GIB / 2)
    )
    yield Ceiling(
        _uneven_shards() * at.connections / shards_each,
        "a cluster: 1,024 buckets over so many shards that one has 1.5 times the average",
        "several clusters, users spread over them by their id",
    )
    yield Ceiling(
        CLUSTER_SIZE * at.connections / shards_each,
        "a cluster: 1,000 members",
        "several clusters, users spread over them by their id; a gateway for each region",
    )


def _at_full(workload: Workload, each: Load) -> dict[str, float]:
    """Connections at which one Redis is full."""
    shares = {
        "CPU": each.redis_cores / FULL,
        "memory": each.redis_memory / (LARGE_REDIS_GIB * GIB / 2),
        "network": max(each.redis_in, each.redis_out) * 8 / (LARGE_REDIS_MBIT * 1e6 / 2),
    }
    return {name: workload.connections / share for name, share in shares.items()}


def _uneven_shards() -> int:
    """Return the fewest shards from which on the fullest has `UNEVEN` times the average."""
    shards = 2
    while imbalance(shards) < UNEVEN:
        shards += 1
    return shards
