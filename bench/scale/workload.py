"""A workload: the connections of an installation and the publications to their users. Pure.

The presets are not measured at anybody's. They are a busy application of the kind this project is for: people who have
a page open, jobs that report progress, and a notification now and then.
"""

import math
from dataclasses import dataclass, fields
from typing import Final

from tellwire.limits import HISTORY_MAX_AGE_SECONDS, ROTATE_AFTER_SECONDS

MOST_CONNECTIONS: Final = 1_000_000_000
"""The model says nothing about more; eight thousand million people have fewer pages open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Connections, and the publications to their users. Rates are per second; shares are between 0 and 1."""

    connections: int
    """Open connections at the busiest time."""
    devices: float = 1.5
    """Connections of a user who has any."""
    publishes: float
    """Publications to users."""
    state_share: float = 0.6
    """Of them: updates of uploads, of which only the newest is kept."""
    batch_share: float = 0.2
    """Of them: lines of batches, the rest being requests of their own."""
    absent_share: float = 0.2
    """Of them: to users who are not connected."""
    to_all_per_hour: float = 1.0
    """Messages to everybody."""
    returns_per_hour: float = 1.0
    """Times that a connection ends and comes back in an hour, beside its rotation after 110 minutes."""
    message_bytes: int = 300
    """Size of a message as JSON."""
    users_a_day: float = 3.0
    """Users who have a stream (somebody connected or published within a day), for each who is connected now."""
    uploads_a_user: float = 0.2
    """Uploads that run, or have ended within the hour, for each user who is connected."""

    def __post_init__(self) -> None:
        for share in ("state_share", "batch_share", "absent_share"):
            if not 0 <= getattr(self, share) <= 1:
                raise ValueError(f"{share}: got {getattr(self, share)}; allowed: 0 to 1")
        if self.state_share + self.batch_share > 1:
            raise ValueError(
                f"state_share and batch_share: got {self.state_share + self.batch_share}; allowed: up to 1"
            )
        if not 1 <= self.connections <= MOST_CONNECTIONS:
            raise ValueError(f"connections: got {self.connections}; allowed: 1 to {MOST_CONNECTIONS:,}")
        if not 1 <= self.devices < math.inf:
            raise ValueError(f"devices: got {self.devices}; allowed: 1 or more")
        for amount in (
            "publishes",
            "to_all_per_hour",
            "returns_per_hour",
            "message_bytes",
            "users_a_day",
            "uploads_a_user",
        ):
            if not 0 <= getattr(self, amount) < math.inf:
                raise ValueError(f"{amount}: got {getattr(self, amount)}; allowed: 0 or more")

    @property
    def users(self) -> float:
        """Users who are connected."""
        return self.connections / self.devices

    @property
    def connects(self) -> float:
        """Handshakes a second, when nothing is wrong: clients that come back, and rotations."""
        return self.connections * (self.returns_per_hour / 3600 + 1 / ROTATE_AFTER_SECONDS)

    @property
    def kept_messages(self) -> float:
        """Messages in all logs: those of a day. States replace each other, so they are not among them."""
        return self.publishes * (1 - self.state_share) * HISTORY_MAX_AGE_SECONDS

    def scaled(self, connections: int) -> "Workload":
        """Return the same workload for another number of connections."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        factor = connections / self.connections
        return Workload(**values | {"connections": connections, "publishes": self.publishes * factor})


def preset(connections: int) -> Workload:
    """Return the workload of the page: each connected user gets 30 publications an hour."""
    return Workload(connections=connections, publishes=connections / 1.5 * 30 / 3600)
