"""The end of an invocation's log, for a caller of Lambda Invoke that asks for it (`LogType: Tail`).

Source: Lambda API reference, "Invoke": the last 4 KB of the execution log.
"""

from collections import deque
from typing import Final

MAX_LOG_BYTES: Final = 4096


class LogTail:
    """The last lines of an invocation, within 4 KB. Threads of a handler may add lines at the same time."""

    def __init__(self) -> None:
        # Bounded in count too: each line has a byte at least.
        self._lines: deque[bytes] = deque(maxlen=MAX_LOG_BYTES)

    def add(self, *lines: str) -> None:
        """Add lines without their ends."""
        self._lines.extend(line.encode("utf-8", "replace")[-MAX_LOG_BYTES:] for line in lines)

    @property
    def content(self) -> bytes:
        """The last 4 KB of the lines."""
        return b"".join(line + b"\n" for line in list(self._lines))[-MAX_LOG_BYTES:]
