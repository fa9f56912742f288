"""Cost of `track_upload` per row of a job: the time of its loop, less that of a plain `for` over the same rows.

Nothing is sent meanwhile (the interval is an hour), as for nearly every row of a real job.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

from bench import machine
from bench.figures import Figure, Target, figure
from bench.machine import Cores
from tellwire import sync, track_upload
from tellwire.broadcast import Broadcaster
from tellwire.testing import MemoryCarrier

ROWS = 200_000
QUICK_ROWS = 50_000
ROUNDS = 15
QUICK_ROUNDS = 5
TARGET = Target(0.5, at_most=True)
_NEVER_SECONDS = 3600.0

Rows = Sequence[int]


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield microseconds per row or call, asynchronous and synchronous."""
    rows: Rows = range(QUICK_ROWS if quick else ROWS)
    rounds = QUICK_ROUNDS if quick else ROUNDS
    machine.pin(0, cores.server)
    try:
        asyncio_costs = asyncio.run(_asynchronous(rows, rounds))
        sync_costs = _synchronous(rows, rounds)
    finally:
        machine.pin(0, cores.load)
    for name, target, costs in (
        ("async for row in upload.count(rows)", TARGET, asyncio_costs[0]),
        ("upload.update(rows=n)", None, asyncio_costs[1]),
        ("sync: for row in upload.count(rows)", None, sync_costs[0]),
        ("sync: upload.update(rows=n)", None, sync_costs[1]),
    ):
        yield figure(name, "µs more per row", costs, target, rows=len(rows))


async def _asynchronous(rows: Rows, rounds: int) -> tuple[list[float], list[float]]:
    counting: list[float] = []
    updating: list[float] = []
    for _ in range(rounds):
        plain = _plain(rows)
        broadcaster = Broadcaster(MemoryCarrier())
        async with track_upload(
            "user-1", "moc-1", "parts.csv", len(rows), interval_seconds=_NEVER_SECONDS, broadcaster=broadcaster
        ) as upload:
            began = perf_counter()
            async for _row in upload.count(rows):
                pass
            counting.append(_microseconds(perf_counter() - began - plain, rows))
            updating.append(_microseconds(_updating(upload.update, rows) - plain, rows))
    return counting, updating


def _synchronous(rows: Rows, rounds: int) -> tuple[list[float], list[float]]:
    counting: list[float] = []
    updating: list[float] = []
    for _ in range(rounds):
        plain = _plain(rows)
        broadcaster = Broadcaster(MemoryCarrier())
        with sync.track_upload(
            "user-1", "moc-1", "parts.csv", len(rows), interval_seconds=_NEVER_SECONDS, broadcaster=broadcaster
        ) as upload:
            began = perf_counter()
            for _row in upload.count(rows):
                pass
            counting.append(_microseconds(perf_counter() - began - plain, rows))
            updating.append(_microseconds(_updating(upload.update, rows) - plain, rows))
    return counting, updating


def _plain(rows: Rows) -> float:
    began = perf_counter()
    for _row in rows:
        pass
    return perf_counter() - began


def _updating(update: Callable[..., None], rows: Rows) -> float:
    began = perf_counter()
    for row in rows:
        update(rows=row)
    return perf_counter() - began


def _microseconds(seconds: float, rows: Rows) -> float:
    return 1e6 * seconds / len(rows)
