"""Comparison with boto3 and aiobotocore: posts to `@connections`, a broadcast, cold starts, memory.

Each does the same work in turns, on the load's core, against a fake AWS on the server's core. Each ratio is of two
neighbouring rounds.

    python -m bench.aws [--quick]       the same as `python -m bench aws`
"""

import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench import aws_cold
from bench.aws_cold import FreshProcesses, fresh_processes
from bench.aws_contenders import AT_A_TIME, NAMES, PAYLOAD, THREADS, Contender, Spent, contender
from bench.aws_server import TABLE, USER, FakeAws, connection_ids, post_request
from bench.figures import Figure, Target, figure, ratios
from bench.machine import Cores
from bench.native import Fleet, LoadError, Sockets, open_sockets
from bench.traffic import RsaIssuer

CONNECTIONS = 1_000
# Latency of a post to API Gateway, within its region.
DELAY_MS = 20
CPU_TARGET = Target(0.2, at_most=True)
BROADCAST_TARGET = Target(5.0)
COLD_TARGET = Target(0.4, at_most=True)
BOTO3_CLIENTS = "boto3 and its two clients"
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds of each part, and sequential posts in a round."""

    rounds: int
    posts: int
    delayed: int
    cold: int
    memory: int


FULL = Plan(rounds=11, posts=300, delayed=5, cold=15, memory=5)
QUICK = Plan(rounds=3, posts=100, delayed=1, cold=3, memory=1)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield CPU time per post, time of a broadcast, CPU time of a cold start, and memory, with their ratios."""
    plan = QUICK if quick else FULL
    yield from _posting(cores, plan)
    yield from _far_away(cores, plan)
    with fresh_processes(cores) as processes:
        yield from _cold(processes, plan)
        yield from _memory(cores, processes, plan)


# --- posts and broadcasts --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Rounds:
    """Times of each contender by round, and the load of the server."""

    posts: dict[str, list[Spent]] = field(default_factory=lambda: {name: [] for name in NAMES})
    broadcasts: dict[str, list[Spent]] = field(default_factory=lambda: {name: [] for name in NAMES})
    server_busy: float = 0.0


def _posting(cores: Cores, plan: Plan) -> Iterator[Figure]:
    with FakeAws(cores, CONNECTIONS) as server:
        yield _most_posts(server, plan)
        rounds = _run(cores, server, plan.rounds, plan.posts)
    per_post = {name: [1e6 * spent.cpu / plan.posts for spent in all_] for name, all_ in rounds.posts.items()}
    yield from _compared("one post at a time", "µs CPU", per_post, CPU_TARGET, posts_per_round=plan.posts)
    per_post = {name: [1e6 * spent.cpu / CONNECTIONS for spent in all_] for name, all_ in rounds.broadcasts.items()}
    details: dict[str, Any] = {"connections": CONNECTIONS, "at_a_time": AT_A_TIME, "boto3_threads": THREADS}
    yield from _compared("post of a broadcast", "µs CPU", per_post, CPU_TARGET, **details)
    walls = {name: [1e3 * spent.wall for spent in all_] for name, all_ in rounds.broadcasts.items()}
    yield from _faster("broadcast", walls, BROADCAST_TARGET, server_busy=round(rounds.server_busy, 2), **details)


def _far_away(cores: Cores, plan: Plan) -> Iterator[Figure]:
    with FakeAws(cores, CONNECTIONS, DELAY_MS) as server:
        rounds = _run(cores, server, plan.delayed, 0)
    walls = {name: [1e3 * spent.wall for spent in all_] for name, all_ in rounds.broadcasts.items()}
    yield from _faster(f"broadcast, {DELAY_MS} ms away", walls, None, delay_ms=DELAY_MS, connections=CONNECTIONS)


def _run(cores: Cores, server: FakeAws, count: int, posts: int) -> _Rounds:
    rounds = _Rounds()
    with ExitStack() as stack:
        contenders = [stack.enter_context(contender(name, cores, server.environment)) for name in NAMES]
        for each in contenders:
            _broadcast(server, each)
        for _ in range(count):
            for each in contenders if posts else ():
                rounds.posts[each.name].append(_post(server, each, posts))
            for each in contenders:
                busy_before = server.cpu_seconds
                spent = _broadcast(server, each)
                rounds.broadcasts[each.name].append(spent)
                rounds.server_busy = max(rounds.server_busy, (server.cpu_seconds - busy_before) / spent.wall)
    return rounds


def _post(server: FakeAws, each: Contender, posts: int) -> Spent:
    spent = each.post(posts)
    server.expect(posts, len(PAYLOAD))
    return spent


