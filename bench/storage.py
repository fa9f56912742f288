"""Waits of a publication for its commit: while old entries leave the file, and while users download row errors."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, Target, figure, ratios
from bench.machine import Cores
from tellwire.engines.sqlite.engine import row_errors_path
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.engines.sqlite.row_errors import SqliteRowErrors
from tellwire.gateway.row_errors import Downloads
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, MAX_ROW_ERRORS
from tellwire.messages import create_message
from tellwire.model import Target as Receivers
from tellwire.publication import Publication
from tellwire.row_errors import RowError, RowErrorChunk
from tellwire.testing import FakeClock

USERS = 20_000
DOWNLOADS = 16
PAUSE_SECONDS = 0.001
STALL_TARGET = Target(50, at_most=True)
"""Milliseconds: the bound of every disturbance by others, see `bench.floods`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds, messages that get too old in each, and publications before."""

    rounds: int
    messages: int
    before: int


FULL = Plan(rounds=5, messages=300_000, before=1000)
QUICK = Plan(rounds=1, messages=50_000, before=200)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield the 99th percentile of a publication's commit during each disturbance, and its ratio to that before."""
    plan = QUICK if quick else FULL
    for name, disturbed in (("old entries are removed", _pruned), (f"{DOWNLOADS} downloads", _downloaded)):
        waits = [asyncio.run(disturbed(plan)) for _ in range(plan.rounds)]
        before, during = [each[0] for each in waits], [each[1] for each in waits]
        yield figure(f"p99 of a publication while {name}", "ms", during, STALL_TARGET, before=before)
        yield figure(f"p99 while {name} ÷ before", "×", ratios(during, before))


async def _pruned(plan: Plan) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        clock = FakeClock()
        history = SqliteHistory(Path(folder) / "history.sqlite3", clock)
        for first in range(0, plan.messages, 1000):
            await history.append_all([_note(f"user-{number % USERS}") for number in range(first, first + 1000)])
        before = await _waits(history, _published(plan.before))
        await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
        during = await _waits(history, history.prune)
        await history.close()
    return before, during


async def _downloaded(plan: Plan) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite3"
        history, row_errors = SqliteHistory(path), SqliteRowErrors(row_errors_path(path))
        errors = [RowError(row, "NO_QUANTITY", f"Row {row} has no quantity") for row in range(MAX_ROW_ERRORS)]
        await row_errors.add_row_errors(RowErrorChunk("user", "upload", "f.csv", "run", len(errors), 0, errors))
        downloads = Downloads(per_user=DOWNLOADS)

        async def download() -> None:
            async for _ in downloads.rows(row_errors, "user", "upload", "run"):
                await asyncio.sleep(0)

        async def all_downloads() -> None:
            await asyncio.gather(*(download() for _ in range(DOWNLOADS)))

        before = await _waits(history, _published(plan.before))
        during = await _waits(history, all_downloads)
        await history.close()
        await row_errors.close()
    return before, during


def _published(count: int) -> Callable[[], Awaitable[None]]:
    """Return a wait for about as long as so many publications take."""
    return lambda: asyncio.sleep(count * 2 * PAUSE_SECONDS)


async def _waits(history: SqliteHistory, disturb: Callable[[], Awaitable[None]]) -> float:
    """Publish until a disturbance is over. Return the 99th percentile of a publication's commit, in milliseconds."""
    disturbance = asyncio.ensure_future(disturb())
    waits = []
    while not disturbance.done():
        began = time.perf_counter()
        await history.append(_note("scout"))
        waits.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(PAUSE_SECONDS)
    await disturbance
    return sorted(waits)[int(len(waits) * 0.99)]


def _note(user: str) -> Publication:
    return Publication.of(Receivers(user=user), create_message("note", "x" * 200))
