"""Messages to single users over the HTTP API: one per request, in batches, and to absent users."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.baseline import send_loop
from bench.figures import Figure, Target, figure, ratios
from bench.machine import Cores
from bench.publisher import Publisher, Run, busy
from bench.server import Server
from bench.traffic import (
    SCOUT,
    SECRET,
    batch_requests,
    connect_clients,
    connect_users,
    message_on_the_wire,
    publish_request,
)

USERS = 10_000
CLIENTS = 4
BATCH = 100
BATCH_TARGET = Target(0.6)
ABSENT_TARGET = Target(150_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds, and messages per user in a round of batches."""

    rounds: int
    each: int


FULL = Plan(rounds=9, each=6)
QUICK = Plan(rounds=3, each=1)


@dataclass(slots=True)
class _Rounds:
    loop: list[float] = field(default_factory=list)
    batch: list[Run] = field(default_factory=list)
    single: list[Run] = field(default_factory=list)
    absent: list[Run] = field(default_factory=list)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield messages per second: in batches, with their ratio to the send loop's, one per request, to absent users."""
    plan = QUICK if quick else FULL
    users = [f"user-{n}" for n in range(USERS)]
    absent = [f"nobody-{n}" for n in range(USERS)] * plan.each
    rounds = _Rounds()
    with Server(cores, JWT_SECRET=SECRET) as server:
        frame = message_on_the_wire(server, SCOUT)
        with (
            connect_users(server, users) as fleet,
            connect_clients(server, CLIENTS) as clients,
            send_loop(cores, USERS, frame) as loop,
        ):
            server.wait_for_connections(USERS)
            publisher = Publisher(server, fleet, len(frame), is_kept=True)
            # Made once: while the load builds requests, the server waits and its caches go cold.
            batches = batch_requests(users * plan.each, BATCH)
            to_nobody = batch_requests(absent, BATCH)
            singles = [publish_request({"user": user}) for user in users]
            for _ in range(plan.rounds + 1):
                rounds.loop.append(loop.sweep(1, plan.each).rate)
                rounds.batch.append(publisher.run(clients, batches, lines=BATCH, receivers=1))
                rounds.single.append(publisher.run(clients, singles, receivers=1))
                rounds.absent.append(publisher.run(clients, to_nobody, lines=BATCH, receivers=0))
                # The many absent users have replaced these users in memory, so their offsets begin again.
                publisher.sent_each = 0
    yield from _figures(plan, rounds, len(frame))


def _figures(plan: Plan, rounds: _Rounds, message_bytes: int) -> Iterator[Figure]:
    # The first round warmed up.
    loop, batch, single, absent = rounds.loop[1:], rounds.batch[1:], rounds.single[1:], rounds.absent[1:]
    batch_rates = [run.rate for run in batch]
    in_round = plan.each * USERS
    shared: dict[str, Any] = {"users": USERS, "wire_bytes": message_bytes, "lost": 0}
    by_http: dict[str, Any] = {"clients": CLIENTS, **shared}
    yield figure("C send() loop, 10,000 sockets", "messages/s", loop, messages_per_round=in_round, **shared)
    yield figure(
        "to users, batches of 100",
        "messages/s",
        batch_rates,
        messages_per_round=in_round,
        batch=BATCH,
        **busy(batch),
        **by_http,
    )
    yield figure("to users, batches of 100 ÷ C loop", "×", ratios(batch_rates, loop), BATCH_TARGET)
    yield figure(
        "to users, one request each",
        "messages/s",
        [run.rate for run in single],
        messages_per_round=USERS,
        **busy(single),
        **by_http,
    )
    yield figure(
        "to absent users, batches of 100",
        "messages/s",
        [run.rate for run in absent],
        ABSENT_TARGET,
        messages_per_round=in_round,
        batch=BATCH,
        clients=CLIENTS,
        **busy(absent),
    )
