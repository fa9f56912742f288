"""Topics of a gateway of one process over time: restarts, silent workers, a history that is forgotten, new tokens, slow
clients, and connections that end in the midst of it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.carriers.hub import Hub
from tellwire.config import Settings
from tellwire.engines.registry import open_engine
from tellwire.gateway import Node
from tellwire.messages import UploadProgress, UploadProgressMessage, create_state_message
from tellwire.model import Delivery
from tellwire.ports import SystemClock
from tellwire.publication import Publication, topic_stream
from tellwire.topics import TopicRule, TopicRules
from tests.conftest import API_KEY, SECRET, Gateway, read
from tests.contract.test_topics import TOPIC, Server, follower, note, running_gateway
from tests.tools import until


def hub_of(server: Server) -> Hub:
    gateway: Any = server.device.__self__  # type: ignore[attr-defined]
    assert isinstance(gateway, Gateway)
    return gateway.node.hub


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running_gateway(engine="memory") as started:
        yield started


async def test_a_topic_in_a_file_goes_on_after_a_restart(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"engine": "sqlite", "database": str(tmp_path / "topics.sqlite3")}
    async with running_gateway(**settings) as server, follower(server) as ann:
        await ann.subscribe(TOPIC)
        await server.publish(TOPIC, note(1), note(2))
        await ann.next()
        cursor = ann.cursors[TOPIC]
    async with running_gateway(**settings) as server, follower(server, {TOPIC: cursor}) as ann:
        answer = await ann.subscribe(TOPIC, cursor=cursor)
        assert (answer["recovered"], [each["data"] for each in answer["messages"]]) == (True, [2])
        await server.publish(TOPIC, note(3))
        assert (await ann.next())["cursor"].endswith(":3")


async def test_a_silent_worker_is_told_to_the_topic(server: Server) -> None:
    data = UploadProgress(upload_id="u1", file_name="f.csv", progress=5, message="", lease_seconds=1)
    async with follower(server) as ann:
        await ann.subscribe(TOPIC)
        await server.publish(TOPIC, UploadProgressMessage(data))
        told = [await ann.next() for _ in range(4)]
    assert [each["data"].get("status") for each in told[1:3]] == ["stalled", "failed"]
    assert (told[3]["type"], told[3]["data"]["code"]) == ("error", "UPLOAD_LOST")
    assert all(each["topic"] == TOPIC for each in told)


async def test_who_edits_this_is_told_also_to_who_comes_later_and_ends_by_itself(server: Server) -> None:
    gateway: Any = server.device.__self__  # type: ignore[attr-defined]
    carrier = HttpCarrier(gateway.url, API_KEY)
    editing = create_state_message("editing", "part-3", {"by": "Ada"})
    async with follower(server) as ann, follower(server) as bob:
        await ann.subscribe(TOPIC)
        delivery = await Broadcaster(carrier).broadcast_to_topic(TOPIC, editing, ttl_seconds=3600)
        assert delivery.delivered == 1
        told = await ann.next()
        assert (told["key"], told["version"], told["data"]) == ("state:editing:part-3", 1, {"by": "Ada"})
        answer = await bob.subscribe(TOPIC)
        assert [each["data"] for each in answer["state"]] == [{"by": "Ada"}]
        await Broadcaster(carrier).broadcast_to_topic(TOPIC, editing, ttl_seconds=1)
        for each in (ann, bob):
            assert (await each.next())["version"] == 2
            gone = await each.next()
            assert (gone["type"], gone["key"], gone["data"], gone["topic"]) == ("editing", told["key"], None, TOPIC)
            assert gone["version"] == 3
    await carrier.close()


async def test_a_topic_that_was_forgotten_begins_anew_and_says_so(server: Server) -> None:
    await server.publish(TOPIC, note(1), note(2))
    gateway: Any = server.device.__self__  # type: ignore[attr-defined]
    async with follower(server) as ann:
        cursor = (await ann.subscribe(TOPIC))["cursor"]
        await gateway.node.engine.forget_topic(TOPIC)
        await server.publish(TOPIC, note(3))
        assert (await read(ann.device))["cursor"].partition(":")[0] != cursor.partition(":")[0]
    async with follower(server) as ann:
        answer = await ann.subscribe(TOPIC, cursor=cursor)
        assert (answer["recovered"], [each["data"] for each in answer["messages"]]) == (False, [3])


async def test_a_connection_that_ends_leaves_nothing_behind(server: Server) -> None:
    hub = hub_of(server)
    async with follower(server) as ann, follower(server) as ben:
        for each in (ann, ben):
            await each.subscribe(TOPIC)
        await ann.subscribe("moc:2")
        assert (hub.size(topic_stream(TOPIC)), len(hub.connections_with_topics())) == (2, 2)
        await ben.say(type="subscribe", topic="moc:3", cursor="0")
        await ben.device.close()
        await until(lambda: len(hub.connections_with_topics()) == 1)
    await until(lambda: len(hub) == 0)
    assert (hub._topics, hub._by_stream) == ({}, {})


async def test_a_subscribe_that_was_decided_too_late_leaves_nothing_behind() -> None:
    async with controlled_gateway() as (server, rights):
        async with follower(server) as ann:
            rights.waits = asyncio.Event()
            await ann.say(type="subscribe", topic=TOPIC)
            await until(lambda: rights.asked)
        await until(lambda: len(hub_of(server)) == 0)
        rights.waits.set()
        await until(lambda: not rights.asked)
        assert (hub_of(server)._topics, hub_of(server)._by_stream) == ({}, {})


async def test_an_unsubscribe_overtakes_no_subscribe() -> None:
    async with controlled_gateway() as (server, rights), follower(server) as ann:
        rights.waits = asyncio.Event()
        await ann.say(type="subscribe", topic=TOPIC, id="1")
        await until(lambda: rights.asked)
        await ann.say(type="unsubscribe", topic=TOPIC, id="2")
        await ann.say(type="ping", id="3")
        assert [(await read(ann.device))["type"] for _ in range(2)] == ["pong", "ok"]
        rights.waits.set()
        kinds = [await read(ann.device) for _ in range(3)]
        assert sorted(each["type"] for each in kinds) == ["ok", "ok", "unsubscribed"]
        assert await server.publish(TOPIC, note(1)) == [Delivery()]


async def test_a_right_that_a_new_token_has_not_ends_the_topic_and_only_that() -> None:
    async with controlled_gateway() as (server, rights), follower(server) as ann:
        await ann.subscribe(TOPIC)
        await ann.subscribe("moc:2")
        rights.forbidden.add(TOPIC)
        gateway: Any = server.device.__self__  # type: ignore[attr-defined]
        await ann.say(type="auth", token=gateway.token())
        assert (await read(ann.device))["type"] == "auth_ok"
        told = await read(ann.device)
        assert (told["type"], told["data"]["topic"], told["data"]["code"]) == ("unsubscribed", TOPIC, "TOPIC_FORBIDDEN")
        assert await server.publish(TOPIC, note(1)) == [Delivery()]
        assert await server.publish("moc:2", note(2)) == [Delivery(1)]
        assert (await ann.subscribe(TOPIC))["code"] == "TOPIC_FORBIDDEN"


async def test_a_right_that_ended_during_a_subscribe_counts() -> None:
    async with controlled_gateway() as (server, rights), follower(server) as ann:
        rights.forbidden.add(TOPIC)
        assert (await ann.subscribe(TOPIC))["code"] == "TOPIC_FORBIDDEN"
        rights.forbidden.clear()
        await ann.subscribe(TOPIC)
        rights.forbidden.add(TOPIC)
        # As a recovery, it is asked for again.
        assert (await ann.subscribe(TOPIC, cursor=ann.cursors[TOPIC]))["code"] == "TOPIC_FORBIDDEN"
        assert await server.publish(TOPIC, note(1)) == [Delivery()]


async def test_a_slow_client_gets_the_newest_state_of_each_topic(server: Server) -> None:
    def state(progress: float) -> UploadProgressMessage:
        data = UploadProgress(upload_id="u1", file_name="f.csv", progress=progress, message="x" * 2000)
        return UploadProgressMessage(data)

    topics = ("moc:1", "moc:2")
    async with follower(server, max_queue=1) as ann:
        for topic in topics:
            await ann.subscribe(topic)
        for number in range(1, 1500):
            for topic in topics:
                await server.publish(topic, state(number / 20))
        newest: dict[str, float] = {}
        while newest != dict.fromkeys(topics, 1499 / 20):
            message = await read(ann.device)
            assert message["data"]["progress"] >= newest.get(message["topic"], 0)
            newest[message["topic"]] = message["data"]["progress"]


async def test_a_hello_with_as_many_topics_as_there_may_be_is_answered_in_their_order() -> None:
    count = 100
    async with running_gateway(engine="memory", at_most=count) as server, follower(server) as ann:
        await server.publish("moc:7", note(1))
        cursors = {f"topic:moc:{number}": "0" for number in range(count + 3)}
        await ann.say(type="hello", cursors=cursors, id="1")
        assert (await read(ann.device))["type"] == "welcome"
        for number in range(count):
            assert len((await ann.pages(f"moc:{number}"))["messages"]) == (number == 7)
        for number in range(count, count + 3):
            refused = await ann.pages(f"moc:{number}")
            assert (refused["code"], refused["topic"]) == ("TOO_MANY_SUBSCRIPTIONS", f"moc:{number}")
        assert (await read(ann.device))["data"] == {"id": "1"}
        await ann.say(type="ping")
        assert len((await read(ann.device))["data"]["topics"]) == count


class Rights:
    """Rights that a test decides about. `waits`: the answers wait for it. `asked`: an answer is waited for."""

    def __init__(self) -> None:
        self.forbidden: set[str] = set()
        self.waits: asyncio.Event | None = None
        self.asked = False

    async def may_subscribe(self, identity: Any, topic: str) -> bool:
        if self.waits is not None:
            self.asked = True
            try:
                await self.waits.wait()
            finally:
                self.asked = False
        return topic not in self.forbidden

    async def may_publish(self, identity: Any, topic: str) -> bool:
        return False


@contextlib.asynccontextmanager
async def controlled_gateway() -> AsyncIterator[tuple[Server, Rights]]:
    settings = Settings(port=0, engine="memory", jwt_secret=SECRET, api_key=API_KEY, drain_seconds=1)
    rules = TopicRules(rules=[TopicRule(subscribe="anyone")])
    engine = await open_engine(settings, SystemClock(), topics=rules)
    node = Node(settings, engine=engine)

    async def deliver(publication: Publication) -> Delivery:
        return (await engine.broker.publish(publication)).delivery

    async with node.running() as url:
        rights = Rights()
        application: Any = node.sockets.application
        application._of_peers.conversation._topic_requests._authorizer = rights
        yield Server(Gateway(node, url).device, deliver), rights
