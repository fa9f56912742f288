"""Rights to topics at a real gateway: given by tokens, rules, functions and a webhook, and withdrawn in mid-stream."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from msgspec import structs
from websockets.asyncio.client import ClientConnection, connect

from tellwire.auth.compact import encoded
from tellwire.auth.keys import hmac_with
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.limits import TOPIC_RIGHTS_WATCH_SECONDS
from tellwire.messages import create_message
from tellwire.model import Identity, Target
from tellwire.publication import Publication
from tellwire.testing import FakeClock
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, offered, read
from tests.redis_server import RedisServer
from tests.tools import until
from tests.unit.aws_api.scripted import DROPS, ReceivedRequest, Response, Service, Step

TOPIC = "moc:1"
YES, NO = Response(200, b'{"allow":true}'), Response(200, b'{"allow":false}')
WEBHOOK_SECRET = "a secret of webhooks that nobody knows"


def token(now: float | None = None, **claims: Any) -> str:
    """Return a token with these claims."""
    now = time.time() if now is None else now
    every = {"sub": "u1", "iat": int(now), "exp": int(now) + 3600} | claims
    signed = encoded(b'{"alg":"HS256","typ":"JWT"}') + b"." + encoded(msgspec.json.encode(every))
    return (signed + b"." + encoded(hmac_with(SECRET.encode(), "HS256")(signed))).decode()


@asynccontextmanager
async def device(gateway: Gateway, **claims: Any) -> AsyncIterator[ClientConnection]:
    found = offered(token(**claims))
    async with connect(gateway.ws_url, subprotocols=found) as socket:
        yield socket


async def ask(socket: ClientConnection, **request: Any) -> dict[str, Any]:
    await socket.send(json.dumps(request))
    return await read(socket)


async def subscribe(socket: ClientConnection, topic: str = TOPIC) -> str:
    """Subscribe, and return the type of the answer, or the code of the error."""
    answer = await ask(socket, type="subscribe", topic=topic)
    assert answer["data"]["topic"] == topic
    return str(answer["data"].get("code") or answer["type"])


async def say(node: Node, topic: str, data: int) -> None:
    await node.engine.broker.publish(Publication.of(Target(topic=topic), create_message("said", data)))


def kept(gateway: Gateway) -> dict[str, Identity]:
    """Return the claims that the node keeps, by connection."""
    application: Any = gateway.node.sockets.application
    found: dict[str, Identity] = application._of_peers.topics._identities
    return found


@asynccontextmanager
async def node_of(node: Node) -> AsyncIterator[Gateway]:
    async with node.running() as url:
        yield Gateway(node, url)


def settings(**more: Any) -> Settings:
    defaults: dict[str, Any] = {"port": 0, "jwt_secret": SECRET, "api_key": API_KEY, "engine": "memory"}
    return Settings(**defaults | {"drain_seconds": 1} | more)


async def test_a_token_opens_its_topics_and_no_others(gateway: Gateway) -> None:
    async with device(gateway, topics=["moc:*", "user:{user}"]) as socket:
        assert await subscribe(socket) == "subscribed"
        assert await subscribe(socket, "user:u1") == "subscribed"
        assert await subscribe(socket, "user:u2") == "TOPIC_FORBIDDEN"
        assert await subscribe(socket, "secret") == "TOPIC_FORBIDDEN"
        assert (await ask(socket, type="ping"))["type"] == "pong"
    async with device(gateway) as socket:
        assert await subscribe(socket) == "TOPIC_FORBIDDEN"


async def test_nothing_is_kept_of_a_token_without_topics_or_of_a_connection_that_is_gone(gateway: Gateway) -> None:
    async with device(gateway, role="x") as plain, device(gateway, role="x", topics=["moc:*"]) as socket:
        assert await subscribe(socket) == "subscribed"
        assert [each.claims for each in kept(gateway).values()] == [{"topics": {"subscribe": ["moc:*"]}}]
        answer = await ask(socket, type="auth", token=token())
        assert answer["type"] == "auth_ok"
        assert (await read(socket))["type"] == "unsubscribed"
        assert kept(gateway) == {}
        assert (await ask(plain, type="auth", token=token(topics=["a"])))["type"] == "auth_ok"
        assert len(kept(gateway)) == 1
    await until(lambda: kept(gateway) == {})


async def test_wrong_patterns_are_told_in_the_log_and_the_connection_stays(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tellwire.topics"):
        async with device(gateway, topics=["moc:*", "a b", 5]) as socket:
            assert await subscribe(socket) == "subscribed"
            assert await subscribe(socket, "a") == "TOPIC_FORBIDDEN"
    assert "topics.subscribe: got 'a b'; allowed: a topic with * and {user}" in caplog.text


async def test_the_name_of_the_claim_is_a_setting(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(jwt_topics_claim="https://example.com/rooms")
    async with device(gateway, **{"https://example.com/rooms": ["moc:*"], "topics": ["secret"]}) as socket:
        assert await subscribe(socket) == "subscribed"
        assert await subscribe(socket, "secret") == "TOPIC_FORBIDDEN"


async def test_a_new_token_withdraws_a_topic_in_mid_stream(gateway: Gateway) -> None:
    async with device(gateway, topics=["moc:*", "news"]) as socket:
        assert await subscribe(socket) == "subscribed"
        assert await subscribe(socket, "news") == "subscribed"
        await say(gateway.node, TOPIC, 1)
        assert (await read(socket))["data"] == 1
        assert (await ask(socket, type="auth", token=token(topics=["news"])))["type"] == "auth_ok"
        withdrawn = await read(socket)
        assert (withdrawn["type"], withdrawn["data"]["topic"]) == ("unsubscribed", TOPIC)
        assert withdrawn["data"]["code"] == "TOPIC_FORBIDDEN"
        await say(gateway.node, TOPIC, 2)
        await say(gateway.node, "news", 3)
        assert (await read(socket))["data"] == 3


async def test_a_reload_of_the_rules_withdraws_topics_and_gives_others() -> None:
    rules: Any = ({"pattern": "moc:*", "subscribe": "anyone", "history": False},)
    async with node_of(Node(settings(topics=rules))) as gateway, device(gateway) as socket:
        assert await subscribe(socket) == "subscribed"
        assert await subscribe(socket, "news") == "TOPIC_FORBIDDEN"
        changed = structs.replace(gateway.node.settings, topics=({"pattern": "news", "subscribe": "anyone"},))
        await gateway.node.reload(changed)
        assert (await read(socket))["data"]["code"] == "TOPIC_FORBIDDEN"
        assert await subscribe(socket, "news") == "subscribed"
        assert await subscribe(socket) == "TOPIC_FORBIDDEN"


async def test_a_function_of_the_program_decides_and_may_change_its_mind() -> None:
    node = Node(settings())
    allowed = {("u1", "editor", TOPIC)}

    @node.authorize_topic
    def decide(identity: Identity, topic: str) -> bool:
        return (identity.user_id, identity.claims["role"], topic) in allowed

    async with node_of(node) as gateway, device(gateway, role="editor") as socket:
        assert await subscribe(socket) == "subscribed"
        assert await subscribe(socket, "moc:2") == "TOPIC_FORBIDDEN"
        allowed.clear()
        await node.recheck_topics()
        assert (await read(socket))["data"]["code"] == "TOPIC_FORBIDDEN"
        with pytest.raises(RuntimeError, match="the node runs"):
            node.authorize_topic(decide)


async def test_a_function_that_fails_is_no_yes_and_takes_nothing_away(caplog: pytest.LogCaptureFixture) -> None:
    node = Node(settings())
    broken: list[bool] = []

    async def decide(identity: Identity, topic: str) -> bool:
        if broken:
            raise RuntimeError("the database is away")
        return True

    node.authorize_topic(decide)
    async with node_of(node) as gateway, device(gateway) as socket:
        assert await subscribe(socket) == "subscribed"
        broken.append(True)
        assert await subscribe(socket, "moc:2") == "TOPIC_RIGHTS_UNAVAILABLE"
        await node.recheck_topics()
        await say(node, TOPIC, 1)
        assert (await read(socket))["data"] == 1
    assert "the database is away" in caplog.text


async def test_a_webhook_decides_and_its_yes_ends() -> None:
    clock = FakeClock(time.time())
    async with Service(YES, NO).running() as backend:
        asked = {"topic_auth_url": backend.url, "webhook_secret": WEBHOOK_SECRET, "topic_auth_cache_seconds": 60}
        async with node_of(Node(settings(**asked), clock)) as gateway, device(gateway, role="editor") as socket:
            assert await subscribe(socket) == "subscribed"
            assert backend.requests[0].json["data"]["claims"]["role"] == "editor"
            await clock.advance(max(60, TOPIC_RIGHTS_WATCH_SECONDS) + 1)
            withdrawn = await read(socket)
            assert (withdrawn["type"], withdrawn["data"]["code"]) == ("unsubscribed", "TOPIC_FORBIDDEN")
            assert await subscribe(socket) == "TOPIC_FORBIDDEN"
            assert len(backend.requests) == 2  # the no counts for a moment


async def test_a_webhook_that_is_away_lets_nobody_in_and_throws_nobody_out() -> None:
    clock = FakeClock(time.time())
    async with Service(YES, DROPS).running() as backend:
        asked = {"topic_auth_url": backend.url, "webhook_secret": WEBHOOK_SECRET}
        async with node_of(Node(settings(**asked), clock)) as gateway, device(gateway) as socket:
            assert await subscribe(socket) == "subscribed"
            began = time.monotonic()
            refused = asyncio.create_task(subscribe(socket, "moc:2"))
            while not refused.done():
                await clock.advance(0.5)
                await asyncio.sleep(0.01)
            assert await refused == "TOPIC_RIGHTS_UNAVAILABLE"
            assert time.monotonic() - began < 30
            await gateway.node.recheck_topics()
            await say(gateway.node, TOPIC, 1)
            assert (await read(socket))["data"] == 1


async def test_many_devices_that_come_back_at_once_ask_the_webhook_once() -> None:
    go_on = asyncio.Event()

    async def held(request: ReceivedRequest) -> Step:
        await go_on.wait()
        return YES

    async with Service(held).running() as backend:
        asked = {"topic_auth_url": backend.url, "webhook_secret": WEBHOOK_SECRET}
        async with node_of(Node(settings(**asked))) as gateway:
            async with gateway.devices(20, "u1") as sockets:
                answers = [asyncio.create_task(subscribe(each)) for each in sockets]
                await until(lambda: backend.requests)
                go_on.set()
                assert set(await asyncio.gather(*answers)) == {"subscribed"}
            assert len(backend.requests) == 1


PUBLIC: Any = (
    {"pattern": "wall", "subscribe": "anyone", "publish": "anyone"},
    {"pattern": "chat:*", "subscribe": "anyone", "publish": "token"},
    {"pattern": "*", "subscribe": "anyone"},
)


async def test_a_client_publishes_where_a_rule_or_its_token_lets_it() -> None:
    def said(topic: str, request_id: str, data: Any = 1) -> dict[str, Any]:
        return {"type": "publish", "topic": topic, "message": {"type": "said", "data": data}, "id": request_id}

    async with node_of(Node(settings(topics=PUBLIC))) as gateway:
        claims = {"topics": {"publish": ["chat:1"]}}
        async with device(gateway, sub="u2") as reader, device(gateway, **claims) as writer:
            for topic in ("wall", "chat:1", "other"):
                assert await subscribe(reader, topic) == "subscribed"
            assert (await ask(writer, **said("wall", "1", {"text": "Hello"})))["type"] == "ok"
            message = await read(reader)
            assert (message["type"], message["topic"], message["from"]) == ("said", "wall", "u1")
            assert message["data"] == {"text": "Hello"}
            assert (await ask(writer, **said("wall", "1", {"text": "Hello"})))["type"] == "ok"
            assert (await ask(writer, **said("chat:1", "2")))["type"] == "ok"
            assert (await read(reader))["topic"] == "chat:1"  # the repeated one came once
            for topic in ("chat:2", "other"):
                refused = await ask(writer, **said(topic, "3"))
                assert (refused["data"]["code"], refused["data"]["topic"]) == ("TOPIC_FORBIDDEN", topic)
                assert refused["data"]["id"] == "3"
            wrong = await ask(writer, type="publish", topic="wall", message={"type": "notification", "data": 1}, id="4")
            assert wrong["data"]["code"] == "INVALID_MESSAGE"


async def test_publishes_of_a_client_are_limited_as_other_requests() -> None:
    few = settings(topics=PUBLIC, message_burst=5, messages_per_second=1)
    async with node_of(Node(few)) as gateway, device(gateway) as writer:
        answers = [
            await ask(writer, type="publish", topic="wall", message={"type": "said"}, id=str(number))
            for number in range(7)
        ]
    assert [each["type"] for each in answers] == ["ok"] * 5 + ["error"] * 2
    assert answers[-1]["data"]["code"] == "TOO_MANY_REQUESTS"


async def test_on_two_nodes_a_client_publishes_once_and_each_node_withdraws_its_own(
    redis_server: RedisServer, redis_prefix: str
) -> None:
    shared = settings(engine="redis", redis_url=redis_server.url, redis_prefix=redis_prefix, topics=PUBLIC)
    said = {"type": "publish", "topic": "wall", "message": {"type": "said", "data": 1}, "id": "1"}
    async with (
        node_of(Node(shared)) as one,
        node_of(Node(shared)) as two,
        device(one) as writer,
        device(two, sub="u2") as reader,
    ):
        assert await subscribe(reader, "wall") == "subscribed"
        for _ in range(2):
            assert (await ask(writer, **said))["type"] == "ok"
        assert (await ask(writer, **said | {"id": "2"}))["type"] == "ok"
        messages = [await read(reader), await read(reader)]
        assert [each["from"] for each in messages] == ["u1", "u1"]
        assert len({each["id"] for each in messages}) == 2
        await two.node.reload(structs.replace(shared, topics=None))
        withdrawn = await read(reader)
        assert (withdrawn["type"], withdrawn["data"]["code"]) == ("unsubscribed", "TOPIC_FORBIDDEN")
