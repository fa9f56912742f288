"""The fields of a connection that are read for each message and device, and the write to those that are ready.

A message to a thousand devices is a thousand writes, and each pushes everything else out of the processor's caches. So
the fewer objects are read in between, the faster. With the package `tellwire-fast` (in `native/`) a connection begins
with these fields as a C struct, and the loop is in C. Without it everything is the same, but slower.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

try:
    import tellwire_fast as _fast
except ImportError:
    _fast = None  # type: ignore[assignment]

_VERSION: Final = 1
"""The version of the calls below; a package with another one is not used."""

if _fast is not None and _fast.VERSION != _VERSION:
    _fast = None  # type: ignore[assignment]

IS_FAST: Final = _fast is not None
"""True with the package `tellwire-fast`."""


if TYPE_CHECKING or _fast is None:

    class Link:
        """The fields of a connection that a fan-out reads and writes.

        `is_ready`: open, and all that was sent to it has been taken by the kernel. `fd`: its descriptor, if bytes may
        be written to it beside the transport; otherwise -1. `expires_at` is a time of the wall clock, `last_active_at`
        one of the monotonic clock.
        """

        __slots__ = ("expires_at", "fd", "is_ready", "last_active_at")

        fd: int
        is_ready: bool
        expires_at: float
        last_active_at: float

        def write_now(self, frames: bytes) -> None:
            """Give bytes to the transport."""
            raise NotImplementedError

    def write_ready(connections: Sequence[Link], frames: bytes, now: float, active_at: float) -> list[Link]:
        """Write frames at once to the connections that are ready and have not expired. Return the others."""
        behind: list[Link] = []
        for connection in connections:
            if connection.is_ready and now < connection.expires_at:
                connection.last_active_at = active_at
                connection.write_now(frames)
            else:
                behind.append(connection)
        return behind

else:
    Link = _fast.Link

    def write_ready(connections: list[Link], frames: bytes, now: float, active_at: float) -> list[Link]:
        behind: list[Link] = []
        for connection, written in _fast.write_ready(connections, frames, now, active_at):
            if written < 0:
                behind.append(connection)
            else:
                # The kernel has not taken all of it, or the connection has no descriptor of its own (TLS).
                connection.write_now(frames[written:])
        return behind
