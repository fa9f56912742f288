"""20,000 connections on one node, which publishes a mix: memory, CPU time, and the time until a device has a message.

Two devices a user. The number of connections is `CONNECTIONS`, or as many as the limit of open files allows: a
process has a descriptor for each, so a limit of 20,000 leaves room for 19,900.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from bench.figures import Figure, figure
from bench.idle import settled_rss
from bench.machine import Cores
from bench.measured_redis import measured_redis
from bench.mix import Mix
from bench.native import Fleet, Load, Times, open_sockets
from bench.server import Server
from bench.traffic import SECRET, connect_clients, handshake
from tellwire.auth import mint_token
from tellwire.server.descriptors import room_for_connections

CONNECTIONS = 20_000
QUICK_CONNECTIONS = 4_000
DEVICES_EACH = 2
REQUESTS_PER_SECOND = 200
CLIENTS = 32
_SECONDS = 12
_QUICK_SECONDS = 3
_ALL_EVERY_SECONDS = 4
ENGINES = ("memory", "sqlite", "redis")


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield memory and p99 of a crowded node, for each engine."""
    for engine in ENGINES:
        yield from _crowded(cores, quick, engine)


def _crowded(cores: Cores, quick: bool, engine: str) -> Iterator[Figure]:
    # The load has as many descriptors as the node, and needs a few for itself, too.
    count = min(QUICK_CONNECTIONS if quick else CONNECTIONS, (room_for_connections() or CONNECTIONS) // 2 * 2)
    seconds = _QUICK_SECONDS if quick else _SECONDS
    owners = [f"user-{number // DEVICES_EACH}" for number in range(count)]
    users = owners[::DEVICES_EACH]
    with ExitStack() as stack:
        settings = {"ENGINE": engine, "JWT_SECRET": SECRET}
        if engine == "redis":
            settings["REDIS_URL"] = stack.enter_context(measured_redis(cores)).url
        server = stack.enter_context(Server(cores, **settings))
        before = settled_rss(server)
        tokens = {user: mint_token(SECRET, user) for user in users}
        began = time.perf_counter()
        sockets = open_sockets(server.port, [handshake(tokens[owner]) for owner in owners])
        opened_in = time.perf_counter() - began
        with Fleet(sockets) as fleet:
            server.wait_for_connections(count)
            idle = settled_rss(server)
            title = f"{count:,} connections, {engine}"
            yield figure(f"{title}: opened in", "s", [opened_in], connections=count)
            yield figure(f"{title}: memory, idle", "MB", [idle / 1e6], before=before, each=(idle - before) / count)
            requests = REQUESTS_PER_SECOND * seconds
            for name, all_every in (("to users", 0), ("and to all", _ALL_EVERY_SECONDS * REQUESTS_PER_SECOND)):
                mix = Mix.of(users, requests, all_every=all_every)
                with connect_clients(server, CLIENTS) as clients:
                    busy_before = server.cpu_seconds
                    load, times = mix.run(fleet, owners, clients, REQUESTS_PER_SECOND)
                busy = (server.cpu_seconds - busy_before) / load.seconds
                yield from _figures(f"{title}, {name}", mix, load, times, busy)
            yield figure(f"{title}: memory, after the mix", "MB", [settled_rss(server) / 1e6])


def _figures(title: str, mix: Mix, load: Load, times: Times, busy: float) -> Iterator[Figure]:
    details: dict[str, Any] = {
        "requests": len(mix.requests),
        "per_second": REQUESTS_PER_SECOND,
        "kept": mix.kept,
        "to_all": mix.to_all,
        "received": times.total,
        "behind_ms": round(1000 * load.behind_seconds, 2),
        "lost": 0,
    }
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield figure(f"{title}: {name}", "ms", [times.percentile(share)], **details)
    yield figure(f"{title}: CPU", "of a core", [busy])
