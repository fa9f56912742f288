"""The price of metrics: messages to single users over the HTTP API, with `TELLWIRE_METRICS` and without it."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench.figures import Figure, Target, figure, ratios
from bench.machine import Cores
from bench.publisher import Publisher
from bench.server import Server
from bench.traffic import SCOUT, SECRET, connect_clients, connect_users, message_on_the_wire, publish_request

USERS = 2_000
CLIENTS = 4
TARGET = Target(0.97)


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds of one message for each user."""

    rounds: int


FULL = Plan(rounds=25)
QUICK = Plan(rounds=5)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield publishes per second with and without metrics, taken in turns, and their ratio."""
    plan = QUICK if quick else FULL
    users = [f"user-{number}" for number in range(USERS)]
    requests = [publish_request({"user": user}) for user in users]
    rates: dict[str, list[float]] = {"off": [], "on": []}
    with ExitStack() as stack:
        runs = {}
        for name in rates:
            server = stack.enter_context(Server(cores, JWT_SECRET=SECRET, METRICS="true" if name == "on" else "false"))
            frame = message_on_the_wire(server, SCOUT)
            fleet = stack.enter_context(connect_users(server, users))
            clients = stack.enter_context(connect_clients(server, CLIENTS))
            server.wait_for_connections(USERS)
            runs[name] = Publisher(server, fleet, len(frame), is_kept=True), clients
        for number in range(plan.rounds + 1):
            for name in rates if number % 2 else reversed(rates):
                publisher, clients = runs[name]
                rate = publisher.run(clients, requests, receivers=1).rate
                # The first round warms up.
                if number:
                    rates[name].append(rate)
    for name, measured in rates.items():
        yield figure(f"to users, one request each, metrics {name}", "messages/s", measured, users=USERS)
    yield figure("metrics on ÷ off", "×", ratios(rates["on"], rates["off"]), TARGET)
