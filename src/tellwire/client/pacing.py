"""The pace of the application's requests, as pure code: each waits until the server's limits allow it.

It keeps to four fifths of the limits. The rest is for the client's own messages, which do not wait, and for a network
that delays some messages and so delivers more of them at once.
"""

from math import inf
from typing import Final

from tellwire.rate import Rate

_SHARE: Final = 0.8


class Pacing:
    """The requests so far. Without limits none waits."""

    def __init__(self) -> None:
        self._rate: Rate | None = None
        self._full_at = -inf

    def obey(self, requests_per_second: float | None, request_burst: float | None) -> None:
        """Take the limits of a welcome; None if it does not say one."""
        if requests_per_second and request_burst:
            self._rate = Rate(requests_per_second * _SHARE, max(1, int(request_burst * _SHARE)))

    def turn(self, now: float) -> float:
        """Return the time from which the next request may be sent. If that is now, it counts as sent."""
        if self._rate is None:
            return now
        full_at = self._rate.spend(self._full_at, now, 1)
        at = now + self._rate.wait_seconds(full_at, now)
        if at <= now:
            self._full_at = full_at
        return at
