"""The scenarios by name: the metrics of each with their units, and the contenders that take part."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.machine import Cores
from bench.native import LoadError
from bench.peers import crowd_scenarios as crowd
from bench.peers import own_scenarios as own
from bench.peers.contenders import Contender
from bench.peers.load import Tender
from bench.peers.peer import Feature
from bench.peers.rounds import Samples, alternate
from bench.peers.stage import Stage, stage

_RATE = {"rate": "1/s", "cpu": "µs CPU"}
_TIMES = {"p50": "ms", "p99": "ms", "p999": "ms", "busy": "of a core"}


@dataclass(frozen=True, slots=True)
class Amounts:
    """Rounds and lengths of a run."""

    rounds: int
    seconds: float
    paced_seconds: float
    handshakes: int
    idle: int
    single_rounds: int
    storm: own.Storm
    slow: own.Slow


FULL = Amounts(4, 1.0, 4.0, 1_000, 10_000, 2, own.Storm(10_000), own.Slow(seconds=5.0))
QUICK = Amounts(2, 0.3, 1.0, 300, 2_000, 1, own.Storm(2_000), own.Slow(seconds=1.2, filling=60))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. `is_kept`: its messages are for users, so that a history takes part; else contenders that differ
    in nothing but their history are left out. `measure` is of one stage of a common crowd, `run` of contenders alone.
    """

    name: str
    title: str
    units: Mapping[str, str]
    needs: frozenset[Feature] = frozenset()
    is_kept: bool = True
    on_redis: bool = False
    measure: Callable[[Amounts], crowd.Measure] | None = None
    run: Callable[[Sequence[Contender], Cores, Amounts], Samples] | None = None

    def takes(self, contender: Contender) -> bool:
        """Return True if a contender takes part."""
        if not self.needs <= contender.features:
            return False
        if self.is_kept and contender.is_for_fan_out:
            return False
        return (self.is_kept or not contender.is_for_history) and (self.on_redis or not contender.is_for_redis)


_ALL = frozenset({Feature.EVERYBODY})
_ONE = frozenset({Feature.USERS})
_BATCH = frozenset({Feature.USERS, Feature.BATCH})


def _one(connections: int) -> Callable[[Amounts], crowd.Measure]:
    return lambda amounts: crowd.rate(crowd.to_each, connections, amounts.seconds)


def _nodes(count: int) -> Callable[[Sequence[Contender], Cores, Amounts], Samples]:
    return lambda contenders, cores, amounts: own.nodes(
        [each for each in contenders if each.needs_redis], cores, count, 2 * amounts.seconds, amounts.single_rounds
    )


