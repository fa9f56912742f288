"""The histories that contracts run on: in memory, in an SQLite file, in Redis, and in DynamoDB."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history import DynamoHistory
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.ports import History
from tellwire.retention import Retention
from tellwire.testing import FakeClock
from tellwire.topics import TopicRules
from tests.dynamodb import create_history_table, local_environment, new_table_name
from tests.redis_server import RedisServer


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def retention() -> Retention:
    """The default; a test that needs another one parametrizes it."""
    return Retention()


@pytest.fixture(params=["memory", "sqlite", "redis", "DynamoDB Local"])
async def history(
    request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path, retention: Retention, redis_prefix: str
) -> AsyncIterator[History]:
    kinds: dict[str, Callable[[], History]] = {
        "memory": lambda: MemoryHistory(clock, retention=retention),
        "sqlite": lambda: SqliteHistory(tmp_path / "history.sqlite3", clock, retention=retention),
        "redis": lambda: in_redis(request.getfixturevalue("redis_server"), redis_prefix, clock, retention),
        "DynamoDB Local": lambda: in_dynamodb(request.getfixturevalue("dynamodb_local"), clock, retention),
    }
    history = kinds[request.param]()
    yield history
    await history.close()


def in_dynamodb(url: str, clock: FakeClock, retention: Retention) -> DynamoHistory:
    table_name = new_table_name("history")
    create_history_table(url, table_name)
    table = open_history_table(local_environment(url) | {"HISTORY_TABLE_NAME": table_name})
    table.topics = TopicRules(retention)
    return DynamoHistory(table, clock)


class OwnRedisHistory(RedisHistory):
    """A history with a store of its own, which it closes."""

    async def close(self) -> None:
        await self._store.close()


def in_redis(server: RedisServer, prefix: str, clock: FakeClock, retention: Retention) -> RedisHistory:
    store = RedisStore(RedisAddress.parse(server.url))
    return OwnRedisHistory(store, Names(prefix), clock, retention)
