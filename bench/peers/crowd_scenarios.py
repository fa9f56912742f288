"""Scenarios of 1,000 connected devices, one a user, measured in turns: rates, and times at a fixed pace."""

from collections.abc import Callable

from bench.peers.load import Outcome, Pace, Requests
from bench.peers.rounds import Sample, Stalled
from bench.peers.stage import Stage, payload, user

DEVICES = 1_000
BATCH = 100
_PACED_CONNECTIONS = 32
_WARM_UP_SECONDS = 0.6
_SLOWEST = 3.0
"""A pace is not kept if its messages take so many times as long to arrive as they took to be sent."""

Measure = Callable[[Stage, int], Sample]


def to_all(stage: Stage, size: int | None = None) -> Requests:
    """Return one request for all devices."""
    return Requests.of([stage.running.publish_all(payload(size) if size else payload())])


def to_each(stage: Stage) -> Requests:
    """Return one request for each user."""
    users = range(len(stage.crowd))
    return Requests.of([stage.running.publish_one(user(number), payload()) for number in users], list(users))


def in_batches(stage: Stage) -> Requests:
    """Return requests with `BATCH` messages each, one for each user."""
    users = range(len(stage.crowd))
    messages = [(user(number), payload()) for number in users]
    requests = [stage.running.publish_batch(messages[first : first + BATCH]) for first in users[::BATCH]]
    return Requests.of(requests, list(users))


def rate(
    make: Callable[[Stage], Requests], connections: int, seconds: float, *, one_at_a_time: bool = False
) -> Measure:
    """Return a measurement of deliveries per second, each request sent as soon as a connection is free."""
    pace = Pace(seconds, one_at_a_time=one_at_a_time, most=4_000 if make is to_all else 100_000)

    def measure(stage: Stage, number: int) -> Sample:
        outcome, cpu, redis = _measured(stage, lambda: stage.crowd.publish(make(stage), connections, pace))
        return {
            "rate": outcome.deliveries / outcome.seconds,
            "cpu": 1e6 * cpu / outcome.deliveries,
            **details(outcome, cpu, redis),
        }

    return measure


def pace(make: Callable[[Stage], Requests], per_second: float, seconds: float) -> Measure:
    """Return a measurement of the milliseconds from when a message is due until a device has it, at a fixed pace."""

    def measure(stage: Stage, number: int) -> Sample:
        requests = make(stage)
        paced = Pace(seconds if number else min(seconds, _WARM_UP_SECONDS), per_second)
        outcome, cpu, redis = _measured(stage, lambda: stage.crowd.publish(requests, _PACED_CONNECTIONS, paced))
        if not number:
            require_pace(outcome, paced)
        return {**percentiles(outcome), "busy": cpu / outcome.seconds, **details(outcome, cpu, redis)}

    return measure


def require_pace(outcome: Outcome, paced: Pace) -> None:
    """Check that a server keeps a pace: behind it, times are those of a queue that grows, and each round takes minutes.

    Raises:
        Stalled: it does not.
    """
    if outcome.seconds > _SLOWEST * paced.seconds:
        rate = outcome.deliveries / outcome.seconds
        raise Stalled(f"it cannot keep the pace: {rate:,.0f} of {outcome.deliveries / paced.seconds:,.0f} deliveries/s")


def percentiles(outcome: Outcome) -> Sample:
    """Return the times of an outcome, in milliseconds."""
    return {name: outcome.times.percentile(share) for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}


def details(outcome: Outcome, cpu: float, redis: float) -> Sample:
    """Return the details of an outcome, with the shares of CPU time of server, Redis and load."""
    return {
        "_requests": outcome.requests,
        "_deliveries": outcome.deliveries,
        "_unordered": outcome.unordered,
        "_server_busy": cpu / outcome.seconds,
        "_redis_busy": redis / outcome.seconds,
        "_load_busy": outcome.load_busy,
        "_behind_ms": 1000 * outcome.behind_seconds,
    }


def _measured(stage: Stage, run: Callable[[], Outcome]) -> tuple[Outcome, float, float]:
    """Run it, and return the CPU time of the server and of its Redis, too."""
    cpu, redis = stage.cpu_seconds(), stage.redis_seconds()
    outcome = run()
    return outcome, stage.cpu_seconds() - cpu, stage.redis_seconds() - redis
