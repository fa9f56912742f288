"""The bill of a month, at list prices of AWS in us-east-1 without any discount. Pure.

Prices change: each has the date and the place where it was looked up. They are inputs; give your own.
"""

from dataclasses import dataclass

from bench.scale.sizing import Sizing

HOURS = 730.0
GB = 1e9


@dataclass(frozen=True, slots=True)
class Price:
    """A price in US dollars."""

    dollars: float
    per: str
    source: str


CORE = Price(
    0.0408,
    "core and hour, with 4 GiB",
    "half of m7g.large, Linux on demand; factualminds.com/blog/amazon-ec2-on-demand-pricing-instance-families-2026, "
    "June 2026",
)
BALANCER_UNIT = Price(
    0.006,
    "NLCU and hour: 800 new connections/s, 100,000 open ones or 1 GB/h over TCP",
    "handbook.vantage.sh/aws/services/elb-pricing, clustercost.com/blog/network-load-balancer-pricing-2025",
)
ZONE = Price(
    0.01, "GB between zones, in each direction", "leanopstech.com/blog/aws-data-transfer-pricing-2026, April 2026"
)
EGRESS = (
    (10e3, 0.09),
    (40e3, 0.085),
    (100e3, 0.07),
    (float("inf"), 0.05),
)
"""Dollars for each GB to the internet, by steps of GB a month."""
EGRESS_SOURCE = "thenegotiationexperts.com/blog/aws-egress-data-transfer-cost-negotiation, 2026"

BALANCER_NEW, BALANCER_OPEN, BALANCER_GB = 800.0, 100_000.0, 1.0
ZONES = 3
GIB_A_CORE = 4.0
"""Memory of a machine with the price above. One with more for each core is cheaper for Redis, which needs few cores."""


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars a month."""

    nodes: float
    redis: float
    balancer: float
    zones: float
    egress: float

    @property
    def total(self) -> float:
        return self.nodes + self.redis + self.balancer + self.zones + self.egress


def bill(sizing: Sizing, busy: float = 0.5) -> Bill:
    """Return the bill of an installation. `busy`: the average traffic, as a share of that at the busiest time."""
    needs, plan = sizing.load, sizing.plan
    seconds = HOURS * 3600 * busy
    to_devices = needs.devices_out * seconds / GB
    with_redis = (needs.redis_in + needs.redis_out) * seconds / GB
    through = (needs.devices_in + needs.devices_out) * busy * 3600 / GB
    units = max(
        sizing.workload.connects * busy / BALANCER_NEW,
        sizing.workload.connections / BALANCER_OPEN,
        through / BALANCER_GB,
    )
    return Bill(
        nodes=sizing.machines * plan.cores_a_machine * CORE.dollars * HOURS,
        redis=sizing.redis_machines * plan.redis_gib / GIB_A_CORE * CORE.dollars * HOURS,
        balancer=units * BALANCER_UNIT.dollars * HOURS,
        # A node is in another zone than the shard for two of three messages, and so is a replica.
        zones=(with_redis * (ZONES - 1) / ZONES + needs.redis_in * seconds / GB * plan.replicas) * 2 * ZONE.dollars,
        egress=egress(to_devices),
    )


def egress(gigabytes: float) -> float:
    """Return the dollars for this much traffic to the internet in a month."""
    dollars, left = 0.0, gigabytes
    for step, price in EGRESS:
        part = min(left, step)
        dollars += part * price
        left -= part
    return dollars
