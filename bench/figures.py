"""Figures: measured values, their quartiles and their targets. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a figure: at least, or at most, a value."""

    value: float
    at_most: bool = False

    def is_met_by(self, value: float) -> bool:
        return value <= self.value if self.at_most else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {number(self.value)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One result: the median over the rounds, its quartiles, and all rounds. Without a `target` it is only reported."""

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
        """True if the target is met; None without a target."""
        return None if self.target is None else self.target.is_met_by(self.value)


def figure(name: str, unit: str, values: Sequence[float], target: Target | None = None, **details: Any) -> Figure:
    """Return the figure for the values of all rounds."""
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * [values[0]]
    return Figure(name, unit, median(values), low, high, tuple(values), target, details)


def ratios(values: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Divide round by round: a disturbance of the machine in a round affects both values."""
    return [value / base for value, base in zip(values, baseline, strict=True)]


def number(value: float) -> str:
    """Return a number as text: three significant digits, with separators for thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
