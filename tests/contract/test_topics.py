"""The contract of topics, on real sockets: whoever subscribes gets each message of the log exactly once and in order
within the topic's retention, never an older state after a newer one, and is told where that cannot be kept.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from websockets.asyncio.client import ClientConnection

from tellwire.config import Settings
from tellwire.engines.registry import open_engine
from tellwire.errors import InvalidMessage
from tellwire.gateway import Node
from tellwire.messages import Message, UploadProgress, UploadProgressMessage, UploadStatus, create_message
from tellwire.model import Delivery, Target
from tellwire.ports import SystemClock
from tellwire.publication import Publication
from tellwire.retention import Retention
from tellwire.topics import TopicRule, TopicRules
from tests.aws_stack import running_stack
from tests.conftest import API_KEY, SECRET, Gateway, read

TOPIC = "moc:1:comments"
RULES = [
    TopicRule(pattern="secret:*"),
    TopicRule(pattern="cursor:*", history=None, subscribe="anyone"),
    TopicRule(pattern="short:*", history=Retention(max_messages=3), subscribe="anyone"),
    TopicRule(pattern="*", subscribe="anyone"),
]
"""Nobody may subscribe to `secret:…`, and nothing is kept of `cursor:…`."""

AT_MOST = 4
"""Topics of one connection."""

ON_AWS = {
    "TELLWIRE_SUBSCRIPTIONS_PER_CONNECTION": str(AT_MOST),
    "TELLWIRE_TOPICS": json.dumps(
        [
            {"pattern": "secret:*"},
            {"pattern": "cursor:*", "history": False, "subscribe": "anyone"},
            {"pattern": "short:*", "history": {"max_messages": 3}, "subscribe": "anyone"},
            {"pattern": "*", "subscribe": "anyone"},
        ]
    ),
}
"""The same rules as variables of functions."""


@dataclass
class Server:
    """A server whose topics are tested. On AWS several functions serve one connection at a time."""

    device: Callable[..., AbstractAsyncContextManager[ClientConnection]]
    deliver: Callable[[Publication], Awaitable[Delivery]]
    is_aws: bool = False

    async def publish(self, topic: str, *messages: Message) -> list[Delivery]:
        return [await self.deliver(Publication.of(Target(topic=topic), each)) for each in messages]


@pytest.fixture(params=["gateway on memory", "gateway on SQLite", "gateway on Redis", "API Gateway on moto"])
async def server(request: pytest.FixtureRequest, tmp_path: Path, redis_prefix: str) -> AsyncIterator[Server]:
    if request.param == "API Gateway on moto":
        with running_stack(request.getfixturevalue("moto_dynamodb"), ON_AWS, has_history=True) as stack:
            yield Server(stack.device, stack.keeping_carrier().deliver, is_aws=True)
            for each in stack.carriers:
                await each.close()
        return
    engine = request.param.rpartition(" ")[2].lower()
    settings: dict[str, Any] = {"engine": engine}
    if engine == "sqlite":
        settings["database"] = str(tmp_path / "topics.sqlite3")
    elif engine == "redis":
        url = request.getfixturevalue("redis_server").url
        settings |= {"redis_url": url, "redis_prefix": redis_prefix}
    async with running_gateway(**settings) as started:
        yield started


@contextlib.asynccontextmanager
async def running_gateway(*, at_most: int = AT_MOST, **settings: Any) -> AsyncIterator[Server]:
    defaults: dict[str, Any] = {"port": 0, "jwt_secret": SECRET, "api_key": API_KEY, "drain_seconds": 1}
    all_settings = Settings(**defaults | settings, subscriptions_per_connection=at_most)
    engine = await open_engine(all_settings, SystemClock(), topics=TopicRules(rules=RULES))
    node = Node(all_settings, engine=engine)

    async def deliver(publication: Publication) -> Delivery:
        return (await engine.broker.publish(publication)).delivery

    async with node.running() as url:
        yield Server(Gateway(node, url).device, deliver)


@dataclass
class Follower:
    """A client that follows topics by the rules of the protocol, and remembers the messages for its application."""

    device: ClientConnection
    cursors: dict[str, str] = field(default_factory=dict)
    passed: list[Any] = field(default_factory=list)
    recovered: list[bool] = field(default_factory=list)

    async def say(self, **request: Any) -> None:
        await self.device.send(json.dumps(request))

    async def subscribe(self, topic: str, **more: Any) -> dict[str, Any]:
        """Subscribe, and return the whole answer: all pages as one. Live messages are held meanwhile."""
        await self.say(type="subscribe", topic=topic, **more)
        return await self.pages(topic)

    async def pages(self, topic: str) -> dict[str, Any]:
        messages: list[Any] = []
        state: list[Any] = []
        held: list[Any] = []
        while True:
            frame = await read(self.device)
            if frame["type"] == "error":
                return dict(frame["data"])
            if frame["type"] != "subscribed":
                held.append(frame)
                continue
            page = frame["data"]
            assert page["topic"] == topic
            messages += page["messages"]
            state += page["state"]
            if page["last"]:
                break
        self.recovered.append(page["recovered"])
        for each in (*messages, *state):
            self.take(each)
        self.cursors[topic] = page["cursor"] or self.cursors.get(topic, "")
        # On Redis some of these may be after what was read.
        for each in held:
            self.take(each)
        return {**page, "messages": messages, "state": state}

    def take(self, message: dict[str, Any]) -> None:
        """Pass a message on, unless it was passed before."""
        topic = message.get("topic")
        if topic is not None and "cursor" in message:
            before = self.cursors.get(topic, "")
            epoch, _, offset = message["cursor"].rpartition(":")
            if before.rpartition(":")[0] == epoch:
                if int(offset) <= int(before.rpartition(":")[2]):
                    return
                assert int(offset) == int(before.rpartition(":")[2]) + 1, "a message was left out"
            self.cursors[topic] = message["cursor"]
        self.passed.append(message["data"])

    async def next(self) -> dict[str, Any]:
        """Return the next message as it comes."""
        message = await read(self.device)
        self.take(message)
        return message


@contextlib.asynccontextmanager
async def follower(server: Server, cursors: dict[str, str] | None = None, **device: Any) -> AsyncIterator[Follower]:
    async with server.device(**device) as connected:
        yield Follower(connected, dict(cursors or {}))


def note(number: int, filling: str = "") -> Message:
    return create_message("note", number if not filling else {"number": number, "filling": filling})


def upload(progress: float, second: int = 0) -> UploadProgressMessage:
    status: UploadStatus = "complete" if progress == 100 else "running"
    data = UploadProgress(upload_id="u1", file_name="f.csv", progress=progress, message="", status=status)
    return UploadProgressMessage(data, f"2026-11-28T10:00:{second:02}.000Z")


# --- to subscribe, and to end that ------------------------------------------------------------------------------------


async def test_a_subscriber_gets_what_is_published_from_then_on(server: Server) -> None:
    await server.publish(TOPIC, note(0))
    async with follower(server) as ann, follower(server, user_id="user-2") as ben, follower(server) as other:
        for each in (ann, ben):
            answer = await each.subscribe(TOPIC)
            assert (answer["recovered"], answer["messages"], answer["state"], answer["last"]) == (True, [], [], True)
        assert await server.publish(TOPIC, note(1), note(2)) == [Delivery(2), Delivery(2)]
        for each in (ann, ben):
            first, second = await each.next(), await each.next()
            assert (first["topic"], first["type"], first["data"], second["data"]) == (TOPIC, "note", 1, 2)
            assert first["cursor"].endswith(":2")
        await other.say(type="ping")
        assert (await other.next())["type"] == "pong"


async def test_a_subscriber_that_comes_back_gets_what_it_missed_and_the_newest_states(server: Server) -> None:
    async with follower(server) as ann:
        await ann.subscribe(TOPIC)
        await server.publish(TOPIC, note(1), upload(10))
        assert (await ann.next())["data"] == 1
        assert (await ann.next())["data"]["progress"] == 10
        cursor = ann.cursors[TOPIC]
    await server.publish(TOPIC, note(2), upload(40, 1), note(3))
    async with follower(server, {TOPIC: cursor}) as ann:
        answer = await ann.subscribe(TOPIC, cursor=cursor)
        assert (answer["recovered"], [each["data"] for each in answer["messages"]]) == (True, [2, 3])
        assert [(each["data"]["progress"], each["topic"]) for each in answer["state"]] == [(40, TOPIC)]
        assert all(each["topic"] == TOPIC for each in answer["messages"])
        await server.publish(TOPIC, upload(100, 2))
        state = await ann.next()
        assert (state["key"], state["version"] > answer["state"][0]["version"]) == ("upload:u1", True)


async def test_a_cursor_that_is_too_old_or_of_another_stream_is_not_recovered(server: Server) -> None:
    topic = "short:1"
    async with follower(server) as ann:
        cursor = (await ann.subscribe(topic))["cursor"]
        other = (await ann.subscribe(TOPIC))["cursor"]
    await server.publish(topic, *map(note, range(5)))
    async with follower(server) as ann:
        answer = await ann.subscribe(topic, cursor=cursor)
        assert (answer["recovered"], [each["data"] for each in answer["messages"]]) == (False, [2, 3, 4])
        assert (await ann.subscribe(topic, cursor=answer["cursor"]))["messages"] == []
        assert not (await ann.subscribe(topic, cursor=other))["recovered"]
        assert [each["data"] for each in (await ann.subscribe(topic, cursor="0"))["messages"]] == [2, 3, 4]
        assert ann.recovered == [False, True, False, True]


async def test_who_unsubscribes_gets_nothing_more(server: Server) -> None:
    async with follower(server) as ann, follower(server) as ben:
        for each in (ann, ben):
            await each.subscribe(TOPIC)
        await ann.say(type="unsubscribe", topic=TOPIC, id="7")
        assert (await ann.next())["data"] == {"topic": TOPIC}
        assert (await ann.next())["data"] == {"id": "7"}
        assert await server.publish(TOPIC, note(1)) == [Delivery(1)]
        await ann.say(type="unsubscribe", topic=TOPIC)
        assert (await ann.next())["type"] == "unsubscribed"
        answer = await ann.subscribe(TOPIC)
        assert answer["cursor"].endswith(":1")
        assert await server.publish(TOPIC, note(2)) == [Delivery(2)]


async def test_the_subscriptions_of_a_connection_end_with_it(server: Server) -> None:
    async with follower(server) as ann:
        await ann.subscribe(TOPIC)
        await ann.subscribe("moc:2")
        assert await server.publish(TOPIC, note(1)) == [Delivery(1)]
    async with asyncio.timeout(60):
        while await server.publish("moc:2", note(2)) != [Delivery()]:
            await asyncio.sleep(0.01)
    async with follower(server) as ann:
        await ann.say(type="history", stream=f"topic:{TOPIC}", id="1")
        assert (await ann.next())["data"]["code"] == "TOPIC_FORBIDDEN"


async def test_a_topic_that_is_not_kept_is_live_alone(server: Server) -> None:
    topic = "cursor:1"
    async with follower(server) as ann:
        answer = await ann.subscribe(topic)
        assert (answer["cursor"], answer["recovered"]) == ("", True)
        await server.publish(topic, note(1), upload(10))
        message, state = await ann.next(), await ann.next()
        assert (message["topic"], "cursor" in message, "version" in state) == (topic, False, False)
        assert state["data"]["progress"] == 10
        await ann.say(type="history", stream=f"topic:{topic}", id="1")
        assert (await ann.next())["data"]["result"] == {"messages": [], "more": False}
        assert not (await ann.subscribe(topic, cursor="e:5"))["recovered"]
        await ann.say(type="ping")
        assert topic not in (await ann.next())["data"].get("topics", {})


async def test_one_message_goes_once_to_each_subscriber_however_often_it_is_published(server: Server) -> None:
    # In DynamoDB only ids of a producer's own are looked up.
    message = structs.replace(create_message("note", 1), id="comment-1")
    once = Publication.of(Target(topic=TOPIC), message)
    async with follower(server) as ann:
        await ann.subscribe(TOPIC)
        for _ in range(3):
            await server.deliver(once)
        await server.publish(TOPIC, note(2))
        assert [(await ann.next())["data"] for _ in range(2)] == [1, 2]


async def test_older_messages_of_a_topic_come_in_pages(server: Server) -> None:
    await server.publish(TOPIC, *map(note, range(5)))
    async with follower(server) as ann:
        await ann.subscribe(TOPIC)
        await ann.say(type="history", stream=f"topic:{TOPIC}", limit=2, id="1")
        page = (await ann.next())["data"]["result"]
        assert ([each["data"] for each in page["messages"]], page["more"]) == ([4, 3], True)
        before = page["messages"][-1]["cursor"]
        await ann.say(type="history", stream=f"topic:{TOPIC}", before=before, id="2")
        assert [each["data"] for each in (await ann.next())["data"]["result"]["messages"]] == [2, 1, 0]


async def test_a_pong_says_where_the_topics_of_a_connection_end(server: Server) -> None:
    async with follower(server) as ann:
        await ann.say(type="ping")
        assert "topics" not in (await ann.next())["data"]
        await ann.subscribe(TOPIC)
        await server.publish(TOPIC, note(1), upload(10))
        cursor = (await ann.next())["cursor"]
        version = (await ann.next())["version"]
        for ping in ({"type": "ping"}, {"type": "ping", "id": "1"}):
            await ann.say(**ping)
            # In DynamoDB the progress of an upload does not write the end of the stream.
            known = {} if server.is_aws else {"version": version}
            assert (await ann.next())["data"]["topics"] == {TOPIC: {"cursor": cursor, **known}}


# --- a hello with topics ----------------------------------------------------------------------------------------------


async def test_a_hello_subscribes_to_its_topics_after_the_welcome_in_their_order(server: Server) -> None:
    await server.publish("moc:2", note(1))
    async with follower(server) as ann:
        cursor = (await ann.subscribe("moc:2"))["cursor"]
    await server.publish("moc:2", note(2))
    cursors = {"topic:moc:2": cursor, "topic:secret:1": "", "topic:moc:3": "", "topic:a b": "", "topic:moc:4": "0"}
    async with follower(server, {"moc:2": cursor}) as ann:
        await ann.say(type="hello", cursors=cursors, versions={"topic:moc:2": 1}, id="1")
        assert (await ann.next())["type"] == "welcome"
        assert [each["data"] for each in (await ann.pages("moc:2"))["messages"]] == [2]
        assert (await ann.pages("secret:1"))["code"] == "TOPIC_FORBIDDEN"
        assert (await ann.pages("moc:3"))["recovered"]
        refused = await ann.pages("a b")
        assert (refused["code"], refused["topic"]) == ("INVALID_MESSAGE", "a b")
        assert (await ann.pages("moc:4"))["recovered"]
        assert (await ann.next())["data"] == {"id": "1"}
        for topic in ("moc:2", "moc:3", "moc:4"):
            assert await server.publish(topic, note(5)) == [Delivery(1)]
            assert (await ann.next())["topic"] == topic


async def test_a_hello_of_another_hello_follows_anew(server: Server) -> None:
    async with follower(server) as ann:
        for _ in range(2):
            await ann.say(type="hello", cursors={"user": "", f"topic:{TOPIC}": ""})
            assert (await ann.next())["data"]["recovered"]
            await ann.pages(TOPIC)
        assert await server.publish(TOPIC, note(1)) == [Delivery(1)]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "code"), [("secret:1", "TOPIC_FORBIDDEN"), ("a b", "INVALID_MESSAGE"), ("x" * 257, "INVALID_MESSAGE")]
)
async def test_a_refused_topic_is_named_and_the_connection_stays(server: Server, topic: str, code: str) -> None:
    async with follower(server) as ann:
        error = await ann.subscribe(topic, id="9")
        assert (error["code"], error["topic"], error["id"]) == (code, topic, "9")
        with contextlib.suppress(InvalidMessage):
            assert await server.publish(topic, note(1)) == [Delivery()]
        await ann.say(type="ping")
        assert (await ann.next())["type"] == "pong"


async def test_a_connection_follows_so_many_topics_and_not_one_more(server: Server) -> None:
    async with follower(server) as ann:
        await ann.say(type="hello")
        assert (await ann.next())["data"]["limits"]["maxSubscriptions"] == AT_MOST
        for number in range(AT_MOST):
            assert (await ann.subscribe(f"moc:{number}"))["recovered"]
        error = await ann.subscribe("moc:many")
        assert (error["code"], error["topic"]) == ("TOO_MANY_SUBSCRIPTIONS", "moc:many")
        assert (await ann.subscribe("moc:0"))["recovered"]
        await ann.say(type="unsubscribe", topic="moc:0")
        assert (await ann.next())["type"] == "unsubscribed"
        assert (await ann.subscribe("moc:many"))["recovered"]


async def test_no_client_may_publish_unless_a_rule_says_so(server: Server) -> None:
    async with follower(server) as ann:
        await ann.subscribe(TOPIC)
        await ann.say(type="publish", topic=TOPIC, message={"type": "note", "data": 1}, id="1")
        error = (await ann.next())["data"]
        assert (error["code"], error["topic"], error["id"]) == ("TOPIC_FORBIDDEN", TOPIC, "1")


# --- exactly once and in order ----------------------------------------------------------------------------------------


async def test_messages_that_are_published_while_clients_subscribe_come_once_and_in_order(server: Server) -> None:
    async def talk() -> None:
        for number in range(300):
            await server.publish(TOPIC, note(number, "x" * 1000))

    async def follow(again: bool) -> list[int]:
        async with follower(server, max_size=None) as ann:
            await ann.subscribe(TOPIC, cursor="0")
            asked = {0}
            while not ann.passed or ann.passed[-1]["number"] < 299:
                part = len(ann.passed) // 60
                if again and part not in asked:
                    asked.add(part)
                    await ann.subscribe(TOPIC, cursor=ann.cursors[TOPIC])
                else:
                    await ann.next()
            assert all(ann.recovered)
            return [each["number"] for each in ann.passed]

    talking = asyncio.create_task(talk())
    followed = await asyncio.gather(*(follow(number % 2 == 1) for number in range(8)))
    await talking
    assert followed == [list(range(300))] * 8


async def test_whoever_comes_and_goes_gets_each_message_once(server: Server) -> None:
    async def talk() -> None:
        for number in range(200):
            await server.publish(TOPIC, note(number))
            await asyncio.sleep(0.005)

    cursors: dict[str, str] = {TOPIC: "0"}
    passed: list[Any] = []
    talking = asyncio.create_task(talk())
    while passed[-1:] != [199]:
        async with follower(server, cursors) as ann:
            await ann.subscribe(TOPIC, cursor=cursors[TOPIC])
            while len(ann.passed) < 20 and (passed + ann.passed)[-1:] != [199]:
                await ann.next()
            cursors = ann.cursors
            passed += ann.passed
    await talking
    assert passed == list(range(200))


async def test_an_unsubscribe_ends_the_pages_before_it(server: Server) -> None:
    if server.is_aws:
        pytest.skip("another function sends the pages")
    await server.publish(TOPIC, *(note(number, "x" * 60_000) for number in range(200)))
    async with follower(server, max_size=None, max_queue=1) as ann:
        await ann.say(type="subscribe", topic=TOPIC, cursor="0", id="1")
        first = await read(ann.device)
        assert (first["type"], first["data"]["last"]) == ("subscribed", False)
        await ann.say(type="unsubscribe", topic=TOPIC, id="2")
        kinds: list[tuple[str, Any]] = []
        while not kinds or kinds[-1] != ("ok", "2"):
            frame = await read(ann.device)
            kinds.append((frame["type"], frame["data"].get("id", frame["data"].get("last"))))
        after = kinds[kinds.index(("unsubscribed", None)) :]
        assert ("subscribed", True) not in kinds
        assert all(kind != "subscribed" for kind, _ in after)
        assert await server.publish(TOPIC, note(1)) == [Delivery()]
        answer = await ann.subscribe(TOPIC)
        assert answer["last"]


async def test_the_newest_request_about_a_topic_counts(server: Server) -> None:
    if server.is_aws:
        pytest.skip("functions may overtake each other, so clients wait for each answer")
    async with follower(server) as ann:
        for kind in ("subscribe", "unsubscribe", "subscribe", "unsubscribe", "subscribe"):
            await ann.say(type=kind, topic=TOPIC)
        await ann.say(type="ping", id="end")
        kinds: list[str] = []
        while kinds[-1:] != ["ok"]:
            frame = await read(ann.device)
            kinds.append(frame["type"])
        while await server.publish(TOPIC, note(1)) != [Delivery(1)]:
            await asyncio.sleep(0.01)


# --- states -----------------------------------------------------------------------------------------------------------


async def test_an_older_state_never_follows_a_newer_one(server: Server) -> None:
    async with follower(server) as ann:
        await ann.subscribe(TOPIC)
        await server.publish(TOPIC, upload(10, 1), upload(30, 3), upload(20, 2), upload(40, 4))
        states = [await ann.next() for _ in range(3)]
        assert [each["data"]["progress"] for each in states] == [10, 30, 40]
        versions = [each["version"] for each in states]
        assert versions == sorted(versions)


async def test_the_parts_of_an_upload_are_one_upload_of_its_topic(server: Server) -> None:
    def part(number: int, progress: float, second: int) -> UploadProgressMessage:
        data = UploadProgress(
            upload_id="u1", file_name="f.csv", progress=progress, message="", run="r", part=f"{number}/2"
        )
        return UploadProgressMessage(data, f"2026-11-28T10:00:{second:02}.000Z")

    async with follower(server) as ann:
        await ann.subscribe(TOPIC)
        await server.publish(TOPIC, part(1, 50, 1), part(2, 50, 2), part(1, 100, 3), part(2, 100, 4))
        states = [await ann.next() for _ in range(4)]
        assert all(each["topic"] == TOPIC for each in states)
        assert states[-1]["data"]["status"] == "complete"


async def test_a_user_and_a_topic_of_one_name_are_two_streams(server: Server) -> None:
    async with follower(server, user_id="same") as ann:
        await ann.subscribe("same")
        await server.publish("same", note(1))
        await server.deliver(Publication.of(Target(user="same"), note(2)))
        first, second = await ann.next(), await ann.next()
        assert (first["topic"], "topic" in second) == ("same", False)
        assert first["cursor"] != second["cursor"]
