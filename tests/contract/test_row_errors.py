"""The contract of every `RowErrorStore`: in memory, and in an SQLite file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.memory.row_errors import MemoryRowErrors
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, MAX_ROW_ERRORS
from tellwire.messages import create_message
from tellwire.ports import RowErrorStore
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList
from tellwire.testing import FakeClock
from tests.publications import for_user

FIRST_RUN, SECOND_RUN = "2026-11-28T10:00:00.000Z", "2026-11-28T11:00:00.000Z"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[RowErrorStore]:
    history = MemoryHistory(clock) if request.param == "memory" else SqliteHistory(tmp_path / "h.sqlite3", clock)
    yield history.row_errors
    await history.close()


def part(first: int, *rows: int, user: str = "anna", run: str = FIRST_RUN, upload_id: str = "u1") -> RowErrorChunk:
    errors = [RowError(row, "BAD", f"Row {row} is bad") for row in rows]
    return RowErrorChunk(user, upload_id, "parts.csv", run, first + len(errors), first, errors)


async def rows(store: RowErrorStore, user: str = "anna", upload_id: str = "u1", run: str = FIRST_RUN) -> list[int]:
    return [error.row for error in await store.row_errors(user, upload_id, run, 0, 1000)]


async def test_chunks_in_any_order_and_number_make_one_list(store: RowErrorStore) -> None:
    for chunk in (part(2, 30, 40), part(0, 10, 20), part(2, 30, 40)):
        await store.add_row_errors(chunk)
    assert await rows(store) == [10, 20, 30, 40]
    assert await store.row_errors("anna", "u1", FIRST_RUN, 1, 2) == [
        RowError(20, "BAD", "Row 20 is bad"),
        RowError(30, "BAD", "Row 30 is bad"),
    ]
    assert await store.row_error_list("anna", "u1") == RowErrorList("parts.csv", FIRST_RUN, 4, 4)


async def test_another_run_begins_a_new_list_and_ends_the_previous_one(store: RowErrorStore) -> None:
    await store.add_row_errors(part(0, 10, 20, 30))
    await store.add_row_errors(part(0, 5, run=SECOND_RUN))
    await store.add_row_errors(part(3, 40))
    assert await rows(store, run=SECOND_RUN) == [5]
    # Who was reading the one before gets nothing of this one into it.
    assert await rows(store) == []
    assert await store.row_error_list("anna", "u1") == RowErrorList("parts.csv", SECOND_RUN, 1, 1)


async def test_lists_are_the_users_own(store: RowErrorStore) -> None:
    await store.add_row_errors(part(0, 10))
    await store.add_row_errors(part(0, 20, user="ben"))
    await store.add_row_errors(part(0, 30, upload_id="u2"))
    assert (await rows(store), await rows(store, "ben")) == ([10], [20])
    assert await store.row_error_list("carl", "u1") is None
    assert await rows(store, "carl") == []


async def test_only_so_many_are_kept_and_all_are_counted(store: RowErrorStore) -> None:
    await store.add_row_errors(part(MAX_ROW_ERRORS - 1, 1, 2, 3))
    assert await rows(store) == [1]
    assert await store.row_error_list("anna", "u1") == RowErrorList("parts.csv", FIRST_RUN, MAX_ROW_ERRORS + 2, 1)


async def test_a_list_is_gone_when_the_history_is(store: RowErrorStore, clock: FakeClock) -> None:
    await store.add_row_errors(part(0, 10))
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    assert await store.row_error_list("anna", "u1") is None


async def test_in_memory_the_lists_unchanged_longest_are_dropped_first(clock: FakeClock) -> None:
    store = MemoryRowErrors(clock, max_rows=5)
    for number in range(4):
        await store.add_row_errors(part(0, 1, 2, upload_id=f"u{number}"))
    kept = [number for number in range(4) if await rows(store, upload_id=f"u{number}")]
    assert kept == [2, 3]


async def test_in_a_file_they_survive_and_are_removed_when_they_are_old(clock: FakeClock, tmp_path: Path) -> None:
    history = SqliteHistory(tmp_path / "h.sqlite3", clock)
    await history.row_errors.add_row_errors(part(0, 10))
    await history.close()
    history = SqliteHistory(tmp_path / "h.sqlite3", clock)
    assert await rows(history.row_errors) == [10]
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.append(for_user("anna", create_message("note", 1)))
    await history.close()
    history = SqliteHistory(tmp_path / "h.sqlite3", clock)
    assert await rows(history.row_errors) == []
    await history.close()
