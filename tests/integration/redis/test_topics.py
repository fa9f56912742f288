"""Topics in Redis: each is kept as its rule says, or delivered without being kept, by nodes and by producers."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from tellwire.engines.redis.broker import RedisBroker
from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.scripts import Script
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.link.waiting import Waiting
from tellwire.engines.redis.node.carrier import RedisCarrier
from tellwire.engines.redis.node.nodes import LiveNodes
from tellwire.engines.redis.producer import RedisProducer
from tellwire.engines.redis.shared_settings import write_settings
from tellwire.errors import HistoryUnavailable
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.model import Delivery, Target
from tellwire.ports import Published
from tellwire.position import START
from tellwire.publication import Publication, topic_stream, user_stream
from tellwire.retention import Retention
from tellwire.testing import FakeClock
from tellwire.topics import TopicRule, TopicRules
from tests.integration.redis.test_broker import Channel, all_soon
from tests.redis_server import RedisServer

RULES = [
    TopicRule(pattern="cursors:*", history=None),
    TopicRule(pattern="short:*", history=Retention(max_messages=3, max_age_seconds=60)),
]
SHORT, LONG, NOT_KEPT = "short:a", "long", "cursors:a"


@pytest.fixture
def history(redis_store: RedisStore, names: Names, clock: FakeClock) -> RedisHistory:
    return RedisHistory(redis_store, names, clock, topics=TopicRules(Retention(max_messages=5), RULES))


@pytest.fixture
async def live(redis_store: RedisStore, names: Names, clock: FakeClock) -> AsyncIterator[LiveNodes]:
    live = LiveNodes(redis_store, names, clock)
    yield live
    await live.close()


@pytest.fixture
def broker(redis_store: RedisStore, names: Names, history: RedisHistory, live: LiveNodes) -> RedisBroker:
    carrier = RedisCarrier(redis_store, names, live)
    return RedisBroker(history, carrier, live.count_live, count_subscribers=live.count_subscribers)


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    client = Redis(port=redis_server.port)
    yield client
    await client.aclose()


def note(topic: str, number: int) -> Publication:
    return Publication.of(Target(topic=topic), create_message("note", number))


async def data_of(history: RedisHistory, topic: str) -> list[int]:
    replay = await history.read(topic_stream(topic), START)
    return [json.loads(each)["data"] for each in replay.messages]


async def subscribers(redis: Redis, names: Names, topic: str, counts: dict[Any, Any]) -> None:
    """Note the subscribers of nodes, of which those that are called `live` live."""
    await redis.hset(names.of_stream("conns", topic_stream(topic)), mapping=counts)
    await redis.zadd(names.of_nodes("live"), {each: 1e11 for each in counts if each.startswith("live")})


async def test_each_topic_keeps_as_much_as_its_rule_says(broker: RedisBroker, history: RedisHistory) -> None:
    mixed = [note(topic, number) for number in range(8) for topic in (SHORT, LONG)]
    assert all(isinstance(each, Published) and each.entry for each in await broker.publish_all(mixed))
    assert await data_of(history, SHORT) == [5, 6, 7]
    assert await data_of(history, LONG) == list(range(3, 8))
    (page, more) = (await history.page(topic_stream(SHORT), None, 100, 10**6)), False
    assert ([json.loads(each)["data"] for each in page.messages], page.more) == ([7, 6, 5], more)


async def test_a_topic_forgets_when_its_rule_says(broker: RedisBroker, history: RedisHistory, clock: FakeClock) -> None:
    for topic in (SHORT, LONG):
        await broker.publish(note(topic, 1))
        upload = create_upload_progress_message("u1", "f.csv", 100, "")
        await broker.publish(Publication.of(Target(topic=topic), upload))
    await clock.advance(61)
    assert (await data_of(history, SHORT), await data_of(history, LONG)) == ([], [1])
    assert await history.state(topic_stream(SHORT), "upload:u1") is None
    assert await history.state(topic_stream(LONG), "upload:u1") is not None


async def test_streams_of_users_and_topics_of_one_name_are_not_one(broker: RedisBroker, history: RedisHistory) -> None:
    await broker.publish(note("anna", 1))
    await broker.publish(Publication.of(Target(user="anna"), create_message("note", 2)))
    assert await data_of(history, "anna") == [1]
    replay = await history.read(user_stream("anna"), START)
    assert [json.loads(each)["data"] for each in replay.messages] == [2]
    assert "topic" not in json.loads(replay.messages[0])


@pytest.mark.parametrize("topic", [LONG, NOT_KEPT])
async def test_delivered_are_the_subscribers_of_nodes_that_live(
    broker: RedisBroker, live: LiveNodes, redis: Redis, names: Names, topic: str
) -> None:
    await subscribers(redis, names, topic, {"liv1": 0, "live": 40, "livd": 2, "dead": 5})
    await live.refresh()
    await broker.publish(note(topic, 0))  # it meets names that it does not know
    await live.refresh()
    assert (await broker.publish(note(topic, 1))).delivery == Delivery(delivered=40)
    assert [each.delivery for each in await broker.publish_linked([note(LONG, 2)])] == [
        Delivery(delivered=40 if topic == LONG else 0)
    ]
    (soon,) = await all_soon(broker, [note(topic, 3)])
    assert isinstance(soon, Published)
    assert soon.delivery == Delivery(delivered=40)


async def test_a_topic_that_keeps_nothing_is_on_its_channel_in_order_and_nowhere_else(
    broker: RedisBroker, redis: Redis, names: Names
) -> None:
    channel = Channel(redis, names.channel(topic_stream(NOT_KEPT)))
    await channel.subscribe()
    publications = [note(NOT_KEPT, number) for number in range(8)]
    await broker.publish(publications[0])
    await broker.publish_all([publications[1], note(LONG, 0), publications[2]])
    await all_soon(broker, publications[3:])
    found = await channel.messages(8)
    await channel.close()
    assert found == [(["u"], each.payload) for each in publications]
    assert [each async for each in redis.scan_iter(f"{names.prefix}:*{NOT_KEPT}*")] == []


async def test_a_changed_rule_is_asked_at_once(redis_store: RedisStore, names: Names, clock: FakeClock) -> None:
    topics = TopicRules(Retention(max_messages=5))
    history = RedisHistory(redis_store, names, clock, topics=topics)
    assert history.keeps(note(NOT_KEPT, 1))
    topics._rules, topics._known = tuple(RULES), {}
    assert not history.keeps(note(NOT_KEPT, 1))
    assert not history.keeps(Publication.of(Target(all=True), create_message("note", 1)))
    assert history.keeps(Publication.of(Target(user="cursors:a"), create_message("note", 1)))


# --- producers without HTTP -------------------------------------------------------------------------------------------


async def test_a_producer_keeps_topics_as_the_nodes_do(
    redis_store: RedisStore, redis_server: RedisServer, redis: Redis, names: Names, history: RedisHistory
) -> None:
    await write_settings(redis_store, names, TopicRules(Retention(), RULES))
    for topic in (SHORT, NOT_KEPT):
        await subscribers(redis, names, topic, {"live": 2})
    producer = RedisProducer(redis_server.url, prefix=names.prefix)
    for number in range(5):
        for topic in (SHORT, NOT_KEPT):
            assert await producer.deliver(note(topic, number)) == Delivery(delivered=2)
    await producer.close()
    assert await data_of(history, SHORT) == [2, 3, 4]
    assert await redis.exists(names.of_stream("meta", topic_stream(NOT_KEPT))) == 0


async def test_a_producer_repeats_only_what_is_kept(
    redis_store: RedisStore, redis_server: RedisServer, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_settings(redis_store, names, TopicRules(Retention(), RULES))
    producer = RedisProducer(redis_server.url, prefix=names.prefix)
    await producer.deliver(note(LONG, 0))
    call, begin = RedisStore.call, RedisStore.begin
    calls: list[str] = []

    async def fails(self: RedisStore, script: Script, *words: object) -> object:
        calls.append(script.name)
        await call(self, script, *words)  # type: ignore[arg-type]
        raise HistoryUnavailable("the answer was lost")

    monkeypatch.setattr(RedisStore, "call", fails)
    with pytest.raises(HistoryUnavailable, match="the answer was lost"):
        await producer.deliver(note(NOT_KEPT, 1))
    assert calls == ["to_topic"]
    attempts = 0

    def fails_once(self: RedisStore, waiting: Waiting) -> None:
        nonlocal attempts
        attempts += 1
        done = waiting.done
        if attempts == 1:
            waiting.done = lambda answer: done(HistoryUnavailable("the answer was lost"))
        begin(self, waiting)

    monkeypatch.setattr(RedisStore, "begin", fails_once)
    async with asyncio.timeout(60):
        assert await producer.deliver(note(LONG, 2)) == Delivery()
    assert attempts == 2
    await producer.close()
