"""The subscribers to topics on nodes of one Redis: every message once and in order, and `delivered` counts them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from tellwire.engines.redis.broker import RedisBroker
from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.parts import NodeParts
from tellwire.engines.redis.node.subscriptions import Subscriptions, Watched
from tellwire.errors import HistoryUnavailable
from tellwire.limits import NODE_HEARTBEAT_SECONDS, NODE_LEASE_SECONDS, REDIS_REGISTRATION_SECONDS
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.model import Target
from tellwire.publication import Publication, topic_stream
from tellwire.retention import Retention
from tellwire.testing import FakeClock
from tellwire.topics import TopicRule, TopicRules
from tests.integration.redis.node.test_subscriptions import Device
from tests.redis_nodes import crashed, running_parts
from tests.redis_server import RedisServer, running
from tests.tools import until

RULES = TopicRules(Retention(), [TopicRule(pattern="cursors:*", history=None)])
KEPT, NOT_KEPT = "moc:1", "cursors:1"


class Member(Device):
    """A connection that keeps its messages, of topics too."""

    @property
    def numbers(self) -> list[Any]:
        return self.of(KEPT)

    def of(self, topic: str) -> list[Any]:
        return [each["data"] for each in self.messages if each.get("topic") == topic and each["type"] == "n"]


class Side:
    """A node with its broker."""

    def __init__(self, parts: NodeParts, store: RedisStore, names: Names, clock: FakeClock) -> None:
        self.parts = parts
        self.history = RedisHistory(store, names, clock, topics=RULES, known_end=parts.subscriptions.known_end)
        parts.read_from(self.history)
        self.broker = RedisBroker(
            self.history, parts.carrier, parts.live.count_live, count_subscribers=parts.live.count_subscribers
        )

    async def has_come(self, user_id: str = "user-1") -> Member:
        member = Member(self.parts.own.new_connection_id(), user_id)
        assert await self.parts.presence.enter(member, 10**6)
        self.parts.hub.attach(member)
        return member

    def has_gone(self, member: Member) -> None:
        self.parts.hub.detach(member.connection_id)
        self.parts.presence.leave(member)

    async def subscribe(self, member: Member, topic: str = KEPT) -> None:
        await self.parts.topics.subscribe(member, topic_stream(topic))

    def unsubscribe(self, member: Member, topic: str = KEPT) -> None:
        self.parts.topics.unsubscribe(member, topic_stream(topic))

    async def say(self, number: int, topic: str = KEPT) -> int:
        publication = Publication.of(Target(topic=topic), create_message("n", number))
        return (await self.broker.publish(publication)).delivery.delivered


class Scene:
    """Nodes on one Redis."""

    def __init__(self, store: RedisStore, server: RedisServer, names: Names, clock: FakeClock) -> None:
        self.store = store
        self.server = server
        self.names = names
        self.clock = clock
        self.stack = AsyncExitStack()

    async def node(self) -> Side:
        parts = NodeParts(self.store, self.names, self.clock)
        side = Side(parts, self.store, self.names, self.clock)
        await parts.open()
        await self.stack.enter_async_context(running_parts(parts))
        return side

    async def counts(self, topic: str = KEPT) -> dict[str, int]:
        """The numbers of subscribers that Redis has, by node."""
        key = self.names.of_stream("conns", topic_stream(topic))
        words = [each.decode() for each in await self.store.command("HGETALL", key, key=key, writes=False)]
        return dict(zip(words[::2], map(int, words[1::2]), strict=True))

    async def has_counts(self, counts: dict[str, int], topic: str = KEPT) -> None:
        """Advance the clock a little, again and again, until Redis has these numbers."""

        async def is_so() -> bool:
            await self.clock.advance(0.2)
            return await self.counts(topic) == counts

        await until(is_so)

    async def comparing(self, condition: Callable[[], bool]) -> None:
        async def is_so() -> bool:
            await self.clock.advance(0.2)
            return condition()

        await until(is_so)

    async def ears(self, topic: str = KEPT) -> int:
        channel = self.names.channel(topic_stream(topic))
        return int((await self.store.command("PUBSUB", "SHARDNUMSUB", channel, key=channel))[1])


@pytest.fixture
async def scene(
    redis_store: RedisStore, redis_server: RedisServer, names: Names, clock: FakeClock
) -> AsyncIterator[Scene]:
    scene = Scene(redis_store, redis_server, names, clock)
    async with scene.stack:
        yield scene


def has_last(member: Member, number: int) -> bool:
    return member.numbers[-1:] == [number]


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", [KEPT, NOT_KEPT])
async def test_subscribers_on_all_nodes_get_each_message_once_and_in_order(scene: Scene, topic: str) -> None:
    one, two = await scene.node(), await scene.node()
    members = [await side.has_come(f"user-{number}") for number, side in enumerate((one, one, two))]
    other = await one.has_come("user-0")
    for member, side in zip(members, (one, one, two), strict=True):
        await side.subscribe(member, topic)
        await side.subscribe(member, topic)
    for number in range(20):
        assert await (one, two)[number % 2].say(number, topic) == 3
    await until(lambda: all(member.of(topic) == list(range(20)) for member in members))
    one.unsubscribe(members[0], topic)
    two.unsubscribe(members[2], topic)
    await scene.has_counts({one.parts.own.name: 1}, topic)
    assert await two.say(20, topic) == 1
    await until(lambda: members[1].of(topic) == list(range(21)))
    assert [len(each.of(topic)) for each in (members[0], members[2], other)] == [20, 20, 0]


async def test_a_subscriber_gets_all_that_is_kept_after_its_subscription(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    saying = True

    async def say() -> None:
        number = 0
        while saying:
            number += 1
            await two.say(number)

    task = asyncio.create_task(say())
    members: list[tuple[Member, int]] = []
    for _ in range(20):
        member = await one.has_come()
        await one.subscribe(member)
        position = await one.history.position(topic_stream(KEPT))
        assert position is not None
        members.append((member, position.offset))
        await asyncio.sleep(0.005)
    saying = False
    await task
    last = await one.history.position(topic_stream(KEPT))
    assert last is not None
    for member, offset in members:
        await until(partial(has_last, member, last.offset))
        got = member.numbers
        assert got == list(range(got[0], last.offset + 1))
        # What came before the history was read may come, too: its cursor says so.
        assert got[0] <= offset + 1


async def test_messages_that_pub_sub_loses_come_once_and_in_order(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = Subscriptions._received
    count = 0

    def dropping(self: Subscriptions, watched: Watched, data: bytes) -> None:
        nonlocal count
        count += 1
        if count % 5 not in (1, 3):
            received(self, watched, data)

    monkeypatch.setattr(Subscriptions, "_received", dropping)
    one, two = await scene.node(), await scene.node()
    members = [await side.has_come() for side in (one, two)]
    for member, side in zip(members, (one, two), strict=True):
        await side.subscribe(member)
    for number in range(100):
        await one.say(number)
        upload = create_upload_progress_message("u1", "f.csv", number, "")
        await two.broker.publish(Publication.of(Target(topic=KEPT), upload))
        if number % 30 == 7:
            await asyncio.to_thread(scene.server.command, "CLIENT", "KILL", "TYPE", "pubsub")
    await scene.comparing(
        lambda: all(each.numbers == list(range(100)) and each.progress[-1:] == [99] for each in members)
    )
    assert all(each.progress == sorted(set(each.progress)) for each in members)


async def test_the_state_of_a_topic_is_waited_for(scene: Scene) -> None:
    one = await scene.node()
    member = await one.has_come()
    await one.subscribe(member)
    upload = create_upload_progress_message("u1", "f.csv", 1, "")
    entry = (await one.broker.publish(Publication.of(Target(topic=KEPT), upload))).entry
    assert entry is not None
    await one.parts.subscriptions.handed_on(topic_stream(KEPT), entry.number)
    assert member.progress == [1]
    assert one.history.known_end(topic_stream(KEPT)) == await one.history.end(topic_stream(KEPT))


async def test_a_new_epoch_of_a_topic_is_told_to_its_subscribers_alone(scene: Scene) -> None:
    one = await scene.node()
    member, other = await one.has_come(), await one.has_come()
    await one.subscribe(member)
    await one.say(1)
    await one.history.forget(topic_stream(KEPT))
    await one.say(2)
    end = await one.history.end(topic_stream(KEPT))
    assert end is not None
    await until(lambda: member.ends == [{"topics": {KEPT: {"cursor": str(end.position)}}}])
    assert (member.numbers, other.ends) == ([1, 2], [])


# --- who is subscribed ------------------------------------------------------------------------------------------------


async def test_the_channel_is_left_with_the_last_subscriber_however_it_leaves(scene: Scene) -> None:
    one = await scene.node()
    first, second = await one.has_come(), await one.has_come()
    await one.subscribe(first)
    await one.subscribe(second)
    assert await scene.ears() == 1
    one.unsubscribe(first)
    one.unsubscribe(first)
    one.has_gone(second)
    await scene.has_counts({})

    async def is_left() -> bool:
        return await scene.ears() == 0

    await until(is_left)
    assert one.parts.topics._of_connection == {}
    assert len(one.parts.subscriptions) == 1


async def test_a_connection_that_is_gone_is_subscribed_to_nothing(scene: Scene) -> None:
    one = await scene.node()
    never_there = Member(one.parts.own.new_connection_id())
    await one.subscribe(never_there)
    member = await one.has_come()
    subscribing = asyncio.create_task(one.subscribe(member))
    await asyncio.sleep(0)
    one.has_gone(member)
    await subscribing
    await scene.has_counts({})
    assert len(one.parts.subscriptions) == 0
    assert one.parts.hub._by_stream == {}


async def test_who_unsubscribes_and_subscribes_again_at_once_is_subscribed(scene: Scene) -> None:
    one = await scene.node()
    member = await one.has_come()
    first = asyncio.create_task(one.subscribe(member))
    await asyncio.sleep(0)
    one.unsubscribe(member)
    await asyncio.gather(first, one.subscribe(member))
    assert await one.say(1) == 1
    await until(lambda: member.numbers == [1])


async def test_a_subscription_that_is_cancelled_leaves_nothing(scene: Scene) -> None:
    one = await scene.node()
    member = await one.has_come()
    for turns in range(12):
        subscribing = asyncio.create_task(one.subscribe(member, f"t{turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        subscribing.cancel()
        await asyncio.wait([subscribing])
        one.unsubscribe(member, f"t{turns}")
        await scene.has_counts({}, f"t{turns}")
    assert len(one.parts.subscriptions) == 1
    await one.subscribe(member)
    assert await one.say(1) == 1


async def test_many_who_subscribe_at_once_share_a_channel_and_few_writes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await scene.node(), await scene.node()
    sides = [(side, await side.has_come(f"user-{number}")) for number in range(500) for side in (one, two)]
    calls = 0
    count_call = type(one.parts.topics)._count_call

    def counted(*words: Any) -> Any:
        nonlocal calls
        calls += 1
        return count_call(*words)

    monkeypatch.setattr(type(one.parts.topics), "_count_call", counted)
    await asyncio.gather(*(side.subscribe(member) for side, member in sides))
    assert calls <= 4
    assert await one.say(1) == 1000
    await until(lambda: all(member.numbers == [1] for _, member in sides))
    assert await scene.ears() == 2


async def test_one_connection_follows_a_hundred_topics(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    member = await one.has_come()
    topics = [f"t{number}" for number in range(100)]
    await asyncio.gather(*(one.subscribe(member, each) for each in topics))
    assert [await two.say(7, each) for each in topics] == [1] * 100
    await until(lambda: all(member.of(each) == [7] for each in topics))
    one.has_gone(member)
    for topic in topics:
        await scene.has_counts({}, topic)


# --- trouble ----------------------------------------------------------------------------------------------------------


async def test_the_numbers_come_again_after_a_flush(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    for side in (one, one, two):
        await side.subscribe(await side.has_come())
    key = scene.names.of_stream("conns", topic_stream(KEPT))
    await scene.store.command("DEL", key, key=key)
    await scene.has_counts({one.parts.own.name: 2, two.parts.own.name: 1})
    await scene.store.command("HSET", key, one.parts.own.name, 7, key=key)
    await scene.has_counts({one.parts.own.name: 2, two.parts.own.name: 1})


async def test_the_numbers_do_not_expire_while_somebody_is_subscribed(scene: Scene) -> None:
    one = await scene.node()
    await one.subscribe(await one.has_come())
    key = scene.names.of_stream("conns", topic_stream(KEPT))
    await scene.store.command("EXPIRE", key, 60, key=key)

    async def is_renewed() -> bool:
        await scene.clock.advance(REDIS_REGISTRATION_SECONDS / 4)
        return bool(await scene.store.command("TTL", key, key=key) > 60)

    await until(is_renewed)


async def test_the_subscribers_of_a_dead_node_do_not_count_and_are_removed(
    scene: Scene, redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    one = await scene.node()
    member = await one.has_come()
    await one.subscribe(member)
    async with crashed(redis_store, names, clock) as parts:
        dead = Side(parts, redis_store, names, clock)
        for number in range(3):
            await dead.subscribe(await dead.has_come(f"user-{number}"))
        assert await one.say(0) == 4

    async def does_not_count() -> bool:
        await clock.advance(NODE_HEARTBEAT_SECONDS)
        return await one.say(1) == 1

    began = clock.monotonic()
    await until(does_not_count)
    assert clock.monotonic() - began <= NODE_LEASE_SECONDS + 2 * NODE_HEARTBEAT_SECONDS
    await scene.has_counts({one.parts.own.name: 1})


async def test_a_node_that_was_only_away_counts_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await scene.node(), await scene.node()
    for side in (one, two):
        await side.subscribe(await side.has_come())

    async def nothing() -> None:
        pass

    with monkeypatch.context() as patch:
        patch.setattr(two.parts.own, "_beat", nothing)

        async def is_taken_for_dead() -> bool:
            await scene.clock.advance(NODE_HEARTBEAT_SECONDS)
            return await scene.counts() == {one.parts.own.name: 1}

        await until(is_taken_for_dead)
    await scene.clock.advance(NODE_HEARTBEAT_SECONDS)
    await scene.has_counts({one.parts.own.name: 1, two.parts.own.name: 1})

    async def count_again() -> bool:
        return await one.say(1) == 2

    await until(count_again)


async def test_a_redis_that_is_away_refuses_and_nothing_is_left(
    scene: Scene, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running(tmp_path_factory.mktemp("redis")) as server:
        store = RedisStore(type(scene.store.address).parse(server.url))
        own = Scene(store, server, scene.names, scene.clock)
        async with own.stack:
            one = await own.node()
            member, second = await one.has_come(), await one.has_come()
            await one.subscribe(member)
            server.freeze()
            with pytest.raises(HistoryUnavailable):
                await one.subscribe(second)
            with pytest.raises(HistoryUnavailable):
                await one.subscribe(second, "another")
            one.unsubscribe(second)
            assert one.parts.topics._of_connection.keys() == {member.connection_id}
            server.thaw()
            await until(lambda: store.trouble() is None)
            await own.has_counts({one.parts.own.name: 1})
            await one.subscribe(second)
            assert await one.say(1) == 2
            await until(lambda: (member.numbers, second.numbers) == ([1], [1]))
        await store.close()


async def test_a_node_that_ends_in_order_takes_its_subscribers_along(
    redis_store: RedisStore, redis_server: RedisServer, names: Names, clock: FakeClock
) -> None:
    scene = Scene(redis_store, redis_server, names, clock)
    async with scene.stack:
        one = await scene.node()
        for number in range(3):
            for topic in (KEPT, NOT_KEPT):
                await one.subscribe(await one.has_come(f"user-{number}"), topic)
    assert (await scene.counts(KEPT), await scene.counts(NOT_KEPT)) == ({}, {})


def test_an_encoded_message_names_its_topic() -> None:
    encoded = Publication.of(Target(topic=KEPT), create_message("n", 1)).payload
    assert json.loads(encoded)["topic"] == KEPT
