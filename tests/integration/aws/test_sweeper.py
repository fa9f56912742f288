"""The sweeper with many uploads, with calls that are cut, and with little time. On Amazon's DynamoDB Local."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from bench import sweep as sweep_bench
from bench.disturbed_dynamodb import Disturbances, Disturbed, FunctionEnded
from tellwire.aws_api.deadline import deadline
from tellwire.broker import ComposedBroker
from tellwire.engines.aws import history_table
from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.engines.aws.sweeper import Swept
from tellwire.entry import Entry
from tellwire.errors import TellwireError
from tellwire.http_messages import HttpResponse
from tellwire.lease_expiry import LeaseExpiry
from tellwire.position import START
from tellwire.publication import user_stream
from tellwire.testing import FakeClock, MemoryCarrier
from tests.dynamodb import create_history_table, local_environment, new_table_name
from tests.publications import for_user

MakeHistory = Callable[[], DynamoHistory]


class Counting(Disturbed):
    """A client of DynamoDB that fails calls of one operation."""

    failing: Callable[[str, Any], BaseException | None] = staticmethod(lambda operation, parameters: None)

    async def _request(self, operation: str, parameters: Any) -> HttpResponse:
        error = self.failing(operation, parameters)
        if error is not None:
            raise error
        return await super()._request(operation, parameters)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def make_history(dynamodb_local: str, clock: FakeClock) -> AsyncIterator[MakeHistory]:
    table_name = new_table_name("history")
    create_history_table(dynamodb_local, table_name)
    async with AsyncExitStack() as stack:

        def make() -> DynamoHistory:
            table = open_history_table(local_environment(dynamodb_local) | {"HISTORY_TABLE_NAME": table_name})
            table._dynamodb = Counting(table._dynamodb._client, Disturbances((0.0, 0.0)), random.Random(1))
            history = DynamoHistory(table, clock)
            stack.push_async_callback(history.close)
            return history

        yield make


@pytest.fixture
def history(make_history: MakeHistory) -> DynamoHistory:
    return make_history()


def calls(history: DynamoHistory) -> Counter[str]:
    dynamodb = history._table._dynamodb
    assert isinstance(dynamodb, Counting)
    return dynamodb.calls


async def begin(history: DynamoHistory, *users: str) -> None:
    for user in users:
        data = {"uploadId": "u1", "fileName": "f.csv", "progress": 7, "message": "", "leaseSeconds": 30}
        message = {
            "type": "upload_progress",
            "data": data,
            "timestamp": "2026-11-25T10:00:00.000Z",
            "id": os.urandom(6).hex(),
        }
        assert await history.append(for_user(user, json.dumps(message).encode())) is not None


async def sweep(history: DynamoHistory, clock: FakeClock) -> Swept:
    return await history.sweep(LeaseExpiry(ComposedBroker(history, MemoryCarrier()), clock).expire)


async def status_of(history: DynamoHistory, user: str) -> str | None:
    entry = await history.state(user_stream(user), "upload:u1")
    return None if entry is None else entry.status


async def errors_of(history: DynamoHistory, user: str) -> list[str]:
    replay = await history.read(user_stream(user), START)
    return [json.loads(message)["data"]["code"] for message in replay.messages]


async def test_healthy_uploads_are_read_a_hundred_at_a_time(history: DynamoHistory, clock: FakeClock) -> None:
    users = [f"user-{number:03}" for number in range(250)]
    await begin(history, *users[:-1])
    await clock.advance(31)
    await begin(history, *users[:-1], users[-1])
    await clock.advance(20)
    calls(history).clear()
    assert await sweep(history, clock) == Swept(0, is_finished=True)
    assert calls(history) == {"Query": 1, "BatchGetItem": 3, "GetItem": 1}


async def test_the_silent_one_is_found_among_those_that_are_not(history: DynamoHistory, clock: FakeClock) -> None:
    await begin(history, "silent")
    await clock.advance(25)
    await begin(history, *(f"user-{number}" for number in range(120)))
    await clock.advance(10)
    assert await sweep(history, clock) == Swept(1, is_finished=True)
    assert await status_of(history, "silent") == "stalled"
    await clock.advance(31)
    assert (await sweep(history, clock)).expired == 121
    assert await status_of(history, "silent") == "failed"
    assert await errors_of(history, "silent") == ["UPLOAD_LOST"]


async def test_a_run_without_time_for_all_leaves_nobody_out_for_ever(
    history: DynamoHistory, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_table, "_PAGE", 10)
    users = [f"user-{number:02}" for number in range(40)]
    await begin(history, *users)
    await clock.advance(31)
    seen: list[str | None] = []
    runs = 0

    async def expire(entry: Entry) -> bool:
        seen.append(entry.target.user)  # it stays silent, so that each run finds all of them again
        return True

    class Pages:
        """The time of a run: it ends after 15 uploads."""

        def __init__(self) -> None:
            self.began_with = len(seen)

        def remaining_seconds(self) -> float:
            return 60.0 if len(seen) < self.began_with + 15 else 0.0

    while len(set(seen)) < len(users):
        runs += 1
        assert runs < 10
        monkeypatch.setattr("tellwire.engines.aws.sweeper.remaining_seconds", Pages().remaining_seconds)
        swept = await history.sweep(expire)
        assert (swept.is_finished, swept.error) == (False, None)
    monkeypatch.setattr("tellwire.engines.aws.sweeper.remaining_seconds", lambda: 60.0)
    seen.clear()
    assert await history.sweep(expire) == Swept(len(seen), is_finished=True)
    assert set(seen) == set(users)


async def test_time_that_is_over_is_no_error(history: DynamoHistory, clock: FakeClock) -> None:
    await begin(history, "anna")
    await clock.advance(31)
    with deadline(2.4):
        assert await sweep(history, clock) == Swept(0, is_finished=False)
    assert await sweep(history, clock) == Swept(1, is_finished=True)


async def test_one_that_cannot_be_published_stops_no_other(history: DynamoHistory, clock: FakeClock) -> None:
    await begin(history, "anna", "ben", "carla")
    await clock.advance(31)
    lease = LeaseExpiry(ComposedBroker(history, MemoryCarrier()), clock)

    async def expire(entry: Entry) -> bool:
        if entry.target.user == "ben":
            raise TellwireError("no")
        return await lease.expire(entry)

    swept = await history.sweep(expire)
    assert (swept.expired, swept.is_finished, str(swept.error)) == (2, True, "no")


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_failed_upload_never_comes_without_its_error(
    history: DynamoHistory, make_history: MakeHistory, clock: FakeClock, *, is_written: bool
) -> None:
    await begin(history, "anna")
    await clock.advance(61)
    cut = make_history()
    dynamodb = cut._table._dynamodb
    assert isinstance(dynamodb, Counting)
    for operation in ("PutItem", "UpdateItem", "TransactWriteItems"):
        dynamodb._disturbances = Disturbances((0.0, 0.0), ended=1.0 if is_written else 0.0)
        dynamodb.failing = lambda called, _, operation=operation: (  # type: ignore[misc]
            FunctionEnded() if called == operation and not is_written else None
        )
        with suppress(FunctionEnded):
            await sweep(cut, clock)
        is_failed = await status_of(history, "anna") == "failed"
        assert await errors_of(history, "anna") == (["UPLOAD_LOST"] if is_failed else [])
    await sweep(history, clock)
    assert await status_of(history, "anna") == "failed"
    assert await errors_of(history, "anna") == ["UPLOAD_LOST"]


async def test_two_sweepers_at_once_say_it_once(make_history: MakeHistory, clock: FakeClock) -> None:
    one, other = make_history(), make_history()
    await begin(one, *(f"user-{number}" for number in range(20)))
    await clock.advance(61)
    swept = await asyncio.gather(sweep(one, clock), sweep(other, clock))
    assert sum(each.expired for each in swept) == 20
    for number in range(20):
        assert await errors_of(one, f"user-{number}") == ["UPLOAD_LOST"]


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_the_last_of_ten_thousand_is_found_by_one_run(dynamodb_local: str) -> None:
    fleet = sweep_bench.Fleet(dynamodb_local, uploads=10_000)
    run = await sweep_bench.one_silent(fleet)
    assert run.swept == Swept(1, is_finished=True)
    assert run.calls["BatchGetItem"] == 100
    found = await fleet.found()
    assert (found.statuses["failed"], found.errors, found.without_error) == (1, 1, 0)


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_however_many_have_expired_some_runs_say_each_of_them_once(dynamodb_local: str) -> None:
    fleet = sweep_bench.Fleet(dynamodb_local, uploads=600)
    runs = await sweep_bench.all_silent(fleet, seconds=4.0, sweepers=2)
    assert len(runs) > 2  # the time was too short
    assert all(run.swept.error is None for run in runs)
    assert sum(run.swept.expired for run in runs) <= 600  # one may be cut before it knows
    found = await fleet.found()
    assert (found.statuses, found.errors, found.doubled, found.without_error) == ({"failed": 600}, 600, 0, 0)
