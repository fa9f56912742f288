"""Producers without HTTP: they publish through Redis, beside real nodes."""

import asyncio
import pickle
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import tellwire
from bench.processes import free_port
from tellwire import Broadcaster, ConfigError, Delivery, HistoryUnavailable, sync
from tellwire.background import background_loop
from tellwire.carriers.http import HttpCarrier
from tellwire.cli.send import send
from tellwire.config import unknown_names
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.producer import RedisProducer
from tellwire.engines.redis.shared_settings import keep_settings, read_settings, write_settings
from tellwire.model import Target
from tellwire.producer import carrier_from_environment
from tellwire.publication import user_stream
from tellwire.retention import Retention
from tellwire.row_errors import RowErrorList
from tellwire.testing import FakeClock
from tellwire.topics import TopicRule, TopicRules
from tests.conftest import Gateway, StartGateway, read
from tests.integration.test_producer_environment import run
from tests.publications import publication
from tests.redis_server import RedisServer, running
from tests.tools import until

HELLO = tellwire.create_notification_message("Hello", "World", "info")
SECRET_URL = "redis://worker:s3cret@127.0.0.1:1"


@pytest.fixture
async def node(start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str) -> Gateway:
    gateway = await start_gateway(engine="redis", redis_url=redis_server.url, redis_prefix=redis_prefix)
    assert isinstance(gateway, Gateway)
    return gateway


@pytest.fixture
async def producer(redis_server: RedisServer, redis_prefix: str) -> AsyncIterator[RedisProducer]:
    producer = RedisProducer(redis_server.url, prefix=redis_prefix)
    yield producer
    await producer.close()


async def settings_of(store: RedisStore, names: Names) -> tuple[Retention, list[TopicRule]]:
    found = await read_settings(store, names)
    return found.retention, list(found.rules)


async def test_the_bounds_of_histories_and_the_rules_of_topics_are_shared(
    redis_store: RedisStore, redis_prefix: str
) -> None:
    names = Names(redis_prefix)
    assert await settings_of(redis_store, names) == (Retention(), [])
    retention = Retention(max_messages=7, max_age_seconds=70)
    rules = [
        TopicRule(pattern="cursors:*", history=None),
        TopicRule(pattern="*", history=Retention(max_messages=3), presence=True, publish="token"),
    ]
    await write_settings(redis_store, names, TopicRules(retention, rules))
    assert await settings_of(redis_store, names) == (retention, rules)
    for kind, text in (("retention", '{"max_messages": "many"}'), ("topics", '[{"pattern": 7}]')):
        key = names.of_nodes(kind)
        await redis_store.command("SET", key, text, key=key)
    assert await settings_of(redis_store, names) == (Retention(), [])


