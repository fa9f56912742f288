"""Slow, cut and lost calls on DynamoDB Local: no client that heard `recovered: true` misses anything.

`bench.disturbed_dynamodb` has the disturbances, and compares every message. Each of these takes a few seconds.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from bench.disturbed_dynamodb import Disturbances, Disturbed, Matrix, Reconciled
from tellwire.aws_api.client import Retries
from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.position import START
from tellwire.publication import user_stream
from tests.dynamodb import create_history_table, local_environment, new_table_name
from tests.publications import for_user

QUICK = Retries(attempts=4, first_wait_seconds=0.001, longest_wait_seconds=0.01)
MakeHistory = Callable[[Disturbances, random.Random], DynamoHistory]


@pytest.fixture
async def make_history(dynamodb_local: str) -> AsyncIterator[MakeHistory]:
    """Make the history of a function of its own, whose calls are disturbed."""
    table_name = new_table_name("history")
    create_history_table(dynamodb_local, table_name)
    async with AsyncExitStack() as stack:

        def make(disturbances: Disturbances, generator: random.Random) -> DynamoHistory:
            table = open_history_table(local_environment(dynamodb_local) | {"HISTORY_TABLE_NAME": table_name}, QUICK)
            table._dynamodb = Disturbed(table._dynamodb._client, disturbances, generator)
            # Readers that wait less than some writers need: so there are holes.
            history = DynamoHistory(table, hole_seconds=0.2)
            stack.push_async_callback(history.close)
            return history

        yield make


def assert_lossless(outcome: Reconciled) -> None:
    assert (outcome.lost, outcome.duplicated, outcome.out_of_order) == (0, 0, 0), outcome
    assert outcome.not_recovered == 0, outcome


@pytest.mark.parametrize("put_seconds", [(0.02, 0.02), (0.15, 0.35), pytest.param((0.5, 1.0), marks=pytest.mark.long)])
@pytest.mark.parametrize("writers", [1, 16, 20, 50])
async def test_however_many_write_at_once_and_however_slowly(
    make_history: MakeHistory, writers: int, put_seconds: tuple[float, float]
) -> None:
    outcome = await Matrix(make_history, Disturbances(put_seconds), writers, hellos=(0.0, 0.1, put_seconds[1])).run()
    assert_lossless(outcome)
    assert (outcome.accepted, outcome.refused) == (writers, 0)


@pytest.mark.parametrize("writers", [3, 20])
async def test_answers_that_are_lost_and_functions_that_end(make_history: MakeHistory, writers: int) -> None:
    disturbances = Disturbances((0.02, 0.2), lost=0.15, ended=0.15)
    outcome = await Matrix(make_history, disturbances, writers, messages=3, hellos=(0.05, 0.3, 0.6)).run()
    assert_lossless(outcome)
    assert outcome.refused == 0


async def test_readers_do_not_starve_a_writer(make_history: MakeHistory) -> None:
    # A writer whose writes take longer than a reader waits, and readers that ask without pause.
    reader = make_history(Disturbances((0.0, 0.0)), random.Random(1))
    reader._reader._hole_seconds = 0.05
    writer = make_history(Disturbances((0.35, 0.35)), random.Random(2))
    writing = asyncio.create_task(writer.append(for_user("matrix", create_message("numbered", "slow"))))

    async def read_on() -> None:
        while not writing.done():
            await reader.read(user_stream("matrix"), START)

    await asyncio.gather(*(read_on() for _ in range(3)))
    entry = await writing
    assert entry is not None
    assert entry.number <= 4
    assert (await reader.read(user_stream("matrix"), START)).messages == [entry.payload]


async def test_fifty_workers_on_one_state_write_little_more_than_once(make_history: MakeHistory) -> None:
    histories = [make_history(Disturbances((0.0, 0.01)), random.Random(number)) for number in range(50)]
    states = [
        for_user("matrix", create_upload_progress_message("u1", "f.csv", number / 2, ""))
        for number in range(len(histories))
    ]
    outcomes = await asyncio.gather(
        *(history.append(state) for history, state in zip(histories, states, strict=True)), return_exceptions=True
    )
    assert [each for each in outcomes if isinstance(each, BaseException)] == []
    puts = sum(history._table._dynamodb.calls["PutItem"] for history in histories)  # type: ignore[attr-defined]
    # Twice as many on a quiet machine, four times on a busy one; each against all others would be 25 times.
    assert puts < 8 * len(histories)


async def test_a_writer_that_loses_again_pauses_before_each_further_attempt(
    make_history: MakeHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = make_history(Disturbances(), random.Random(0))
    put, attempts, paused_after = history._put_and_note, 0, []

    async def loses(*arguments: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return (False, None) if attempts <= 6 else await put(*arguments)

    def pauses() -> Iterator[float]:
        while True:
            paused_after.append(attempts)
            yield 0.0

    monkeypatch.setattr(history, "_put_and_note", loses)
    monkeypatch.setattr("tellwire.engines.aws.history._pauses", pauses)
    entry = await history.append(for_user("matrix", create_upload_progress_message("u1", "f.csv", 50, "")))
    assert entry is not None
    # The first loss tells the state there is, so the second attempt needs no pause.
    assert paused_after == [2, 3, 4, 5, 6]
