"""Pruning of the SQLite file: in small steps, without traffic, so that the file shrinks and no number comes again."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.engines.sqlite.pruning import STREAM_KEEP_SECONDS
from tellwire.limits import HISTORY_MAX_AGE_SECONDS
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.model import Target
from tellwire.position import START
from tellwire.publication import Publication, user_stream
from tellwire.retention import Retention
from tellwire.testing import FakeClock
from tellwire.topics import TopicRule, TopicRules
from tests.publications import for_user

DAY = 24 * 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


def note(user: str = "anna", text: str = "") -> Publication:
    return for_user(user, create_message("note", text))


def done(user: str, upload_id: str) -> Publication:
    return for_user(user, create_upload_progress_message(upload_id, "f.csv", 100, ""))


def count(history: SqliteHistory, table: str) -> int:
    (found,) = history.database.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(found)


async def filled(history: SqliteHistory, users: int, each: int = 1, size: int = 10) -> None:
    for first in range(0, users, 500):
        some = [f"user-{number}" for number in range(first, min(users, first + 500))]
        await history.append_all([note(user, "x" * size) for user in some for _ in range(each)])


async def test_without_traffic_old_entries_leave_the_file(path: Path) -> None:
    clock = FakeClock()
    history = SqliteHistory(path, clock)
    await history.append_all([note(), done("anna", "u1"), note("ben")])
    watching = asyncio.create_task(history.watch())
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 60)
    async with asyncio.timeout(60):
        while count(history, "log") or count(history, "states"):
            await clock.advance(30)
            await asyncio.sleep(0.01)
    watching.cancel()
    await history.close()


@pytest.mark.parametrize("seconds", [-DAY, -3600])
async def test_after_the_clock_was_set_back_pruning_goes_on(path: Path, seconds: float) -> None:
    clock = FakeClock()
    history = SqliteHistory(path, clock)
    await history.append(note())
    watching = asyncio.create_task(history.watch())
    await clock.advance(60)
    clock.step(seconds)
    await history.append(note())
    await clock.advance(HISTORY_MAX_AGE_SECONDS - seconds + 60)
    async with asyncio.timeout(60):
        while count(history, "log"):
            await clock.advance(30)
            await asyncio.sleep(0.01)
    watching.cancel()
    await history.close()


async def test_a_publication_waits_for_one_step_and_not_for_all_of_them(path: Path) -> None:
    clock = FakeClock()
    history = SqliteHistory(path, clock)
    await filled(history, 4000, each=5)
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    pruning = asyncio.create_task(history.prune())
    kept_meanwhile = 0
    while not pruning.done():
        await history.append(note())
        kept_meanwhile += 1
    await pruning
    assert kept_meanwhile > 10
    assert count(history, "log") == kept_meanwhile
    await history.close()


async def test_the_file_and_its_write_ahead_log_shrink(path: Path) -> None:
    clock = FakeClock()
    history = SqliteHistory(path, clock)
    await filled(history, 100, each=10, size=30_000)

    def size(of: Path) -> int:
        return of.stat().st_size

    wal = path.with_name(f"{path.name}-wal")
    before = size(path) + size(wal)
    assert before > 20_000_000
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.prune()
    # The pages are given back with the next checkpoint.
    await filled(history, 100, each=10, size=30_000)
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.prune()
    assert size(wal) <= 20_000_000
    await history.close()
    assert size(path) < before / 4


async def test_the_bounds_of_busy_streams_hold_in_the_file(path: Path) -> None:
    history = SqliteHistory(path, FakeClock())
    for _ in range(15):
        await history.append_all([note(f"user-{number}") for number in range(20) for _ in range(100)])
    await history.prune()
    assert count(history, "log") == 20 * 1000
    await history.close()


# --- numbers ----------------------------------------------------------------------------------------------------------


async def epoch_and_offset(history: SqliteHistory, user: str = "anna") -> tuple[str, int]:
    epoch, _, offset = (await history.read(user_stream(user), None)).cursor.rpartition(":")
    return epoch, int(offset)


async def test_rows_of_users_are_removed_and_no_offset_is_given_out_twice(path: Path) -> None:
    clock = FakeClock()
    history = SqliteHistory(path, clock)
    for _ in range(7):
        await history.append(note())
    await history.append(note("ben"))
    await history.append(done("anna", "u1"))
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.prune()
    assert count(history, "streams") == 2
    await history.close()

    history = SqliteHistory(path, clock)
    epoch, offset = await epoch_and_offset(history)
    assert offset == 7
    await clock.advance(STREAM_KEEP_SECONDS + 1)
    await history.prune()
    assert count(history, "streams") == 0
    await history.close()

    history = SqliteHistory(path, clock)
    for user in ("anna", "ben", "carl"):
        assert (await epoch_and_offset(history, user))[1] == 7
        entry = await history.append(note(user))
        assert entry is not None
        assert entry.number == 8
        state = await history.append(done(user, "u1"))
        assert state is not None
        assert state.number == 2
    assert (await epoch_and_offset(history))[0] == epoch
    # A device that was away for so long is told the truth.
    assert not (await history.read(user_stream("anna"), f"{epoch}:3")).recovered
    await history.close()


async def test_a_lane_that_begins_after_its_row_was_removed_begins_above_it(path: Path) -> None:
    clock = FakeClock()
    history = SqliteHistory(path, clock)
    await history.append(note())
    for number in range(9):
        await history.append(done("anna", f"u{number}"))
    for seconds in (HISTORY_MAX_AGE_SECONDS + 1, STREAM_KEEP_SECONDS + 1):
        await clock.advance(seconds)
        await history.prune()
    await history.append(note())
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.prune()
    await history.close()
    history = SqliteHistory(path, clock)
    state = await history.append(done("anna", "u1"))
    assert state is not None
    assert state.number == 10
    await history.close()


# --- memory -----------------------------------------------------------------------------------------------------------


async def test_streams_that_are_needed_together_are_read_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = SqliteHistory(path, FakeClock())
    calls: list[object] = []
    run = history.database.run

    async def counted(work: Callable[[sqlite3.Connection], object]) -> object:
        calls.append(work)
        return await run(work)

    monkeypatch.setattr(history.database, "run", counted)
    await history.append_all([note(f"user-{number}") for number in range(60)])
    assert len(calls) == 2
    await history.close()


async def test_streams_that_nobody_uses_leave_memory(path: Path) -> None:
    history = SqliteHistory(path, FakeClock())
    await filled(history, 50)
    for _ in range(30):
        await history.append(note("busy"))
        await history.prune()
    assert len(history._cache) == 1
    assert len((await history.read(user_stream("user-7"), START)).messages) == 1
    await history.close()


async def test_the_memory_of_all_streams_is_bounded_in_bytes_and_nothing_is_lost(path: Path) -> None:
    history = SqliteHistory(path, FakeClock(), cache_bytes=1_000_000)
    for _ in range(20):
        await history.append_all([note(f"user-{number}", "x" * 10_000) for number in range(20)])
        assert history._cache.size_bytes < 1_300_000
    for number in range(20):
        assert len((await history.read(user_stream(f"user-{number}"), START)).messages) == 20
    await history.close()


async def test_the_messages_of_a_topic_stay_as_long_as_its_rule_says(path: Path) -> None:
    long, short = Retention(max_age_seconds=30 * DAY), Retention(max_age_seconds=60)
    rules = TopicRules(
        rules=[TopicRule(pattern="long:*", history=long), TopicRule(pattern="short:*", history=short)],
    )
    clock = FakeClock()
    history = SqliteHistory(path, clock, topics=rules)
    topics = [Publication.of(Target(topic=topic), create_message("note", 1)) for topic in ("long:1", "short:1")]
    # A message that stays for long lies before those of others in the file.
    await history.append_all([topics[0], note("anna"), topics[1], note("ben")])
    await history.append(Publication.of(Target(topic="short:1"), create_message("note", 2)))
    left: list[int] = []
    for seconds in (30, 60, HISTORY_MAX_AGE_SECONDS, 30 * DAY):
        await clock.advance(seconds)
        await history.prune()
        left.append(count(history, "log"))
    assert left == [5, 3, 1, 0]
    await history.close()
    # Their numbers are not given out again.
    history = SqliteHistory(path, clock, topics=rules)
    entry = await history.append(Publication.of(Target(topic="short:1"), create_message("note", 3)))
    assert entry is not None
    assert entry.number == 3
    await history.close()
