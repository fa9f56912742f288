"""The results of a run: saved as JSON, with the machine, the versions, and the figure of every round."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.figures import Figure
from bench.peers.contenders import Contender
from bench.peers.scenarios import Measured

_LINES_DEPTH = 3
PATH = Path(__file__).parent.parent / "results" / "peers.json"


@dataclass(slots=True)
class Results:
    """Everything that tables and plots are made of. `scenarios` has the figures by name, contender and metric."""

    machine: Mapping[str, Any]
    contenders: dict[str, dict[str, Any]]
    left_out: Mapping[str, str]
    is_quick: bool
    seconds: float = 0.0
    scenarios: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, machine: Mapping[str, Any], contenders: Iterable[Contender], left_out: Mapping[str, str], *, is_quick: bool
    ) -> Self:
        """Return results without figures."""
        described = {each.key: {"label": each.label, "features": sorted(each.features)} for each in contenders}
        return cls(machine, described, left_out, is_quick)

    @classmethod
    def read(cls, path: Path = PATH) -> Self:
        """Read results that `save` has written."""
        return cls(**json.loads(path.read_text()))

    def add(self, measured: Measured) -> None:
        """Add the figures of a scenario."""
        scenario, samples = measured.scenario, measured.samples
        figures = {
            key: {metric: _saved(each) for metric, each in by_metric.items()}
            for key, by_metric in samples.figures(scenario.units).items()
        }
        self.scenarios[scenario.name] = {
            "title": scenario.title,
            "figures": figures,
            "failures": samples.failures,
            "stalled": samples.stalled,
        }

    def figure(self, scenario: str, key: str, metric: str) -> Mapping[str, Any] | None:
        """Return a figure; None if it was not measured."""
        found = self.scenarios.get(scenario, {}).get("figures", {}).get(key, {}).get(metric)
        return found if found is None else dict(found)

    def value(self, scenario: str, key: str, metric: str) -> float | None:
        """Return the median of a figure; None if it was not measured."""
        found = self.figure(scenario, key, metric)
        return None if found is None else float(found["value"])

    def failures(self) -> Sequence[tuple[str, str, str]]:
        """Return all that failed: scenario, contender and reason."""
        return self._named("failures")

    def stalled(self) -> Sequence[tuple[str, str, str]]:
        """Return the contenders that could not take part: scenario, contender and reason."""
        return self._named("stalled")

    def _named(self, kind: str) -> Sequence[tuple[str, str, str]]:
        return [(name, key, why) for name, each in self.scenarios.items() for key, why in each.get(kind, {}).items()]

    def save(self, path: Path = PATH) -> None:
        """Write them as JSON: a line for each contender of a scenario, so that a change can be read."""
        path.write_text(_text(asdict(self)))


def _saved(each: Figure) -> dict[str, Any]:
    """Return a figure as it is saved: its numbers with five digits."""
    numbers = {name: _rounded(getattr(each, name)) for name in ("value", "low", "high")}
    return {"unit": each.unit, **numbers, "rounds": [_rounded(one) for one in each.rounds], "details": each.details}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _text(content: Any, depth: int = 0) -> str:
    """Return JSON with a line for each key of the upper levels."""
    if depth > _LINES_DEPTH or not isinstance(content, dict) or not content:
        return json.dumps(content, ensure_ascii=False)
    lines = [f"{' ' * depth} {json.dumps(key)}: {_text(value, depth + 1)}" for key, value in content.items()]
    return "\n".join(["{", ",\n".join(lines), " " * depth + "}"]) + ("" if depth else "\n")
