"""The contract of every `RowErrorStore`: in memory, in an SQLite file, and in Redis."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tellwire.engines.memory.row_errors import MemoryRowErrors
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.scripts import time_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.row_errors import RedisRowErrors
from tellwire.engines.sqlite.row_errors import SqliteRowErrors
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, MAX_ROW_ERRORS
from tellwire.ports import RowErrorStore
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList, RowErrorPage
from tellwire.testing import FakeClock

FIRST_RUN, SECOND_RUN = "first", "9999-99-99T99:99:99.999Z"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def store(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[RowErrorStore]:
    if request.param == "memory":
        yield MemoryRowErrors(clock)
    elif request.param == "redis":
        redis = RedisStore(RedisAddress.parse(request.getfixturevalue("redis_server").url))
        yield RedisRowErrors(redis, Names(request.getfixturevalue("redis_prefix")), time_of(clock))
        await redis.close()
    else:
        store = SqliteRowErrors(tmp_path / "rows", clock)
        yield store
        await store.close()


def part(
    first: int, *rows: int, user: str = "anna", run: str = FIRST_RUN, upload_id: str = "u1", part: str | None = None
) -> RowErrorChunk:
    errors = [RowError(row, "BAD", f"Row {row} is bad") for row in rows]
    return RowErrorChunk(user, upload_id, "parts.csv", run, first + len(errors), first, errors, part)


async def rows(store: RowErrorStore, user: str = "anna", upload_id: str = "u1", run: str = FIRST_RUN) -> list[int]:
    """Read a list as a download does, in small pages."""
    found: list[int] = []
    after = None
    while True:
        page = await store.row_errors(user, upload_id, run, after, 3)
        found += [error.row for error in page.errors]
        after = page.last
        if after is None:
            return found


async def test_chunks_in_any_order_and_number_make_one_list(store: RowErrorStore) -> None:
    for chunk in (part(2, 30, 40), part(0, 10, 20), part(2, 30, 40)):
        await store.add_row_errors(chunk)
    assert await rows(store) == [10, 20, 30, 40]
    assert await store.row_errors("anna", "u1", FIRST_RUN, (0, 0), 2) == RowErrorPage(
        [RowError(20, "BAD", "Row 20 is bad"), RowError(30, "BAD", "Row 30 is bad")], (0, 2)
    )
    assert await store.row_error_list("anna", "u1") == RowErrorList("parts.csv", FIRST_RUN, 4, 4)


async def test_rows_that_arrive_while_somebody_reads_are_read_once_and_in_order(store: RowErrorStore) -> None:
    await store.add_row_errors(part(4, 50, 60))
    page = await store.row_errors("anna", "u1", FIRST_RUN, None, 1)
    await store.add_row_errors(part(0, 10, 20, 30, 40))
    await store.add_row_errors(part(6, 70))
    assert [error.row for error in page.errors] == [50]
    page = await store.row_errors("anna", "u1", FIRST_RUN, page.last, 10)
    assert [error.row for error in page.errors] == [60, 70]


async def test_each_run_has_a_list_of_its_own(store: RowErrorStore, clock: FakeClock) -> None:
    await store.add_row_errors(part(0, 10, 20, 30))
    await clock.advance(1)
    await store.add_row_errors(part(0, 5, run=SECOND_RUN))
    await clock.advance(1)
    # Whatever a late worker of the first run says, the other list stays as it is, and the last one.
    await store.add_row_errors(part(3, 40))
    assert await rows(store, run=SECOND_RUN) == [5]
    assert await rows(store) == [10, 20, 30, 40]
    assert await store.row_error_list("anna", "u1") == RowErrorList("parts.csv", SECOND_RUN, 1, 1)
    assert await store.row_error_list("anna", "u1", FIRST_RUN) == RowErrorList("parts.csv", FIRST_RUN, 4, 4)
    assert await store.row_error_list("anna", "u1", "another") is None


async def test_the_lists_of_the_last_two_runs_are_kept(store: RowErrorStore, clock: FakeClock) -> None:
    for number in range(5):
        await store.add_row_errors(part(0, number, run=f"run-{number}"))
        await clock.advance(1)
    kept = [number for number in range(5) if await store.row_error_list("anna", "u1", f"run-{number}")]
    assert kept == [3, 4]


async def test_workers_that_share_a_run_add_to_one_list(store: RowErrorStore) -> None:
    for chunk in (part(0, 30, 40, part="2/2"), part(0, 10, part="1/2"), part(1, 20, part="1/2")):
        await store.add_row_errors(chunk)
    assert await rows(store) == [10, 20, 30, 40]
    assert await store.row_error_list("anna", "u1") == RowErrorList("parts.csv", FIRST_RUN, 4, 4)


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


async def test_the_parts_of_a_list_have_no_more_rows_than_one(
    store: RowErrorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for engine in ("memory", "sqlite", "redis"):
        monkeypatch.setattr(f"tellwire.engines.{engine}.row_errors.MAX_ROW_ERRORS", 5)
    for number in (1, 2, 1, 2):
        await store.add_row_errors(part(0, 1, 2, 3, part=f"{number}/2"))
    assert await rows(store) == [1, 2, 3, 1, 2]
    assert await store.row_error_list("anna", "u1") == RowErrorList("parts.csv", FIRST_RUN, 6, 5)


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
    store = SqliteRowErrors(tmp_path / "rows", clock)
    await store.add_row_errors(part(0, *range(2500)))
    await store.close()
    store = SqliteRowErrors(tmp_path / "rows", clock)
    await store.prune()
    assert await rows(store) == [*range(2500)]
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await store.prune()
    assert await rows(store) == []
    await store.close()


async def test_the_lists_of_a_user_are_forgotten_together(store: RowErrorStore) -> None:
    for upload_id in ("u1", "u2"):
        await store.add_row_errors(part(0, 10, 20, upload_id=upload_id))
    await store.add_row_errors(part(0, 30, user="ben"))
    await store.forget("anna")
    await store.forget("anna")
    for upload_id in ("u1", "u2"):
        assert await store.row_error_list("anna", upload_id) is None
        assert await rows(store, upload_id=upload_id) == []
    assert await rows(store, "ben") == [30]
    await store.add_row_errors(part(0, 40))
    assert await rows(store) == [40]
