"""Scenarios in which a contender is started for itself: handshakes, memory, returning devices, slow readers, nodes."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.machine import Cores
from bench.native import LoadError
from bench.peers.contenders import Contender
from bench.peers.crowd_scenarios import details, percentiles, require_pace, to_all, to_each
from bench.peers.load import Pace, Requests
from bench.peers.rounds import Sample, Samples, Stalled
from bench.peers.stage import Stage, payload, stage, user

_WARM_UP = 20
_WARM_UP_SECONDS = 0.3
_WINDOW = 64
_NODE_DEVICES = 600
_SETTLED_SECONDS = 0.1
_SETTLED_SHARE = 0.1
_SETTLE_TIMEOUT_SECONDS = 5.0


def handshakes(each: Stage, number: int) -> Sample:
    """Measure handshakes per second: each of another user, with a new token if there are tokens, until it is ready."""
    count = len(each.crowd)
    new = [each.running.connect(f"new-{number:02}-{n:06}") for n in range(count)]
    cpu = each.cpu_seconds()
    opened = each.crowd.open(new, window=_WINDOW)
    cpu = each.cpu_seconds() - cpu
    each.crowd.close()
    settle(each)
    return {
        "rate": count / opened.seconds,
        "cpu": 1e6 * cpu / count,
        "_server_busy": cpu / opened.seconds,
        "_load_busy": opened.load_busy,
    }


def settle(each: Stage) -> None:
    """Wait until the server has nothing more to do."""
    give_up_at = time.monotonic() + _SETTLE_TIMEOUT_SECONDS
    while time.monotonic() < give_up_at:
        before = each.cpu_seconds()
        time.sleep(_SETTLED_SECONDS)
        if each.cpu_seconds() - before < _SETTLED_SHARE * _SETTLED_SECONDS:
            return


def idle(contenders: Sequence[Contender], cores: Cores, count: int, rounds: int) -> Samples:
    """Measure the growth of the server's memory for each idle device, of so many."""

    def measure(contender: Contender) -> Sample:
        with stage(contender, cores, count) as each:
            each.open_users(0, _WARM_UP)
            each.crowd.close()
            settle(each)
            before = each.rss_bytes()
            each.open_users()
            settle(each)
            each.crowd.idle(1.0)
            return {"kib": (each.rss_bytes() - before) / count / 1024, "_devices": count, "_mib_before": before / 2**20}

    return _one_by_one(contenders, measure, rounds)


@dataclass(frozen=True, slots=True)
class Storm:
    """Devices that come back at once, and the messages that each has missed."""

    devices: int
    missed: int = 5
    window: int = 1_024


def storm(contenders: Sequence[Contender], cores: Cores, plan: Storm, rounds: int) -> Samples:
    """Measure the seconds until all devices have reconnected with their cursors and have all that they missed."""

    def measure(contender: Contender) -> Sample:
        with stage(contender, cores, plan.devices, keeps=True) as each:
            return _storm(each, plan)

    return _one_by_one(contenders, measure, rounds)


def _storm(each: Stage, plan: Storm) -> Sample:
    crowd = each.crowd
    each.open_users()
    _to_each_in_batches(each, 1)
    resumed = [each.running.resume(user(number), *crowd.kept(number)) for number in range(plan.devices)]
    crowd.close()
    settle(each)
    requests = _batches(each)
    published = crowd.send(requests, 4, Pace(60.0, most=plan.missed * (len(requests.starts) - 1)))
    cpu, began = each.cpu_seconds(), time.perf_counter()
    opened = crowd.open(resumed, window=plan.window)
    crowd.drain(published)
    seconds = time.perf_counter() - began
    cpu = each.cpu_seconds() - cpu
    outcome = crowd.reconcile(published)
    return {
        "seconds": seconds,
        "_devices": plan.devices,
        "_missed_each": plan.missed,
        "_deliveries": outcome.deliveries,
        "_opened_seconds": opened.seconds,
        "_server_busy": cpu / seconds,
        "_load_busy": opened.load_busy,
    }


