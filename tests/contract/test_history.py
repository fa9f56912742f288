"""The contract of every `History`: in memory, in an SQLite file, and in DynamoDB.

DynamoDB is Amazon's own, DynamoDB Local: moto's conditional writes are not atomic, and for a thousand items it takes a
minute.
"""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from tellwire.limits import (
    HISTORY_MAX_AGE_SECONDS,
    HISTORY_MAX_MESSAGES,
    MAX_MESSAGE_BYTES,
    PAST_RUNS,
    REORDER_SECONDS,
)
from tellwire.messages import create_message
from tellwire.ports import History
from tellwire.position import START
from tellwire.publication import Publication, user_stream
from tellwire.retention import Retention
from tellwire.stream import Replay
from tellwire.testing import FakeClock
from tests.publications import acknowledge, for_user

ANNA, BEN = "anna", "ben"


def note(number: int) -> Publication:
    return for_user("anna", create_message("note", number))


def repeatable(number: int) -> Publication:
    """A message whose producer chose its id."""
    return for_user("anna", msgspec.structs.replace(create_message("note", number), id=f"note-{number}"))


def progress(value: float, status: str | None = None, second: int = 0, upload_id: str = "u1") -> Publication:
    data: dict[str, Any] = {"uploadId": upload_id, "fileName": "f.csv", "progress": value, "message": ""}
    if status is not None:
        data["status"] = status
    message = {"type": "upload_progress", "data": data, "timestamp": f"2026-11-25T10:00:{second:02}.000Z"}
    return for_user("anna", json.dumps({**message, "id": f"{upload_id}-{value}-{status}-{second}"}).encode())


def leased(
    value: float, status: str = "running", second: int = 0, run: int = 0, *, name: str | None = None
) -> Publication:
    data = {"uploadId": "u1", "fileName": "f.csv", "progress": value, "message": "", "status": status}
    data |= {"startedAt": f"2026-11-25T09:00:{run:02}.000Z", "leaseSeconds": 30} | ({"run": name} if name else {})
    message = {"type": "upload_progress", "data": data, "timestamp": f"2026-11-25T10:00:{second:02}.000Z"}
    return for_user("anna", json.dumps({**message, "id": f"{value}-{status}-{second}-{run}-{name}"}).encode())


def numbers(replay: Replay) -> list[int]:
    return [json.loads(message)["data"] for message in replay.messages]


def shown(replay: Replay) -> dict[str, float]:
    states = [json.loads(state.payload) for state in replay.snapshot]
    assert [state["version"] for state in states] == [entry.number for entry in replay.snapshot]
    return {state["key"]: state["data"]["progress"] for state in states}


async def cursor_of(history: History, user_id: str = ANNA) -> str:
    return (await history.read(user_stream(user_id), None)).cursor


# --- the log ----------------------------------------------------------------------------------------------------------


async def test_each_message_has_the_next_offset_in_its_cursor(history: History) -> None:
    begin = await cursor_of(history)
    entries = [await history.append(for_user(ANNA, note(number))) for number in range(3)]
    epoch, _, offset = begin.rpartition(":")
    assert offset == "0"
    assert [json.loads(entry.payload)["cursor"] for entry in entries if entry] == [f"{epoch}:{n}" for n in (1, 2, 3)]


async def test_a_client_gets_the_missed_messages_and_no_others(history: History) -> None:
    cursors = [await cursor_of(history)]
    for number in range(4):
        await history.append(for_user(ANNA, note(number)))
        cursors.append(await cursor_of(history))
    for seen, cursor in enumerate(cursors):
        replay = await history.read(user_stream(ANNA), cursor)
        assert replay.recovered
        assert numbers(replay) == list(range(seen, 4))
        assert replay.cursor == cursors[-1]


async def test_a_client_that_has_nothing_missed_nothing(history: History) -> None:
    await history.append(for_user(ANNA, note(1)))
    replay = await history.read(user_stream(ANNA), None)
    assert (replay.recovered, replay.messages) == (True, [])


@pytest.mark.parametrize("cursor", ["", "x", "x:1", "{epoch}:3", "{epoch}:-1", "{epoch}:²", "{epoch}:", "9" * 5000])
async def test_a_foreign_cursor_is_not_recovered_and_gets_the_whole_log(history: History, cursor: str) -> None:
    epoch = (await cursor_of(history)).rpartition(":")[0]
    for number in range(2):
        await history.append(for_user(ANNA, note(number)))
    replay = await history.read(user_stream(ANNA), cursor.format(epoch=epoch) if "{" in cursor else cursor)
    assert not replay.recovered
    assert numbers(replay) == [0, 1]


