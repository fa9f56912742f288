"""The contract of every `RequestLedger`: in memory, in an SQLite file, in Redis, and in DynamoDB."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.requests import DynamoRequests
from tellwire.engines.memory.requests import MemoryRequests
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.scripts import time_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.requests import RedisRequests
from tellwire.engines.sqlite.requests import SqliteRequests
from tellwire.errors import RequestRunning
from tellwire.limits import MAX_REQUEST_ANSWER_BYTES, REQUEST_KEEP_SECONDS, REQUESTS_PER_USER
from tellwire.ports import RequestLedger
from tellwire.testing import FakeClock
from tests.dynamodb import create_history_table, local_environment, new_table_name
from tests.redis_server import RedisServer

ANNA, BEN = "anna", "ben"
ANSWER = b'{"type":"ok","data":{"id":"r1"}}'


@dataclass
class Ledger:
    """A ledger as one node has it, and as another node, or the same one after a kill, has it: `reopen`.

    `is_shared`: both may be used at once.
    """

    here: RequestLedger
    reopen: Callable[[], RequestLedger] | None = None
    is_shared: bool = False
    is_bounded: bool = True


@pytest.fixture(params=["memory", "sqlite", "redis", "DynamoDB Local"])
async def ledger(
    request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path, redis_prefix: str
) -> AsyncIterator[Ledger]:
    def in_redis() -> AbstractAsyncContextManager[Ledger]:
        return redis_ledger(request.getfixturevalue("redis_server"), redis_prefix, clock)

    kinds: dict[str, Callable[[], AbstractAsyncContextManager[Ledger]]] = {
        "memory": lambda: nullcontext(Ledger(MemoryRequests(clock))),
        "sqlite": lambda: sqlite_ledger(tmp_path, clock),
        "redis": in_redis,
        "DynamoDB Local": lambda: dynamodb_ledger(request.getfixturevalue("dynamodb_local"), clock),
    }
    async with kinds[request.param]() as ledger:
        yield ledger


@asynccontextmanager
async def sqlite_ledger(directory: Path, clock: FakeClock) -> AsyncIterator[Ledger]:
    opened = [SqliteRequests(directory / "requests", clock)]

    def reopen() -> RequestLedger:
        # The files as kill -9 leaves them: nothing is closed.
        for file in directory.glob("requests*"):
            shutil.copy(file, directory / file.name.replace("requests", "killed"))
        opened.append(SqliteRequests(directory / "killed", clock))
        return opened[-1]

    yield Ledger(opened[0], reopen)
    for each in opened:
        await each.close()


@asynccontextmanager
async def redis_ledger(server: RedisServer, prefix: str, clock: FakeClock) -> AsyncIterator[Ledger]:
    stores = [RedisStore(RedisAddress.parse(server.url)) for _ in range(2)]
    here, there = (RedisRequests(store, Names(prefix), time_of(clock)) for store in stores)
    yield Ledger(here, lambda: there, is_shared=True)
    for store in stores:
        await store.close()


@asynccontextmanager
async def dynamodb_ledger(url: str, clock: FakeClock) -> AsyncIterator[Ledger]:
    name = new_table_name("requests")
    create_history_table(url, name)
    tables = [open_history_table(local_environment(url) | {"HISTORY_TABLE_NAME": name}) for _ in range(2)]
    here, there = (DynamoRequests(table, clock) for table in tables)
    yield Ledger(here, lambda: there, is_shared=True, is_bounded=False)
    for table in tables:
        await table.close()


@pytest.fixture
def requests(ledger: Ledger) -> RequestLedger:
    return ledger.here


async def test_a_request_is_run_once_and_its_answer_is_told_again(requests: RequestLedger) -> None:
    assert await requests.begin(ANNA, "r1") is None
    await requests.finish(ANNA, "r1", ANSWER)
    assert await requests.begin(ANNA, "r1") == ANSWER
    assert await requests.begin(ANNA, "r1") == ANSWER


async def test_while_it_runs_it_is_not_run_again(requests: RequestLedger) -> None:
    assert await requests.begin(ANNA, "r1") is None
    with pytest.raises(RequestRunning):
        await requests.begin(ANNA, "r1")


async def test_users_have_requests_of_their_own(requests: RequestLedger) -> None:
    for user_id in (ANNA, BEN):
        assert await requests.begin(user_id, "r1") is None
    await requests.finish(ANNA, "r1", b"anna's")
    await requests.finish(BEN, "r1", b"ben's")
    assert [await requests.begin(user_id, "r1") for user_id in (ANNA, BEN)] == [b"anna's", b"ben's"]


async def test_any_id_will_do(requests: RequestLedger) -> None:
    for user_id in ("#user", "user:1", "ада/../\n", "x" * 2043):
        for request_id in ("#", "ä" * 64, "\n", "a b"):
            assert await requests.begin(user_id, request_id) is None
            await requests.finish(user_id, request_id, "{ä}".encode())
            assert await requests.begin(user_id, request_id) == "{ä}".encode()


async def test_of_many_at_once_on_all_nodes_one_runs_it(ledger: Ledger) -> None:
    nodes = [ledger.here] * 20
    if ledger.is_shared and ledger.reopen is not None:
        nodes += [ledger.reopen()] * 20

    async def is_ours(node: RequestLedger) -> bool:
        try:
            return await node.begin(ANNA, "r1") is None
        except RequestRunning:
            return False

    assert sum(await asyncio.gather(*map(is_ours, nodes))) == 1


@pytest.mark.parametrize("is_finished", [True, False])
async def test_it_is_remembered_for_its_time_whether_it_ended_or_its_node_died(
    requests: RequestLedger, clock: FakeClock, is_finished: bool
) -> None:
    assert await requests.begin(ANNA, "r1") is None
    if is_finished:
        await requests.finish(ANNA, "r1", ANSWER)
    await clock.advance(REQUEST_KEEP_SECONDS - 1)
    if is_finished:
        assert await requests.begin(ANNA, "r1") == ANSWER
    else:
        with pytest.raises(RequestRunning):
            await requests.begin(ANNA, "r1")
    await clock.advance(2)
    assert await requests.begin(ANNA, "r1") is None
    # It is a new one, in every respect.
    with pytest.raises(RequestRunning):
        await requests.begin(ANNA, "r1")
    await requests.finish(ANNA, "r1", b"again")
    await clock.advance(REQUEST_KEEP_SECONDS - 1)
    assert await requests.begin(ANNA, "r1") == b"again"


async def test_the_end_of_one_that_is_forgotten_changes_nothing(requests: RequestLedger, clock: FakeClock) -> None:
    await requests.finish(ANNA, "r1", ANSWER)
    assert await requests.begin(ANNA, "r1") is None
    await requests.forget(ANNA)
    await requests.finish(ANNA, "r1", ANSWER)
    assert await requests.begin(ANNA, "r1") is None


async def test_it_outlives_its_process(ledger: Ledger) -> None:
    if ledger.reopen is None:
        pytest.skip("it ends with its process")
    assert await ledger.here.begin(ANNA, "ended") is None
    await ledger.here.finish(ANNA, "ended", ANSWER)
    assert await ledger.here.begin(ANNA, "running") is None
    other = ledger.reopen()
    assert await other.begin(ANNA, "ended") == ANSWER
    with pytest.raises(RequestRunning):
        await other.begin(ANNA, "running")


async def test_the_requests_of_a_user_are_forgotten(requests: RequestLedger) -> None:
    for user_id in (ANNA, BEN):
        for number in range(3):
            await requests.begin(user_id, f"r{number}")
    await requests.forget(ANNA)
    await requests.forget(ANNA)
    assert [await requests.begin(ANNA, f"r{number}") for number in range(3)] == [None] * 3
    with pytest.raises(RequestRunning):
        await requests.begin(BEN, "r0")


async def test_those_of_a_user_that_began_first_are_dropped(ledger: Ledger) -> None:
    if not ledger.is_bounded:
        pytest.skip("all are remembered for their time")
    requests = ledger.here
    await requests.begin(BEN, "r")
    for number in range(REQUESTS_PER_USER):
        await requests.begin(ANNA, f"r{number}")
    with pytest.raises(RequestRunning):
        await requests.begin(ANNA, "r0")
    await requests.begin(ANNA, "one more")
    for kept in (f"r{REQUESTS_PER_USER - 1}", "r1"):
        with pytest.raises(RequestRunning):
            await requests.begin(ANNA, kept)
    assert await requests.begin(ANNA, "r0") is None
    with pytest.raises(RequestRunning):
        await requests.begin(BEN, "r")


async def test_the_longest_answer_is_kept(requests: RequestLedger) -> None:
    answer = b'{"text":"%b"}' % (b"x" * (MAX_REQUEST_ANSWER_BYTES - 11))
    assert len(answer) == MAX_REQUEST_ANSWER_BYTES
    await requests.begin(ANNA, "r1")
    await requests.finish(ANNA, "r1", answer)
    assert await requests.begin(ANNA, "r1") == answer
