"""Fan-out: one message to a thousand devices, against a bare C `send()` loop over as many sockets.

Both are driven in the same way: a message is sent to all devices, and the next one when the last device has received
it. Then the same with several publishes in flight, which shows coalescing: the frames of one turn of the event loop
leave in one write.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.baseline import send_loop
from bench.figures import Figure, Target, figure, ratios
from bench.machine import Cores
from bench.publisher import Publisher, Run, busy
from bench.server import Server
from bench.traffic import EVERYBODY, SECRET, connect_clients, connect_users, message_on_the_wire, publish_request

DEVICES = 1_000
IN_FLIGHT = 16
ALONE_TARGET = Target(0.75)
IN_FLIGHT_TARGET = Target(5.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds, and publishes per round one at a time and in flight."""

    rounds: int
    alone: int
    in_flight: int


FULL = Plan(rounds=40, alone=16, in_flight=128)
QUICK = Plan(rounds=8, alone=16, in_flight=128)


@dataclass(slots=True)
class _Rounds:
    loop: list[float] = field(default_factory=list)
    alone: list[Run] = field(default_factory=list)
    in_flight: list[Run] = field(default_factory=list)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield delivered messages per second, and their ratios to the send loop's."""
    plan = QUICK if quick else FULL
    rounds = _Rounds()
    with Server(cores, JWT_SECRET=SECRET) as server:
        frame = message_on_the_wire(server, EVERYBODY)
        with (
            connect_users(server, [f"user-{n}" for n in range(DEVICES)]) as fleet,
            connect_clients(server, IN_FLIGHT) as clients,
            connect_clients(server, 1) as client,
            send_loop(cores, DEVICES, frame) as loop,
        ):
            server.wait_for_connections(DEVICES)
            publisher = Publisher(server, fleet, len(frame))
            for _ in range(plan.rounds + 1):
                rounds.loop.append(loop.sweep(plan.alone).rate)
                rounds.alone.append(publisher.run(client, _requests(plan.alone), receivers=DEVICES, one_at_a_time=True))
                rounds.in_flight.append(publisher.run(clients, _requests(plan.in_flight), receivers=DEVICES))
    yield from _figures(plan, rounds, len(frame))


def _requests(count: int) -> list[bytes]:
    return [publish_request(EVERYBODY) for _ in range(count)]


def _figures(plan: Plan, rounds: _Rounds, message_bytes: int) -> Iterator[Figure]:
    # The first round warmed up.
    loop, alone, in_flight = rounds.loop[1:], rounds.alone[1:], rounds.in_flight[1:]
    alone_rates, in_flight_rates = [run.rate for run in alone], [run.rate for run in in_flight]
    shared: dict[str, Any] = {"devices": DEVICES, "wire_bytes": message_bytes, "lost": 0}
    yield figure("C send() loop, 1,000 sockets", "messages/s", loop, publishes_per_round=plan.alone, **shared)
    yield figure(
        "fan-out, one at a time", "messages/s", alone_rates, publishes_per_round=plan.alone, **busy(alone), **shared
    )
    yield figure("fan-out, one at a time ÷ C loop", "×", ratios(alone_rates, loop), ALONE_TARGET)
    yield figure(
        "fan-out, 16 in flight",
        "messages/s",
        in_flight_rates,
        publishes_per_round=plan.in_flight,
        publishes_in_flight=IN_FLIGHT,
        **busy(in_flight),
        **shared,
    )
    yield figure("fan-out, 16 in flight ÷ C loop", "×", ratios(in_flight_rates, loop), IN_FLIGHT_TARGET)
