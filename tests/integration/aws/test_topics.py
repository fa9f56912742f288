"""Topics on AWS, for devices on the functions: rights that the row keeps, ends of connections, uploads."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tellwire.broker import BrokerCarrier
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.messages import Message, UploadProgress, UploadProgressMessage, create_message
from tellwire.model import Delivery, Target, new_connection_id
from tellwire.publication import Publication
from tests.aws_stack import Stack, read, running_stack
from tests.conftest import SECRET
from tests.faults import Proxy

TOPIC = "moc:1:comments"
RULES = json.dumps(
    [
        {"pattern": "open:*", "subscribe": "anyone"},
        {"pattern": "cursor:*", "history": False},
        {"pattern": "chat:*", "subscribe": "anyone", "publish": "token"},
    ]
)


@pytest.fixture
def topics(dynamodb_proxy: Proxy) -> Iterator[Stack]:
    """The API with a history, and with rules of topics."""
    with running_stack(dynamodb_proxy.url, {"TELLWIRE_TOPICS": RULES}, has_history=True) as running:
        yield running


def token(stack: Stack, user_id: str = "user-1", ttl_seconds: float = 3600, **claims: Any) -> str:
    now = int(stack.clock.now())
    claims = {"topics": ["moc:*", "user:{user}:*", "cursor:*"]} | claims
    return jwt.encode({"sub": user_id, "iat": now, "exp": now + int(ttl_seconds), **claims}, SECRET, algorithm="HS256")


def device(stack: Stack, user_id: str = "user-1", **claims: Any) -> connect:
    return connect(f"{stack.api.url}?token={token(stack, user_id, **claims)}", proxy=None, compression=None)


async def ask(device: ClientConnection, **request: Any) -> dict[str, Any]:
    """Send a request, and return the next message."""
    await device.send(json.dumps(request))
    return await read(device)


async def subscribe(device: ClientConnection, topic: str = TOPIC, **more: Any) -> dict[str, Any]:
    answer = await ask(device, type="subscribe", topic=topic, **more)
    assert answer["type"] == "subscribed", answer
    return dict(answer["data"])


async def publish(carrier: BrokerCarrier, message: Message, topic: str = TOPIC) -> Delivery:
    return await carrier.deliver(Publication.of(Target(topic=topic), message))


async def members(stack: Stack, topic: str = TOPIC) -> list[str]:
    return [each.connection_id async for page, _ in stack.deployment.table.members.of_topic(topic) for each in page]


# --- rights -----------------------------------------------------------------------------------------------------------


async def test_the_claim_of_the_token_is_kept_with_the_connection(topics: Stack) -> None:
    async with device(topics) as one:
        for topic in (TOPIC, "user:user-1:files", "open:1"):
            await subscribe(one, topic)
        for topic in ("other:1", "user:user-2:files"):
            refused = await ask(one, type="subscribe", topic=topic)
            assert (refused["type"], refused["data"]["code"], refused["data"]["topic"]) == (
                "error",
                "TOPIC_FORBIDDEN",
                topic,
            )
        assert await members(topics, "other:1") == []


async def test_a_new_token_withdraws_what_it_does_not_claim(topics: Stack) -> None:
    carrier = topics.keeping_carrier()
    async with device(topics) as one:
        await subscribe(one)
        await subscribe(one, "user:user-1:files")
        answer = await ask(one, type="auth", token=token(topics, topics={"subscribe": ["user:{user}:*"]}))
        assert answer["type"] == "auth_ok"
        withdrawn = await read(one)
        assert (withdrawn["type"], withdrawn["data"]["topic"], withdrawn["data"]["code"]) == (
            "unsubscribed",
            TOPIC,
            "TOPIC_FORBIDDEN",
        )
        assert await publish(carrier, create_message("note", 1)) == Delivery()
        assert await publish(carrier, create_message("note", 2), "user:user-1:files") == Delivery(delivered=1)
        assert (await read(one))["data"] == 2
        refused = await ask(one, type="subscribe", topic=TOPIC)
        assert refused["data"]["code"] == "TOPIC_FORBIDDEN"


async def test_a_function_of_the_project_decides(topics: Stack) -> None:
    asked = []

    @topics.default.authorize_topic
    def may(identity: Any, topic: str) -> bool:
        asked.append((identity.user_id, topic))
        return topic == "team:7"

    async with device(topics, "user-3", topics=None) as one:
        await subscribe(one, "team:7")
        refused = await ask(one, type="subscribe", topic="team:8")
        assert refused["data"]["code"] == "TOPIC_FORBIDDEN"
    assert set(asked) == {("user-3", "team:7"), ("user-3", "team:8")}


async def test_a_client_publishes_if_its_token_says_so(topics: Stack) -> None:
    message = {"type": "note", "data": 1}
    claim = {"subscribe": ["moc:*"], "publish": ["chat:{user}:*"]}
    async with device(topics, topics=claim) as one, device(topics, "user-2", topics=claim) as other:
        for each in (one, other):
            await subscribe(each, "chat:user-1:7")
        refused = await ask(other, type="publish", topic="chat:user-1:7", message=message, id="1")
        assert refused["data"]["code"] == "TOPIC_FORBIDDEN"
        await one.send(json.dumps({"type": "publish", "topic": "chat:user-1:7", "message": message, "id": "2"}))
        heard = await read(other)
        assert (heard["data"], heard["from"], heard["topic"]) == (1, "user-1", "chat:user-1:7")
        assert {(await read(one))["type"] for _ in range(2)} == {"note", "ok"}


async def test_a_function_that_fails_lets_nobody_in(topics: Stack) -> None:
    @topics.default.authorize_topic
    async def may(identity: Any, topic: str) -> bool:
        raise LookupError(topic)

    async with device(topics, topics=None) as one:
        refused = await ask(one, type="subscribe", topic="team:7")
        assert refused["data"]["code"] == "TOPIC_RIGHTS_UNAVAILABLE"
        assert await members(topics, "team:7") == []


# --- members ----------------------------------------------------------------------------------------------------------


async def test_a_connection_that_ends_leaves_its_topics(topics: Stack) -> None:
    async with device(topics) as one, device(topics, "user-2") as other:
        for each in (one, other):
            await subscribe(each)
            await subscribe(each, "open:1")
        assert len(await members(topics)) == 2
        await one.close()
        async with asyncio.timeout(60):
            while len(await members(topics)) + len(await members(topics, "open:1")) > 2:
                await asyncio.sleep(0.01)
        assert await publish(topics.keeping_carrier(), create_message("note", 1)) == Delivery(delivered=1)
        assert (await read(other))["topic"] == TOPIC


async def test_a_member_that_is_gone_is_removed(topics: Stack) -> None:
    # Its `$disconnect` was never called.
    table = topics.deployment.table
    now = topics.clock.now()
    lost = ConnectionRow("user-1", new_connection_id(), now, now + 7200, now + 3600, None)
    await table.members.add(TOPIC, lost)
    carrier = topics.keeping_carrier()
    assert await publish(carrier, create_message("note", 1)) == Delivery(gone=1)
    assert await publish(carrier, create_message("note", 2)) == Delivery()


async def test_a_member_whose_token_was_renewed_goes_on_and_one_whose_token_has_expired_does_not(topics: Stack) -> None:
    carrier = topics.keeping_carrier()
    async with device(topics, ttl_seconds=300) as renewed, device(topics, "user-2", ttl_seconds=300) as expired:
        for each in (renewed, expired):
            await subscribe(each)
        assert (await ask(renewed, type="auth", token=token(topics, ttl_seconds=3000)))["type"] == "auth_ok"
        table = topics.deployment.table
        found = [each async for page, _ in table.members.of_topic(TOPIC) for each in page]
        ends = {each.user_id: each.token_expires_at for each in found}
        assert ends["user-1"] > ends["user-2"]
        topics.api.advance(301)
        assert await publish(carrier, create_message("note", 1)) == Delivery(delivered=1, gone=1)
        assert (await read(renewed))["data"] == 1
        assert (await read(expired))["data"]["code"] == "TOKEN_EXPIRED"
        # Where the index did not have it at the `auth`, its row tells.
        (left,) = [each async for page, _ in table.members.of_topic(TOPIC) for each in page]
        await table.members.renew([left], 1.0)
        assert await publish(carrier, create_message("note", 2)) == Delivery(delivered=1)
        assert (await read(renewed))["data"] == 2


# --- streams ----------------------------------------------------------------------------------------------------------


async def test_a_topic_is_replayed_and_one_without_a_history_is_not(topics: Stack) -> None:
    carrier = topics.keeping_carrier()
    for number in range(3):
        await publish(carrier, create_message("note", number))
        await publish(carrier, create_message("note", number), "cursor:1")
    async with device(topics) as one:
        answer = await subscribe(one, cursor="0")
        assert [message["data"] for message in answer["messages"]] == [0, 1, 2]
        assert (answer["recovered"], {message["topic"] for message in answer["messages"]}) == (True, {TOPIC})
        loose = await subscribe(one, "cursor:1")
        assert (loose["cursor"], loose["messages"], loose["recovered"]) == ("", [], True)
        await publish(carrier, create_message("note", 3), "cursor:1")
        live = await read(one)
        assert (live["data"], live["topic"], "cursor" in live) == (3, "cursor:1", False)
        page = await ask(one, type="history", id="h", stream=f"topic:{TOPIC}", limit=2)
        assert [message["data"] for message in page["data"]["result"]["messages"]] == [2, 1]
        refused = await ask(one, type="history", id="h2", stream="topic:moc:2:comments")
        assert refused["data"]["code"] == "TOPIC_FORBIDDEN"


async def test_a_pong_says_where_topics_end(topics: Stack) -> None:
    carrier = topics.keeping_carrier()
    async with device(topics) as one:
        await subscribe(one)
        await publish(carrier, create_message("note", 1))
        heard = await read(one)
        assert (await ask(one, type="ping"))["data"]["topics"] == {TOPIC: {"cursor": heard["cursor"]}}


async def test_an_upload_in_a_topic_whose_worker_is_silent_stalls_and_fails_for_its_members(topics: Stack) -> None:
    carrier = topics.keeping_carrier()
    data = UploadProgress(upload_id="u1", file_name="f.csv", progress=10, message="", lease_seconds=30)
    async with device(topics) as one:
        await subscribe(one)
        assert await publish(carrier, UploadProgressMessage(data)) == Delivery(delivered=1)
        assert (await read(one))["version"] > 0
        for status in ("stalled", "failed"):
            topics.api.advance(31)
            assert await asyncio.to_thread(topics.sweep) == 1
            state = await read(one)
            assert (state["data"]["status"], state["topic"]) == (status, TOPIC)
        assert (await read(one))["type"] == "error"
