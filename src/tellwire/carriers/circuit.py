"""The circuit breaker of a carrier: while the gateway is away, most publishes fail at once. Pure, but for its clock.

    closed ── a publish used up its time ──▶ open ── after a wait ──▶ one probe: a single, short attempt
       ▲                                      ▲                          │
       └──── any publish succeeded ───────────┼──────── success ─────────┤
                                              └── a longer wait ── failure

A web request that tells somebody something must not take ten seconds for each message. The messages of a job are always
tried: nobody waits for them, and a user must not miss its end.
"""

from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic
from typing import Final, Literal

from tellwire.limits import CIRCUIT_FIRST_SECONDS, CIRCUIT_LONGEST_SECONDS

Passage = Literal["free", "probe", "stop"]
"""The passage of a publish: as usual, as the one probe, or not at all."""

_is_urgent: Final[ContextVar[bool]] = ContextVar("tellwire_urgent", default=False)


class urgent:  # noqa: N801 - used like a function
    """Try everything that is published in this block, although the gateway seems to be away."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _is_urgent.set(True)

    def __exit__(self, *_: object) -> None:
        _is_urgent.reset(self._token)


def is_urgent() -> bool:
    """Return True in a block of `urgent`."""
    return _is_urgent.get()


def _monotonic() -> float:
    # Looked up at each call: tests move it.
    return monotonic()


class Circuit:
    """The state of the way to one gateway, or to another server. From any thread. `clock` returns monotonic seconds.

    It has no lock, which a forked child might inherit while another thread holds it. Two threads that meet may both
    probe, and that is all.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or _monotonic
        self._wait_seconds = 0.0
        self._opens_at = 0.0
        self._probe_ends_at = 0.0

    @property
    def is_open(self) -> bool:
        """True while the gateway seems to be away."""
        return self._wait_seconds > 0

    @property
    def seconds_left(self) -> float:
        """The seconds until the next probe."""
        return max(0.0, self._opens_at - self._clock())

    def enter(self, probe_seconds: float) -> Passage:
        """Return the passage of a publish. A probe ends with `succeeded` or `failed`, or after `probe_seconds`."""
        if not self.is_open:
            return "free"
        now = self._clock()
        if now < self._opens_at or now < self._probe_ends_at:
            return "stop"
        self._probe_ends_at = now + probe_seconds
        return "probe"

    def succeeded(self) -> None:
        """Close the circuit: the gateway answers."""
        if self.is_open:
            self._wait_seconds = self._opens_at = self._probe_ends_at = 0.0

    def failed(self) -> None:
        """Open the circuit; after a probe, for longer. Publishes that began before it opened change nothing."""
        if self.is_open and not self._probe_ends_at:
            return
        self._wait_seconds = min(max(CIRCUIT_FIRST_SECONDS, 2 * self._wait_seconds), CIRCUIT_LONGEST_SECONDS)
        self._opens_at = self._clock() + self._wait_seconds
        self._probe_ends_at = 0.0