def _broadcast(server: FakeAws, each: Contender) -> Spent:
    spent = each.broadcast()
    server.expect(CONNECTIONS, len(PAYLOAD))
    return spent


def _most_posts(server: FakeAws, plan: Plan) -> Figure:
    """Return the speed of the server itself, with a C client and as many concurrent requests."""
    requests = [post_request(connection_id, PAYLOAD) for connection_id in connection_ids(CONNECTIONS)]
    milliseconds = []
    with open_sockets(server.port, [b""] * AT_A_TIME) as sockets, Fleet(Sockets(array("i"))) as nobody:
        for _ in range(plan.rounds + 1):
            milliseconds.append(1e3 * nobody.publish(sockets, requests, 0).seconds)
            server.expect(CONNECTIONS, len(PAYLOAD))
    return figure(f"{CONNECTIONS:,} posts by a C client", "ms", milliseconds[1:], at_a_time=AT_A_TIME)


# --- fresh processes -------------------------------------------------------------------------------------------------


def _cold(processes: FreshProcesses, plan: Plan) -> Iterator[Figure]:
    codes = {BOTO3_CLIENTS: aws_cold.BOTO3, **aws_cold.FUNCTIONS}
    spent: dict[str, list[Spent]] = {name: [] for name in codes}
    for _ in range(plan.cold + 1):
        for name, code in codes.items():
            spent[name].append(processes.time_to(code))
    # The first round compiled the imported modules.
    cpu = {name: [1e3 * each.cpu for each in all_[1:]] for name, all_ in spent.items()}
    wall = {name: [1e3 * each.wall for each in all_[1:]] for name, all_ in spent.items()}
    for name in codes:
        yield figure(f"cold: {name}", "ms CPU", cpu[name], wall_ms=wall[name])
    for name in aws_cold.FUNCTIONS:
        yield figure(f"cold: {name} ÷ boto3", "× CPU", ratios(cpu[name], cpu[BOTO3_CLIENTS]), COLD_TARGET)
        yield figure(f"cold: {name} ÷ boto3", "× time", ratios(wall[name], wall[BOTO3_CLIENTS]), COLD_TARGET)


def _memory(cores: Cores, processes: FreshProcesses, plan: Plan) -> Iterator[Figure]:
    issuer = RsaIssuer()
    (connection_id,) = connection_ids(1)
    names = {"user": USER, "table": TABLE, "connection_id": connection_id, "token": issuer.token(USER)}
    handled = aws_cold.HANDLED.format(**names, connected_at=int(1000 * time.time()))
    codes = {"an empty process": "", "handlers": handled, "boto3": aws_cold.BOTO3_USED.format(**names)}
    megabytes: dict[str, list[float]] = {name: [] for name in codes}
    with FakeAws(cores, 1) as server:
        environment = {**server.environment, "TELLWIRE_JWKS": issuer.jwks}
        for _ in range(plan.memory + 1):
            for name, code in codes.items():
                megabytes[name].append(processes.resident_bytes(code, environment) / _MB)
        if (posts := server.received().posts) != 2 * (plan.memory + 1):
            raise LoadError(f"memory: {posts} posts; each of {plan.memory + 1} rounds makes two")
    warm = {name: all_[1:] for name, all_ in megabytes.items()}
    for name in codes:
        yield figure(f"memory, warm: {name}", "MB", warm[name])
    yield figure("memory, warm: handlers ÷ boto3", "×", ratios(warm["handlers"], warm["boto3"]))


# --- figures ---------------------------------------------------------------------------------------------------------


def _compared(
    title: str, unit: str, values: dict[str, list[float]], target: Target, **details: Any
) -> Iterator[Figure]:
    for name in NAMES:
        yield figure(f"{title}: {name}", unit, values[name], **details)
    ours, boto3, aiobotocore = (values[name] for name in NAMES)
    yield figure(f"{title}: tellwire ÷ boto3", "×", ratios(ours, boto3), target)
    yield figure(f"{title}: tellwire ÷ aiobotocore", "×", ratios(ours, aiobotocore))


def _faster(title: str, walls: dict[str, list[float]], target: Target | None, **details: Any) -> Iterator[Figure]:
    for name in NAMES:
        yield figure(f"{title}: {name}", "ms", walls[name], **details)
    ours, boto3, aiobotocore = (walls[name] for name in NAMES)
    yield figure(f"{title}: boto3 ÷ tellwire", "×", ratios(boto3, ours), target)
    yield figure(f"{title}: aiobotocore ÷ tellwire", "×", ratios(aiobotocore, ours))


if __name__ == "__main__":
    from bench.__main__ import main

    main(["aws", *sys.argv[1:]])