async def test_the_start_cursor_gets_the_whole_log(history: History) -> None:
    for number in range(3):
        await history.append(for_user(ANNA, note(number)))
    replay = await history.read(user_stream(ANNA), START)
    assert (replay.recovered, numbers(replay)) == (True, [0, 1, 2])


async def test_the_same_message_again_is_kept_once(history: History) -> None:
    message = repeatable(1)
    assert await history.append(for_user(ANNA, message)) is not None
    assert await history.append(for_user(ANNA, message)) is None
    assert await history.append(for_user(BEN, message)) is not None
    assert numbers(await history.read(user_stream(ANNA), START)) == [1]


async def test_users_have_streams_of_their_own(history: History) -> None:
    anna, ben = await cursor_of(history, ANNA), await cursor_of(history, BEN)
    await history.append(for_user(ANNA, note(1)))
    assert numbers(await history.read(user_stream(ANNA), anna)) == [1]
    assert numbers(await history.read(user_stream(BEN), ben)) == []


async def test_several_are_kept_as_if_one_after_the_other(history: History) -> None:
    begin = await cursor_of(history)
    twice = repeatable(7)
    entries = await history.append_all(
        [
            for_user(ANNA, note(1)),
            for_user(BEN, note(2)),
            for_user(ANNA, twice),
            for_user(ANNA, twice),
            for_user(ANNA, note(3)),
        ]
    )
    assert [entry and entry.number for entry in entries] == [1, 1, 2, None, 3]
    assert numbers(await history.read(user_stream(ANNA), begin)) == [1, 7, 3]
    assert await history.append_all([]) == []


async def test_appends_begun_together_keep_their_order(history: History) -> None:
    begin = await cursor_of(history)
    returned: list[int] = []

    async def append(number: int) -> None:
        await history.append(for_user(ANNA, note(number)))
        returned.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(append(number))
    assert returned == list(range(200))
    assert numbers(await history.read(user_stream(ANNA), begin)) == list(range(200))


async def test_old_messages_are_evicted_and_their_cursors_are_not_recovered(history: History, clock: FakeClock) -> None:
    begin = await cursor_of(history)
    await history.append(for_user(ANNA, note(1)))
    await history.append(for_user(ANNA, progress(100)))
    middle = await cursor_of(history)
    await clock.advance(HISTORY_MAX_AGE_SECONDS - 10)
    await history.append(for_user(ANNA, note(2)))
    await clock.advance(11)
    late = await history.read(user_stream(ANNA), begin)
    assert (late.recovered, numbers(late), late.snapshot) == (False, [2], [])
    in_time = await history.read(user_stream(ANNA), middle)
    assert (in_time.recovered, numbers(in_time)) == (True, [2])


async def test_only_so_many_are_kept(history: History) -> None:
    begin = await cursor_of(history)
    await history.append(for_user(ANNA, note(0)))
    first = await cursor_of(history)
    async with asyncio.TaskGroup() as group:
        for number in range(1, HISTORY_MAX_MESSAGES + 1):
            group.create_task(history.append(for_user(ANNA, note(number))))
    assert not (await history.read(user_stream(ANNA), begin)).recovered
    replay = await history.read(user_stream(ANNA), first)
    assert replay.recovered
    assert numbers(replay) == list(range(1, HISTORY_MAX_MESSAGES + 1))


async def test_numbers_rise_although_everything_was_evicted(history: History, clock: FakeClock) -> None:
    await history.append(for_user(ANNA, note(1)))
    first = await history.append(for_user(ANNA, progress(10)))
    before = await cursor_of(history)
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.append(for_user(ANNA, note(2)))
    second = await history.append(for_user(ANNA, progress(10, second=1)))
    replay = await history.read(user_stream(ANNA), before)
    assert (replay.recovered, numbers(replay), shown(replay)) == (True, [2], {"upload:u1": 10})
    assert first is not None
    assert second is not None
    assert second.number > first.number


# --- states -----------------------------------------------------------------------------------------------------------


async def test_only_the_newest_state_of_a_key_is_kept(history: History) -> None:
    entries = [await history.append(for_user(ANNA, progress(value))) for value in (0, 10, 20)]
    versions = [entry.number for entry in entries if entry]
    assert len(versions) == len(set(versions)) == 3
    assert versions == sorted(versions)
    await history.append(for_user(ANNA, progress(5, upload_id="u2")))
    replay = await history.read(user_stream(ANNA), None)
    assert shown(replay) == {"upload:u1": 20, "upload:u2": 5}
    assert entries[-1] in replay.snapshot


