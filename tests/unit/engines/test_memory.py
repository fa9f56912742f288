"""The memory engine within its bounds: some entries go, and clients are told so."""

import pytest

from tellwire.engines.memory.history import MemoryHistory
from tellwire.entry import Entry
from tellwire.limits import HISTORY_MAX_AGE_SECONDS
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.publication import Publication, user_stream
from tellwire.retention import Retention
from tellwire.row_errors import RowError, RowErrorChunk
from tellwire.testing import FakeClock
from tests.publications import for_user

MEGABYTE = 1_000_000


def note(user: str, size: int = 10_000) -> Publication:
    return for_user(user, create_message("note", "x" * size))


def progress(user: str, percent: float) -> Publication:
    return for_user(user, create_upload_progress_message("u1", "f.csv", percent, ""))


async def test_the_memory_of_all_streams_is_bounded_in_bytes() -> None:
    history = MemoryHistory(FakeClock(), cache_bytes=MEGABYTE)
    for number in range(1000):
        await history.append(note(f"user-{number % 50}"))
        assert history._cache.size_bytes <= MEGABYTE


async def test_streams_used_last_keep_their_messages_and_the_others_are_not_recovered() -> None:
    history = MemoryHistory(FakeClock(), cache_bytes=MEGABYTE)
    cursors = {user: (await history.read(user_stream(user), None)).cursor for user in ("quiet", "busy")}
    for user, count in (("quiet", 20), ("busy", 75)):
        for _ in range(count):
            await history.append(note(user))
    quiet = await history.read(user_stream("quiet"), cursors["quiet"])
    assert (quiet.recovered, quiet.messages) == (False, [])
    # Numbers go on, so a client that has all of them has missed nothing.
    entry = await history.append(note("quiet"))
    assert entry is not None
    assert entry.number == 21
    assert (await history.read(user_stream("quiet"), quiet.cursor)).recovered
    busy = await history.read(user_stream("busy"), cursors["busy"])
    assert (busy.recovered, len(busy.messages)) == (True, 75)


async def test_a_message_that_was_dropped_may_be_published_again() -> None:
    history = MemoryHistory(FakeClock(), cache_bytes=MEGABYTE)
    message = note("quiet")
    await history.append(message)
    assert await history.append(message) is None
    for _ in range(95):
        await history.append(note("busy"))
    assert await history.append(message) is not None


async def test_a_running_upload_stays_whatever_the_others_keep() -> None:
    history = MemoryHistory(FakeClock(), max_streams=3, cache_bytes=MEGABYTE)
    await history.append(progress("worker", 40))
    for number in range(300):
        await history.append(note(f"user-{number}"))
    assert [entry.key async for entry in history.leased_uploads()] == ["upload:u1"]
    ended = await history.append(progress("worker", 100))
    assert isinstance(ended, Entry)
    assert len(history._cache) == 3


async def test_names_that_hold_nothing_push_out_nothing_that_is_kept() -> None:
    history = MemoryHistory(FakeClock(), max_streams=3)
    await history.append(note("anna"))
    first = (await history.read(user_stream("asked-0"), None)).cursor
    for number in range(1, 10):
        await history.read(user_stream(f"asked-{number}"), None)
        assert len(history._empty) <= 3
    assert len((await history.read(user_stream("anna"), "0")).messages) == 1
    last = (await history.read(user_stream("asked-9"), None)).cursor
    await history.append(note("asked-9"))
    found = await history.read(user_stream("asked-9"), last)
    assert (found.recovered, len(found.messages), len(history._cache)) == (True, 1, 2)
    assert not (await history.read(user_stream("asked-0"), first)).recovered
    await history.forget(user_stream("asked-0"))
    assert history.known_end(user_stream("asked-0")) is None


@pytest.mark.parametrize("users", [1, 500])
async def test_old_entries_are_freed_without_a_read_or_an_append(users: int) -> None:
    clock = FakeClock()
    history = MemoryHistory(clock)
    for number in range(users):
        await history.append(note(f"user-{number}", 100))
    before = history._cache.size_bytes
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.prune()
    assert sum(len(stream) for _, stream in history._cache) == 0
    assert history._cache.size_bytes < before


async def test_row_errors_are_kept_as_long_as_messages() -> None:
    clock = FakeClock()
    history = MemoryHistory(clock, retention=Retention(max_age_seconds=60.0))
    chunk = RowErrorChunk("anna", "u1", "f.csv", "r1", 1, 0, [RowError(7, "EMPTY", "It is empty")])
    await history.row_errors.add_row_errors(chunk)
    assert await history.row_errors.row_error_list("anna", "u1") is not None
    await clock.advance(61.0)
    assert await history.row_errors.row_error_list("anna", "u1") is None
