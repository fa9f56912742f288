"""Real nodes, and the Redis behind them, on this machine: how much CPU time and traffic something took of them.

All nodes are on the server's core, Redis and the load on the other one. CPU time is that of the scheduler's own count:
so it does not matter who waits for a core; shared caches do, a little.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine
from bench.measured_redis import MeasuredRedis, measured_redis
from bench.native import Fleet, Sockets, joined, open_sockets
from bench.scale.costs import Cost
from bench.server import Server
from bench.traffic import RsaIssuer, connect_clients, handshake

_SLABS = ("TCP", "sock_inode_cache", "filp", "eventpoll_epi", "eppoll_entry")


@dataclass(slots=True)
class Used:
    """Use between two moments: microseconds of each node, and those of Redis with its commands and bytes."""

    seconds: float = 0.0
    nodes_us: tuple[float, ...] = ()
    redis: Cost = field(default_factory=Cost)

    @property
    def cost(self) -> Cost:
        """All of it as one cost."""
        return Cost(node_us=sum(self.nodes_us)) + self.redis


class Installation:
    """Nodes of one engine: one, or with Redis several."""

    def __init__(self, engine: str, nodes: Sequence[Server], redis: MeasuredRedis | None, issuer: RsaIssuer) -> None:
        self.engine = engine
        self.nodes = nodes
        self.redis = redis
        self.issuer = issuer

    @contextmanager
    def using(self) -> Iterator[Used]:
        """Measure all that is used within."""
        used = Used()
        began, before = time.monotonic(), self._cpu()
        redis_before = None if self.redis is None else self.redis.counts()
        yield used
        redis_after = None if self.redis is None else self.redis.counts()
        used.nodes_us = tuple(later - earlier for earlier, later in zip(before, self._cpu(), strict=True))
        used.seconds = time.monotonic() - began
        if redis_before is not None and redis_after is not None:
            used.redis = Cost(0.0, *(redis_after[name] - redis_before[name] for name in redis_before))

    @contextmanager
    def connected(self, users_of_nodes: Sequence[Sequence[str]]) -> Iterator[Fleet]:
        """Connect a device for each user, to the node whose list it is in."""
        with ExitStack() as stack:
            opened = []
            for node, users in zip(self.nodes, users_of_nodes, strict=True):
                tokens = {user: self.issuer.token(user) for user in dict.fromkeys(users)}
                requests = [handshake(tokens[user]) for user in users]
                opened.append(stack.enter_context(open_sockets(node.port, requests)))
            with Fleet(joined(opened)) as fleet:
                for node, users in zip(self.nodes, users_of_nodes, strict=True):
                    node.wait_for_connections(len(users))
                yield fleet
        for node in self.nodes:
            node.wait_for_connections(0)

    @contextmanager
    def clients(self, each: int = 8, of: Sequence[int] | None = None) -> Iterator[Sockets]:
        """Open keep-alive connections for producers, so many to each node, or to each of some nodes; in turn."""
        chosen = range(len(self.nodes)) if of is None else of
        with joined([connect_clients(self.nodes[index], each) for index in chosen], in_turn=True) as clients:
            yield clients

    def _cpu(self) -> tuple[float, ...]:
        return tuple(1e6 * node.precise_cpu_seconds for node in self.nodes)


@contextmanager
def installation(cores: machine.Cores, engine: str, nodes: int = 1) -> Iterator[Installation]:
    """Start nodes of an engine. Server's pings are off: they would be in every figure."""
    issuer = RsaIssuer()
    settings = {"JWKS": issuer.jwks, "ENGINE": engine, "PING_AFTER_SECONDS": "0"}
    with ExitStack() as stack:
        redis = None
        if engine == "redis":
            redis = stack.enter_context(measured_redis(cores))
            settings["REDIS_URL"] = redis.url
        servers = [stack.enter_context(Server(cores, **settings)) for _ in range(nodes)]
        yield Installation(engine, servers, redis, issuer)


def kernel_bytes() -> int:
    """Return the memory of all sockets of this machine in the kernel, without their buffers (read as root only)."""
    found = 0
    for line in Path("/proc/slabinfo").read_text().splitlines()[2:]:
        name, active, _, size, *_ = line.split()
        if name in _SLABS:
            found += int(active) * int(size)
    return found