def _batches(each: Stage) -> Requests:
    messages = [(user(number), payload()) for number in range(len(each.crowd))]
    size = 100
    requests = [each.running.publish_batch(messages[first : first + size]) for first in range(0, len(messages), size)]
    return Requests.of(requests, list(range(len(each.crowd))))


def _to_each_in_batches(each: Stage, times: int) -> None:
    requests = _batches(each)
    each.crowd.publish(requests, 4, Pace(60.0, most=times * (len(requests.starts) - 1)))


@dataclass(frozen=True, slots=True)
class Slow:
    """A crowd at a fixed pace, some of which stop reading."""

    devices: int = 1_000
    slow: int = 100
    per_second: float = 25.0
    seconds: float = 3.0
    message_bytes: int = 2_000
    filling: int = 100


def slow_readers(contenders: Sequence[Contender], cores: Cores, plan: Slow, rounds: int) -> Samples:
    """Measure the p99 of the devices that read, without and with others that have stopped reading."""

    def measure(contender: Contender) -> Sample:
        with stage(contender, cores, plan.devices) as each:
            return _slow_readers(each, plan)

    return _one_by_one(contenders, measure, rounds)


def _slow_readers(each: Stage, plan: Slow) -> Sample:
    crowd, requests = each.crowd, to_all(each, plan.message_bytes)
    paced = Pace(plan.seconds, plan.per_second)
    each.open_users(plan.slow)
    warm_up = Pace(0.5, plan.per_second)
    require_pace(crowd.publish(requests, 4, warm_up), warm_up)
    alone = percentiles(crowd.publish(requests, 4, paced))
    crowd.open([each.running.connect(user(number)) for number in range(plan.slow)], is_slow=True)
    crowd.stop_reading(0, plan.slow)
    before = each.rss_bytes()
    try:
        crowd.publish(requests, 1, Pace(60.0, most=plan.filling))  # until their sockets are full
        outcome = crowd.publish(requests, 4, paced)
    except LoadError as error:
        raise Stalled(f"with {plan.slow} slow readers it no longer serves the others: {error}") from error
    beside = percentiles(outcome)
    return {
        "p99": beside["p99"],
        "alone": alone["p99"],
        "ratio": beside["p99"] / max(alone["p99"], 0.001),
        "grown_mib": (each.rss_bytes() - before) / 2**20,
        "_p50": beside["p50"],
        "_p50_alone": alone["p50"],
        "_load_busy": outcome.load_busy,
        "_slow": plan.slow,
    }


def nodes(contenders: Sequence[Contender], cores: Cores, count: int, seconds: float, rounds: int) -> Samples:
    """Measure the CPU time of so many nodes for a publish to one user; devices and requests are at all nodes."""

    def measure(contender: Contender) -> Sample:
        with stage(contender, cores, _NODE_DEVICES, nodes=count) as each:
            each.open_users()
            _on_nodes(each, count, _WARM_UP_SECONDS)
            return _on_nodes(each, count, seconds)

    return _one_by_one(contenders, measure, rounds)


def _on_nodes(each: Stage, count: int, seconds: float) -> Sample:
    cpu, redis = each.cpu_seconds(), each.redis_seconds()
    outcome = each.crowd.publish(to_each(each), 4 * count, Pace(seconds, most=50_000))
    cpu, redis = each.cpu_seconds() - cpu, each.redis_seconds() - redis
    return {
        "rate": outcome.deliveries / outcome.seconds,
        "cpu": 1e6 * cpu / outcome.deliveries,
        "redis_cpu": 1e6 * redis / outcome.deliveries,
        **details(outcome, cpu, redis),
    }


def _one_by_one(contenders: Iterable[Contender], measure: Callable[[Contender], Sample], rounds: int) -> Samples:
    samples = Samples()
    for _ in range(rounds):
        for contender in contenders:
            samples.take(contender.key, lambda contender=contender: measure(contender))  # type: ignore[misc]
    return samples
