"""Plots of the results as SVG, without a library: bars for each contender, the best first. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from bench.figures import number
from bench.peers.results import Results


class Plot(NamedTuple):
    """One plot: a metric of a scenario, and another one that is drawn behind it, such as p99 behind p50.

    `part` is that of the page.
    """

    part: str
    name: str
    title: str
    scenario: str
    metric: str
    behind: str | None = None
    is_more_better: bool = False


class _Bar(NamedTuple):
    label: str
    is_ours: bool
    value: float
    low: float
    high: float
    behind: float | None


PLOTS = (
    Plot(
        "rates", "one-4", "One message to one user over HTTP, 4 connections: publishes/s", "one-4", "rate", None, True
    ),
    Plot("rates", "batch", "Batches of 100 messages to 100 users: messages/s", "batch", "rate", None, True),
    Plot(
        "rates", "fanout-1", "One message to 1,000 devices, one at a time: deliveries/s", "fanout-1", "rate", None, True
    ),
    Plot("rates", "fanout-16", "The same with 16 in flight: deliveries/s", "fanout-16", "rate", None, True),
    Plot("times", "pace-all", "25 messages/s to 1,000 devices: p50, and p99 behind it, ms", "pace-all", "p50", "p99"),
    Plot("times", "pace-one", "2,000 messages/s to single users: p50, and p99 behind it, ms", "pace-one", "p50", "p99"),
    Plot("rates", "handshakes", "Handshakes/s", "handshakes", "rate", None, True),
    Plot("crowds", "idle", "Memory for an idle device, KiB", "idle", "kib"),
    Plot("crowds", "storm", "All devices come back: seconds until each has what it missed", "storm", "seconds"),
)

_WIDTH, _LABELS, _ROW, _TOP, _ROOM = 800, 260, 26, 44, 110
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600}.ours{fill:#0a7d5a}.theirs{fill:#8b96a5}"
    ".behind{opacity:.35}.range{stroke:#1f2328;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ours{fill:#3fb68b}.theirs{fill:#6e7781}.range{stroke:#e6edf3}}"
)


def svg(results: Results, plot: Plot) -> str | None:
    """Return a plot; None if nothing was measured."""
    bars = sorted(_bars(results, plot), key=lambda bar: bar.value, reverse=plot.is_more_better)
    if not bars:
        return None
    scale = (_WIDTH - _LABELS - _ROOM) / max(max(bar.high, bar.behind or 0.0) for bar in bars)
    height = _TOP + _ROW * len(bars) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(plot.title)}</title><style>{_STYLE}</style>",
        f'<text class="title" x="8" y="24">{escape(plot.title)}</text>',
        *(line for at, bar in enumerate(bars) for line in _drawn(bar, _TOP + _ROW * at, scale)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def svgs(results: Results) -> Mapping[str, str]:
    """Return all plots for which there are figures, by name."""
    drawn = {plot.name: svg(results, plot) for plot in PLOTS}
    return {name: text for name, text in drawn.items() if text is not None}


def _bars(results: Results, plot: Plot) -> Iterator[_Bar]:
    for key, contender in results.contenders.items():
        found = results.figure(plot.scenario, key, plot.metric)
        if found is not None:
            behind = results.value(plot.scenario, key, plot.behind) if plot.behind else None
            is_ours = key.startswith("tellwire")
            yield _Bar(contender["label"], is_ours, found["value"], found["low"], found["high"], behind)


def _drawn(bar: _Bar, y: int, scale: float) -> Sequence[str]:
    middle, kind = y + _ROW // 2, "ours" if bar.is_ours else "theirs"
    longest = max(bar.high, bar.behind or 0.0)
    said = number(bar.value) + (f" · {number(bar.behind)}" if bar.behind is not None else "")
    lines = [f'<text x="{_LABELS - 8}" y="{middle + 5}" text-anchor="end">{escape(bar.label)}</text>']
    if bar.behind is not None:
        lines.append(_box(f"{kind} behind", y, bar.behind * scale))
    lines += [
        _box(kind, y, bar.value * scale),
        f'<line class="range" x1="{_LABELS + bar.low * scale:.1f}" x2="{_LABELS + bar.high * scale:.1f}" '
        f'y1="{middle}" y2="{middle}"/>',
        f'<text x="{_LABELS + longest * scale + 6:.1f}" y="{middle + 5}">{said}</text>',
    ]
    return lines


def _box(kind: str, y: int, width: float) -> str:
    return f'<rect class="{kind}" x="{_LABELS}" y="{y + 4}" width="{max(1.0, width):.1f}" height="{_ROW - 8}"/>'
