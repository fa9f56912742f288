"""Rounds: every contender is measured in turn, again and again, so that a disturbance of the machine affects all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bench.figures import Figure, figure
from bench.native import LoadError
from bench.peers.stage import Stage

Sample = Mapping[str, float]
"""Values of one round, by metric. Those that begin with an underscore are details."""


class Stalled(LoadError):
    """A server is too slow for a scenario, or stopped by it: a result of its own, and no miss."""


@dataclass(slots=True)
class Samples:
    """The rounds of one scenario, by contender, and why some have none: they failed, or stalled."""

    rounds: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    stalled: dict[str, str] = field(default_factory=dict)

    def take(self, key: str, measure: Callable[[], Sample], *, counts: bool = True) -> None:
        """Measure one round of a contender that has not failed. A failed one has no figures."""
        if key in self.failures or key in self.stalled:
            return
        try:
            sample = measure()
        except Stalled as error:
            self.stalled[key] = str(error)
            self.rounds.pop(key, None)
            return
        except LoadError as error:
            self.failures[key] = str(error)
            self.rounds.pop(key, None)
            return
        if counts:
            self.rounds.setdefault(key, []).append(sample)

    def figures(self, units: Mapping[str, str]) -> Mapping[str, Mapping[str, Figure]]:
        """Return the figures of each contender by metric: the median of its rounds, with the highest of its details."""
        return {key: _figures(rounds, units) for key, rounds in self.rounds.items()}


def alternate(stages: Sequence[Stage], rounds: int, measure: Callable[[Stage, int], Sample]) -> Samples:
    """Measure every stage once to warm up, then in so many rounds; each begins with another stage.

    Devices of those that have failed are open again afterwards.
    """
    samples = Samples()
    for number in range(rounds + 1):
        for each in (*stages[number % len(stages) :], *stages[: number % len(stages)]):
            samples.take(each.key, lambda each=each, number=number: measure(each, number), counts=number > 0)  # type: ignore[misc]
    for each in stages:
        if each.key in samples.failures:
            with suppress(LoadError):
                each.recover()
    return samples


def _figures(rounds: Sequence[Sample], units: Mapping[str, str]) -> dict[str, Figure]:
    details: dict[str, Any] = {
        name.removeprefix("_"): round(max(sample[name] for sample in rounds), 4)
        for name in rounds[0]
        if name.startswith("_")
    }
    return {
        metric: figure(metric, unit, [sample[metric] for sample in rounds], **details)
        for metric, unit in units.items()
        if all(metric in sample for sample in rounds)
    }
