"""A mounted gateway (`tellwire_app` on uvicorn) beside our own server, in turns: publishes to single users over HTTP,
one message to a thousand devices, and the memory of an idle device.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench.fanout import DEVICES
from bench.figures import Figure, figure, ratios
from bench.idle import settled_rss
from bench.machine import Cores
from bench.publisher import Publisher
from bench.server import MountedServer, Server
from bench.traffic import EVERYBODY, SCOUT, SECRET, connect_clients, connect_users, message_on_the_wire, publish_request

USERS = 500
CLIENTS = 4
PUBLISHES_TO_ALL = 16
IDLE = 2_000
KINDS: dict[str, type[Server]] = {"own server": Server, "mounted": MountedServer}


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds of one message for each user, and of some to all devices."""

    rounds: int


FULL = Plan(rounds=12)
QUICK = Plan(rounds=4)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield the figures of both, and the ratios of the mounted one to the own server."""
    rounds = (QUICK if quick else FULL).rounds
    users = [f"user-{number}" for number in range(USERS)]
    yield from _compared(cores, rounds, "to users, one request each", users, is_kept=True)
    yield from _compared(cores, rounds, "fan-out to 1,000, one at a time", [f"user-{n}" for n in range(DEVICES)])
    grown = {name: _idle_bytes(cores, kind) for name, kind in KINDS.items()}
    for name, size in grown.items():
        yield figure(f"idle connection, {name}, of {IDLE:,}", "bytes", [size])
    yield figure("idle connection, mounted ÷ own server", "×", [grown["mounted"] / grown["own server"]])


def _compared(cores: Cores, rounds: int, title: str, users: list[str], *, is_kept: bool = False) -> Iterator[Figure]:
    if is_kept:
        requests, receivers = [publish_request({"user": user}) for user in users], 1
    else:
        requests, receivers = [publish_request(EVERYBODY)] * PUBLISHES_TO_ALL, len(users)
    rates: dict[str, list[float]] = {name: [] for name in KINDS}
    with ExitStack() as stack:
        runs = {}
        for name, kind in KINDS.items():
            server = stack.enter_context(kind(cores, JWT_SECRET=SECRET))
            frame = message_on_the_wire(server, SCOUT if is_kept else EVERYBODY)
            fleet = stack.enter_context(connect_users(server, users))
            clients = stack.enter_context(connect_clients(server, CLIENTS if is_kept else 1))
            server.wait_for_connections(len(users))
            runs[name] = Publisher(server, fleet, len(frame), is_kept=is_kept), clients
        for number in range(rounds + 1):
            for name in KINDS if number % 2 else reversed(KINDS):
                publisher, clients = runs[name]
                rate = publisher.run(clients, requests, receivers=receivers, one_at_a_time=not is_kept).rate
                # The first round warms up.
                if number:
                    rates[name].append(rate)
    for name, measured in rates.items():
        yield figure(f"{title}, {name}", "messages/s", measured)
    yield figure(f"{title}, mounted ÷ own server", "×", ratios(rates["mounted"], rates["own server"]))


def _idle_bytes(cores: Cores, kind: type[Server]) -> float:
    with kind(cores, JWT_SECRET=SECRET) as server:
        with connect_users(server, [f"early-{n}" for n in range(20)]):
            server.wait_for_connections(20)
        server.wait_for_connections(0)
        before = settled_rss(server)
        with connect_users(server, [f"user-{n:05}" for n in range(IDLE)]):
            server.wait_for_connections(IDLE)
            return (settled_rss(server) - before) / IDLE
