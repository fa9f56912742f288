"""A topic as an application uses it, over real sockets to a server that does as the test says."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from tellwire.client import (
    Client,
    ClientOptions,
    ClosedForGood,
    Member,
    PresenceState,
    RequestError,
    TopicRefused,
    TopicState,
)
from tellwire.errors import ConfigError, InvalidMessage, MessageTooBig
from tests.tools import until
from tests.unit.client.servers import Scripted, scripted

NAME = "moc:1:comments"
QUICK = ClientOptions(backoff_first_seconds=0.001, backoff_max_seconds=0.01)


def client_of(server: Scripted, **options: Any) -> Client:
    return Client(server.url, lambda why: "head.claims.signature", options=QUICK, **options)


def page(kind: str, cursor: str, messages: Sequence[object] = (), **more: object) -> str:
    data = {"cursor": cursor, "recovered": True, "messages": messages, "state": [], "last": True} | more
    return json.dumps({"type": kind, "data": data})


def comment(number: int, topic: str = NAME, filling: str = "") -> dict[str, object]:
    message = {"type": "comment", "data": number, "id": f"{topic}{number}", "cursor": f"t:{number}", "topic": topic}
    return message | ({"filling": filling} if filling else {})


async def hears(device: ServerConnection) -> dict[str, Any]:
    """Return the next message of the client that is no ping."""
    while True:
        message: dict[str, Any] = json.loads(await device.recv())
        if message["type"] != "ping":
            return message
        await device.send('{"type":"pong"}')


async def welcomes(device: ServerConnection, *topics: str) -> dict[str, Any]:
    """Answer the hello, and the topics in it; return it."""
    hello = await hears(device)
    await device.send(page("welcome", "e:0"))
    for topic in topics:
        await device.send(page("subscribed", "t:0", topic=topic))
    return hello


def refuses(topic: str, code: str = "TOPIC_FORBIDDEN") -> str:
    return json.dumps({"type": "error", "data": {"code": code, "message": "You may not.", "topic": topic}})


async def test_the_messages_of_a_topic_come_from_it_and_the_others_from_the_client() -> None:
    async def speak(device: ServerConnection) -> None:
        await welcomes(device, NAME)
        await device.send(json.dumps({"type": "note", "data": 1, "cursor": "e:1"}))
        await device.send(json.dumps(comment(1) | {"from": "ada"}))
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server) as client, client.topic(NAME) as topic:
        got = await anext(topic)
        assert (got.type, got.topic, got.data) == ("comment", NAME, 1)
        assert (await anext(client)).type == "note"
        assert topic.state == TopicState("subscribed", True)
        assert client.cursors == {"user": "e:1", f"topic:{NAME}": "t:1"}


async def test_a_cursor_is_that_of_what_was_taken() -> None:
    async def speak(device: ServerConnection) -> None:
        await welcomes(device, NAME)
        for number in (1, 2, 3):
            await device.send(json.dumps(comment(number)))
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server) as client, client.topic(NAME) as topic:
        await anext(topic)
        await until(lambda: client._machine.cursors()[f"topic:{NAME}"] == "t:3")
        assert client.cursors[f"topic:{NAME}"] == "t:1"


async def test_a_topic_that_is_left_is_unsubscribed_from_and_can_be_followed_again() -> None:
    heard: list[object] = []

    async def speak(device: ServerConnection) -> None:
        await welcomes(device)
        for answer in (
            page("subscribed", "t:0", topic=NAME),
            json.dumps({"type": "unsubscribed", "data": {"topic": NAME}}),
            page("subscribed", "t:2", [comment(1), comment(2)], topic=NAME),
        ):
            heard.append(await hears(device))
            await device.send(answer)
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server) as client:
        await until(lambda: client.state.recovered is not None)
        async with client.topic(NAME) as topic:
            await until(lambda: topic.state.status == "subscribed")
        async with client.topic(NAME, start_from="oldest") as again:
            assert [(await anext(again)).data, (await anext(again)).data] == [1, 2]
        assert heard == [
            {"type": "subscribe", "topic": NAME},
            {"type": "unsubscribe", "topic": NAME},
            {"type": "subscribe", "topic": NAME, "cursor": "0"},
        ]
        with pytest.raises(StopAsyncIteration):
            await anext(topic)


async def test_a_topic_that_is_refused_raises_and_what_came_before_is_still_given() -> None:
    async def speak(device: ServerConnection) -> None:
        await welcomes(device, NAME)
        await device.send(json.dumps(comment(1)))
        data = {"topic": NAME, "code": "TOPIC_FORBIDDEN", "message": "Withdrawn"}
        await device.send(json.dumps({"type": "unsubscribed", "data": data}))
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server) as client, client.topic(NAME) as topic:
        await until(lambda: topic.state.status == "refused")
        assert (await anext(topic)).data == 1
        with pytest.raises(TopicRefused, match="Withdrawn") as refused:
            await anext(topic)
        assert (refused.value.topic, refused.value.code) == (NAME, "TOPIC_FORBIDDEN")
        with pytest.raises(TopicRefused):
            await topic.history()
        assert client.state.status == "open"


async def test_a_refused_topic_goes_on_when_the_next_connection_may() -> None:
    visits = 0

    async def speak(device: ServerConnection) -> None:
        nonlocal visits
        visits += 1
        await hears(device)
        await device.send(page("welcome", "e:0"))
        if visits == 1:
            await device.send(refuses(NAME))
            await device.close(1012)
        else:
            await device.send(page("subscribed", "t:1", [comment(1)], topic=NAME))
            await device.wait_closed()

    states: list[str] = []
    async with scripted(speak) as server, client_of(server) as client:
        topic = client.topic(NAME, start_from="oldest")
        topic.on_state(lambda state: states.append(state.status))
        async with topic:
            await until(lambda: topic.state.status == "subscribed")
            assert (await anext(topic)).data == 1
    assert states == ["refused", "subscribed"]


async def test_the_end_of_the_client_is_the_end_of_its_topics() -> None:
    async def speak(device: ServerConnection) -> None:
        await welcomes(device, NAME)
        await device.close(4403)

    async with scripted(speak) as server, client_of(server) as client, client.topic(NAME) as topic:
        with pytest.raises(ClosedForGood):
            await anext(topic)
    async with scripted() as server, client_of(server) as client, client.topic(NAME) as topic:
        await client.close()
        with pytest.raises(StopAsyncIteration):
            await anext(topic)


async def test_history_waits_until_the_topic_is_subscribed_and_a_message_is_published() -> None:
    heard: list[dict[str, Any]] = []

    async def speak(device: ServerConnection) -> None:
        await hears(device)
        await device.send(page("welcome", "e:0"))
        await asyncio.sleep(0)
        await device.send(page("subscribed", "t:1", topic=NAME))
        for result in ({"messages": [comment(1)], "more": False}, None):
            heard.append(await hears(device))
            data = {"id": heard[-1]["id"]} | ({} if result is None else {"result": result})
            await device.send(json.dumps({"type": "ok", "data": data}))
        heard.append(await hears(device))
        error = {"code": "TOPIC_FORBIDDEN", "message": "No", "topic": NAME, "id": heard[-1]["id"]}
        await device.send(json.dumps({"type": "error", "data": error}))
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server) as client, client.topic(NAME) as topic:
        older = await topic.history(before="t:2", limit=5)
        assert [message.data for message in older.messages] == [1]
        await topic.publish("comment", {"text": "Hi"})
        with pytest.raises(RequestError, match="No"):
            await topic.publish("comment")
        assert topic.state.status == "subscribed"
    said = [{name: value for name, value in each.items() if name != "id"} for each in heard]
    assert said[:2] == [
        {"type": "history", "stream": f"topic:{NAME}", "limit": 5, "before": "t:2"},
        {"type": "publish", "topic": NAME, "message": {"type": "comment", "data": {"text": "Hi"}}},
    ]


async def test_a_program_that_cares_for_a_topic_alone_does_not_stop_for_the_users_messages() -> None:
    many = 3_000

    async def speak(device: ServerConnection) -> None:
        await welcomes(device, NAME)
        for number in range(1, many + 1):
            await device.send(json.dumps({"type": "note", "data": number, "cursor": f"e:{number}"}))
        await device.send(json.dumps(comment(1)))
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server) as client, client.topic(NAME) as topic:
        assert (await anext(topic)).data == 1
        # A program that comes back with its cursors misses nothing of the user's.
        assert client.cursors == {"user": "e:0", f"topic:{NAME}": "t:1"}
        assert (await anext(client)).data > many - 1_100


async def test_a_program_that_does_not_read_a_topic_stops_the_others_and_loses_nothing() -> None:
    many = 4_000

    async def speak(device: ServerConnection) -> None:
        await welcomes(device, NAME)
        for number in range(1, many + 1):
            await device.send(json.dumps(comment(number, filling="." * 500)))
        await device.send(json.dumps({"type": "note", "data": 1, "cursor": "e:1"}))
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server) as client, client.topic(NAME) as topic:
        note = asyncio.ensure_future(anext(client))
        await until(lambda: client._shell.inboxes.is_full)
        assert not note.done()
        assert [(await anext(topic)).data for _ in range(many)] == list(range(1, many + 1))
        assert (await note).type == "note"


async def test_a_program_that_leaves_a_topic_that_it_did_not_read_goes_on() -> None:
    async def speak(device: ServerConnection) -> None:
        await welcomes(device, NAME)
        for number in range(1, 3_000):
            await device.send(json.dumps(comment(number, filling="." * 500)))
        await device.send(json.dumps({"type": "note", "data": 1, "cursor": "e:1"}))
        await device.wait_closed()

    async with scripted(speak) as server, client_of(server) as client:
        async with client.topic(NAME):
            await until(lambda: client._shell.inboxes.is_full)
        assert (await anext(client)).type == "note"


async def test_a_listener_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def speak(device: ServerConnection) -> None:
        await welcomes(device, NAME)
        await device.wait_closed()

    def fail(_: TopicState) -> None:
        raise ValueError("mine")

    seen: list[str] = []
    async with scripted(speak) as server, client_of(server) as client:
        topic = client.topic(NAME)
        topic.on_state(fail)
        forget = topic.on_state(lambda state: seen.append("forgotten"))
        topic.on_state(lambda state: seen.append(state.status))
        forget()
        forget()
        async with topic:
            await until(lambda: seen == ["subscribed"])
    assert "mine" in caplog.text


async def test_what_is_wrong_with_a_call_is_said() -> None:
    async with scripted() as server, client_of(server) as client:
        with pytest.raises(InvalidMessage, match="topic"):
            client.topic("moc 1")
        with pytest.raises(ConfigError, match="start_from"):
            client.topic(NAME, start_from="yesterday")  # type: ignore[arg-type]
        topic = client.topic(NAME)
        with pytest.raises(RuntimeError, match="within"):
            aiter(topic)
        async with topic:
            with pytest.raises(RuntimeError, match="once"):
                await topic.__aenter__()
            with pytest.raises(RuntimeError, match="already"):
                await client.topic(NAME).__aenter__()
            with pytest.raises(InvalidMessage, match="type"):
                await topic.publish("")
            with pytest.raises(MessageTooBig):
                await topic.publish("comment", "x" * 200_000)


async def test_who_is_in_a_topic_is_told_to_all_who_listen_also_when_one_of_them_fails() -> None:
    asked: list[dict[str, Any]] = []

    async def speak(device: ServerConnection) -> None:
        await welcomes(device, NAME)
        asked.append(await hears(device))
        data = {"topic": NAME, "count": 2, "members": [{"userId": "ann", "info": {"name": "Ann"}}, {"userId": "ben"}]}
        await device.send(json.dumps({"type": "presence", "data": data}))
        await device.send(json.dumps({"type": "ok", "data": {"id": asked[0]["id"]}}))
        left = {"topic": NAME, "userId": "ann", "count": 1}
        await device.send(json.dumps({"type": "leave", "data": left}))
        await device.wait_closed()

    heard: list[PresenceState] = []
    async with scripted(speak) as server, client_of(server) as client:
        topic = client.topic(NAME)
        topic.on_presence(lambda state: 1 / 0)
        topic.on_presence(heard.append)
        async with topic:
            await until(lambda: len(heard) == 2)
            assert topic.presence == heard[1] == PresenceState((Member("ben"),), 1, is_complete=True, is_live=True)
        assert heard[0].members == (Member("ann", {"name": "Ann"}), Member("ben"))
    assert asked[0].items() >= {"type": "presence", "topic": NAME}.items()
    assert topic.presence == heard[-1] == PresenceState()
