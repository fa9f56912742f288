"""The HTTP API of topics, and the same on a node."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from msgspec import structs

from tellwire.auth import mint_token
from tellwire.errors import InvalidMessage, PresenceOff
from tellwire.messages import create_message
from tellwire.topic_members import Member
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, read
from tests.integration.gateway.test_http_api import call

RULES = [{"pattern": "moc:*", "presence": True, "subscribe": "anyone"}, {"pattern": "*", "subscribe": "anyone"}]
TOPIC = "moc:1/a:comments"
WAYS = pytest.mark.parametrize("path", ["/v1/topics/{}/presence", "/v1/topics/presence?topic={}"])


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> Gateway:
    started = await start_gateway(topics=json.dumps(RULES))
    assert isinstance(started, Gateway)
    return started


async def subscribes(device: Any, topic: str) -> dict[str, Any]:
    await device.send(json.dumps({"type": "subscribe", "topic": topic}))
    answer = await read(device)
    assert answer["type"] == "subscribed"
    return dict(answer["data"])


@WAYS
async def test_the_members_of_a_topic_are_told(gateway: Gateway, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = path.format(quote(TOPIC, safe=""))
    assert (await call(gateway, "GET", at))[:2] == (200, {"count": 0, "members": []})
    monkeypatch.setattr(gateway, "token", lambda user_id: mint_token(SECRET, user_id, info={"name": user_id}))
    async with gateway.device("ann") as ann, gateway.device("ben") as ben:
        for each in (ann, ben):
            await subscribes(each, TOPIC)
        members = [{"userId": "ann", "info": {"name": "ann"}}, {"userId": "ben", "info": {"name": "ben"}}]
        assert (await call(gateway, "GET", at))[:2] == (200, {"count": 2, "members": members})
        found = await gateway.node.topic_members(TOPIC)
        assert (found.count, found.members[0]) == (2, Member("ann", b'{"name":"ann"}'))


@WAYS
@pytest.mark.parametrize(("topic", "status", "code"), [("news", 409, "PRESENCE_OFF"), ("a b", 400, "INVALID_MESSAGE")])
async def test_a_topic_without_presence_tells_nothing(
    gateway: Gateway, path: str, topic: str, status: int, code: str
) -> None:
    answer = await call(gateway, "GET", path.format(quote(topic, safe="")))
    assert (answer[0], answer[1]["code"]) == (status, code)
    with pytest.raises(PresenceOff if status == 409 else InvalidMessage):
        await gateway.node.topic_members(topic)


@pytest.mark.parametrize("path", ["/v1/topics/moc:1", "/v1/topics?topic=moc:1", None])
async def test_a_topic_that_is_forgotten_keeps_nothing_but_its_subscribers(gateway: Gateway, path: str | None) -> None:
    async def publish(number: int) -> None:
        await gateway.node.broadcaster.broadcast_to_topic("moc:1", create_message("note", number))

    async with gateway.device("ann") as ann:
        cursor = (await subscribes(ann, "moc:1"))["cursor"]
        await publish(1)
        assert (await read(ann))["data"] == 1
        if path is None:
            await gateway.node.forget_topic("moc:1")
        else:
            assert (await call(gateway, "DELETE", path))[0] == 204
        async with gateway.device("ben") as ben:
            await ben.send(json.dumps({"type": "subscribe", "topic": "moc:1", "cursor": cursor}))
            answer = (await read(ben))["data"]
            assert (answer["recovered"], answer["messages"]) == (False, [])
        await publish(2)
        assert (await read(ann))["data"] == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/topics/presence"),
        ("DELETE", "/v1/topics"),
        ("DELETE", "/v1/topics/a%20b"),
        ("DELETE", "/v1/topics/a/b"),
    ],
)
async def test_a_request_without_a_topic_is_refused(gateway: Gateway, method: str, path: str) -> None:
    assert (await call(gateway, method, path))[0] in (400, 404, 405)


async def test_only_an_admin_may(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(topics=json.dumps(RULES), api_key=f"worker:publish:{API_KEY}")
    for method, path in (("GET", "/v1/topics/moc:1/presence"), ("DELETE", "/v1/topics/moc:1")):
        assert (await call(gateway, method, path))[0] == 403


async def test_a_reload_gives_topics_a_presence_and_takes_it(gateway: Gateway) -> None:
    async def has(topic: str) -> int:
        return int((await call(gateway, "GET", f"/v1/topics/presence?topic={topic}"))[0])

    async with gateway.device("ann") as ann, gateway.device("ben") as ben:
        for topic in ("moc:1", "news"):
            await subscribes(ann, topic)
        await ann.send(json.dumps({"type": "presence", "topic": "moc:1"}))
        assert (await read(ann))["type"] == "presence"
        changed = [
            {"pattern": "news", "presence": True, "subscribe": "anyone"},
            {"pattern": "*", "subscribe": "anyone"},
        ]
        await gateway.node.reload(structs.replace(gateway.node.settings, topics=json.dumps(changed)))
        assert (await has("moc:1"), await has("news")) == (409, 200)
        assert (await gateway.node.topic_members("news")).count == 1
        for topic in ("moc:1", "news"):
            await subscribes(ben, topic)
        await ann.send(json.dumps({"type": "presence", "topic": "news"}))
        assert (await read(ann))["data"]["count"] == 2


async def test_what_was_told_is_counted(gateway: Gateway) -> None:
    async with gateway.device("ann") as ann, gateway.device("ben") as ben:
        await subscribes(ann, "moc:1")
        await ann.send(json.dumps({"type": "presence", "topic": "moc:1"}))
        assert (await read(ann))["type"] == "presence"
        await subscribes(ben, "moc:1")
        assert (await read(ann))["type"] == "join"
        stats = (await call(gateway, "GET", "/v1/stats"))[1]
        assert (stats["presenceTold"], stats["presenceUntold"]) == (1, 0)
