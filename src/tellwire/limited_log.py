"""Log lines at a bounded rate: whoever can cause a line with every request must not fill the disk.

Lines beyond the rate are counted, and the count is told as soon as the rate allows it.
"""

import logging
from typing import Final

from tellwire.ports import Clock
from tellwire.rate import Rate

LINES: Final = Rate(1.0, 20.0)
"""The rate of lines of one kind: a burst to see the kind, and then one a second."""


class LimitedLog:
    """Lines of one kind, such as refused handshakes. `kind` names them where they are counted."""

    def __init__(self, logger: logging.Logger, level: int, kind: str, clock: Clock, rate: Rate = LINES) -> None:
        self._logger = logger
        self._level = level
        self._kind = kind
        self._clock = clock
        self._rate = rate
        self._full_at = 0.0
        self.left_out = 0

    def write(self, message: str, *arguments: object) -> None:
        """Log a line, or count it."""
        if not self._logger.isEnabledFor(self._level):
            return
        if self._allows():
            self._logger.log(self._level, message, *arguments)
        else:
            self.left_out += 1

    def tell_left_out(self) -> None:
        """Log how many lines were left out since this was told last, if there are any and the rate allows a line."""
        if self.left_out and self._allows():
            self._logger.log(self._level, "%s: %d more lines were left out", self._kind, self.left_out)
            self.left_out = 0

    def _allows(self) -> bool:
        full_at = self._rate.take(self._full_at, self._clock.monotonic())
        self._full_at = self._full_at if full_at is None else full_at
        return full_at is not None
