"""Results of a check of the model against real nodes. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checked:
    """Milliseconds of CPU a second of one node, the average of all, and of Redis: measured, and by the model.

    The load grows with the nodes, so each has as much to do as one alone. `devices` are those of each user, on nodes of
    their own where there are several.
    """

    nodes: int
    devices: int
    node_ms: float
    node_by_model: float
    redis_ms: float
    redis_by_model: float

    @property
    def node_ratio(self) -> float:
        """Measured, divided by the model's: above 1, a node uses more than the model says."""
        return self.node_ms / self.node_by_model

    @property
    def redis_ratio(self) -> float:
        """The same of Redis; 1 without one."""
        return self.redis_ms / self.redis_by_model if self.redis_by_model else 1.0