SCENARIOS: Sequence[Scenario] = (
    Scenario(
        "fanout-1",
        "One message to 1,000 devices, one at a time: deliveries",
        _RATE,
        _ALL,
        is_kept=False,
        measure=lambda amounts: crowd.rate(crowd.to_all, 1, amounts.seconds, one_at_a_time=True),
    ),
    Scenario(
        "fanout-16",
        "The same, 16 in flight: deliveries",
        _RATE,
        _ALL,
        is_kept=False,
        measure=lambda amounts: crowd.rate(crowd.to_all, 16, amounts.seconds),
    ),
    Scenario("one-1", "One message to one user, 1 connection: publishes", _RATE, _ONE, measure=_one(1)),
    Scenario("one-4", "The same, 4 connections: publishes", _RATE, _ONE, on_redis=True, measure=_one(4)),
    Scenario("one-16", "The same, 16 connections: publishes", _RATE, _ONE, on_redis=True, measure=_one(16)),
    Scenario(
        "batch",
        "Batches of 100 messages to 100 users, 4 connections: messages",
        _RATE,
        _BATCH,
        on_redis=True,
        measure=lambda amounts: crowd.rate(crowd.in_batches, 4, amounts.seconds),
    ),
    Scenario(
        "pace-all",
        "25 messages a second to 1,000 devices: from due to received",
        _TIMES,
        _ALL,
        is_kept=False,
        measure=lambda amounts: crowd.pace(crowd.to_all, 25, amounts.paced_seconds),
    ),
    Scenario(
        "pace-one",
        "2,000 messages a second, each to one user: from due to received",
        _TIMES,
        _ONE,
        on_redis=True,
        measure=lambda amounts: crowd.pace(crowd.to_each, 2_000, amounts.paced_seconds),
    ),
    Scenario(
        "handshakes",
        "Handshakes, each of another user, with a new JWT (HS256) where the peer has tokens",
        _RATE,
        run=lambda contenders, cores, amounts: _handshakes(contenders, cores, amounts),
    ),
    Scenario(
        "idle",
        "Memory for an idle device",
        {"kib": "KiB"},
        run=lambda contenders, cores, amounts: own.idle(contenders, cores, amounts.idle, amounts.single_rounds),
    ),
    Scenario(
        "storm",
        "All devices come back at once, each has missed 5 messages: until all have them",
        {"seconds": "s"},
        _BATCH | {Feature.HISTORY},
        on_redis=True,
        run=lambda contenders, cores, amounts: own.storm(contenders, cores, amounts.storm, amounts.single_rounds),
    ),
    Scenario(
        "slow",
        "25 messages of 2 kB a second to 900 devices, beside 100 that stopped reading: p99 of the 900",
        {"p99": "ms", "alone": "ms", "ratio": "×", "grown_mib": "MiB"},
        _ALL,
        is_kept=False,
        run=lambda contenders, cores, amounts: own.slow_readers(contenders, cores, amounts.slow, amounts.single_rounds),
    ),
    *(
        Scenario(
            f"nodes-{count}",
            f"{count} node{'s' if count > 1 else ''} with a Redis: a publish to one user",
            _RATE | {"redis_cpu": "µs CPU"},
            _ONE | {Feature.NODES},
            on_redis=True,
            run=_nodes(count),
        )
        for count in (1, 2, 3)
    ),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """The samples of a scenario."""

    scenario: Scenario
    samples: Samples


def run(
    scenarios: Sequence[Scenario], contenders: Sequence[Contender], cores: Cores, amounts: Amounts
) -> Iterator[Measured]:
    """Run scenarios, and yield their samples. Those with a common crowd come first: it is opened once."""
    common = [each for each in scenarios if each.measure is not None]
    if common:
        yield from _in_common(common, contenders, cores, amounts)
    for each in scenarios:
        if each.run is not None:
            yield Measured(each, each.run([one for one in contenders if each.takes(one)], cores, amounts))


def _in_common(
    scenarios: Sequence[Scenario], contenders: Sequence[Contender], cores: Cores, amounts: Amounts
) -> Iterator[Measured]:
    with ExitStack() as stack:
        failures: dict[str, str] = {}
        stages = []
        for contender in contenders:
            if any(scenario.takes(contender) for scenario in scenarios):
                stages += _opened(stack, contender, cores, crowd.DEVICES, failures)
        stack.enter_context(Tender([each.crowd for each in stages]))
        for scenario in scenarios:
            assert scenario.measure is not None
            taking = [each for each in stages if scenario.takes(each.contender)]
            samples = alternate(taking, amounts.rounds, scenario.measure(amounts))
            started = {each.key for each in contenders if scenario.takes(each)}
            samples.failures.update({key: why for key, why in failures.items() if key in started})
            yield Measured(scenario, samples)


def _opened(
    stack: ExitStack, contender: Contender, cores: Cores, devices: int, failures: dict[str, str], *, users: bool = True
) -> list[Stage]:
    """Return the stage of a contender, with its devices open; none if it failed."""
    try:
        each = stack.enter_context(stage(contender, cores, devices))
        if users:
            each.open_users()
    except LoadError as error:
        failures[contender.key] = str(error)
        return []
    return [each]


def _handshakes(contenders: Sequence[Contender], cores: Cores, amounts: Amounts) -> Samples:
    with ExitStack() as stack:
        failures: dict[str, str] = {}
        stages = []
        for contender in contenders:
            stages += _opened(stack, contender, cores, amounts.handshakes, failures, users=False)
        samples = alternate(stages, amounts.rounds, own.handshakes)
        samples.failures.update(failures)
        return samples
