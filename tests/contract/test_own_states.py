"""States of the project's own types in every history: the newest of a key counts, for users and for topics."""

from typing import Any

import msgspec
import pytest

from tellwire.lease_expiry import LeaseExpiry
from tellwire.messages import StateMessage, create_state_message
from tellwire.model import Target, timestamp
from tellwire.ports import History
from tellwire.position import START
from tellwire.publication import Publication, target_stream
from tellwire.stream import Replay
from tellwire.testing import FakeClock
from tests.publications import Silent

TARGETS = [Target(user="anna"), Target(topic="moc:1")]
of_each_target = pytest.mark.parametrize("target", TARGETS, ids=["user", "topic"])


def editing(
    clock: FakeClock,
    target: Target,
    by: str | None,
    *,
    key: str = "part-3",
    seconds: float = 0,
    ttl: float | None = None,
) -> Publication:
    data = None if by is None else {"by": by}
    message = StateMessage("editing", data, timestamp(clock.now() + seconds), key=key)
    return Publication.of(target, message, ttl)


async def read(history: History, target: Target, version: int | None = None) -> Replay:
    stream = target_stream(target)
    assert stream is not None
    return await history.read(stream, START, version)


async def states(history: History, target: Target, version: int | None = None) -> list[dict[str, Any]]:
    snapshot = (await read(history, target, version)).snapshot
    found = [msgspec.json.decode(each.payload) for each in snapshot]
    return [{"key": each["key"], "data": each["data"]} for each in found]


@of_each_target
async def test_of_a_key_the_newest_counts(history: History, clock: FakeClock, target: Target) -> None:
    for by in ("Ada", "Bob"):
        assert await history.append(editing(clock, target, by)) is not None
        await clock.advance(1)
    await history.append(editing(clock, target, "Eve", key="part:4 é"))
    assert await states(history, target) == [
        {"key": "state:editing:part-3", "data": {"by": "Bob"}},
        {"key": "state:editing:part:4 é", "data": {"by": "Eve"}},
    ]
    assert (await read(history, target)).messages == [], "they are no messages of the log"


@of_each_target
async def test_one_that_is_older_is_late_also_beside_a_removal(
    history: History, clock: FakeClock, target: Target
) -> None:
    assert await history.append(editing(clock, target, "Ada")) is not None
    assert await history.append(editing(clock, target, None, seconds=-1)) is None, "a removal overtakes nothing"
    assert await history.append(editing(clock, target, None, seconds=1)) is not None
    assert await history.append(editing(clock, target, "Bob", seconds=0.5)) is None
    assert await history.append(editing(clock, target, "Bob", seconds=2)) is not None, "it may come again"
    assert await states(history, target) == [{"key": "state:editing:part-3", "data": {"by": "Bob"}}]


async def test_a_removal_is_told_to_who_had_the_state_and_to_nobody_else(history: History, clock: FakeClock) -> None:
    target = Target(topic="moc:1")
    entry = await history.append(editing(clock, target, "Ada"))
    assert entry is not None
    await history.append(editing(clock, target, None, seconds=1))
    assert await states(history, target) == []
    assert await states(history, target, entry.number) == [{"key": "state:editing:part-3", "data": None}]


@of_each_target
async def test_its_time_to_live_is_a_lease_which_each_new_one_renews(
    history: History, clock: FakeClock, target: Target
) -> None:
    leases = LeaseExpiry(Silent(history), clock)
    await history.append(editing(clock, target, "Ada", ttl=30))
    await clock.advance(20)
    await history.append(editing(clock, target, "Ada", ttl=30))
    stream = target_stream(target)
    assert stream is not None
    await clock.advance(29)
    entry = await history.state(stream, "state:editing:part-3")
    assert entry is not None
    assert not await leases.expire(entry)
    assert [each.key async for each in history.leased_uploads()] == ["state:editing:part-3"]
    await clock.advance(2)
    assert await leases.expire(entry)
    assert not await leases.expire(entry), "only once"
    assert await states(history, target) == []
    assert await states(history, target, entry.number) == [{"key": "state:editing:part-3", "data": None}]
    assert [each async for each in history.leased_uploads()] == []


async def test_one_that_was_renewed_in_the_meantime_is_not_removed(history: History, clock: FakeClock) -> None:
    target = TARGETS[0]
    entry = await history.append(editing(clock, target, "Ada", ttl=30))
    assert entry is not None
    await clock.advance(31)
    await history.append(editing(clock, target, "Ada", ttl=30))
    assert not await LeaseExpiry(Silent(history), clock).expire(entry)
    assert len(await states(history, target)) == 1


async def test_without_a_time_to_live_it_is_there_for_a_day(history: History, clock: FakeClock) -> None:
    target = TARGETS[0]
    entry = await history.append(Publication.of(target, create_state_message("visits", "all", 7)))
    assert entry is not None
    assert entry.silence_seconds == 24 * 3600
