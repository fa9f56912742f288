"""File descriptors: a process has as many sockets and files as its limit allows, and no more.

At the limit uvloop closes what it accepts without a word. So the limit is raised at the start, WebSockets leave some
descriptors for the rest, and a process that has none left says so.
"""

import os
from typing import Final

RESERVED: Final = 100
"""Descriptors for everything that is no WebSocket: the database, producers, health checks, the event loop."""


def raise_limit() -> int | None:
    """Raise the limit of this process as far as it may. Return it; None if the system has none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS says that there is no limit, and allows fewer
        return soft
    return limit()


def limit() -> int | None:
    """Return the most descriptors that this process may have; None if the system has no limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def room_for_connections() -> int | None:
    """Return the most WebSockets that leave descriptors for the rest; None without a limit."""
    found = limit()
    return None if found is None else max(1, found - min(RESERVED, found // 2))


def is_exhausted() -> bool:
    """Return True if no descriptor is left."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return True
    return False