async def test_an_older_state_never_replaces_a_newer_one(history: History) -> None:
    await history.append(for_user(ANNA, progress(50, second=5)))
    assert await history.append(for_user(ANNA, progress(40, second=4))) is None
    assert shown(await history.read(user_stream(ANNA), None)) == {"upload:u1": 50}


@pytest.mark.parametrize("last", [progress(100), progress(40, "failed", 1), progress(100, "complete", 1)])
async def test_only_a_new_run_follows_a_final_state(history: History, last: Publication) -> None:
    await history.append(for_user(ANNA, last))
    assert await history.append(for_user(ANNA, progress(60, "running", second=30))) is None
    assert await history.append(for_user(ANNA, progress(50, second=31))) is None
    assert await history.append(for_user(ANNA, progress(0, "running", second=32))) is not None
    assert await history.append(for_user(ANNA, progress(10, "running", second=33))) is not None


async def test_a_final_state_may_be_replaced_by_a_newer_final_one_only(history: History) -> None:
    await history.append(for_user(ANNA, progress(100, second=10)))
    assert await history.append(for_user(ANNA, progress(40, "failed", second=9))) is None
    assert await history.append(for_user(ANNA, progress(100, "complete", second=11))) is not None
    assert shown(await history.read(user_stream(ANNA), None)) == {"upload:u1": 100}


async def test_a_state_can_be_read_by_its_key(history: History) -> None:
    assert await history.state(user_stream(ANNA), "upload:u1") is None
    await history.append(for_user(ANNA, leased(10)))
    taken = await history.append(for_user(ANNA, leased(20, second=1)))
    assert await history.state(user_stream(ANNA), "upload:u1") == taken
    assert await history.state(user_stream(BEN), "upload:u1") is None
    assert taken is not None
    assert (taken.status, taken.lease_seconds, taken.is_final) == ("running", 30, False)


async def test_a_final_state_outranks_a_clock_that_is_ahead(history: History) -> None:
    await history.append(for_user(ANNA, leased(50, second=30)))
    assert await history.append(for_user(ANNA, leased(40, "cancelled", second=10))) is not None
    assert await history.append(for_user(ANNA, leased(60, second=40))) is None


@pytest.mark.parametrize("clock_of_the_second", [20, 0])
async def test_the_run_that_arrives_last_counts_and_the_clock_of_its_host_does_not(
    history: History, clock_of_the_second: int
) -> None:
    first, second = "first", "second"
    await history.append(for_user(ANNA, leased(50, second=30, run=10, name=first)))
    begun = leased(7, second=clock_of_the_second, run=clock_of_the_second, name=second)
    assert await history.append(for_user(ANNA, begun)) is not None
    for status in ("running", "complete", "failed"):
        assert await history.append(for_user(ANNA, leased(60, status, second=50, run=10, name=first))) is None
    assert shown(await history.read(user_stream(ANNA), None))["upload:u1"] == 7
    assert await history.append(for_user(ANNA, leased(100, "complete", second=21, run=20, name=second))) is not None


async def test_a_run_is_named_by_its_start_if_it_has_no_other_name(history: History) -> None:
    await history.append(for_user(ANNA, leased(50, "failed", second=30, run=30)))
    # Its host is behind by 20 seconds.
    assert await history.append(for_user(ANNA, leased(7, second=11, run=10))) is not None
    assert await history.append(for_user(ANNA, leased(100, "complete", second=40, run=30))) is None
    assert shown(await history.read(user_stream(ANNA), None))["upload:u1"] == 7


async def test_the_last_superseded_runs_are_remembered(history: History) -> None:
    for number in range(PAST_RUNS + 1):
        await history.append(for_user(ANNA, leased(number, second=number, name=f"run-{number}")))
    for number in range(PAST_RUNS):
        late = leased(100, "complete", second=50, name=f"run-{number}")
        assert await history.append(for_user(ANNA, late)) is None
    kept = await history.state(user_stream(ANNA), "upload:u1")
    assert kept is not None
    assert (kept.run, dict(kept.past_runs)) == (
        f"run-{PAST_RUNS}",
        {f"run-{number}": "running" for number in range(PAST_RUNS)},
    )


