"""The contract of every `History`: in memory, in an SQLite file, and in DynamoDB.

DynamoDB is Amazon's own, DynamoDB Local: moto's conditional writes are not atomic, and for a thousand items it takes a
minute.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, HISTORY_MAX_MESSAGES, HISTORY_MAX_STATES
from tellwire.messages import create_message
from tellwire.ports import History
from tellwire.publication import Publication, user_stream
from tellwire.stream import START, Replay
from tellwire.testing import FakeClock
from tests.dynamodb import create_history_table, local_environment, new_table_name
from tests.publications import acknowledge, for_user

ANNA, BEN = "anna", "ben"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "DynamoDB Local"])
async def history(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> AsyncIterator[History]:
    kinds: dict[str, Callable[[], History]] = {
        "memory": lambda: MemoryHistory(clock),
        "sqlite": lambda: SqliteHistory(tmp_path / "history.sqlite3", clock),
        "DynamoDB Local": lambda: in_dynamodb(request.getfixturevalue("dynamodb_local"), clock),
    }
    history = kinds[request.param]()
    yield history
    await history.close()


def in_dynamodb(url: str, clock: FakeClock) -> DynamoHistory:
    table_name = new_table_name("history")
    create_history_table(url, table_name)
    return DynamoHistory(open_history_table(local_environment(url) | {"HISTORY_TABLE_NAME": table_name}), clock)


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


def leased(value: float, status: str = "running", second: int = 0, run: int = 0) -> Publication:
    data = {"uploadId": "u1", "fileName": "f.csv", "progress": value, "message": "", "status": status}
    data |= {"startedAt": f"2026-11-25T09:00:{run:02}.000Z", "leaseSeconds": 30}
    message = {"type": "upload_progress", "data": data, "timestamp": f"2026-11-25T10:00:{second:02}.000Z"}
    return for_user("anna", json.dumps({**message, "id": f"{value}-{status}-{second}-{run}"}).encode())


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
    await history.append(for_user(ANNA, progress(10)))
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


async def test_the_later_of_two_runs_counts(history: History) -> None:
    await history.append(for_user(ANNA, leased(50, "cancelled", second=30)))
    assert await history.append(for_user(ANNA, leased(7, second=31, run=20))) is not None
    assert await history.append(for_user(ANNA, leased(100, "complete", second=40))) is None
    assert shown(await history.read(user_stream(ANNA), None))["upload:u1"] == 7


async def test_a_state_made_from_a_replaced_state_is_not_kept(history: History) -> None:
    first = await history.append(for_user(ANNA, leased(10)))
    second = await history.append(for_user(ANNA, leased(20, second=1)))
    assert first is not None
    assert second is not None
    verdict = leased(10, "stalled", second=2)
    assert await history.append(for_user(ANNA, msgspec.structs.replace(verdict, replaces=first.number))) is None
    assert await history.append(for_user(ANNA, msgspec.structs.replace(verdict, replaces=second.number))) is not None


async def test_leased_uploads_are_found(history: History) -> None:
    async def found() -> list[tuple[str, str | None]]:
        return [(entry.target.user or "", entry.status) async for entry in history.leased_uploads()]

    assert await found() == []
    await history.append(for_user(ANNA, leased(10)))
    await history.append(for_user(BEN, progress(10)))
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


async def test_the_seen_state_is_kept_beside_any_number_of_uploads(history: History) -> None:
    await history.append(for_user(ANNA, note(0)))
    cursor = await cursor_of(history)
    await acknowledge(history, ANNA, cursor)
    async with asyncio.TaskGroup() as group:
        for number in range(HISTORY_MAX_STATES + 1):
            group.create_task(history.append(for_user(ANNA, progress(1, upload_id=f"u{number}"))))
    assert await seen(history) == [cursor]


async def test_the_states_unchanged_longest_go_first(history: History) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(HISTORY_MAX_STATES + 1):
            group.create_task(history.append(for_user(ANNA, progress(1, upload_id=f"u{number}"))))
    kept = shown(await history.read(user_stream(ANNA), None))
    assert len(kept) == HISTORY_MAX_STATES
    assert "upload:u0" not in kept