async def test_the_bounds_come_again_after_a_flush(
    redis_store: RedisStore, redis_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    names, clock, topics = Names(redis_prefix), FakeClock(), TopicRules(Retention(max_messages=7))
    keeping = asyncio.create_task(keep_settings(redis_store, names, topics, clock))
    await clock.advance(61)

    async def is_there() -> bool:
        return (await read_settings(redis_store, names)).retention == topics.retention

    await until(is_there)
    await write_settings(redis_store, names, TopicRules(Retention(max_messages=8)))
    key = names.of_nodes("schema")
    await redis_store.command("SET", key, "7", key=key)
    await clock.advance(61)
    await until(lambda: "schema 7" in caplog.text)
    await redis_store.command("DEL", key, key=key)
    assert (await read_settings(redis_store, names)).retention.max_messages == 8
    keeping.cancel()


async def test_data_of_another_version_is_refused(
    start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str, redis_store: RedisStore
) -> None:
    key = Names(redis_prefix).of_nodes("schema")
    await redis_store.command("SET", key, "7", key=key)
    with pytest.raises(ConfigError, match=f"got a Redis with schema 7, .* that begin with {redis_prefix}:"):
        await start_gateway(engine="redis", redis_url=redis_server.url, redis_prefix=redis_prefix)
    producer = RedisProducer(redis_server.url, prefix=redis_prefix)
    with pytest.raises(ConfigError, match="got a Redis with schema 7"):
        await producer.deliver(publication(Target(user="user-1"), HELLO))
    await producer.close()
    assert await redis_store.command("KEYS", f"{redis_prefix}*", key=key, writes=False) == [key]


async def test_a_producer_reaches_the_devices_of_its_database(
    start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str
) -> None:
    url = f"{redis_server.url}/5"
    gateway = await start_gateway(engine="redis", redis_url=url, redis_prefix=redis_prefix)
    producer = RedisProducer(url, prefix=redis_prefix)
    async with gateway.device() as device:
        for target in (Target(user="user-1"), Target(all=True)):
            assert await producer.deliver(publication(target, HELLO)) == Delivery(1)
            async with asyncio.timeout(60):
                assert (await read(device))["data"]["title"] == "Hello"
    await producer.close()


async def test_a_producer_keeps_as_much_as_the_nodes_do(
    start_gateway: StartGateway, redis_server: RedisServer, redis_prefix: str, producer: RedisProducer
) -> None:
    settings = {"redis_url": redis_server.url, "redis_prefix": redis_prefix, "history_max_messages": 3}
    gateway = await start_gateway(engine="redis", **settings)
    for number in range(5):
        await producer.deliver(publication(Target(user="user-1"), tellwire.create_message("note", number)))
    history = gateway.node.engine.history
    assert history is not None
    replay = await history.read(user_stream("user-1"), "of-before:0")
    assert len(replay.messages) == 3


async def test_every_target_and_answer_is_as_over_http(node: Gateway, producer: RedisProducer) -> None:
    eu = tellwire.Broadcaster(producer)
    async with node.devices(2) as devices, node.device("user-2") as other:
        assert await eu.broadcast_to_user("user-1", HELLO) == Delivery(delivered=2)
        assert await eu.broadcast_to_user("nobody", HELLO) == Delivery()
        assert await eu.broadcast_to_all(HELLO) == Delivery(delivered=3)
        ids = [each.connection_id for each in await producer.connections("user-1")]
        assert len(ids) == 2
        assert await eu.broadcast_to_connection(ids[0], HELLO) == Delivery(delivered=1)
        assert await eu.broadcast_to_connections([*ids, "unknown"], HELLO) == Delivery(delivered=2, gone=1)
        for device in devices:
            assert [(await read(device))["type"] for _ in range(3)] == ["notification"] * 3
        assert (await read(other))["type"] == "notification"
        assert await producer.disconnect(ids[0])
        assert not await producer.disconnect("unknown")
    with pytest.raises(tellwire.InvalidMessage):
        await eu.broadcast_to_user("", HELLO)
    with pytest.raises(tellwire.MessageTooBig):
        await eu.broadcast_to_user("user-1", tellwire.create_message("note", "x" * 200_000))


async def test_a_producer_knows_who_is_online(
    node: Gateway, producer: RedisProducer, redis_server: RedisServer, redis_prefix: str
) -> None:
    assert (await producer.count("user-1"), await Broadcaster(producer).is_online("user-1")) == (0, False)
    async with node.device(), node.device():
        assert (await producer.count("user-1"), await Broadcaster(producer).is_online("user-1")) == (2, True)
        # A node that is dead, and of whose death nobody has heard.
        names = Names(redis_prefix)
        redis_server.command("HSET", names.of_stream("conns", user_stream("user-2")).decode(), "deadxxxxxxxxxxx=", "{}")
        fresh = RedisProducer(redis_server.url, prefix=redis_prefix)
        assert [await fresh.count("user-2"), await fresh.count("user-1")] == [0, 2]
        await fresh.close()

    async def is_gone() -> bool:
        return await producer.count("user-1") == 0

    await until(is_gone)


async def test_a_message_that_comes_twice_is_delivered_once(node: Gateway, producer: RedisProducer) -> None:
    twice = publication(Target(user="user-1"), tellwire.create_message("note", 1))
    async with node.device() as device:
        assert await producer.deliver(twice) == Delivery(delivered=1)
        assert await producer.deliver(twice) == Delivery()
        await producer.deliver(publication(Target(user="user-1"), tellwire.create_message("note", 2)))
        assert [(await read(device))["data"] for _ in range(2)] == [1, 2]


async def test_a_job_is_told_that_its_upload_was_cancelled(node: Gateway, producer: RedisProducer) -> None:
    async with node.device() as device:
        with pytest.raises(tellwire.UploadCancelled):
            async with tellwire.track_upload(
                "user-1", "moc-1", "f.csv", 1000, interval_seconds=0.01, broadcaster=tellwire.Broadcaster(producer)
            ) as upload:
                upload.row_error(17, "BAD", "No quantity")
                await read(device)
                await device.send('{"type": "cancel", "uploadId": "moc-1"}')
                async for _ in upload.count(range(1000)):
                    await asyncio.sleep(0.01)
    store = node.node.engine.row_errors
    assert store is not None
    assert await store.row_error_list("user-1", "moc-1") == RowErrorList("f.csv", upload._state.run, 1, 1)
    assert upload.failures == 0


async def test_synchronous_and_asynchronous_code_share_one_connection(
    node: Gateway, producer: RedisProducer, redis_server: RedisServer
) -> None:
    def job() -> Delivery:
        with sync.use_broadcaster(tellwire.Broadcaster(producer)):
            return sync.broadcast_to_user("user-1", HELLO)

    def on_a_loop_of_its_own() -> Delivery:
        return asyncio.run(tellwire.Broadcaster(producer).broadcast_to_user("user-1", HELLO))

    await producer.connections("user-1")
    before = redis_server.command("INFO", "clients").splitlines()[1]
    async with node.device() as device:
        for work in (job, on_a_loop_of_its_own, on_a_loop_of_its_own):
            assert await asyncio.to_thread(work) == Delivery(delivered=1)
        assert await tellwire.Broadcaster(producer).broadcast_to_user("user-1", HELLO) == Delivery(delivered=1)
        for _ in range(4):
            await read(device)
    assert redis_server.command("INFO", "clients").splitlines()[1] == before


async def test_many_messages_at_once_stay_in_order(node: Gateway, producer: RedisProducer) -> None:
    eu = tellwire.Broadcaster(producer)
    async with node.device() as device:
        messages = [tellwire.create_message("note", number) for number in range(200)]
        await asyncio.gather(*[eu.broadcast_to_user("user-1", each) for each in messages])
        assert [(await read(device))["data"] for _ in range(200)] == [*range(200)]


def test_another_process_gets_a_producer_of_its_own(redis_server: RedisServer, redis_prefix: str) -> None:
    producer = RedisProducer(redis_server.url, prefix=redis_prefix, timeout_seconds=3)
    copied = pickle.loads(pickle.dumps(producer))
    with sync.use_broadcaster(tellwire.Broadcaster(copied)):
        assert sync.broadcast_to_user("user-1", HELLO) == Delivery()
    asyncio.run_coroutine_threadsafe(copied.close(), background_loop()).result(5)


# --- Redis away -------------------------------------------------------------------------------------------------------


async def test_a_redis_that_is_away_costs_the_time_that_was_set_and_then_nothing(redis_prefix: str) -> None:
    producer = RedisProducer(f"redis://127.0.0.1:{free_port()}", prefix=redis_prefix, timeout_seconds=0.5)
    eu = tellwire.Broadcaster(producer)
    began = time.monotonic()
    with pytest.raises(HistoryUnavailable, match="Redis") as caught:
        await eu.broadcast_to_user("user-1", HELLO)
    assert time.monotonic() - began > 0.2
    assert caught.value.retryable
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(HistoryUnavailable, match="is tried again in"):
            await eu.broadcast_to_user("user-1", HELLO)
    assert await eu.try_broadcast_to_user("user-1", HELLO) is None
    assert time.monotonic() - began < 5  # twenty attempts would take ten seconds
    await producer.close()


async def test_the_cause_is_told_of_attempts_that_used_up_the_time(
    redis_server: RedisServer, redis_prefix: str
) -> None:
    # Each attempt waits for a second, so the last one is cut short.
    producer = RedisProducer(redis_server.url, prefix=redis_prefix, timeout_seconds=1.5, wait_replicas=1)
    with pytest.raises(HistoryUnavailable, match="0 replicas have it within 1000 ms, of 1 that must"):
        await producer.deliver(publication(Target(user="user-1"), HELLO))
    await producer.close()


async def test_a_publish_outlasts_a_restart_of_redis(tmp_path: Path) -> None:
    with running(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        producer = RedisProducer(server.url)
        eu = tellwire.Broadcaster(producer)
        await eu.broadcast_to_user("user-1", HELLO)
        server.kill()
        sending = asyncio.create_task(eu.broadcast_to_user("user-1", HELLO))
        await asyncio.sleep(0.3)
        server.start()
        assert await sending == Delivery()
        await producer.close()


async def test_a_job_outlives_redis(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path / "redis") as server:
        producer = RedisProducer(server.url, timeout_seconds=0.3)
        async with tellwire.track_upload(
            "user-1", "moc-1", "f.csv", 40, interval_seconds=0.01, broadcaster=tellwire.Broadcaster(producer)
        ) as upload:
            async for row in upload.count(range(40)):
                if row == 20:
                    server.kill()
                await asyncio.sleep(0.03)
        assert upload.sent > 0
        assert upload.failures > 0
        assert caplog.text.count("the job goes on") == 1
        await producer.close()


# --- the environment --------------------------------------------------------------------------------------------------


def test_the_environment_names_a_redis(tmp_path: Path, redis_server: RedisServer, redis_prefix: str) -> None:
    script = "from tellwire import sync\nprint(sync.broadcast_to_user('u', sync.create_message('note', 1)))"
    nothing = str(Delivery())
    ran = run(script, TELLWIRE_REDIS_URL=redis_server.url, TELLWIRE_REDIS_PREFIX=redis_prefix)
    assert (ran.stdout.strip(), ran.stderr) == (nothing, "")
    (tmp_path / "url").write_text(f"{redis_server.url}\n")
    ran = run(script, TELLWIRE_REDIS_URL_FILE=str(tmp_path / "url"), TELLWIRE_REDIS_PREFIX=redis_prefix)
    assert (ran.stdout.strip(), ran.stderr) == (nothing, "")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TELLWIRE_URL": "http://g", "CONNECTIONS_TABLE_NAME": "t"}, "got TELLWIRE_URL and CONNECTIONS"),
        ({"TELLWIRE_REDIS_URL": SECRET_URL, "TELLWIRE_REDIS_URL_FILE": "x"}, "got both; allowed: one of them"),
        ({"TELLWIRE_REDIS_URL": "worker:s3cret"}, "TELLWIRE_REDIS_URL: got"),
        ({"TELLWIRE_REDIS_URL_FILE": "/no/such/file"}, "TELLWIRE_REDIS_URL_FILE: '/no/such/file' cannot be read"),
        ({"TELLWIRE_REDIS_URL": SECRET_URL, "TELLWIRE_REDIS_PREFIX": "{a}"}, "prefix: got '{a}'"),
        ({"TELLWIRE_REDIS_URL": SECRET_URL, "TELLWIRE_REDIS_WAIT_REPLICAS": "many"}, "WAIT_REPLICAS: got 'many'"),
        ({"TELLWIRE_REDIS_URL": SECRET_URL, "TELLWIRE_REDIS_WAIT_REPLICAS": "99"}, "WAIT_REPLICAS: got '99'"),
        ({"TELLWIRE_REDIS_URL": SECRET_URL, "TELLWIRE_TIMEOUT_SECONDS": "0"}, "TELLWIRE_TIMEOUT_SECONDS: got '0'"),
        ({"TELLWIRE_REDIS_URL": SECRET_URL, "CONNECTIONS_TABLE_NAME": "t"}, "got TELLWIRE_REDIS_URL and CONNECTIONS"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_wrong_settings_are_named_without_the_secret(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        carrier_from_environment(environ)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_wrong_password_is_an_error_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "redis", "--requirepass", "right") as server:
        producer = RedisProducer(server.url.replace("redis://", "redis://:s3cret@"))
        with sync.use_broadcaster(tellwire.Broadcaster(producer)):
            began = time.monotonic()
            with pytest.raises(ConfigError, match="password") as caught:
                sync.broadcast_to_user("user-1", HELLO)
            assert time.monotonic() - began < 5
            assert "s3cret" not in repr((caught.value, producer))
            assert sync.try_broadcast_to_user("user-1", HELLO) is None
        asyncio.run_coroutine_threadsafe(producer.close(), background_loop()).result(5)


@pytest.mark.parametrize("value", [0, -1, float("nan"), "10", None, True, 10**400], ids=type)
def test_a_time_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="timeout_seconds: got"):
        RedisProducer("redis://127.0.0.1", timeout_seconds=value)


def test_a_gateway_comes_first_in_an_environment_that_nodes_have_too() -> None:
    carrier = carrier_from_environment({"TELLWIRE_REDIS_URL": SECRET_URL, "TELLWIRE_URL": "http://gateway"})
    assert isinstance(carrier, HttpCarrier)


async def test_the_command_line_sends_through_redis(
    node: Gateway, redis_server: RedisServer, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELLWIRE_URL", raising=False)
    monkeypatch.setenv("TELLWIRE_REDIS_URL", redis_server.url)
    monkeypatch.setenv("TELLWIRE_REDIS_PREFIX", redis_prefix)
    words = ["--user", "user-1", "notification", "Hello", "World"]
    async with node.device() as device:
        ran = await asyncio.to_thread(CliRunner().invoke, send, words)
        assert (ran.output, ran.exit_code) == ("delivered 1, gone 0, failed 0\n", 0)
        assert (await read(device))["data"]["title"] == "Hello"
        monkeypatch.setenv("TELLWIRE_REDIS_URL", "worker:s3cret@nowhere")
        wrong = await asyncio.to_thread(CliRunner().invoke, send, words)
        assert isinstance(wrong.exception, ConfigError)
        assert "s3cret" not in f"{wrong.output}{wrong.exception}"


def test_the_names_are_known_to_the_gateway() -> None:
    names = ("TELLWIRE_REDIS_URL", "TELLWIRE_REDIS_URL_FILE", "TELLWIRE_REDIS_PREFIX", "TELLWIRE_REDIS_WAIT_REPLICAS")
    assert unknown_names(dict.fromkeys(names, "x")) == []


def test_without_the_package_its_name_is_told() -> None:
    script = (
        "import sys\nsys.modules['redis'] = None\nfrom tellwire import sync\n"
        "sync.broadcast_to_user('u', sync.create_message('note', 1))"
    )
    assert "needs redis: pip install 'tellwire[redis]'" in run(script, TELLWIRE_REDIS_URL=SECRET_URL).stderr


def test_a_producer_loads_nothing_of_a_server(redis_server: RedisServer) -> None:
    script = (
        "import sys\nfrom tellwire import sync\nsync.broadcast_to_user('u', sync.create_message('note', 1))\n"
        "print([each for each in ('tellwire.config', 'tellwire.gateway', 'tellwire.server', 'tellwire.conversation', "
        "'tellwire.engines.registry', 'starlette', 'uvicorn') if each in sys.modules])"
    )
    assert run(script, TELLWIRE_REDIS_URL=redis_server.url).stdout.strip() == "[]"


# --- processes --------------------------------------------------------------------------------------------------------

FORKS = """
import atexit, os, sys
from tellwire import sync

note = sync.create_message("note", 1)
def publish(name):
    sync.broadcast_to_user("user-1", note)
    print(name, flush=True)

atexit.register(publish, "exit handler of before")
publish("parent")
child = os.fork()
if child == 0:
    publish("child")
    sys.exit(0)
os.waitpid(child, 0)
atexit.register(publish, "exit handler of after")
with sync.track_upload("user-1", "moc-1", "f.csv", 3) as upload:
    for row in upload.count(range(3)):
        pass
print(upload.sent > 0, upload.failures)
"""


async def test_forked_children_and_exit_handlers_publish(
    node: Gateway, redis_server: RedisServer, redis_prefix: str
) -> None:
    async with node.device() as device:
        environ = {"TELLWIRE_REDIS_URL": redis_server.url, "TELLWIRE_REDIS_PREFIX": redis_prefix}
        ran = await asyncio.to_thread(lambda: run(FORKS, **environ))
        assert (ran.returncode, ran.stderr) == (0, "")
        # The child has inherited the first handler.
        assert sorted(ran.stdout.splitlines()) == [
            "True 0",
            "child",
            "exit handler of after",
            "exit handler of before",
            "exit handler of before",
            "parent",
        ]
        notes = 0
        while notes < 5:
            notes += (await read(device))["type"] == "note"


STOPPED = """
import asyncio
import tellwire

async def main():
    async with tellwire.track_upload("user-1", "moc-1", "f.csv", 3) as upload:
        async for row in upload.count(range(3)):
            if row == 1:
                raise KeyboardInterrupt

asyncio.run(main())
"""


async def test_the_last_state_of_a_job_that_is_stopped_is_published(
    node: Gateway, redis_server: RedisServer, redis_prefix: str
) -> None:
    async with node.device() as device:
        environ = {"TELLWIRE_REDIS_URL": redis_server.url, "TELLWIRE_REDIS_PREFIX": redis_prefix}
        ran = await asyncio.to_thread(lambda: run(STOPPED, **environ))
        assert "destroyed" not in ran.stderr
        statuses: list[str] = []
        while "failed" not in statuses:
            message = await read(device)
            statuses.append(message["data"].get("status", ""))


GREEN = """
from gevent import monkey
monkey.patch_all()
import gevent
from tellwire import sync

note = sync.create_message("note", 1)
turns = []
def others():
    while len(turns) < 3:
        turns.append(1)
        gevent.sleep(0)
jobs = [gevent.spawn(sync.broadcast_to_user, "user-1", note) for _ in range(5)] + [gevent.spawn(others)]
gevent.joinall(jobs, raise_error=True)
print(len(turns))
"""


def test_greenlets_publish(redis_server: RedisServer, redis_prefix: str) -> None:
    url = redis_server.url.replace("127.0.0.1", "localhost")
    ran = run(GREEN, TELLWIRE_REDIS_URL=url, TELLWIRE_REDIS_PREFIX=redis_prefix)
    assert (ran.stdout, ran.returncode) == ("3\n", 0), ran.stderr
