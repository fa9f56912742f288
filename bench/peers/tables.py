"""Tables of the results, one row for each contender: for the screen and for the page. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bench.figures import number
from bench.peers.results import Results

_TOO_LATE_MS = 500.0
"""A pace at which messages are sent or arrive that late is marked with †: the server does not keep it."""
_LOAD_IS_LIMIT = 0.85
"""A rate at which the load was that busy is marked with ≥: the server may be faster than it."""


class Column(NamedTuple):
    """One column: a metric of a scenario. `best` of it is the highest or the lowest."""

    heading: str
    scenario: str
    metric: str
    is_more_better: bool = False


RATES = (
    Column("fan-out, one at a time", "fanout-1", "rate", is_more_better=True),
    Column("16 in flight", "fanout-16", "rate", is_more_better=True),
    Column("one user, 1 connection", "one-1", "rate", is_more_better=True),
    Column("4", "one-4", "rate", is_more_better=True),
    Column("16", "one-16", "rate", is_more_better=True),
    Column("batches of 100", "batch", "rate", is_more_better=True),
    Column("handshakes", "handshakes", "rate", is_more_better=True),
)
CPU = (
    Column("fan-out, one at a time", "fanout-1", "cpu"),
    Column("16 in flight", "fanout-16", "cpu"),
    Column("one user, 4 connections", "one-4", "cpu"),
    Column("16", "one-16", "cpu"),
    Column("batches of 100", "batch", "cpu"),
    Column("handshake", "handshakes", "cpu"),
)
TIMES = (
    Column("25/s to 1,000: p50", "pace-all", "p50"),
    Column("p99", "pace-all", "p99"),
    Column("p99.9", "pace-all", "p999"),
    Column("2,000/s to one user each: p50", "pace-one", "p50"),
    Column("p99", "pace-one", "p99"),
    Column("p99.9", "pace-one", "p999"),
)
CROWDS = (
    Column("KiB for an idle device", "idle", "kib"),
    Column("all come back, s", "storm", "seconds"),
    Column("p99 of 900, ms", "slow", "alone"),
    Column("beside 100 slow ones, ms", "slow", "p99"),
    Column("ratio", "slow", "ratio"),
    Column("memory grown, MiB", "slow", "grown_mib"),
)
NODES = tuple(
    Column(f"{count} node{'s' if count > 1 else ''}: {title}", f"nodes-{count}", metric)
    for count in (1, 2, 3)
    for title, metric in (("µs CPU", "cpu"), ("Redis", "redis_cpu"))
)
TABLES: Mapping[str, tuple[str, Sequence[Column]]] = {
    "rates": ("Per second", RATES),
    "cpu": ("Server's CPU time, in µs for each delivery or handshake", CPU),
    "times": ("Milliseconds from when a message is due until a device has it", TIMES),
    "crowds": ("Memory, returning devices, slow readers", CROWDS),
    "nodes": ("Several nodes and one Redis: CPU time for a publish to one user", NODES),
}


class Brief(NamedTuple):
    """One row of the short table: a metric of tellwire, of Centrifugo, and of the best of all others."""

    title: str
    scenario: str
    metric: str
    is_more_better: bool = True
    ours: str = "tellwire"
    theirs: str = "centrifugo"


BRIEF = (
    Brief("one message to one user, publishes/s", "one-4", "rate"),
    Brief(
        "the same with a history: on disk, theirs in memory",
        "one-4",
        "rate",
        ours="tellwire-sqlite",
        theirs="centrifugo-history",
    ),
    Brief("batches of 100 to single users, messages/s", "batch", "rate"),
    Brief("one message to 1,000 devices, one at a time, deliveries/s", "fanout-1", "rate"),
    Brief("the same, 16 in flight", "fanout-16", "rate"),
    Brief("p99 at 25 messages/s to 1,000 devices, ms", "pace-all", "p99", is_more_better=False),
    Brief("handshakes/s, a new token each", "handshakes", "rate"),
    Brief("memory for an idle device, KiB", "idle", "kib", is_more_better=False),
)


def brief(results: Results) -> str:
    """Return the short table for the front page. The others have no users, no tokens, or no history."""
    lines = ["| | tellwire | Centrifugo | the best of the others |", "|---|---:|---:|---:|"]
    for row in BRIEF:
        ours, theirs = (results.value(row.scenario, key, row.metric) for key in (row.ours, row.theirs))
        if ours is None:
            continue
        others = _others(results, row) if row.theirs == "centrifugo" else {}
        best = (max if row.is_more_better else min)(others, key=others.__getitem__, default=None)
        cells = [number(ours), "" if theirs is None else number(theirs)]
        cells.append("" if best is None else f"{number(others[best])} ({results.contenders[best]['label']})")
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _others(results: Results, row: Brief) -> Mapping[str, float]:
    """Return the values of all that are neither tellwire nor Centrifugo."""
    return {
        key: value
        for key in results.contenders
        if not key.startswith(("tellwire", "centrifugo"))
        and (value := results.value(row.scenario, key, row.metric)) is not None
    }


def rows(results: Results, columns: Sequence[Column]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield a row for each contender with a value in one of the columns: its key and its cells, the label first.

    A value has its spread if that is more than 10 % of the median, ≥ if the load was the limit, and † if the
    server did not keep the pace.
    """
    for key, contender in results.contenders.items():
        cells = [_cell(results, key, column) for column in columns]
        if any(cells):
            yield key, (contender["label"], *cells)


