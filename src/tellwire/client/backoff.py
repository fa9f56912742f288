"""Exponential backoff with full jitter, as pure code."""

from collections.abc import Callable
from typing import Final

from tellwire.client.close_codes import ComeBack, Verdict
from tellwire.client.options import ClientOptions

_COUNTED_FAILURES: Final = 64


def bound_seconds(options: ClientOptions, failures: int) -> float:
    """Return the bound of the wait after so many failures."""
    doublings = min(failures, _COUNTED_FAILURES)
    return min(options.backoff_first_seconds * 2.0**doublings, options.backoff_max_seconds)


class Backoff:
    """The wait after each failure: a random time between 0 and a bound that doubles. `jitter` returns 0 to 1."""

    def __init__(self, options: ClientOptions, jitter: Callable[[], float]) -> None:
        self._options = options
        self._jitter = jitter
        self._failures = 0

    def reset(self) -> None:
        """Begin anew with the first bound."""
        self._failures = 0

    def next_wait(self, verdict: Verdict) -> float | None:
        """Count a failure, and return the seconds to wait; None for none at all, which is for a first failure only."""
        failures, self._failures = self._failures, self._failures + 1
        if failures == 0 and verdict.come_back is ComeBack.AT_ONCE:
            return None
        return verdict.retry_after_seconds + self._jitter() * bound_seconds(self._options, failures)
