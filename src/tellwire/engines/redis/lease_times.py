"""The time since which a node has run well, and from which on silence counts. Pure.

Silence is measured in the time of Redis, the one clock of all nodes; that this node has run well is measured on its own
monotonic clock, which no correction moves.
"""

from math import inf
from typing import Final

from tellwire.limits import LEASE_WATCH_SECONDS

LATE_SECONDS: Final = 1.0
"""Delay of a wait above which it is a pause, and largest step of the clock in Redis. The shortest lease is a second."""

_GAP_SECONDS: Final = 5 * LEASE_WATCH_SECONDS


class Share:
    """Some buckets that are checked together, and the state of their Redis. Times are monotonic ones."""

    def __init__(self, buckets: range) -> None:
        self.buckets = buckets
        self._checked_at = -inf
        self._well_since = -inf
        self._ahead_seconds = 0.0

    def checked(self, now: float, redis_now: float) -> float:
        """Record an answer, and return the time since which all has run well, by the clock of Redis."""
        ahead_seconds = redis_now - now
        # Another node has watched these buckets, or nobody.
        is_new = now - self._checked_at > _GAP_SECONDS
        # A clock that is set back makes leases longer, and nobody silent.
        if is_new or ahead_seconds > self._ahead_seconds + LATE_SECONDS:
            self._well_since = now
        self._checked_at, self._ahead_seconds = now, ahead_seconds
        return self._well_since + ahead_seconds

    def begin_anew(self) -> None:
        """Give every lease a whole time from the next check on."""
        self._checked_at = -inf


def expiry(stored_at: float, silence_seconds: float, well_since: float, node_left_at: float) -> float:
    """Return the time at which the lease of a state that was stored then expires; all in the time of Redis."""
    began_at = max(stored_at, well_since)
    expires_at = began_at + silence_seconds
    return node_left_at + silence_seconds if began_at < node_left_at < expires_at else expires_at
