"""Topics on two nodes of one Redis, with real sockets: subscribers of both get all, once and in order."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tellwire import create_message, create_upload_progress_message
from tellwire.engines.redis.node.subscriptions import Subscriptions, Watched
from tellwire.errors import PublishError
from tellwire.limits import MAX_SUBSCRIPTIONS, NODE_LEASE_SECONDS
from tellwire.model import Delivery, Target
from tellwire.ports import Published
from tellwire.publication import Publication
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway
from tests.integration.gateway.test_http_api import call
from tests.integration.test_cli import own_state, serving
from tests.redis_server import RedisCluster, RedisServer, running
from tests.tools import until

__all__ = ["own_state"]

KEPT, NOT_KEPT = "moc:1:comments", "cursors:1"
TOPICS = [
    {"pattern": "cursors:*", "history": False, "subscribe": "anyone"},
    {"pattern": "*", "subscribe": "anyone"},
]


class Follower:
    """A device that follows topics, and all that it gets."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []

    async def listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                self.messages.append(json.loads(text))

    async def send(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    def of(self, topic: str, kind: str = "n") -> list[Any]:
        return [each["data"] for each in self.messages if (each.get("topic"), each["type"]) == (topic, kind)]

    def told(self, kind: str, topic: str | None = None) -> list[dict[str, Any]]:
        """The answers about a topic, or all of a kind."""
        found = [each["data"] for each in self.messages if each["type"] == kind]
        return [each for each in found if topic is None or each.get("topic") == topic]

    async def subscribe(self, topic: str = KEPT, **more: Any) -> dict[str, Any]:
        """Subscribe, and return the last page of the answer."""
        before = len(self.told("subscribed", topic))
        await self.send(type="subscribe", topic=topic, **more)
        await until(lambda: [each for each in self.told("subscribed", topic)[before:] if each["last"]])
        return self.told("subscribed", topic)[-1]


@asynccontextmanager
async def follower(url: str, user_id: str = "user-1") -> AsyncIterator[Follower]:
    claims = {"sub": user_id, "exp": time.time() + 3600}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    async with connect(f"{url}/?token={token}", proxy=None, compression=None, max_queue=None) as socket:
        device = Follower(socket)
        listening = asyncio.create_task(device.listen())
        yield device
        listening.cancel()


async def two_nodes(start_gateway: StartGateway, url: str, prefix: str = "tellwire") -> tuple[Gateway, Gateway]:
    settings: dict[str, Any] = {"engine": "redis", "redis_url": url, "redis_prefix": prefix, "topics": TOPICS}
    return await start_gateway(**settings), await start_gateway(**settings)


@pytest.fixture
async def nodes(redis_server: RedisServer, redis_prefix: str, start_gateway: StartGateway) -> tuple[Gateway, Gateway]:
    return await two_nodes(start_gateway, redis_server.url, redis_prefix)


async def publish(gateway: Gateway, number: Any, topic: str = KEPT) -> Published:
    """Publish, again and again while Redis is away."""
    publication = Publication.of(Target(topic=topic), create_message("n", number))
    while True:
        with contextlib.suppress(PublishError):
            return await gateway.node.engine.broker.publish(publication)
        await asyncio.sleep(0.05)


async def delivered(gateway: Gateway, topic: str = KEPT, number: int = -1) -> int:
    return (await publish(gateway, number, topic)).delivery.delivered


@pytest.mark.parametrize("topic", [KEPT, NOT_KEPT])
async def test_a_message_for_a_topic_reaches_the_subscribers_of_all_nodes_whoever_publishes(
    nodes: tuple[Gateway, Gateway], topic: str
) -> None:
    one, two = nodes
    async with follower(one.ws_url) as first, follower(two.ws_url) as second, follower(one.ws_url) as other:
        for device in (first, second):
            page = await device.subscribe(topic)
            assert (page["recovered"], bool(page["cursor"])) == (True, topic == KEPT)
        for number, gateway in enumerate((one, two)):
            body = {"target": {"topic": topic}, "message": {"type": "n", "data": number}}
            assert (await call(gateway, "POST", "/v1/publish", body))[1]["delivered"] == 2
        await until(lambda: first.of(topic) == second.of(topic) == [0, 1])
        assert all(("cursor" in each) == (topic == KEPT) for each in first.messages if each["type"] == "n")
        await first.send(type="unsubscribe", topic=topic)
        await until(lambda: first.told("unsubscribed", topic))
        await second.send(type="unsubscribe", topic=topic)
        await until(lambda: second.told("unsubscribed", topic))

        async def is_zero() -> bool:
            return await delivered(two, topic) == 0

        await until(is_zero)
        assert other.messages == []


async def test_what_came_meanwhile_is_read_after_the_cursor(nodes: tuple[Gateway, Gateway]) -> None:
    one, two = nodes
    async with follower(one.ws_url) as first:
        await first.subscribe()
        await publish(two, 0)
        await until(lambda: first.of(KEPT) == [0])
        cursor = first.messages[-1]["cursor"]
    for number in (1, 2):
        await publish(one, number)
    state = Publication.of(Target(topic=KEPT), create_upload_progress_message("u", "f", 50, ""))
    await one.node.engine.broker.publish(state)
    async with follower(two.ws_url) as again:
        page = await again.subscribe(cursor=cursor)
        assert (page["recovered"], [each["data"] for each in page["messages"]]) == (True, [1, 2])
        assert [each["data"]["progress"] for each in page["state"]] == [50]
        await again.send(type="ping", id="p")
        await until(lambda: again.told("ok"))
        (pong,) = again.told("pong")
        assert pong["topics"][KEPT]["cursor"] == page["cursor"]


async def test_messages_that_pub_sub_drops_or_whose_channels_are_cut_come_once_and_in_order(
    nodes: tuple[Gateway, Gateway], redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = Subscriptions._received
    count = 0

    def dropping(self: Subscriptions, watched: Watched, data: bytes) -> None:
        nonlocal count
        count += 1
        if watched.topic is None or count % 5 not in (1, 3):
            received(self, watched, data)

    monkeypatch.setattr(Subscriptions, "_received", dropping)
    one, two = nodes
    async with follower(one.ws_url) as first, follower(two.ws_url) as second, follower(two.ws_url, "user-2") as third:
        devices = (first, second, third)
        for device in devices:
            await device.subscribe()
        for number in range(300):
            await publish(nodes[number % 2], number)
            if number % 70 == 10:
                await asyncio.to_thread(redis_server.command, "CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: all(len(each.of(KEPT)) >= 300 for each in devices))
        for device in devices:
            assert device.of(KEPT) == list(range(300))


async def test_a_flushed_redis_is_told_to_the_subscribers_and_counts_again(
    tmp_path_factory: pytest.TempPathFactory, start_gateway: StartGateway
) -> None:
    with running(tmp_path_factory.mktemp("redis")) as server:
        one, two = await two_nodes(start_gateway, server.url)
        async with follower(one.ws_url) as first, follower(two.ws_url) as second:
            cursors = [(await device.subscribe())["cursor"] for device in (first, second)]
            for number in range(3):
                await publish(one, number)
            await until(lambda: first.of(KEPT) == second.of(KEPT) == [0, 1, 2])
            server.command("FLUSHALL")
            await publish(two, 3)
            await until(lambda: first.of(KEPT) == second.of(KEPT) == [0, 1, 2, 3])
            for device, cursor in zip((first, second), cursors, strict=True):
                await until(lambda device=device: device.told("pong"))  # type: ignore[misc]
                assert device.told("pong")[0]["topics"][KEPT]["cursor"].partition(":")[0] != cursor.partition(":")[0]
                page = await device.subscribe(cursor=cursor)
                assert (page["recovered"], [each["data"] for each in page["messages"]]) == (False, [3])

            async def count_again() -> bool:
                return await delivered(one) == 2

            await until(count_again)


@pytest.mark.long
@pytest.mark.usefixtures("own_state")
async def test_the_subscribers_of_a_node_that_is_killed_go_on_at_another_one(
    nodes: tuple[Gateway, Gateway], redis_server: RedisServer, redis_prefix: str
) -> None:
    one, two = nodes
    environment: dict[str, Any] = {
        "TELLWIRE_ENGINE": "redis",
        "TELLWIRE_REDIS_URL": redis_server.url,
        "TELLWIRE_REDIS_PREFIX": redis_prefix,
        "TELLWIRE_JWT_SECRET": SECRET,
        "TELLWIRE_API_KEY": API_KEY,
        "TELLWIRE_TOPICS": json.dumps(TOPICS),
    }
    async with follower(one.ws_url) as first, AsyncExitStack() as stack:
        await first.subscribe()
        async with serving(**environment) as third:
            victim = await stack.enter_async_context(follower(f"ws://127.0.0.1:{third.port}"))
            await victim.subscribe()
            assert await delivered(two, number=0) == 2
            await until(lambda: victim.of(KEPT) == [0])
            cursor = victim.messages[-1]["cursor"]
            third.process.kill()
            await victim.socket.wait_closed()
        killed_at = time.monotonic()
        number = 1
        async with follower(two.ws_url) as again:
            await publish(one, number)
            page = await again.subscribe(cursor=cursor)
            assert [each["data"] for each in page["messages"]] == [1]
            while await delivered(two, number=number + 1) != 2:
                number += 1
                await asyncio.sleep(0.2)
            assert time.monotonic() - killed_at < 2 * NODE_LEASE_SECONDS + 5
            await until(lambda: first.of(KEPT) == list(range(number + 2)))
            await until(lambda: again.of(KEPT) == list(range(2, number + 2)))


async def test_a_hello_names_a_hundred_topics_and_one_more_is_refused(nodes: tuple[Gateway, Gateway]) -> None:
    one, two = nodes
    topics = [f"t:{number}" for number in range(MAX_SUBSCRIPTIONS)]
    async with follower(one.ws_url) as device:
        await device.send(type="hello", cursors={"user": ""} | {f"topic:{each}": "" for each in topics})
        await until(lambda: len([each for each in device.told("subscribed") if each["last"]]) == len(topics))
        await device.send(type="subscribe", topic="one-more")
        await until(lambda: device.told("error", "one-more"))
        assert device.told("error")[0]["code"] == "TOO_MANY_SUBSCRIPTIONS"
        target = [Publication.of(Target(topic=each), create_message("n", 1)) for each in topics]
        outcomes = await two.node.engine.broker.publish_all(target)
        assert all(isinstance(each, Published) and each.delivery == Delivery(delivered=1) for each in outcomes)
        await until(lambda: all(device.of(each) == [1] for each in topics))
        await device.send(type="unsubscribe", topic=topics[0])
        await device.subscribe("one-more")


async def test_many_join_a_topic_at_once_while_it_is_published_to(nodes: tuple[Gateway, Gateway]) -> None:
    is_over = False
    published = 0

    async def go_on() -> None:
        nonlocal published
        while not is_over:
            await publish(nodes[published % 2], published)
            published += 1
            await asyncio.sleep(0.002)

    async with AsyncExitStack() as stack:
        devices = [
            await stack.enter_async_context(follower(nodes[number % 2].ws_url, f"user-{number % 50}"))
            for number in range(200)
        ]
        publishing = asyncio.create_task(go_on())
        pages = await asyncio.gather(*(device.subscribe() for device in devices))
        is_over = True
        await publishing
        assert await delivered(nodes[0], number=published) == 200
        for device, page in zip(devices, pages, strict=True):
            await until(lambda device=device: device.of(KEPT)[-1:] == [published])  # type: ignore[misc]
            got = device.of(KEPT)
            assert got == list(range(got[0], published + 1))
            # All after the cursor of the answer is there.
            assert got[0] <= int(page["cursor"].partition(":")[2])


async def test_topics_of_all_masters_of_a_cluster_reach_their_subscribers(
    redis_cluster: RedisCluster, redis_prefix: str, start_gateway: StartGateway
) -> None:
    one, two = await two_nodes(start_gateway, redis_cluster.url, redis_prefix)
    topics = [f"{kind}:{number}" for kind in ("moc", "cursors") for number in range(12)]
    async with follower(one.ws_url) as first, follower(two.ws_url) as second:
        for device in (first, second):
            await asyncio.gather(*(device.subscribe(each) for each in topics))
        for topic in topics:
            for number in range(3):
                assert await delivered((one, two)[number % 2], topic, number) == 2
        for topic in topics:
            await until(lambda topic=topic: first.of(topic) == second.of(topic) == [0, 1, 2])  # type: ignore[misc]
