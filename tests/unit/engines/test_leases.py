"""Leases: an upload whose worker falls silent expires, in time and once."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from tellwire.engines.leases import Leases
from tellwire.engines.memory.history import MemoryHistory
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable
from tellwire.limits import MAX_LEASE_SECONDS
from tellwire.messages import UploadProgress, UploadProgressMessage, UploadStatus
from tellwire.testing import FakeClock
from tests.publications import for_user


class Watched:
    """Leases that are watched, and who was declared silent, when. `takes` says whether the history takes it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.began = self.clock.monotonic()
        self.history = MemoryHistory(self.clock)
        self.leases = Leases(self.clock)
        self.expired: list[tuple[str | None, float]] = []
        self.failures: list[Exception] = []

    async def say(self, upload_id: str = "u1", status: UploadStatus = "running", lease: float | None = 30) -> Entry:
        progress = UploadProgress(
            upload_id=upload_id, file_name="f", progress=1, message="", status=status, lease_seconds=lease
        )
        entry = await self.history.append(for_user("anna", UploadProgressMessage(progress)))
        assert entry is not None
        self.leases.note(entry)
        return entry

    async def expire(self, entry: Entry, silent_seconds: float) -> bool:
        if self.failures:
            raise self.failures.pop()
        assert entry.silence_seconds is not None
        assert silent_seconds >= entry.silence_seconds
        self.expired.append((entry.key, self.clock.monotonic() - self.began))
        return True


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    watched = Watched()
    watching = asyncio.create_task(watched.leases.watch(watched.expire))
    yield watched
    watching.cancel()


async def test_who_is_silent_for_a_lease_is_declared_so_once(watched: Watched) -> None:
    await watched.say()
    await watched.clock.advance(29)
    assert watched.expired == []
    await watched.clock.advance(100)
    ((key, seconds),) = watched.expired
    assert key == "upload:u1"
    assert 30 <= seconds <= 32
    assert len(watched.leases) == 0


async def test_every_word_renews_the_lease(watched: Watched) -> None:
    for _ in range(10):
        await watched.say()
        await watched.clock.advance(25)
    assert watched.expired == []


@pytest.mark.parametrize("status", ["complete", "failed", "cancelled"])
async def test_after_the_last_word_nobody_waits(watched: Watched, status: UploadStatus) -> None:
    await watched.say()
    await watched.say(status=status)
    await watched.clock.advance(1000)
    assert (watched.expired, len(watched.leases)) == ([], 0)


async def test_an_upload_without_a_lease_has_one_of_a_day(watched: Watched) -> None:
    await watched.say(lease=None)
    await watched.clock.advance(MAX_LEASE_SECONDS - 1)
    assert watched.expired == []
    await watched.clock.advance(3)
    assert [key for key, _ in watched.expired] == ["upload:u1"]


async def test_what_a_process_before_left_has_a_whole_lease_from_now(watched: Watched) -> None:
    await watched.say()
    await watched.clock.advance(20)
    anew = Leases(watched.clock)
    await anew.load(watched.history)
    watching = asyncio.create_task(anew.watch(watched.expire))
    watched.leases.note(await watched.say(status="complete"))
    await watched.clock.advance(29)
    assert watched.expired == []
    await watched.clock.advance(3)
    assert len(watched.expired) == 1
    watching.cancel()


async def test_a_history_out_of_order_is_asked_again(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.failures = [HistoryUnavailable("no disk")] * 2
    await watched.say()
    await watched.clock.advance(60)
    assert len(watched.expired) == 1
    assert "trying again: The history is not available: no disk" in caplog.text


async def test_a_fault_with_one_leaves_the_others_watched(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.failures = [RuntimeError("a fault of ours")]
    await watched.say("u1")
    await watched.say("u2")
    await watched.clock.advance(60)
    assert {key for key, _ in watched.expired} == {"upload:u1", "upload:u2"}
    assert "a fault of ours" in caplog.text


async def test_an_old_lease_does_not_take_the_place_of_the_next_ones() -> None:
    watched = Watched()
    leases = watched.leases
    await watched.say()

    async def meanwhile(entry: Entry, silent_seconds: float) -> bool:
        # While it is looked at, the upload ends, and begins anew.
        leases.note(msgspec.structs.replace(entry, status="complete"))
        leases.note(entry)
        return False

    watching = asyncio.create_task(leases.watch(meanwhile))
    await watched.clock.advance(32)
    assert len(leases) == 1
    watching.cancel()


# --- clocks that jump, and processes that pause -----------------------------------------------------------------------

DAY = 24 * 3600.0


@pytest.mark.parametrize("seconds", [-DAY, -3600, -1, 1])
async def test_a_wall_clock_that_is_set_changes_nothing_for_a_lease(watched: Watched, seconds: float) -> None:
    await watched.say()
    await watched.clock.advance(10)
    watched.clock.step(seconds)
    await watched.clock.advance(19)
    assert watched.expired == []
    await watched.clock.advance(3)
    assert len(watched.expired) == 1


async def test_after_a_wall_clock_that_was_a_day_ahead_for_a_moment_leases_still_expire(watched: Watched) -> None:
    await watched.say()
    watched.clock.step(DAY)
    await watched.clock.advance(3)
    watched.clock.step(-DAY)
    await watched.clock.advance(27)
    assert watched.expired == []
    await watched.clock.advance(2)
    assert len(watched.expired) == 1


@pytest.mark.parametrize("pause", ["stopped", "asleep"])
@pytest.mark.parametrize("seconds", [3, 40, 70, DAY])
async def test_after_a_pause_every_lease_begins_anew(watched: Watched, pause: str, seconds: float) -> None:
    """`asleep`: the machine was suspended, and its monotonic clock stood still."""
    await watched.say("u1")
    await watched.say("u2", lease=2)
    await watched.clock.advance(1.5)
    if pause == "stopped":
        watched.clock.skip(seconds)
        watched.began += seconds
    else:
        watched.clock.step(seconds)
    await watched.clock.advance(1.9)
    assert watched.expired == []
    await watched.clock.advance(2)
    assert [key for key, _ in watched.expired] == ["upload:u2"]
    await watched.clock.advance(25)
    assert len(watched.expired) == 1
    await watched.clock.advance(5)
    assert [key for key, _ in watched.expired] == ["upload:u2", "upload:u1"]


async def test_a_pause_with_leases_is_logged(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.clock.skip(100)
    await watched.clock.advance(1)
    assert caplog.text == ""
    await watched.say()
    watched.clock.skip(100)
    await watched.clock.advance(1)
    assert "nothing ran here for 100 s, or the clock was set forward: 1 leases begin anew" in caplog.text
