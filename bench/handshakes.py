"""Handshakes per second, as when all clients reconnect: with tokens in the server's cache, and with new ones."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.figures import Figure, Target, figure
from bench.machine import Cores
from bench.native import open_sockets
from bench.server import Server
from bench.traffic import RsaIssuer, handshake

WINDOW = 64
CACHED_TARGET = Target(3_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds, and handshakes per round with cached and with fresh tokens."""

    rounds: int
    cached: int
    fresh: int


FULL = Plan(rounds=7, cached=4_000, fresh=600)
QUICK = Plan(rounds=3, cached=1_500, fresh=300)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield handshakes per second with RS256 tokens, without the time to close."""
    plan = QUICK if quick else FULL
    issuer = RsaIssuer()
    known = issuer.token("user-1")
    cached: list[float] = []
    fresh: list[float] = []
    with Server(cores, JWKS=issuer.jwks) as server:
        for number in range(plan.rounds + 1):
            cached.append(_handshakes_per_second(server, [known] * plan.cached))
            new = [issuer.token(f"user-{number}-{n}") for n in range(plan.fresh)]
            fresh.append(_handshakes_per_second(server, new))
    # The first round warmed up.
    yield figure(
        "handshakes, cached RS256 token", "1/s", cached[1:], CACHED_TARGET, per_round=plan.cached, window=WINDOW
    )
    yield figure("handshakes, fresh RS256 tokens", "1/s", fresh[1:], per_round=plan.fresh, window=WINDOW)


def _handshakes_per_second(server: Server, tokens: Sequence[str]) -> float:
    requests = [handshake(token) for token in tokens]
    began = time.perf_counter()
    with open_sockets(server.port, requests, WINDOW):
        seconds = time.perf_counter() - began
        server.wait_for_connections(len(tokens))
    server.wait_for_connections(0)
    return len(tokens) / seconds
