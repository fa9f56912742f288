"""A state that is read, changed and kept in place of the one that was read: on every engine, no change is lost.

So devices may mark messages as read at the same time, on any node. `replaces` names the version that was read, 0 if
there was none.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.entry import Entry
from tellwire.limits import HISTORY_MAX_AGE_SECONDS
from tellwire.messages import UploadProgress, UploadProgressMessage, create_message
from tellwire.model import Target
from tellwire.ports import History
from tellwire.publication import Publication, user_stream
from tellwire.retention import Retention
from tellwire.stream import seen_state
from tellwire.testing import FakeClock
from tests.contract.conftest import in_redis
from tests.dynamodb import create_history_table, local_environment, new_table_name
from tests.publications import for_user

ANNA = "anna"
STREAM = user_stream(ANNA)
KEY = "marks"


@pytest.fixture(params=["memory", "sqlite", "redis", "DynamoDB Local"])
async def nodes(
    request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path, retention: Retention, redis_prefix: str
) -> AsyncIterator[Sequence[History]]:
    """The history as each of two nodes has it; an engine of one process has one."""
    kinds: dict[str, Callable[[], Sequence[History]]] = {
        "memory": lambda: [MemoryHistory(clock, retention=retention)],
        "sqlite": lambda: [SqliteHistory(tmp_path / "history.sqlite3", clock, retention=retention)],
        "redis": lambda: [
            in_redis(request.getfixturevalue("redis_server"), redis_prefix, clock, retention) for _ in range(2)
        ],
        "DynamoDB Local": lambda: in_one_table(request.getfixturevalue("dynamodb_local"), clock),
    }
    async with AsyncExitStack() as stack:
        histories = kinds[request.param]()
        for each in histories:
            stack.push_async_callback(each.close)
        yield histories


def in_one_table(url: str, clock: FakeClock) -> Sequence[History]:
    name = new_table_name("history")
    create_history_table(url, name)
    environ = local_environment(url) | {"HISTORY_TABLE_NAME": name}
    return [DynamoHistory(open_history_table(environ), clock) for _ in range(2)]


def marked(numbers: set[int], replaces: int, size: int = 0) -> Publication:
    message = {"type": "marks", "data": [*sorted(numbers), "x" * size], "timestamp": "2026-11-29T10:00:00.000Z"}
    message_id = f"marks-{replaces}-{sorted(numbers)}"
    payload = json.dumps(message | {"id": message_id}, separators=(",", ":")).encode()
    return Publication(Target(user=ANNA), STREAM, message_id, "marks", payload, 0.0, KEY, replaces=replaces)


def numbers_of(entry: Entry | None) -> set[int]:
    return set() if entry is None else {each for each in json.loads(entry.payload)["data"] if isinstance(each, int)}


def version_of(entry: Entry | None) -> int | None:
    return None if entry is None else entry.number


async def mark(history: History, number: int) -> int:
    """Add a number to the state; return how often it was overtaken."""
    for overtaken in range(100):
        known = await history.state(STREAM, KEY)
        wanted = marked(numbers_of(known) | {number}, 0 if known is None else known.number)
        if await history.append(wanted) is not None:
            return overtaken
    raise AssertionError("overtaken by others, again and again")


def upload(number: int) -> Publication:
    data = UploadProgress(upload_id=f"u{number}", file_name="f.csv", progress=1, message="", status="running")
    return for_user(ANNA, UploadProgressMessage(data, "2026-11-25T10:00:00.000Z"))


async def test_of_changes_of_the_same_state_one_is_kept(nodes: Sequence[History]) -> None:
    first = await asyncio.gather(*(node.append(marked({n}, 0)) for n, node in enumerate([*nodes] * 4)))
    (kept,) = [each for each in first if each is not None]
    for node in nodes:
        assert version_of(await node.state(STREAM, KEY)) == kept.number
        assert await node.append(marked({99}, 0)) is None
        assert await node.append(marked({99}, kept.number - 1)) is None
        assert await node.append(marked({99}, kept.number + 1)) is None
    changes = (node.append(marked({n}, kept.number)) for n, node in enumerate([*nodes] * 4))
    (following,) = [each for each in await asyncio.gather(*changes) if each is not None]
    assert following.number > kept.number
    assert version_of(await nodes[0].state(STREAM, KEY)) == following.number


async def test_no_change_is_lost_however_many_come_at_once(nodes: Sequence[History]) -> None:
    together = [*nodes] * 4
    await asyncio.gather(*(mark(node, number) for number, node in enumerate(together)))
    assert numbers_of(await nodes[-1].state(STREAM, KEY)) == set(range(len(together)))
    (shown,) = (await nodes[0].read(STREAM, None)).snapshot
    assert numbers_of(shown) == set(range(len(together)))


async def test_a_forgotten_state_begins_anew(nodes: Sequence[History]) -> None:
    history = nodes[0]
    await mark(history, 1)
    before = await history.state(STREAM, KEY)
    assert before is not None
    await history.forget(STREAM)
    assert await history.append(marked({2}, before.number)) is None
    again = await history.append(marked({2}, 0))
    assert again is not None
    assert again.number > before.number


async def test_a_state_that_is_too_old_is_none(nodes: Sequence[History], clock: FakeClock) -> None:
    history = nodes[0]
    await mark(history, 1)
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    assert await history.state(STREAM, KEY) is None
    assert await history.append(marked({2}, 0)) is not None
    assert numbers_of(await history.state(STREAM, KEY)) == {2}


async def test_it_lives_as_long_as_it_changes_beside_running_uploads_and_messages(
    nodes: Sequence[History], clock: FakeClock
) -> None:
    history = nodes[0]
    await history.append(upload(1))
    await mark(history, 1)
    for number in range(2, 5):
        await clock.advance(HISTORY_MAX_AGE_SECONDS * 0.6)
        await history.append(for_user(ANNA, create_message("note", number)))
        await mark(history, number)
    assert numbers_of(await history.state(STREAM, KEY)) == {1, 2, 3, 4}
    # It is removed alone: the upload runs still.
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.append(for_user(ANNA, create_message("note", 9)))
    assert [entry.key for entry in (await history.read(STREAM, None)).snapshot] == ["upload:u1"]


@pytest.mark.parametrize("retention", [Retention(max_bytes=131_072, max_states=1)])
async def test_it_is_no_upload_and_takes_no_room_of_one(nodes: Sequence[History]) -> None:
    history = nodes[0]
    await history.append(for_user(ANNA, create_message("note", 1)))
    position = await history.position(STREAM)
    assert position is not None
    assert await history.append(seen_state(STREAM, position, 0.0)) is not None
    assert await history.append(marked({1}, 0, size=130_800)) is not None
    assert await history.append(upload(1)) is not None
    assert [entry.key async for entry in history.leased_uploads()] == ["upload:u1"]
    keys = [entry.key for entry in (await history.read(STREAM, None)).snapshot]
    assert keys == ["seen", KEY, "upload:u1"]
