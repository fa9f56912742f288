"""Cost of idle connections: growth of the server's process per connection, and CPU time of pings.

Each connection has another user and token, so the entry of each user is included. A token with a secret is not cached.
"""

import time
from collections.abc import Iterator

from bench.figures import Figure, Target, figure
from bench.machine import Cores
from bench.native import LoadError
from bench.server import Server
from bench.traffic import SECRET, connect_users

COUNTS = (1_000, 15_000)
QUICK_COUNTS = (1_000, 5_000)
TARGET = Target(6 * 1024, at_most=True)
# Few: the memory they free is used again, and is missing from the growth.
_WARM_UP = 20
# A little longer than the time before the server's ping, so that each connection is pinged once.
_PINGED_SECONDS = 27.0
_UNPINGED_SECONDS = 10.0
_SETTLED_SECONDS = 1.0
_SETTLE_TIMEOUT_SECONDS = 15.0


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield bytes per idle connection, with few and with many connections."""
    counts = QUICK_COUNTS if quick else COUNTS
    for count in counts:
        with Server(cores, JWT_SECRET=SECRET) as server:
            with connect_users(server, [f"early-{n}" for n in range(_WARM_UP)]):
                server.wait_for_connections(_WARM_UP)
            server.wait_for_connections(0)
            before = settled_rss(server)
            with connect_users(server, [f"user-{n:05}" for n in range(count)]):
                server.wait_for_connections(count)
                grown = settled_rss(server) - before
        name = f"idle connection, of {count:,}"
        yield figure(name, "bytes", [grown / count], TARGET if count == counts[-1] else None, rss_before=before)

    for pings in (False, True):
        yield _cpu(cores, counts[-1], pings=pings)


def _cpu(cores: Cores, count: int, *, pings: bool) -> Figure:
    """Return the server's CPU time per second without messages. Devices answer pings."""
    seconds = _PINGED_SECONDS if pings else _UNPINGED_SECONDS
    with (
        Server(cores, JWT_SECRET=SECRET, PING_AFTER_SECONDS="25" if pings else "0") as server,
        connect_users(server, [f"user-{n:05}" for n in range(count)]) as fleet,
    ):
        server.wait_for_connections(count)
        before = server.cpu_seconds
        answered = fleet.idle(seconds)
        used = server.cpu_seconds - before
    if pings and answered < count:
        raise LoadError(f"{answered} pings arrived for {count} connections")
    title = "a ping every 25 s" if pings else "no pings"
    return figure(f"CPU of {count:,} idle connections, {title}", "ms/s", [1000 * used / seconds], pings=answered)


def settled_rss(server: Server) -> int:
    """Return the resident memory once it has not changed for a second."""
    give_up_at = time.monotonic() + _SETTLE_TIMEOUT_SECONDS
    last = -1
    while (rss := server.rss_bytes) != last and time.monotonic() < give_up_at:
        last = rss
        time.sleep(_SETTLED_SECONDS)
    return rss
