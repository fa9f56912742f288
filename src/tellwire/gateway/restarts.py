"""The waits before a worker that ended is started again. Pure."""

from dataclasses import dataclass

from tellwire import limits


@dataclass(slots=True)
class Restarts:
    """The ends of one worker in a row, each soon after it was ready, or before."""

    in_a_row: int = 0

    def wait_seconds(self, served_seconds: float) -> float:
        """Count an end of a worker that was ready for so many seconds; return those to wait before the next start.

        The first is at once. From the second on it was no accident, and the wait doubles.
        """
        if served_seconds >= limits.WORKER_STABLE_SECONDS:
            self.in_a_row = 0
        self.in_a_row += 1
        if self.in_a_row == 1:
            return 0.0
        return min(limits.WORKER_FIRST_WAIT_SECONDS * 2.0 ** (self.in_a_row - 2), limits.WORKER_LONGEST_WAIT_SECONDS)

    @property
    def is_loop(self) -> bool:
        """True for a crash loop."""
        return self.in_a_row >= limits.WORKER_CRASHES
