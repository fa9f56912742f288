"""The store on a Redis Cluster of three masters: slots, their moves, and a master that is away."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.crc import key_slot

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.errors import ConfigError, HistoryUnavailable
from tests.redis_server import RedisCluster, RedisServer
from tests.tools import until


@pytest.fixture
async def store(redis_cluster: RedisCluster) -> AsyncIterator[RedisStore]:
    store = RedisStore(RedisAddress.parse(redis_cluster.url))
    yield store
    await store.close()


async def test_calls_go_to_the_masters_of_their_slots(store: RedisStore) -> None:
    await store.open()
    calls = [Call(script("ping"), [f"{{{index}}}".encode()], [index]) for index in range(300)]
    assert await store.call_all(calls) == [str(index).encode() for index in range(300)]
    assert len({await store.endpoint(f"{{{index}}}".encode()) for index in range(300)}) == 3


async def test_an_endpoint_is_that_of_the_slot(store: RedisStore, redis_cluster: RedisCluster) -> None:
    for index in range(10):
        key = Names("t").of_bucket("ch", index)
        assert (await store.endpoint(key)).port == redis_cluster.server_of(key).port


async def test_calls_keep_their_order_while_their_slot_moves(
    store: RedisStore, redis_cluster: RedisCluster, redis_prefix: str
) -> None:
    key = f"{redis_prefix}:list".encode()
    source = redis_cluster.server_of(key)
    target = next(each for each in redis_cluster.servers if each is not source)
    is_moved = False

    async def publish() -> int:
        count = 0
        begun: list[asyncio.Future[None]] = []
        while not is_moved or count < 200:
            begun.append(asyncio.ensure_future(store.command("RPUSH", key, count, key=key)))
            count += 1
            # Some turns of the event loop later, so that there are several pipelines in flight.
            await (begun[count - 20] if count % 20 == 0 else asyncio.sleep(0))
        await asyncio.gather(*begun)
        return count

    publishing = asyncio.create_task(publish())
    await asyncio.sleep(0.05)
    await asyncio.to_thread(redis_cluster.move_slot, key_slot(key), source, target)
    is_moved = True
    count = await publishing
    found = await store.command("LRANGE", key, 0, -1, key=key, writes=False)
    assert [int(each) for each in found] == list(range(count))
    assert (await store.endpoint(key)).port == target.port


@pytest.mark.long
async def test_a_master_that_is_away_is_the_trouble_of_its_own_slots(
    store: RedisStore, redis_cluster: RedisCluster
) -> None:
    keys = [f"{{{index}}}".encode() for index in range(100)]
    gone = redis_cluster.servers[2]
    away = [key for key in keys if redis_cluster.server_of(key) is gone]
    await store.call_all([Call(script("ping"), [key], [1]) for key in keys])
    gone.kill()
    try:
        outcomes = await store.call_all([Call(script("ping"), [key], [1]) for key in keys])
        assert {key for key, each in zip(keys, outcomes, strict=True) if each != b"1"} == set(away)
        assert store.trouble() is None
        await until(lambda: store.trouble(away[0]))
    finally:
        gone.start()
    async with asyncio.timeout(60):
        while await store.call_all([Call(script("ping"), [key], [1]) for key in keys]) != [b"1"] * len(keys):
            await asyncio.sleep(0.1)
    assert store.trouble(away[0]) is None


async def test_a_redis_that_is_no_cluster_is_an_error_of_the_settings(redis_server: RedisServer) -> None:
    store = RedisStore(RedisAddress.parse(redis_server.url.replace("redis://", "redis+cluster://")))
    with pytest.raises(ConfigError, match="that is no cluster"):
        await store.open()
    with pytest.raises(HistoryUnavailable, match="no cluster"):
        await store.call(script("ping"), [b"{1}"], [1])
    await store.close()


async def test_a_node_of_a_cluster_is_no_redis_of_its_own(redis_cluster: RedisCluster) -> None:
    store = RedisStore(RedisAddress.parse(redis_cluster.servers[0].url))
    with pytest.raises(ConfigError, match=r"redis\+cluster://"):
        await store.open()
    await store.close()
