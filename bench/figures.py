"""Figures: what was measured, how far it scattered, and what it should be. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be: at least, or at most, a value."""

    value: float
    at_most: bool = False

    def is_met_by(self, value: float) -> bool:
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {number(self.value)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One result: the median over the rounds, its quartiles, and the rounds. `target` None: it is only reported."""

    name: str
    unit: str
    value: float
    low: float
    high: float
    rounds: tuple[float, ...]
    target: Target | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None else self.target.is_met_by(self.value)


def figure(name: str, unit: str, values: Sequence[float], target: Target | None = None, **details: Any) -> Figure:
    """Make a figure of the values of all rounds."""
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * [values[0]]
    return Figure(name, unit, median(values), low, high, tuple(values), target, details)


def ratios(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Divide round by round: what disturbed the machine in a round disturbed both."""
    return [value / base for value, base in zip(values, baseline, strict=True)]


def number(value: float) -> str:
    """Return a number as people read it: three digits that count, thousands set apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
