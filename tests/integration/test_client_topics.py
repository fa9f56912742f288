"""Topics of the Python client on real gateways, which are restarted, and over connections that are cut."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tellwire import create_message, create_upload_progress_message
from tellwire.client import Client, ClientOptions, RequestError, Topic, TopicRefused, TopicState
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.messages import Message
from tests.conftest import API_KEY, SECRET
from tests.integration.test_client import Tokens
from tests.tools import until

PATIENT = {"options": ClientOptions(backoff_first_seconds=0.2), "jitter": lambda: 1.0}
"""A client that stays away for a moment when its connection was cut."""

QUICK = ClientOptions(backoff_first_seconds=0.01, backoff_max_seconds=0.05)
TOPIC = "moc:1:comments"
RULES: Any = [
    {"pattern": "secret:*"},
    {"pattern": "cursor:*", "history": False, "subscribe": "anyone"},
    {"pattern": "short:*", "history": {"max_messages": 3}, "subscribe": "anyone"},
    {"pattern": "*", "subscribe": "anyone"},
]


@asynccontextmanager
async def running(port: int = 0, database: Path | None = None, **more: Any) -> AsyncIterator[Node]:
    given: dict[str, Any] = {"port": port, "jwt_secret": SECRET, "api_key": API_KEY, "drain_seconds": 1}
    given |= {"engine": "memory"} if database is None else {"engine": "sqlite", "database": str(database)}
    node = Node(Settings(**given | {"topics": RULES} | more))
    async with node.running():
        yield node


def client_of(node: Node, **options: Any) -> Client:
    return Client(f"ws://127.0.0.1:{node.address[1]}", Tokens(), **{"options": QUICK} | options)


async def publish(node: Node, topic: str, *messages: Message) -> None:
    for message in messages:
        await node.broadcaster.broadcast_to_topic(topic, message)


def comment(number: int) -> Message:
    return create_message("comment", number)


async def subscribed(topic: Topic) -> None:
    await until(lambda: topic.state.status == "subscribed")


async def next_data(topic: Topic, count: int) -> list[Any]:
    async with asyncio.timeout(60):
        return [(await anext(topic)).data for _ in range(count)]


async def test_the_messages_of_a_topic_come_and_the_users_own_beside_them() -> None:
    async with running() as node, client_of(node) as client, client.topic(TOPIC) as topic:
        await subscribed(topic)
        await publish(node, TOPIC, comment(1))
        await node.broadcaster.broadcast_to_user("user-1", create_message("note", 2))
        await publish(node, "moc:2:comments", comment(3))
        await publish(node, TOPIC, comment(4))
        assert await next_data(topic, 2) == [1, 4]
        assert (await anext(client)).data == 2
        assert topic.state == TopicState("subscribed", recovered=True)


async def test_a_topic_begins_with_its_oldest_message_and_its_history_goes_back() -> None:
    async with running() as node, client_of(node) as client:
        await publish(node, "short:1", *map(comment, range(5)))
        async with client.topic("short:1", start_from="oldest") as topic:
            assert await next_data(topic, 3) == [2, 3, 4]
            page = await topic.history(limit=2)
            assert ([message.data for message in page.messages], page.more) == ([4, 3], True)


async def test_a_restarted_gateway_with_a_file_has_all_that_was_said_meanwhile(tmp_path: Path) -> None:
    database = tmp_path / "streams.sqlite3"
    async with running(database=database) as node:
        port = node.address[1]
        client = client_of(node)
        await client.__aenter__()
        topic = client.topic(TOPIC)
        states: list[TopicState] = []
        topic.on_state(states.append)
        await topic.__aenter__()
        await subscribed(topic)
        await publish(node, TOPIC, comment(1))
        assert await next_data(topic, 1) == [1]
    await until(lambda: topic.state.status == "subscribing")
    async with running(port=0, database=database) as elsewhere:
        await publish(elsewhere, TOPIC, comment(2), create_upload_progress_message("u", "f.csv", 7, "Seven"))
    async with running(port, database) as node:
        await publish(node, TOPIC, comment(3))
        assert await next_data(topic, 2) == [2, 3]
        await subscribed(topic)
        assert (await anext(topic)).data["progress"] == 7
        await client.close()
    told = [(state.status, state.recovered) for state in states]
    assert told == [("subscribed", True), ("subscribing", None), ("subscribed", True)]


async def test_a_gateway_that_has_forgotten_says_that_something_may_be_missing() -> None:
    async with running() as node:
        port = node.address[1]
        client = client_of(node)
        await client.__aenter__()
        topic = await client.topic(TOPIC).__aenter__()
        await subscribed(topic)
        await publish(node, TOPIC, comment(1))
        assert await next_data(topic, 1) == [1]
    async with running(port) as node:
        await until(lambda: topic.state.recovered is False)
        await publish(node, TOPIC, comment(2))
        assert await next_data(topic, 1) == [2]
        await client.close()


async def test_more_was_said_than_a_topic_keeps() -> None:
    async with running() as node, client_of(node, **PATIENT) as client, client.topic("short:1") as topic:
        await subscribed(topic)
        await publish(node, "short:1", comment(1))
        assert await next_data(topic, 1) == [1]
        cut(client)
        await until(lambda: topic.state.status == "subscribing")
        await publish(node, "short:1", *map(comment, range(2, 9)))
        await until(lambda: topic.state.status == "subscribed")
        assert topic.state.recovered is False
        assert await next_data(topic, 3) == [6, 7, 8]


async def test_a_topic_without_a_history_may_miss_something_when_it_comes_back() -> None:
    async with running() as node, client_of(node) as client, client.topic("cursor:1") as topic:
        await subscribed(topic)
        assert topic.state.recovered is True
        await publish(node, "cursor:1", comment(1))
        assert await next_data(topic, 1) == [1]
        cut(client)
        await until(lambda: topic.state.recovered is False)
        await publish(node, "cursor:1", comment(2))
        assert await next_data(topic, 1) == [2]


async def test_a_program_that_comes_back_with_its_cursors_misses_nothing() -> None:
    async with running() as node:
        async with client_of(node) as client, client.topic(TOPIC) as topic:
            await subscribed(topic)
            await publish(node, TOPIC, comment(1), comment(2))
            assert await next_data(topic, 1) == [1]
            cursors = client.cursors
        await publish(node, TOPIC, comment(3))
        async with client_of(node, cursors=cursors) as client, client.topic(TOPIC) as topic:
            assert await next_data(topic, 2) == [2, 3]
            assert topic.state.recovered is True


async def test_what_is_not_allowed_is_refused_and_harms_nobody_else() -> None:
    async with running(subscriptions_per_connection=1) as node, client_of(node) as client:
        async with client.topic("secret:1") as secret:
            with pytest.raises(TopicRefused) as refused:
                await anext(secret)
            assert refused.value.code == "TOPIC_FORBIDDEN"
            async with client.topic(TOPIC) as topic:
                await subscribed(topic)
                waiting = client.topic("moc:2:comments")
                async with waiting:
                    await until(lambda: waiting.state.code == "TOO_MANY_SUBSCRIPTIONS")
                    await topic.__aexit__(None, None, None)
                    await subscribed(waiting)
        with pytest.raises(RequestError):
            async with client.topic(TOPIC) as topic:
                await topic.publish("comment", {})
        assert client.state.status == "open"


async def test_forty_topics_and_more_are_followed_again_after_a_cut() -> None:
    async with running() as node, client_of(node, **PATIENT) as client:
        topics = [await client.topic(f"moc:{number}").__aenter__() for number in range(90)]
        for _ in range(2):
            await until(lambda: all(topic.state.status == "subscribed" for topic in topics))
            for number, topic in enumerate(topics):
                await publish(node, topic.name, comment(number))
                assert await next_data(topic, 1) == [number]
            cut(client)
            await until(lambda: all(topic.state.status == "subscribing" for topic in topics))


class Play:
    """Two topics of one client, and all that was said and heard of them."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.said = {"a": 0, "b": 0}
        self.heard: dict[str, list[int]] = {"a": [], "b": []}
        self.progress: list[float] = []
        self.states: list[TopicState] = []
        self.listening = [asyncio.create_task(self._listen(client.topic(name))) for name in self.said]

    async def _listen(self, topic: Topic) -> None:
        topic.on_state(self.states.append)
        async with topic:
            async for message in topic:
                if message.type == "comment":
                    self.heard[topic.name].append(message.data)
                else:
                    self.progress.append(message.data["progress"])

    async def happens(self, node: Node, event: str, name: str) -> None:
        match event:
            case "say":
                self.said[name] += 1
                await publish(node, name, comment(self.said[name]))
            case "progress":
                number = sum(self.said.values())
                await publish(node, "a", create_upload_progress_message("u", "f", number / 10, ""))
            case "cut":
                cut(self.client)
            case "pause":
                await asyncio.sleep(0)

    def is_complete(self) -> bool:
        return all(len(self.heard[name]) >= count for name, count in self.said.items())


async def test_over_cuts_and_restarts_each_message_comes_once_and_in_order(tmp_path: Path) -> None:
    dice = random.Random(19)
    database = tmp_path / "streams.sqlite3"
    async with running(database=database) as node:
        port = node.address[1]
        client = await client_of(node).__aenter__()
        play = Play(client)
        await until(lambda: [state.status for state in play.states] == ["subscribed", "subscribed"])
    for _ in range(3):
        async with running(port, database) as node:
            for _ in range(120):
                event = dice.choice(["say", "say", "say", "progress", "cut", "pause"])
                await play.happens(node, event, dice.choice(["a", "b"]))
            await until(play.is_complete)
    await client.close()
    await asyncio.gather(*play.listening)
    assert play.heard == {name: list(range(1, count + 1)) for name, count in play.said.items()}
    assert play.progress == sorted(play.progress)
    assert not any(state.recovered is False for state in play.states)


def cut(client: Client) -> None:
    for socket in client._shell.sockets.values():
        socket.transport.abort()