async def test_plain_messages_of_a_host_whose_clock_is_behind_begin_a_new_run(history: History) -> None:
    for value, second in ((0, 30), (50, 31), (100, 32)):
        await history.append(for_user(ANNA, progress(value, second=second)))
    for value, second in ((0, 10), (30, 11), (60, 12), (100, 13)):
        assert await history.append(for_user(ANNA, progress(value, second=second))) is not None


async def test_an_update_that_arrives_much_later_is_newer_whatever_its_clock_says(
    history: History, clock: FakeClock
) -> None:
    await history.append(for_user(ANNA, leased(50, second=30, name="run")))
    assert await history.append(for_user(ANNA, leased(51, second=29, name="run"))) is None
    await clock.advance(REORDER_SECONDS + 1)
    assert await history.append(for_user(ANNA, leased(52, second=10, name="run"))) is not None


async def test_a_run_that_has_failed_may_begin_again_under_its_name(history: History) -> None:
    await history.append(for_user(ANNA, leased(50, "failed", second=10, name="task-7")))
    assert await history.append(for_user(ANNA, leased(50, second=11, name="task-7"))) is None
    assert await history.append(for_user(ANNA, leased(0, second=12, name="task-7"))) is not None
    assert await history.append(for_user(ANNA, leased(100, "complete", second=13, name="task-7"))) is not None
    assert await history.append(for_user(ANNA, leased(0, second=14, name="task-7"))) is None


async def test_a_state_made_from_a_replaced_state_is_not_kept(history: History) -> None:
    first = await history.append(for_user(ANNA, leased(10)))
    second = await history.append(for_user(ANNA, leased(20, second=1)))
    assert first is not None
    assert second is not None
    verdict = leased(10, "stalled", second=2)
    assert await history.append(for_user(ANNA, msgspec.structs.replace(verdict, replaces=first.number))) is None
    assert await history.append(for_user(ANNA, msgspec.structs.replace(verdict, replaces=second.number))) is not None


async def test_the_end_is_that_of_both_lanes(history: History) -> None:
    position = await cursor_of(history)
    end = await history.end(user_stream(ANNA))
    assert end is not None
    assert (str(end.position), end.version) == (position, 0)
    await history.append(for_user(ANNA, note(1)))
    await history.append(for_user(ANNA, leased(10)))
    last = await history.append(for_user(ANNA, leased(100, "complete", second=1)))
    end = await history.end(user_stream(ANNA))
    assert end is not None
    assert last is not None
    assert (str(end.position), end.version) == (await cursor_of(history), last.number)
    known = history.known_end(user_stream(ANNA))
    assert known in (None, end)


async def test_publications_that_are_linked_are_kept_together_or_not_at_all(history: History) -> None:
    first = await history.append(for_user(ANNA, leased(10)))
    assert first is not None
    linked = [msgspec.structs.replace(leased(10, "failed", second=1), replaces=first.number), note(1)]
    kept = await history.append_linked([for_user(ANNA, each) for each in linked])
    assert [entry and entry.number for entry in kept] == [kept[0] and kept[0].number, 1]
    again = [msgspec.structs.replace(leased(10, "failed", second=2), replaces=first.number), note(2)]
    assert await history.append_linked([for_user(ANNA, each) for each in again]) == [None, None]
    assert numbers(await history.read(user_stream(ANNA), START)) == [1]


async def test_leased_uploads_are_found(history: History) -> None:
    async def found() -> list[tuple[str, str | None]]:
        return [(entry.target.user or "", entry.status) async for entry in history.leased_uploads()]

    assert await found() == []
    await history.append(for_user(ANNA, leased(10)))
    await history.append(for_user(BEN, progress(100)))
    assert await found() == [(ANNA, "running")]
    await history.append(for_user(ANNA, leased(10, "stalled", second=1)))
    assert await found() == [(ANNA, "stalled")]
    await history.append(for_user(ANNA, leased(10, "failed", second=2)))
    assert await found() == []


# --- what is seen -----------------------------------------------------------------------------------------------------


async def seen(history: History) -> list[str]:
    states = [json.loads(state.payload) for state in (await history.read(user_stream(ANNA), None)).snapshot]
    return [state["data"]["cursor"] for state in states if state["key"] == "seen"]


