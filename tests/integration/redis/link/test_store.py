"""The store: pipelines, lost connections, and the words of errors, with a real Redis."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.scripts import script
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable
from tellwire.messages import create_message
from tellwire.publication import user_stream
from tests.publications import for_user
from tests.redis_server import RedisServer, running
from tests.tools import until


async def test_a_script_answers_with_its_argument(redis_store: RedisStore) -> None:
    await redis_store.open()
    assert await redis_store.call(script("ping"), [b"{1}"], [b"a\r\nb\x00"]) == b"a\r\nb\x00"


async def test_calls_that_begin_together_get_each_its_own_answer(redis_store: RedisStore) -> None:
    calls = [Call(script("ping"), [b"{1}"], [index]) for index in range(3000)]
    assert await redis_store.call_all(calls) == [str(index).encode() for index in range(3000)]


async def test_commands_run_in_the_order_in_which_they_began(redis_store: RedisStore, redis_prefix: str) -> None:
    key = redis_prefix.encode()
    await asyncio.gather(*(redis_store.command("RPUSH", key, index, key=key) for index in range(100)))
    found = await redis_store.command("LRANGE", key, 0, -1, key=key, writes=False)
    assert [int(each) for each in found] == list(range(100))


async def test_a_script_that_redis_has_forgotten_is_loaded_again(
    redis_store: RedisStore, redis_server: RedisServer
) -> None:
    assert await redis_store.call(script("ping"), [b"{1}"], [1]) == b"1"
    redis_server.command("SCRIPT", "FLUSH")
    assert await redis_store.call(script("ping"), [b"{1}"], [2]) == b"2"
    assert redis_store.trouble() is None


async def test_a_pipeline_is_sent_while_another_one_is_in_flight(
    redis_store: RedisStore, redis_server: RedisServer, redis_prefix: str
) -> None:
    key = redis_prefix.encode()
    blocked = asyncio.ensure_future(redis_store.command("BLPOP", key, 1, key=key))

    async def unread(count: str) -> bool:
        clients = (await asyncio.to_thread(redis_server.command, "CLIENT", "LIST")).splitlines()
        return any("cmd=blpop" in each and (" qbuf=0 " in each) == (count == "0") for each in clients)

    await until(lambda: unread("0"))
    later = asyncio.ensure_future(redis_store.call(script("ping"), [b"{1}"], [1]))
    await until(lambda: unread("some"))
    assert await blocked is None
    assert await later == b"1"


async def test_calls_keep_their_order_while_redis_forgets_its_scripts(
    redis_store: RedisStore, redis_server: RedisServer, redis_prefix: str
) -> None:
    history = RedisHistory(redis_store, Names(redis_prefix))
    kept: list[asyncio.Future[Entry | None]] = []
    for number in range(300):
        kept.append(asyncio.ensure_future(history.append(for_user("anna", create_message("note", number)))))
        if number % 50 == 10:
            # So that some are in flight.
            redis_server.command("SCRIPT", "FLUSH")
        await asyncio.sleep(0)
    entries = await asyncio.gather(*kept)
    assert [each.number for each in entries if each is not None] == list(range(1, 301))


async def test_a_key_of_somebody_else_fails_the_publications_of_its_stream_alone(
    redis_store: RedisStore, redis_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = Names(redis_prefix)
    history = RedisHistory(redis_store, names)
    await history.append(for_user("user-2", create_message("note", 0)))
    log = names.of_stream("log", user_stream("user-2"))
    await redis_store.command("SET", log, "of somebody else", key=log)
    outcomes = await history.keep_all([for_user(f"user-{number}", create_message("note", 1)) for number in range(5)])
    assert [isinstance(each, HistoryUnavailable) for each in outcomes] == [False, False, True, False, False]
    assert "WRONGTYPE" in caplog.text
    assert redis_store.trouble() is None


async def test_without_a_redis_calls_fail_at_once_and_say_why() -> None:
    store = RedisStore(RedisAddress.parse("redis://:secret-word@127.0.0.1:1"))
    with pytest.raises(HistoryUnavailable, match="cannot be reached") as caught:
        await store.call(script("ping"), [b"{1}"], [1])
    assert "secret-word" not in str(caught.value)
    assert store.trouble()
    async with asyncio.timeout(0.1):
        with pytest.raises(HistoryUnavailable):
            await store.call(script("ping"), [b"{1}"], [1])
    await store.close()


async def test_a_connection_that_redis_closed_while_nobody_used_it_is_opened_again(
    redis_store: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.link.lane.REDIS_REST_SECONDS", 0.05)
    returns: list[bool] = []
    redis_store.on_return(lambda: returns.append(True))
    await redis_store.call(script("ping"), [b"{1}"], [1])
    redis_server.command("CLIENT", "KILL", "TYPE", "normal")
    await asyncio.sleep(0.1)
    assert await redis_store.call(script("ping"), [b"{1}"], [2]) == b"2"
    assert returns == [True]


async def test_a_connection_that_is_killed_in_use_fails_what_was_in_flight_and_nothing_later(
    redis_store: RedisStore, redis_server: RedisServer, redis_prefix: str
) -> None:
    key = redis_prefix.encode()
    blocked = asyncio.create_task(redis_store.command("BLPOP", key, 0, key=key))
    await until(lambda: "cmd=blpop" in redis_server.command("CLIENT", "LIST"))
    later = asyncio.create_task(redis_store.call(script("ping"), [b"{1}"], [1]))
    await asyncio.to_thread(redis_server.command, "CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(HistoryUnavailable, match="cannot be reached"):
        await blocked
    assert await later == b"1"


async def test_an_answer_that_takes_too_long_is_trouble_until_redis_answers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.link.lane.REDIS_TIMEOUT_SECONDS", 0.2)
    with running(tmp_path) as server:
        store = RedisStore(RedisAddress.parse(server.url))
        await store.call(script("ping"), [b"{1}"], [1])
        server.freeze()
        first, second = await store.call_all([Call(script("ping"), [b"{1}"], [each]) for each in (1, 2)])
        assert "did not answer" in str(first)
        assert "did not answer" in str(second)
        assert "did not answer" in (store.trouble() or "")
        async with asyncio.timeout(0.1):
            with pytest.raises(HistoryUnavailable):
                await store.call(script("ping"), [b"{1}"], [1])
        server.thaw()
        await until(lambda: store.trouble() is None)
        assert await store.call(script("ping"), [b"{1}"], [3]) == b"3"
        await store.close()


async def test_a_full_memory_refuses_writes_in_words_and_is_over_with_the_first_that_succeeds(tmp_path: Path) -> None:
    with running(tmp_path, "--maxmemory", "100kb") as server:
        store = RedisStore(RedisAddress.parse(server.url))
        with pytest.raises(HistoryUnavailable, match="memory of Redis is full"):
            await store.command("SET", "k", "v", key=b"k")
        assert "full" in (store.trouble() or "")
        assert await store.call(script("ping"), [b"{1}"], [1]) == b"1"
        await store.call(script("node_gone"), [b"{1}a", b"{1}b"], [0, "node"])  # which also runs with a full memory
        assert "full" in (store.trouble() or "")
        server.command("CONFIG", "SET", "maxmemory", "0")
        await store.command("SET", "k", "v", key=b"k")
        assert store.trouble() is None
        await store.close()


async def test_a_full_memory_is_over_although_nobody_writes(tmp_path: Path) -> None:
    with running(tmp_path, "--maxmemory", "100kb") as server:
        store = RedisStore(RedisAddress.parse(server.url))
        with pytest.raises(HistoryUnavailable, match="memory of Redis is full"):
            await store.command("SET", "k", "v", key=b"k")
        server.command("CONFIG", "SET", "maxmemory", "0")
        await until(lambda: store.trouble() is None)
        await store.close()


async def test_a_write_waits_for_replicas_if_it_must(tmp_path: Path) -> None:
    with running(tmp_path / "master", "--repl-diskless-sync-delay", "0") as master:
        address = RedisAddress.parse(master.url)
        careful = RedisStore(address, wait_replicas=1)
        with pytest.raises(HistoryUnavailable, match="0 replicas have it"):
            await careful.command("SET", "k", "v", key=b"k")
        assert await careful.command("GET", "k", key=b"k", writes=False) == b"v"
        with running(tmp_path / "replica", "--replicaof", "127.0.0.1", str(master.port)):
            await until(lambda: "state=online" in master.command("INFO", "replication"))
            await careful.command("SET", "k", "w", key=b"k")
        await careful.close()


async def test_too_many_bytes_that_wait_are_refused_at_once(
    redis_store: RedisStore, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.link.lane.REDIS_WAITING_BYTES", 1000)
    key = redis_prefix.encode()
    writes = (redis_store.command("RPUSH", key, b"x" * 400, key=key) for _ in range(5))
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(each, HistoryUnavailable) for each in outcomes] == [False, False, True, True, True]


async def test_a_script_that_fails_is_told_in_the_log_and_not_to_producers(
    redis_store: RedisStore, redis_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = redis_prefix.encode()
    await redis_store.command("SET", key, "v", key=key)
    with pytest.raises(HistoryUnavailable, match="the log has more"):
        await redis_store.command("RPUSH", key, "v", key=key)
    assert "WRONGTYPE" in caplog.text
    assert redis_store.trouble() is None


async def test_calls_go_on_although_a_part_of_the_engine_fails_or_an_answer_cannot_be_read(
    redis_store: RedisStore,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails() -> None:
        raise RuntimeError("a fault in a callback")

    redis_store.on_return(fails)
    await redis_store.call(script("ping"), [b"{1}"], [1])
    with monkeypatch.context() as faulty:
        faulty.setattr("tellwire.engines.redis.link.pipeline.Pipelines.take", None)
        faulty.setattr("tellwire.engines.redis.link.call_link.CallLink.start", None)
        with pytest.raises(HistoryUnavailable):
            await redis_store.call(script("ping"), [b"{1}"], [2])
        await until(lambda: redis_store.trouble() is not None)
    await until(lambda: redis_store.trouble() is None)
    assert await redis_store.call(script("ping"), [b"{1}"], [3]) == b"3"
    assert "a fault in a callback" in caplog.text


async def test_a_read_whose_connection_is_killed_is_repeated(
    redis_store: RedisStore, redis_server: RedisServer, redis_prefix: str
) -> None:
    key = redis_prefix.encode()
    # As slow as a read can be.
    read = asyncio.create_task(redis_store.command("BLPOP", key, 1, key=key, writes=False))
    await until(lambda: "cmd=blpop" in redis_server.command("CLIENT", "LIST"))
    await asyncio.to_thread(redis_server.command, "CLIENT", "KILL", "TYPE", "normal")
    assert await read is None


async def test_a_master_that_has_become_a_replica_is_one_trouble_until_it_is_a_master_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path) as server:
        store = RedisStore(RedisAddress.parse(server.url))
        await store.command("SET", "k", "v", key=b"k")
        server.command("REPLICAOF", "127.0.0.1", "1")
        for _ in range(30):
            with pytest.raises(HistoryUnavailable, match="is a replica"):
                await store.command("SET", "k", "w", key=b"k")
            await asyncio.sleep(0.02)
        assert "is a replica" in (store.trouble() or "")
        assert [each.getMessage() for each in caplog.records] == [
            "Redis is away: this Redis is a replica, and takes no writes"
        ]
        server.command("REPLICAOF", "NO", "ONE")

        async def is_kept() -> bool:
            with contextlib.suppress(HistoryUnavailable):
                await store.command("SET", "k", "w", key=b"k")
            return store.trouble() is None

        await until(is_kept)
        await store.close()


async def test_a_call_waits_for_a_slow_redis_for_a_time_and_is_then_not_sent(
    redis_store: RedisStore, redis_server: RedisServer, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.link.lane.REDIS_LINE_SECONDS", 0.1)
    monkeypatch.setattr("tellwire.engines.redis.link.lane.REDIS_PIPELINES", 1)
    key = redis_prefix.encode()
    slow = asyncio.ensure_future(redis_store.command("BLPOP", key, "1", key=key))

    async def is_sent() -> bool:
        return "blocked_clients:1" in await asyncio.to_thread(redis_server.command, "INFO", "clients")

    await until(is_sent)
    with pytest.raises(HistoryUnavailable, match="Redis is slow"):
        await redis_store.command("SET", key, "v", key=key)
    assert await slow is None
    assert await redis_store.command("GET", key, key=key, writes=False) is None
    assert redis_store.trouble() is None
