"""A rate with a burst: token buckets, each of whose states is one number. Pure.

There is a bucket for each of tens of thousands of connections, so its state is the time at which it will be full again,
and the rate is shared. `now` is in seconds of a clock that never goes back.
"""

from dataclasses import dataclass
from typing import Final

# Times are sums of many small steps, which are not exact.
_TOLERANCE_SECONDS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second on average, and up to `burst` at once.

    Example:
        full_at = rate.take(connection.full_at, now)
        if full_at is None: refuse
        else: connection.full_at = full_at
    """

    per_second: float
    burst: float

    def __str__(self) -> str:
        seconds = 1 / self.per_second
        on_average = f"{self.per_second:g} a second" if seconds <= 1 else f"one in {seconds:g} seconds"
        return f"{on_average}, and {self.burst:g} at once"

    def take(self, full_at: float, now: float, amount: float = 1.0) -> float | None:
        """Take an amount out of a bucket. Return its new state; None if there is not enough in it.

        The state of a full bucket is any time that is not after `now`, such as 0.0 or minus infinity.
        """
        taken = self.spend(full_at, now, amount)
        return taken if taken <= now + self.burst / self.per_second + _TOLERANCE_SECONDS else None

    def spend(self, full_at: float, now: float, amount: float) -> float:
        """Take an amount out of a bucket, also if it is not in it: it is owed then. Return the new state."""
        return max(full_at, now) + amount / self.per_second

    def wait_seconds(self, full_at: float, now: float) -> float:
        """Return the time until nothing is owed."""
        return max(0.0, full_at - now - self.burst / self.per_second)


class Buckets:
    """Buckets of one rate, by a key such as an address. Above `max_keys` those used longest ago are full again."""

    def __init__(self, rate: Rate, max_keys: int) -> None:
        self._rate = rate
        self._max_keys = max_keys
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str, now: float) -> bool:
        """Take one out of a bucket. False: it is empty."""
        before = self._full_at.pop(key, now)
        if len(self._full_at) >= self._max_keys:
            del self._full_at[next(iter(self._full_at))]
        taken = self._rate.take(before, now)
        self._full_at[key] = before if taken is None else taken
        return taken is not None

    def may_take(self, key: str, now: float) -> bool:
        """Return True if `take` would succeed."""
        return self._rate.take(self._full_at.get(key, now), now) is not None

    def is_full(self, key: str, now: float) -> bool:
        """Return True if nothing is missing in a bucket."""
        return self._full_at.get(key, now) <= now