async def test_the_seen_position_only_rises(history: History) -> None:
    cursors = []
    for number in range(3):
        await history.append(for_user(ANNA, note(number)))
        cursors.append(await cursor_of(history))
    taken = await acknowledge(history, ANNA, cursors[1])
    assert taken is not None
    message = json.loads(taken.payload)
    assert (message["type"], message["key"], message["data"]) == ("seen", "seen", {"cursor": cursors[1]})
    assert await acknowledge(history, ANNA, cursors[1]) is None
    assert await acknowledge(history, ANNA, cursors[0]) is None
    assert await seen(history) == [cursors[1]]
    assert await acknowledge(history, ANNA, cursors[2]) is not None
    assert await seen(history) == [cursors[2]]


@pytest.mark.parametrize("cursor", ["", "x", "x:1", "0", "{epoch}:2", "{epoch}:-1", "{epoch}:", "9" * 5000])
async def test_a_foreign_cursor_does_not_change_the_seen_state(history: History, cursor: str) -> None:
    epoch = (await cursor_of(history)).rpartition(":")[0]
    await history.append(for_user(ANNA, note(0)))
    assert await acknowledge(history, ANNA, cursor.replace("{epoch}", epoch)) is None
    assert await seen(history) == []


FEW = 5


@pytest.mark.parametrize("retention", [Retention(max_states=FEW)])
async def test_the_seen_state_is_kept_beside_any_number_of_uploads(history: History) -> None:
    await history.append(for_user(ANNA, note(0)))
    cursor = await cursor_of(history)
    await acknowledge(history, ANNA, cursor)
    await history.append_all([for_user(ANNA, progress(100, upload_id=f"u{number}")) for number in range(FEW + 1)])
    assert await seen(history) == [cursor]


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retention", [Retention(max_states=FEW)])
async def test_the_uploads_that_ended_first_go_first_and_running_ones_never(history: History) -> None:
    running = [for_user(ANNA, progress(1, upload_id=f"running-{number}")) for number in range(2 * FEW)]
    await history.append_all(running)
    ended = [for_user(ANNA, progress(100, upload_id=f"ended-{number}")) for number in range(FEW + 2)]
    await history.append_all(ended)
    kept = shown(await history.read(user_stream(ANNA), None))
    assert list(kept) == [
        *(f"upload:running-{number}" for number in range(2 * FEW)),
        *(f"upload:ended-{number}" for number in range(2, FEW + 2)),
    ]


async def test_a_running_upload_stays_until_it_ends_however_old_it_is(history: History, clock: FakeClock) -> None:
    await history.append(for_user(ANNA, progress(10)))
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 60)
    await history.append(for_user(ANNA, note(1)))
    assert shown(await history.read(user_stream(ANNA), None)) == {"upload:u1": 10}
    assert [entry.status async for entry in history.leased_uploads()] == ["running"]


@pytest.mark.parametrize("retention", [Retention(finished_keep_seconds=60)])
async def test_an_ended_upload_leaves_the_snapshot_of_a_device_that_begins_anew(
    history: History, clock: FakeClock
) -> None:
    running = await history.append(for_user(ANNA, progress(50, upload_id="u1")))
    await history.append(for_user(ANNA, progress(50, upload_id="u2")))
    await history.append(for_user(ANNA, progress(100, second=1, upload_id="u1")))
    await clock.advance(59)
    assert set(shown(await history.read(user_stream(ANNA), None))) == {"upload:u1", "upload:u2"}
    await clock.advance(2)
    assert set(shown(await history.read(user_stream(ANNA), None))) == {"upload:u2"}
    # A device that has seen it running would show it as running for good.
    assert running is not None
    assert set(shown(await history.read(user_stream(ANNA), None, running.number))) == {"upload:u1", "upload:u2"}
    # Its late worker is still recognised.
    assert await history.append(for_user(ANNA, progress(60, second=2, upload_id="u1"))) is None


@pytest.mark.parametrize("retention", [Retention(max_messages=3)])
async def test_the_number_of_messages_is_a_setting(history: History) -> None:
    begin = await cursor_of(history)
    for number in range(5):
        await history.append(for_user(ANNA, note(number)))
    replay = await history.read(user_stream(ANNA), begin)
    assert (replay.recovered, numbers(replay)) == (False, [2, 3, 4])


@pytest.mark.parametrize("retention", [Retention(max_bytes=MAX_MESSAGE_BYTES)])
async def test_the_bytes_of_a_log_are_bounded(history: History) -> None:
    begin = await cursor_of(history)
    for number in range(4):
        await history.append(for_user(ANNA, create_message("note", {"number": number, "text": "x" * 60_000})))
    replay = await history.read(user_stream(ANNA), begin)
    assert not replay.recovered
    assert [json.loads(message)["data"]["number"] for message in replay.messages] == [2, 3]


