"""Messages to topics over HTTP: one, in batches of each kind, and by a producer."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tellwire import sync
from tellwire.broadcast import Broadcaster, use_broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.config import Settings
from tellwire.engines.registry import open_engine
from tellwire.gateway import Node
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.model import Delivery
from tellwire.ports import SystemClock
from tellwire.testing import MemoryCarrier
from tellwire.topics import TopicRule, TopicRules
from tests.conftest import API_KEY, SECRET, Gateway, read
from tests.integration.gateway.test_http_api import call

RULES = [TopicRule(pattern="cursor:*", history=None, subscribe="anyone"), TopicRule(pattern="*", subscribe="anyone")]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    settings = Settings(port=0, engine="memory", jwt_secret=SECRET, api_key=API_KEY, drain_seconds=1)
    engine = await open_engine(settings, SystemClock(), topics=TopicRules(rules=RULES))
    node = Node(settings, engine=engine)
    async with node.running() as url:
        yield Gateway(node, url)


async def subscribe(device: ClientConnection, *topics: str) -> None:
    for topic in topics:
        await device.send(json.dumps({"type": "subscribe", "topic": topic}))
        assert (await read(device))["type"] == "subscribed"


def line(topic: str, data: Any) -> dict[str, Any]:
    return {"target": {"topic": topic}, "message": {"type": "note", "data": data}}


async def publish(gateway: Gateway, body: dict[str, Any]) -> tuple[int, Any]:
    status, answer, _ = await call(gateway, "POST", "/v1/publish", body)
    return status, answer


async def test_a_message_is_published_to_a_topic(gateway: Gateway) -> None:
    async with gateway.device() as ann, gateway.device("user-2") as ben:
        await subscribe(ann, "moc:1", "cursor:1")
        await subscribe(ben, "moc:1")
        status, answer = await publish(gateway, line("moc:1", 1))
        assert (status, answer["delivered"]) == (200, 2)
        for device in (ann, ben):
            message = await read(device)
            assert (message["topic"], message["data"], message["cursor"][-2:]) == ("moc:1", 1, ":1")
        assert (await publish(gateway, line("cursor:1", 2)))[1]["delivered"] == 1
        message = await read(ann)
        assert (message["topic"], "cursor" in message) == ("cursor:1", False)


@pytest.mark.parametrize("topic", ["", "a b", "a*", "x" * 257])
async def test_a_topic_that_is_none_is_refused(gateway: Gateway, topic: str) -> None:
    status, answer = await publish(gateway, line(topic, 1))
    assert (status, answer["code"]) == (400, "INVALID_MESSAGE")
    both = line("moc:1", 1)
    both["target"]["user"] = "user-1"
    assert (await publish(gateway, both))[0] == 400
    forged = line("moc:1", 1)
    forged["message"] |= {"from": "user-7"}
    assert (await publish(gateway, forged))[0] == 400


@pytest.mark.parametrize("topics", [["moc:1"], ["moc:1", "cursor:1"]], ids=["all kept", "not all kept"])
async def test_a_batch_comes_in_its_order(gateway: Gateway, topics: list[str]) -> None:
    async with gateway.device() as ann:
        await subscribe(ann, *topics)
        lines = [json.dumps(line(topics[number % len(topics)], number)) for number in range(20)]
        _, answers, _ = await call(gateway, "POST", "/v1/publish/batch", "\n".join(lines).encode())
        assert [json.loads(each)["delivered"] for each in answers.splitlines()] == [1] * 20
        assert [(await read(ann))["data"] for _ in range(20)] == list(range(20))


async def test_a_producer_publishes_to_a_topic(gateway: Gateway) -> None:
    carrier = HttpCarrier(gateway.url, API_KEY)
    async with gateway.device() as ann:
        await subscribe(ann, 'say:"hello"', "cursor:1")
        broadcaster = Broadcaster(carrier)
        assert await broadcaster.broadcast_to_topic('say:"hello"', create_message("note", {"a": 1})) == Delivery(1)
        assert await broadcaster.broadcast_to_topic("cursor:1", create_message("note", 2)) == Delivery(1)
        upload = create_upload_progress_message("u1", "f.csv", 40, "Row 40")
        assert await broadcaster.broadcast_to_topic('say:"hello"', upload) == Delivery(1)
        received = [await read(ann) for _ in range(3)]
        assert [each["topic"] for each in received] == ['say:"hello"', "cursor:1", 'say:"hello"']
        assert (received[2]["key"], received[2]["version"]) == ("upload:u1", 1)
    await carrier.close()


def test_synchronous_code_publishes_to_a_topic() -> None:
    carrier = MemoryCarrier()
    with use_broadcaster(Broadcaster(carrier)):
        assert sync.broadcast_to_topic("moc:1", create_message("note", 1)) == Delivery(1)
        assert sync.try_broadcast_to_topic("a b", create_message("note", 1)) is None
    assert [message["topic"] for _, message in carrier.sent] == ["moc:1"]
