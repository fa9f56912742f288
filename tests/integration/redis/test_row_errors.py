"""Lists of row errors in Redis, beyond the contract: their bounds in bytes, and their expiry."""

import pytest

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import time_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.row_errors import RedisRowErrors
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, ROW_ERRORS_CHUNK
from tellwire.publication import user_stream
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList
from tellwire.testing import FakeClock

ANNA = user_stream("anna")


@pytest.fixture
def lists(redis_store: RedisStore, names: Names, clock: FakeClock) -> RedisRowErrors:
    return RedisRowErrors(redis_store, names, time_of(clock))


def chunk(count: int, *, first: int = 0, upload_id: str = "u1", run: str = "run", name: str = "f.csv") -> RowErrorChunk:
    errors = [RowError(row, "BAD", "x" * 100) for row in range(first, first + count)]
    return RowErrorChunk("anna", upload_id, name, run, first + count, first, errors)


async def add_lists(lists: RedisRowErrors, count: int, rows: int) -> None:
    """Add lists of this many uploads to the user, one after the other."""
    for number in range(count):
        await lists.add_row_errors(chunk(rows, upload_id=f"u{number}"))


async def keys_of(store: RedisStore, names: Names) -> list[bytes]:
    found = await store.command("KEYS", f"{names.prefix}:*", key=b"any", writes=False)
    return sorted(found)


async def test_rows_above_the_bytes_of_a_list_are_counted_only(
    redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    lists = RedisRowErrors(redis_store, names, time_of(clock), max_bytes=10_000)
    for _ in range(2):
        await lists.add_row_errors(chunk(100))
    await lists.add_row_errors(chunk(100, first=100))
    found = await lists.row_error_list("anna", "u1")
    assert found is not None
    assert found.total == 200
    assert 40 < found.kept < 60
    page = await lists.row_errors("anna", "u1", "run", None, 1000)
    assert [error.row for error in page.errors] == [*range(found.kept)]
    (rows,) = [key for key in await keys_of(redis_store, names) if b":rows:" in key]
    assert await redis_store.command("MEMORY", "USAGE", rows, "SAMPLES", 0, key=rows, writes=False) < 15_000


async def test_above_the_bytes_of_a_user_the_lists_unchanged_longest_are_dropped(
    redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    lists = RedisRowErrors(redis_store, names, time_of(clock), max_user_bytes=60_000)
    for number in range(6):
        await lists.add_row_errors(chunk(100, upload_id=f"u{number}"))
        await clock.advance(1)
        await lists.add_row_errors(chunk(1, upload_id="u0"))
    kept = [number for number in range(6) if await lists.row_error_list("anna", f"u{number}")]
    assert kept == [0, 4, 5]
    assert (await lists.row_errors("anna", "u1", "run", None, 10)).errors == []
    # One list alone may have more.
    await lists.add_row_errors(chunk(800, upload_id="long"))
    assert await lists.row_error_list("anna", "long") == RowErrorList("f.csv", "run", 800, 800)
    assert len([key for key in await keys_of(redis_store, names) if b":rows:" in key]) == 1


async def test_many_lists_without_rows_have_a_bound_too(
    redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    lists = RedisRowErrors(redis_store, names, time_of(clock), max_user_bytes=60_000)
    for number in range(100):
        await lists.add_row_errors(RowErrorChunk("anna", f"u{number}", "x" * 1000, "run", 5, 0, []))
    assert await redis_store.command("ZCARD", names.of_stream("lists", ANNA), key=b"", writes=False) < 35


async def test_every_key_expires_by_itself(redis_store: RedisStore, names: Names) -> None:
    lists = RedisRowErrors(redis_store, names, lambda: "")
    await lists.add_row_errors(chunk(10))
    found = await keys_of(redis_store, names)
    assert len(found) == 4
    for key in found:
        left = await redis_store.command("TTL", key, key=key, writes=False)
        assert HISTORY_MAX_AGE_SECONDS - 60 < left <= HISTORY_MAX_AGE_SECONDS


async def test_lists_that_are_too_old_are_removed_with_the_next_chunk(
    lists: RedisRowErrors, redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    await add_lists(lists, 5, rows=10)
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await lists.add_row_errors(chunk(10, upload_id="new"))
    assert len([key for key in await keys_of(redis_store, names) if b":rows:" in key]) == 1
    assert int(await redis_store.command("HGET", names.of_stream("list-bytes", ANNA), "", key=b"", writes=False)) < 5000


async def test_all_lists_of_a_user_are_forgotten_however_many(
    lists: RedisRowErrors, redis_store: RedisStore, names: Names
) -> None:
    await add_lists(lists, 250, rows=1)
    await lists.forget("anna")
    assert await keys_of(redis_store, names) == []


async def test_a_chunk_that_takes_several_calls_is_added_as_a_whole(lists: RedisRowErrors) -> None:
    rows = 5 * ROW_ERRORS_CHUNK + 1
    await lists.add_row_errors(chunk(rows))
    assert await lists.row_error_list("anna", "u1") == RowErrorList("f.csv", "run", rows, rows)
    page = await lists.row_errors("anna", "u1", "run", (0, rows - 3), 10)
    assert [error.row for error in page.errors] == [rows - 2, rows - 1]


async def test_ids_and_names_may_have_any_characters(lists: RedisRowErrors) -> None:
    for upload_id, run in ((":", "a:1"), ("\0", """ "'}{\\ """), ("}{", "äö\n")):
        await lists.add_row_errors(chunk(2, upload_id=upload_id, run=run, name='"/\\\t\x7fü'))
        assert await lists.row_error_list("anna", upload_id) == RowErrorList('"/\\\t\x7fü', run, 2, 2)
        assert len((await lists.row_errors("anna", upload_id, run, None, 9)).errors) == 2


async def test_totals_are_exact(lists: RedisRowErrors) -> None:
    highest = 2**53 - 1
    await lists.add_row_errors(RowErrorChunk("anna", "u1", "f.csv", "run", highest, 0, []))
    await lists.add_row_errors(chunk(2))
    assert await lists.row_error_list("anna", "u1") == RowErrorList("f.csv", "run", highest, 2)
