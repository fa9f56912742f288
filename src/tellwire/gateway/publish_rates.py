"""The rate of publishes of each API key. Pure, but for its clock.

    a publish   one out of the bucket of its key
    a batch     its lines, all of them: it is taken as long as its key owes nothing, and then its key owes the rest

So a batch of any size passes, and on average no key publishes more than its rate. What is refused is counted.
"""

import math

from tellwire.ports import Clock, NullObserver, Observer
from tellwire.rate import Rate


class PublishRates:
    """The buckets of all API keys of a node, by name. `rate` None: there is no limit. `refused` counts."""

    def __init__(self, rate: Rate | None, clock: Clock, observer: Observer | None = None) -> None:
        self.rate = rate
        self.refused = 0
        self._clock = clock
        self._observer = observer or NullObserver()
        self._full_at: dict[str, float] = {}

    def allows(self, key: str) -> bool:
        """Return True if a key may publish now."""
        rate = self.rate
        return rate is None or rate.take(self._full_at.get(key, 0.0), self._clock.monotonic()) is not None

    def spend(self, key: str, count: int = 1) -> None:
        """Count publishes of a key."""
        if self.rate is not None:
            full_at = self._full_at.get(key, 0.0)
            self._full_at[key] = self.rate.spend(full_at, self._clock.monotonic(), count)

    def refuse(self, rate: Rate, key: str) -> int:
        """Count a refusal. Return the seconds until the key may publish again, for a `Retry-After`."""
        self.refused += 1
        self._observer.publish_refused(key)
        now = self._clock.monotonic()
        # Then nothing is owed, and one is in the bucket.
        return max(1, math.ceil(rate.wait_seconds(rate.spend(self._full_at.get(key, 0.0), now, 1), now)))
