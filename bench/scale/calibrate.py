"""Calibration: the cost of each operation, measured on real nodes. With Redis two of them: one publishes, one delivers.

Each cost is the difference of two runs, or a run less its idle time. Loads are paced, as they are on a node that has
time to spare; one that is full costs less for each message, since more of them share a turn of the event loop. Each
stage is repeated, and its median is the cost.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from statistics import median

from bench.machine import Cores
from bench.native import Fleet, nobody
from bench.scale.amounts import Amounts
from bench.scale.costs import Cost, Costs, Operation
from bench.scale.installation import Installation, Used, installation
from bench.scale.memory import measure_memory
from bench.scale.stages import BATCH, states
from bench.traffic import EVERYBODY, MESSAGE_BYTES, batch_requests, notification, publish_request
from tellwire.limits import REDIS_COMPARE_SECONDS

HELLO = b'{"type":"hello"}'
PING = b'{"type":"ping"}'
DEVICES = 8


@dataclass(slots=True)
class _Stages:
    """The costs so far. `idle` is that of a second of the whole installation without connections."""

    on: Installation
    amounts: Amounts
    idle: Cost = field(default_factory=Cost)
    of: dict[Operation, Cost] = field(default_factory=dict)

    def each(self, count: float, run: Callable[[], Used], less: Cost = Cost()) -> Cost:  # noqa: B008 - it is frozen
        """Return the median cost of one of the `count` operations of a run, without `less`, their other costs."""
        found = [self._once(count, run()) for _ in range(self.amounts.rounds)]
        return (_median(found) + less * -1).at_least_nothing()

    def _once(self, count: float, used: Used) -> Cost:
        return (used.cost + self.idle * -used.seconds) * (1 / count)


def calibrate(cores: Cores, engine: str, amounts: Amounts) -> Costs:
    """Measure the costs of an engine. It takes some minutes."""
    with installation(cores, engine, 2 if engine == "redis" else 1) as on:
        stages = _Stages(on, amounts)
        time.sleep(amounts.settle_seconds)
        stages.idle = _idle(stages)
        _connections(stages)
        _publications(stages)
    one, both = Cost(), stages.idle
    if engine == "redis":
        with installation(cores, engine, 1) as alone:
            time.sleep(amounts.settle_seconds)
            one = _idle(_Stages(alone, amounts))
        # Idle: one node with the watch, and two nodes with the watch.
        stages.of["base"] = (both + one * -1).at_least_nothing()
        stages.of["watch"] = (one + stages.of["base"] * -1).at_least_nothing()
    else:
        stages.of["base"], stages.of["watch"] = both, Cost()
    return Costs(engine, MESSAGE_BYTES, measure_memory(cores, engine, amounts), stages.of)


def _idle(stages: _Stages) -> Cost:
    def run() -> Used:
        with stages.on.using() as used:
            time.sleep(stages.amounts.idle_seconds)
        return used

    used = [run() for _ in range(stages.amounts.rounds)]
    return _median([each.cost * (1 / each.seconds) for each in used])


# --- connections ------------------------------------------------------------------------------------------------------


def _connections(stages: _Stages) -> None:
    on, amounts = stages.on, stages.amounts
    names = (f"user-{number}" for number in range(10**9))

    def connect() -> Used:
        # Signing is the identity provider's work: it is done before.
        with on.using() as used, on.connected(_last(on, [next(names) for _ in range(amounts.users)])) as fleet:
            fleet.ask(HELLO)
        return used

    stages.of["connect"] = stages.each(amounts.users, connect)
    with on.connected(_last(on, [next(names) for _ in range(amounts.users)])) as fleet:

        def ping() -> Used:
            with on.using() as used:
                fleet.ask(PING)
            fleet.reset()
            return used

        def compare() -> Used:
            with on.using() as used:
                time.sleep(amounts.idle_seconds)
            return used

        stages.of["compare"] = Cost()
        stages.of["ping"] = stages.each(amounts.users, ping)
        if on.redis is not None:
            count = amounts.users * amounts.idle_seconds / REDIS_COMPARE_SECONDS
            stages.of["compare"] = stages.each(count, compare)


def _last(on: Installation, users: Sequence[str]) -> list[Sequence[str]]:
    """Return users of all nodes: these are connected to the last one."""
    nobody: list[Sequence[str]] = [[] for _ in on.nodes]
    return [*nobody[:-1], users]


# --- publications -----------------------------------------------------------------------------------------------------


def _publications(stages: _Stages) -> None:
    amounts = stages.amounts
    count = int(amounts.per_second * amounts.seconds)
    absent = [f"absent-{number}" for number in range(count)]
    present = [f"present-{number}" for number in range(count // 2)]

    def publish(requests: Sequence[bytes], fleet: Fleet | None, messages: int, per_second: float) -> Used:
        with stages.on.clients(of=[0]) as clients, nullcontext(fleet) if fleet else nobody() as devices:
            with stages.on.using() as used:
                devices.publish_paced(clients, requests, messages, per_second)
            devices.reset()
        return used

    def to(users: Sequence[str]) -> list[bytes]:
        return [publish_request({"user": user}) for user in users]

    of, rate = stages.of, amounts.per_second
    for users in (absent, present):
        # Streams begin once: most publications find theirs.
        publish([*batch_requests(users, BATCH), *states(users)], None, 0, rate)
    of["publish"] = stages.each(count, lambda: publish(to(absent), None, 0, rate))
    of["state"] = stages.each(count, lambda: publish(states(absent), None, 0, rate))
    of["line"] = stages.each(count, lambda: publish(batch_requests(absent, BATCH), None, 0, rate / BATCH))
    with stages.on.connected(_last(stages.on, present)) as fleet:
        twice = [*present, *present]
        of["receive"] = stages.each(len(twice), lambda: publish(to(twice), fleet, len(twice), rate), of["publish"])
        everybody = [publish_request(EVERYBODY, notification()) for _ in range(6)]
        messages = len(everybody) * len(present)
        of["deliver_all"] = stages.each(messages, lambda: publish(everybody, fleet, messages, 4.0))
    devices = [user for user in present for _ in range(DEVICES)]
    with stages.on.connected(_last(stages.on, devices)) as fleet:
        run = stages.each(len(present), lambda: publish(to(present), fleet, len(devices), rate))
        more = run + (of["publish"] + of["receive"]) * -1
        of["deliver"] = (more * (1 / (DEVICES - 1))).at_least_nothing()


def _median(costs: Sequence[Cost]) -> Cost:
    """Return the cost that has the median of every figure."""
    names = ("node_us", "redis_us", "redis_commands", "redis_in", "redis_out")
    return Cost(*(median(getattr(cost, name) for cost in costs) for name in names))
