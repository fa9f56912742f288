"""Exponential backoff with full jitter, as pure code."""

from collections.abc import Callable
from typing import Final

from tellwire.client.close_codes import ComeBack, Verdict
from tellwire.client.options import ClientOptions

_COUNTED_FAILURES: Final = 64


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
        failures, self._failures = self._failures, min(self._failures + 1, _COUNTED_FAILURES)
        if failures == 0 and verdict.come_back is ComeBack.AT_ONCE:
            return None
        bound = min(self._options.backoff_first_seconds * 2.0**failures, self._options.backoff_max_seconds)
        return verdict.retry_after_seconds + self._jitter() * bound