def text(results: Results, name: str) -> str:
    """Return a table for the screen; empty without values."""
    title, columns = TABLES[name]
    found = [("", *(column.heading for column in columns)), *(row for _, row in rows(results, columns))]
    if len(found) == 1:
        return ""
    widths = [max(len(row[at]) for row in found) for at in range(len(found[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in found]
    return "\n".join([title, *lines])


def markdown(results: Results, name: str) -> str:
    """Return a table for the page. Rows of tellwire are bold, and so is the best value of each column."""
    _, columns = TABLES[name]
    lines = ["| | " + " | ".join(column.heading for column in columns) + " |", "|---|" + "---:|" * len(columns)]
    best = [_best(results, column) for column in columns]
    for key, (label, *cells) in rows(results, columns):
        marked = [f"**{cell}**" if key == top else cell for cell, top in zip(cells, best, strict=True)]
        lines.append("| " + " | ".join([f"**{label}**" if key.startswith("tellwire") else label, *marked]) + " |")
    return "\n".join(lines)


def _cell(results: Results, key: str, column: Column) -> str:
    scenario = results.scenarios.get(column.scenario, {})
    for kind, word in (("failures", "failed"), ("stalled", "stalled")):
        if key in scenario.get(kind, {}):
            return word
    found = results.figure(column.scenario, key, column.metric)
    if found is None:
        return ""
    spread = max(found["high"] - found["value"], found["value"] - found["low"])
    share = spread / found["value"] if found["value"] else 0.0
    late_ms = max(found["details"].get("behind_ms", 0.0), results.value(column.scenario, key, "p50") or 0.0)
    if late_ms > _TOO_LATE_MS and column.scenario.startswith("pace-"):
        return f"{number(found['value'])} †"
    is_limit = column.is_more_better and found["details"].get("load_busy", 0.0) > _LOAD_IS_LIMIT
    return ("≥ " if is_limit else "") + number(found["value"]) + (f" ± {share:.0%}" if share > 0.1 else "")


def _best(results: Results, column: Column) -> str | None:
    values = {
        key: value
        for key in results.contenders
        if (value := results.value(column.scenario, key, column.metric)) is not None
    }
    if not values:
        return None
    return max(values, key=values.__getitem__) if column.is_more_better else min(values, key=values.__getitem__)
