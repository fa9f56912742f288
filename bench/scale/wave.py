"""A reconnect wave: many clients come back at once, to the nodes that are left. Pure.

They come back with a token that their new node has not seen, and with a cursor. Each costs a `connect`: on its node,
and in Redis. The time until all are back is the longest of three: that in which they notice, the nodes', and Redis's.
"""

from dataclasses import dataclass

from bench.scale.costs import Costs
from bench.scale.sizing import Sizing
from tellwire.limits import HEARTBEAT_SECONDS

FULL = 0.9
"""Share of a core that is used in a wave, for connects and everything else."""

ENDED_SECONDS = 0.5
"""Time in which clients come back whose sockets were closed or reset, as when a process dies: at once, or after the
first backoff."""

SILENT_SECONDS = HEARTBEAT_SECONDS + 5.0
"""Time in which clients notice that a machine is gone: its sockets are silent, and the next `ping` has no answer."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A wave of so many connections. `by` names the slowest part."""

    name: str
    connections: float
    noticed_seconds: float
    node_seconds: float
    redis_seconds: float

    @property
    def seconds(self) -> float:
        """Time until all are back."""
        return max(self.noticed_seconds, self.node_seconds, self.redis_seconds)

    @property
    def by(self) -> str:
        times = {"clients": self.noticed_seconds, "nodes": self.node_seconds, "Redis": self.redis_seconds}
        return max(times, key=lambda name: times[name])


def wave(name: str, sizing: Sizing, costs: Costs, lost_nodes: int, *, left: int, is_silent: bool) -> Wave:
    """Return the wave of the clients of `lost_nodes`, for whom `left` nodes are there."""
    connections = sizing.workload.connections * min(1.0, lost_nodes / sizing.nodes)
    cost = costs.of["connect"]
    # The nodes that are left have their own work, but not that of the clients who are away.
    spare = max(FULL - sizing.node_share, 0.05)
    node_rate = left * spare / (cost.node_us / 1e6)
    redis_spare = max(FULL - sizing.redis_share, 0.05) * sizing.shards / sizing.imbalance
    redis_seconds = connections * cost.redis_us / 1e6 / redis_spare
    return Wave(
        name, connections, SILENT_SECONDS if is_silent else ENDED_SECONDS, connections / node_rate, redis_seconds
    )


def waves(sizing: Sizing, costs: Costs) -> list[Wave]:
    """Return the waves to plan for."""
    machine = min(sizing.plan.cores_a_machine, sizing.nodes)
    # The spare machine is one of those that are left.
    available = sizing.machines * sizing.plan.cores_a_machine
    return [
        wave("a node's process dies", sizing, costs, 1, left=available - 1, is_silent=False),
        wave("a machine dies", sizing, costs, machine, left=available - machine, is_silent=True),
        wave("everybody comes back", sizing, costs, sizing.nodes, left=available, is_silent=False),
    ]