@pytest.mark.parametrize("retention", [Retention(max_age_seconds=60)])
async def test_the_age_of_messages_is_a_setting(history: History, clock: FakeClock) -> None:
    begin = await cursor_of(history)
    await history.append(for_user(ANNA, note(1)))
    await clock.advance(61)
    replay = await history.read(user_stream(ANNA), begin)
    assert (replay.recovered, numbers(replay)) == (False, [])


async def test_a_message_with_a_time_to_live_is_not_replayed_after_it(history: History, clock: FakeClock) -> None:
    begin = await cursor_of(history)
    await history.append(for_user(ANNA, note(1)))
    await history.append(msgspec.structs.replace(for_user(ANNA, note(2)), ttl_seconds=30))
    await history.append(for_user(ANNA, note(3)))
    await clock.advance(29)
    assert numbers(await history.read(user_stream(ANNA), begin)) == [1, 2, 3]
    await clock.advance(1)
    replay = await history.read(user_stream(ANNA), begin)
    # It is left out on purpose: nothing is missing.
    assert (replay.recovered, numbers(replay)) == (True, [1, 3])


async def test_a_state_with_a_time_to_live_leaves_the_snapshot(history: History, clock: FakeClock) -> None:
    await history.append(msgspec.structs.replace(for_user(ANNA, progress(100)), ttl_seconds=30))
    assert shown(await history.read(user_stream(ANNA), None)) == {"upload:u1": 100}
    await clock.advance(31)
    assert shown(await history.read(user_stream(ANNA), None)) == {}


# --- deletion ---------------------------------------------------------------------------------------------------------


async def test_a_stream_that_is_forgotten_is_empty_and_begins_anew(history: History, clock: FakeClock) -> None:
    stream = user_stream(ANNA)
    for number in range(5):
        await history.append(for_user(ANNA, note(number)))
    state = await history.append(for_user(ANNA, leased(50)))
    other = await history.append(for_user(BEN, create_message("note", 7)))
    before, cursor_of_other = await cursor_of(history), await cursor_of(history, BEN)
    assert state is not None
    assert other is not None
    await history.forget(stream)
    replay = await history.read(stream, before)
    assert (replay.recovered, replay.messages, replay.snapshot) == (False, [], [])
    assert replay.cursor.rpartition(":")[0] != before.rpartition(":")[0]
    assert (await history.read(stream, START)).messages == []
    assert await history.state(stream, "upload:u1") is None
    assert [entry async for entry in history.leased_uploads()] == []
    # A producer's id may come again, and a device takes a state that is above those it has.
    assert await history.append(for_user(ANNA, repeatable(1))) is not None
    again = await history.append(for_user(ANNA, leased(60, second=5)))
    assert again is not None
    assert again.number > state.number
    assert numbers(await history.read(stream, replay.cursor)) == [1]
    # Nobody else's is touched.
    assert cursor_of_other == await cursor_of(history, BEN)
    assert numbers(await history.read(user_stream(BEN), START)) == [7]


async def test_a_stream_can_be_forgotten_again_and_one_that_is_not_there(history: History) -> None:
    stream = user_stream(ANNA)
    await history.forget(stream)
    cursors = [await cursor_of(history)]
    for number in range(2):
        await history.append(for_user(ANNA, note(number)))
        await history.forget(stream)
        cursors.append(await cursor_of(history))
    assert len({cursor.rpartition(":")[0] for cursor in cursors}) == 3


async def test_what_is_published_while_a_stream_is_forgotten_is_there_or_not_but_never_half(history: History) -> None:
    stream = user_stream(ANNA)
    first = [history.append(for_user(ANNA, note(number))) for number in range(20)]
    last = [history.append(for_user(ANNA, note(number))) for number in range(20, 40)]
    await asyncio.gather(*first, history.forget(stream), *last)
    replay = await history.read(stream, START)
    found = numbers(replay)
    assert found == sorted(found)
    cursors = [json.loads(message)["cursor"] for message in replay.messages]
    assert {cursor.rpartition(":")[0] for cursor in cursors} <= {replay.cursor.rpartition(":")[0]}


async def test_a_cursor_of_another_user_is_noticed(history: History) -> None:
    for number in range(3):
        await history.append(for_user(ANNA, note(number)))
        await history.append(for_user(BEN, create_message("note", number)))
    replay = await history.read(user_stream(BEN), await cursor_of(history, ANNA))
    assert not replay.recovered
    assert numbers(replay) == [0, 1, 2]
