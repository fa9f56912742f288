"""Presence of topics on AWS, for devices on the functions: joins, leaves, and whatever ends unseen."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tellwire.aws.deployment import Deployment
from tellwire.aws.handlers import Sweep
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.engines.aws.topic_members import TopicMember, TopicMembers
from tellwire.errors import AwsUnreachable
from tellwire.limits import AWS_PRESENCE_HOLD_SECONDS, PRESENCE_GRACE_SECONDS
from tellwire.messages import create_message
from tellwire.model import Delivery, Identity, Target, new_connection_id
from tellwire.publication import Publication, topic_stream
from tellwire.shut_out import ShutOut
from tests.aws_stack import Stack, read, running_stack
from tests.faults import Proxy
from tests.integration.aws.test_topics import ask, device, token

TOPIC = "moc:1:comments"
CHECK_SECONDS = 300.0
"""Sooner than a silent connection is closed."""

RULES = json.dumps([{"pattern": "moc:*", "subscribe": "anyone", "presence": True}, {"pattern": "quiet:*"}])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellwire.engines.aws.presence_table.AWS_PRESENCE_CHECK_SECONDS", CHECK_SECONDS)


@pytest.fixture
def stack(dynamodb_proxy: Proxy) -> Iterator[Stack]:
    """The API with a history, and with presence in `moc:…`."""
    with running_stack(dynamodb_proxy.url, {"TELLWIRE_TOPICS": RULES}, has_history=True) as running:
        yield running


async def follow(device: ClientConnection, topic: str = TOPIC) -> None:
    """Subscribe, and ignore all messages before the answer."""
    await device.send(json.dumps({"type": "subscribe", "topic": topic}))
    while (await read(device))["type"] != "subscribed":
        pass


async def watch(device: ClientConnection, topic: str = TOPIC) -> dict[str, Any]:
    """Follow a topic, and return who is there, once the device itself is."""
    await follow(device, topic)
    answer = await ask(device, type="presence", topic=topic)
    while True:
        told = answer["data"]
        if answer["type"] in ("join", "presence") and told["count"] > 0:
            return dict(told)
        answer = await read(device)


async def members(stack: Stack, topic: str = TOPIC) -> tuple[int, list[str]]:
    found = await stack.deployment.presence().members(topic_stream(topic))
    return found.count, sorted(one.user_id for one in found.members)


async def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.02)


async def sweep(stack: Stack, seconds: float = PRESENCE_GRACE_SECONDS + 0.1) -> dict[str, Any]:
    """Move the clock, and run the sweeper."""
    stack.api.advance(seconds)
    return dict(await asyncio.to_thread(Sweep(stack.deployment), {}, None))


async def test_who_comes_and_who_goes(stack: Stack) -> None:
    async with device(stack) as one:
        first = await watch(one)
        assert first["count"] == 1
        async with device(stack, "user-2", info={"name": "Ann"}) as other:
            await follow(other)
            joined = await read(one)
            assert (joined["type"], joined["data"]) == (
                "join",
                {"topic": TOPIC, "userId": "user-2", "count": 2, "info": {"name": "Ann"}},
            )
            # A second device of the same user is nobody new.
            async with device(stack, "user-2") as tablet:
                await follow(tablet)
                assert await members(stack) == (2, ["user-1", "user-2"])
                listed = await ask(one, type="presence", topic=TOPIC, id="7")
                assert listed["data"]["members"] == [
                    {"userId": "user-1"},
                    {"userId": "user-2", "info": {"name": "Ann"}},
                ]
                assert (await read(one))["data"]["id"] == "7"
            await sweep(stack)
            assert await members(stack) == (2, ["user-1", "user-2"])
        await until(lambda: _is_gone(stack, "user-2"))
        assert (await sweep(stack))["is_finished"] is True
        left = await read(one)
        assert (left["type"], left["data"]) == ("leave", {"topic": TOPIC, "userId": "user-2", "count": 1})
        await sweep(stack)
        assert (await ask(one, type="ping"))["type"] == "pong"


async def _is_gone(stack: Stack, user_id: str, topic: str = TOPIC) -> bool:
    """Return True if no connection of a user is subscribed."""
    pages = stack.deployment.table.members.of_topic(topic)
    return not [each async for page, _ in pages for each in page if each.user_id == user_id]


# --- connections that end unseen --------------------------------------------------------------------------------------


async def lost_device(stack: Stack, user_id: str) -> str:
    """Subscribe a connection whose end nobody saw: `$disconnect` was never called."""
    now, presence, table = stack.clock.now(), stack.deployment.presence(), stack.deployment.table
    row = ConnectionRow(user_id, new_connection_id(), now, now + 7200, now + 3600, None)
    is_told = await presence.comes(TOPIC, row, None)
    await table.members.add(TOPIC, row, has_presence=True)
    await presence.has_come(TOPIC, row, None, is_told=is_told, at_most_seconds=5)
    return row.connection_id


async def test_a_connection_whose_end_nobody_saw_is_looked_up_in_time(stack: Stack) -> None:
    async with device(stack) as one:
        await watch(one)
        await lost_device(stack, "user-2")
        assert (await read(one))["type"] == "join"
        await sweep(stack)
        assert await members(stack) == (2, ["user-1", "user-2"])
        await sweep(stack, CHECK_SECONDS)
        left = await read(one)
        assert (left["type"], left["data"]["userId"], left["data"]["count"]) == ("leave", "user-2", 1)
        assert await _is_gone(stack, "user-2")


async def test_a_watcher_who_does_not_take_a_post_has_left(stack: Stack) -> None:
    lost = await lost_device(stack, "user-2")
    member = await stack.deployment.table.members.find(TOPIC, lost)
    assert member is not None
    assert await stack.deployment.table.members.watch(member)
    async with device(stack) as one:
        # Its join is posted to the one who is gone.
        await watch(one)
        await sweep(stack)
        left = await read(one)
        assert (left["type"], left["data"]) == ("leave", {"topic": TOPIC, "userId": "user-2", "count": 1})


async def test_a_broadcast_that_meets_nobody_lets_the_user_leave(stack: Stack) -> None:
    await lost_device(stack, "user-2")
    delivery = await stack.keeping_carrier().deliver(Publication.of(Target(topic=TOPIC), create_message("note", 1)))
    assert delivery == Delivery(gone=1)
    await sweep(stack)
    assert await members(stack) == (0, [])


async def test_a_token_that_expires_ends_the_presence_and_a_new_one_begins_it(stack: Stack) -> None:
    async with device(stack) as one, device(stack, "user-2", ttl_seconds=200) as other:
        await watch(one)
        await follow(other)
        assert (await read(one))["type"] == "join"
        await sweep(stack, CHECK_SECONDS)
        assert (await read(one))["type"] == "leave"
        await other.send(json.dumps({"type": "auth", "token": token(stack, "user-2")}))
        assert (await read(other))["type"] == "auth_ok"
        joined = await read(one)
        assert (joined["type"], joined["data"]["userId"]) == ("join", "user-2")


async def test_a_topic_that_everybody_has_left_leaves_nothing_behind(stack: Stack) -> None:
    async with device(stack) as one:
        await watch(one)
    await until(lambda: _is_gone(stack, "user-1"))
    await sweep(stack)
    assert await members(stack) == (0, [])
    await sweep(stack, CHECK_SECONDS)
    scan = await stack.deployment.table._dynamodb.call("Scan", TableName=stack.environ["CONNECTIONS_TABLE_NAME"])
    assert scan["Items"] == []


# --- functions that die -----------------------------------------------------------------------------------------------


async def test_watchers_are_told_all_anew_if_a_function_died_before_it_told_them(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with device(stack) as one:
        await watch(one)

        async def dies(self: Any, payload: bytes) -> bool:
            raise AwsUnreachable("the test", "the function has died")

        with monkeypatch.context() as patched:
            patched.setattr("tellwire.engines.aws.topic_presence._Turn._post", dies)
            patched.setattr("tellwire.engines.aws.presence_table.PresenceTable.release", dies_at_once)
            with pytest.raises(AwsUnreachable):
                await lost_device(stack, "user-2")
        assert await members(stack) == (2, ["user-1", "user-2"])
        await sweep(stack, 1)  # the dead function holds the topic
        await sweep(stack, AWS_PRESENCE_HOLD_SECONDS)
        told = await read(one)
        assert (told["type"], told["data"]["count"]) == ("presence", 2)
        assert [each["userId"] for each in told["data"]["members"]] == ["user-1", "user-2"]


async def dies_at_once(*_: Any) -> None:
    raise AwsUnreachable("the test", "the function has died")


async def test_a_topic_that_another_function_holds_is_told_by_it(stack: Stack) -> None:
    async with device(stack) as one:
        await watch(one)
        table = stack.deployment.table.presence
        head = await table.hold(TOPIC, "other", stack.clock.now())
        assert head is not None
        await lost_device(stack, "user-2")
        assert (await members(stack))[0] == 1
        await table.release(TOPIC, "other", head)
        assert await stack.deployment.presence().settle(TOPIC)
        assert (await read(one))["data"]["userId"] == "user-2"


# --- ids and infos ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_id", ["u" * 1900, "a b", "presence#moc:1:comments", "pending#3", "#&user-1"])
async def test_whatever_a_user_is_called(stack: Stack, user_id: str) -> None:
    await lost_device(stack, user_id)
    await lost_device(stack, "user-2")
    assert await members(stack) == (2, sorted([user_id, "user-2"]))
    table = stack.deployment.table
    now = stack.clock.now()
    await table.add(user_id, new_connection_id(), now, now + 60)
    await table.put_shut_out(ShutOut.of(user_id, now + 60, token_id="x"))
    assert await stack.carrier().count(user_id) == 1
    assert await stack.carrier().count("user-2") == 0
    assert (await sweep(stack, CHECK_SECONDS))["is_finished"] is True
    assert await members(stack) == (0, [])


async def test_an_info_is_kept_only_where_a_topic_has_presence(stack: Stack) -> None:
    identity = Identity("user-1", 0.0, {"info": {"name": "Ann"}, "email": "x"})
    assert stack.deployment.kept_claims(identity) == {"info": {"name": "Ann"}}
    without = Deployment({**stack.environ, "TELLWIRE_TOPICS": "[]"}, stack.clock)
    assert without.kept_claims(identity) == {}
    too_long = Identity("user-1", 0.0, {"info": {"name": "x" * 1024}})
    assert stack.deployment.kept_claims(too_long) == {}


# --- the index is late ------------------------------------------------------------------------------------------------


async def test_who_unsubscribes_and_subscribes_at_once_is_subscribed(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with device(stack) as one:
        await follow(one)
        table = stack.deployment.table
        (row,) = [row async for page in table.of_user("user-1") for row in page]
        late = await table.members.of_connection(row.connection_id)
        assert (await ask(one, type="unsubscribe", topic=TOPIC))["type"] == "unsubscribed"

        async def of_connection(self: Any, connection_id: str) -> list[TopicMember]:
            return late

        monkeypatch.setattr(TopicMembers, "of_connection", of_connection)
        await follow(one)
        assert not await _is_gone(stack, "user-1")
        await sweep(stack)
        assert await members(stack) == (1, ["user-1"])
