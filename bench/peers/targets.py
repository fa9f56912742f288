"""Targets: tellwire's figures beside those of peers in the same run, and if each is met. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.figures import Figure, Target, figure
from bench.peers.peer import Feature
from bench.peers.results import Results

UWEBSOCKETS = "uwebsockets"
_CENTRIFUGO = "centrifugo"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A metric of tellwire divided by that of another, or by the best of all others that `is_other`."""

    title: str
    scenario: str
    metric: str
    target: Target
    ours: str = "tellwire"
    theirs: str | None = None
    is_other: Callable[[str, frozenset[str]], bool] = lambda key, features: True

    def of(self, results: Results) -> Figure | None:
        """Return the ratio; None if one of the two was not measured."""
        ours, theirs = results.value(self.scenario, self.ours, self.metric), self._theirs(results)
        if ours is None or theirs is None or theirs[1] == 0:
            return None
        return figure(f"{self.title} ÷ {theirs[0]}", "×", [ours / theirs[1]], self.target)

    def _theirs(self, results: Results) -> tuple[str, float] | None:
        """Return the label and the value that it is divided by: the best one."""
        found = [
            (contender["label"], value)
            for key, contender in results.contenders.items()
            if (value := results.value(self.scenario, key, self.metric)) is not None and self._counts(key, contender)
        ]
        if not found:
            return None
        best = min if self.target.at_most else max
        return best(found, key=lambda each: each[1])

    def _counts(self, key: str, contender: dict[str, object]) -> bool:
        if self.theirs is not None:
            return key == self.theirs
        features = contender["features"]
        assert isinstance(features, list)
        return not key.startswith("tellwire") and self.is_other(key, frozenset(features))


def _has_users(key: str, features: frozenset[str]) -> bool:
    return Feature.TOKENS in features


def _but_uwebsockets(key: str, features: frozenset[str]) -> bool:
    # Bun is the same in another runtime.
    return key not in (UWEBSOCKETS, "bun")


_AT_LEAST_AS_FAST = Target(1.0)
_NOT_SLOWER = Target(1.0, at_most=True)
_RATIOS = (
    Ratio("one publish per user", "one-4", "rate", _AT_LEAST_AS_FAST, theirs=_CENTRIFUGO),
    Ratio(
        "the same, kept in SQLite",
        "one-4",
        "rate",
        _AT_LEAST_AS_FAST,
        ours="tellwire-sqlite",
        theirs=f"{_CENTRIFUGO}-history",
    ),
    Ratio("batches", "batch", "rate", Target(1.5), theirs=_CENTRIFUGO),
    Ratio(
        "the same, kept in SQLite",
        "batch",
        "rate",
        Target(1.5),
        ours="tellwire-sqlite",
        theirs=f"{_CENTRIFUGO}-history",
    ),
    Ratio("fan-out, one at a time", "fanout-1", "rate", _AT_LEAST_AS_FAST, theirs=UWEBSOCKETS),
    Ratio("fan-out, 16 in flight", "fanout-16", "rate", Target(0.8), theirs=UWEBSOCKETS),
    Ratio("fan-out, 16 in flight", "fanout-16", "rate", Target(3.0), is_other=_but_uwebsockets),
    Ratio(
        "with tellwire-fast: one at a time",
        "fanout-1",
        "rate",
        _AT_LEAST_AS_FAST,
        ours="tellwire-fast",
        theirs=UWEBSOCKETS,
    ),
    Ratio(
        "with tellwire-fast: 16 in flight", "fanout-16", "rate", Target(0.8), ours="tellwire-fast", theirs=UWEBSOCKETS
    ),
    Ratio("p99 at 25/s to 1,000", "pace-all", "p99", _NOT_SLOWER, is_other=_has_users),
    Ratio("p99 at 25/s to 1,000", "pace-all", "p99", Target(1.2, at_most=True), theirs=UWEBSOCKETS),
    Ratio("p99 at 2,000/s to single users", "pace-one", "p99", _NOT_SLOWER, is_other=_has_users),
    Ratio("p99 at 2,000/s to single users", "pace-one", "p99", Target(1.2, at_most=True), theirs=UWEBSOCKETS),
    Ratio("handshakes with a JWT", "handshakes", "rate", Target(1.3), theirs=_CENTRIFUGO),
    Ratio("memory for an idle device", "idle", "kib", _NOT_SLOWER, is_other=_but_uwebsockets),
)
_VALUES = (
    ("memory for an idle device", "KiB", "idle", "tellwire", "kib", Target(5.0, at_most=True)),
    ("all devices come back, memory", "s", "storm", "tellwire", "seconds", Target(8.0, at_most=True)),
    ("all devices come back, SQLite", "s", "storm", "tellwire-sqlite", "seconds", Target(8.0, at_most=True)),
    ("p99 beside slow readers ÷ without", "×", "slow", "tellwire", "ratio", Target(1.1, at_most=True)),
)


def figures(results: Results) -> Iterator[Figure]:
    """Yield the figures that have a target."""
    for ratio in _RATIOS:
        found = ratio.of(results)
        if found is not None:
            yield found
    for title, unit, scenario, key, metric, target in _VALUES:
        value = results.value(scenario, key, metric)
        if value is not None:
            yield figure(title, unit, [value], target)
