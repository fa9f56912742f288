"""Nodes and shards for a workload: as many as keep each below its share of CPU time, memory and network. Pure.

A node is one process on one core. Machines have several of them.
"""

import binascii
import functools
import math
from dataclasses import dataclass

from bench.scale.costs import Costs
from bench.scale.model import Load, load
from bench.scale.workload import Workload
from tellwire.limits import REDIS_BUCKETS

SLOTS = 16_384
"""Hash slots of a Redis Cluster."""

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Plan:
    """Machines, and how full they may be at the busiest time. The rest is for a lost machine, and for errors of the
    model."""

    node_busy: float = 0.5
    """Share of a core: the other half takes over from nodes that are gone, and from other nodes in a drain."""
    redis_busy: float = 0.5
    """Share of Redis's main thread."""
    node_gib: float = 4.0
    """Memory for a node, of which half may be used."""
    redis_gib: float = 64.0
    """Memory of a shard's machine, of which half may be used: a fork copies changed pages, and buffers grow."""
    redis_mbit: float = 1_000.0
    """Network of a shard's machine, in each direction, of which half may be used."""
    connections_a_node: int = 50_000
    """At most. More take a node's garbage collector too long."""
    cores_a_machine: int = 8
    replicas: int = 1
    """Of each shard."""


DEFAULT_PLAN = Plan()


@dataclass(frozen=True, slots=True)
class Sizing:
    """The installation. `nodes_by` and `shards_by` name the need that decides."""

    workload: Workload
    plan: Plan
    load: Load
    nodes: int
    nodes_by: str
    shards: int
    shards_by: str
    imbalance: float
    """The share of the fullest shard, divided by that of the average one."""

    @property
    def machines(self) -> int:
        """Machines for nodes, with one to spare."""
        return math.ceil(self.nodes / self.plan.cores_a_machine) + 1

    @property
    def redis_machines(self) -> int:
        """Machines for shards and their replicas."""
        return self.shards * (1 + self.plan.replicas)

    @property
    def node_share(self) -> float:
        """Share of each node's core that is busy, without the spare machine's."""
        return self.load.node_cores / self.nodes

    @property
    def redis_share(self) -> float:
        """Share of the fullest shard's main thread that is busy."""
        return self.load.redis_cores * self.imbalance / self.shards


@functools.cache
def imbalance(shards: int) -> float:
    """Return the buckets of the fullest shard, divided by the average: slots are spread evenly, buckets by CRC."""
    counts = [0] * shards
    for bucket in range(REDIS_BUCKETS):
        slot = binascii.crc_hqx(str(bucket).encode(), 0) % SLOTS
        counts[slot * shards // SLOTS] += 1
    return max(counts) * shards / REDIS_BUCKETS


def size(workload: Workload, costs: Costs, plan: Plan = DEFAULT_PLAN) -> Sizing:
    """Return the smallest installation for a workload."""
    nodes, nodes_by = 1, "connections"
    while True:
        needs = load(workload, costs, nodes)
        wanted, nodes_by = _nodes(workload, needs, plan)
        if wanted <= nodes:
            break
        # More nodes have more of the user's connections apart, so the needs grow a little.
        nodes = wanted
    shards, shards_by = _shards(needs, plan)
    return Sizing(workload, plan, needs, nodes, nodes_by, shards, shards_by, imbalance(shards))


def _nodes(workload: Workload, needs: Load, plan: Plan) -> tuple[int, str]:
    return _most(
        {
            "CPU": needs.node_cores / plan.node_busy,
            "memory": needs.node_memory / (plan.node_gib * GIB / 2),
            "connections": workload.connections / plan.connections_a_node,
        }
    )


def _shards(needs: Load, plan: Plan) -> tuple[int, str]:
    wanted = {
        "CPU": needs.redis_cores / plan.redis_busy,
        "memory": needs.redis_memory / (plan.redis_gib * GIB / 2),
        "network": max(needs.redis_in, needs.redis_out) * 8 / (plan.redis_mbit * 1e6 / 2),
    }
    shards, by = _most(wanted)
    while shards < max(wanted.values()) * imbalance(shards):
        shards += 1
    return shards, by


def _most(wanted: dict[str, float]) -> tuple[int, str]:
    by = max(wanted, key=lambda name: wanted[name])
    return max(1, math.ceil(wanted[by])), by
