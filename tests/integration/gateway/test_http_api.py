"""The HTTP API of a real gateway."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import to_builtins
from pyreqwest.client import ClientBuilder

from tellwire.limits import MAX_BATCH_BYTES, MAX_PUBLISH_BYTES
from tellwire.model import Delivery, new_connection_id
from tellwire.publication import Publication, StreamKey, user_stream
from tests.conftest import API_KEY, Gateway, StartGateway, read

HELLO = {"type": "notification", "data": {"title": "Hello", "message": "World", "severity": "info"}}


async def call(
    gateway: Gateway, method: str, path: str, body: Any = None, key: str | None = API_KEY, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    """Return status, body (decoded if it is JSON) and headers."""
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with ClientBuilder().build() as client:
        request = client.request(method, gateway.url + path).headers(headers)
        response = await (request if body is None else request.body_bytes(data)).build().send()
        answer = bytes(await response.bytes())
    found = {name.lower(): value for name, value in response.headers.items()}
    if found.get("content-type") == "application/json":
        return response.status, json.loads(answer), found
    return response.status, answer, found


async def publish(gateway: Gateway, target: Any, message: Any = HELLO) -> tuple[int, Any]:
    status, answer, _ = await call(gateway, "POST", "/v1/publish", {"target": target, "message": message})
    return status, answer


async def test_publish_reaches_the_user_and_answers_with_the_delivery(gateway: Gateway) -> None:
    async with gateway.device() as device:
        assert await publish(gateway, {"user": "user-1"}) == (200, to_builtins(Delivery(delivered=1)))
        message = await read(device)
        assert message["data"] == HELLO["data"]
        assert list(message) == ["type", "data", "timestamp", "id", "cursor"]
    unknown = {"connection": new_connection_id()}
    assert await publish(gateway, unknown) == (200, to_builtins(Delivery(gone=1)))


async def test_a_message_is_delivered_byte_for_byte(gateway: Gateway) -> None:
    message = HELLO | {"timestamp": "2026-11-23T09:18:54.123Z", "id": "my-id"}
    async with gateway.device() as device:
        await publish(gateway, {"all": True}, message)
        assert await device.recv() == json.dumps(message, separators=(",", ":"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "message: got ''; allowed: JSON"),
        (b"{", "allowed: JSON"),
        (b"\xff", "allowed: JSON"),
        (b"[]", "message: got []; allowed: a value of type object"),
        (b"{}", "target: got nothing; allowed: a value; it is required"),
        (b'{"target":{"user":"u"}}', "message: got nothing"),
        (b'{"target":{},"message":{}}', "target: got []; allowed: exactly one of"),
        (b'{"target":{"user":"u","all":true},"message":{}}', "target: got ['user', 'all']"),
        (b'{"target":{"room":"t"},"message":{}}', "target.room: got 't'; allowed: no such field here"),
        (b'{"target":{"user":5},"message":{}}', "target.user: got 5; allowed: a value of type str"),
        (
            b'{"target":{"user":"u"},"message":{"type":"x","data":1},"extra":1}',
            "extra: got 1; allowed: no such field here",
        ),
        (b'{"target":{"user":"u"},"message":5}', "message: got 5; allowed: a value of type object"),
        (
            b'{"target":{"user":"u"},"message":{"type":"pong","data":1}}',
            "type: got 'pong'; allowed: any but the protocol",
        ),
        (b'{"target":{"user":"u"},"message":{"type":5,"data":1}}', "message.type: got 5; allowed: a value of type str"),
        (
            b'{"target":{"user":"u"},"message":{"type":"error","data":{"code":"X","message":"","topic":"t"}}}',
            "data.topic: got 't'; allowed: no such field here: only a server's answer has one",
        ),
        (
            b'{"target":{"user":"u"},"message":{"type":"error","data":{"code":"X","message":"","id":"1"}}}',
            "data.id: got '1'; allowed: no such field here: only a server's answer has one",
        ),
        (b'{"target":{"user":"u"},"message":{"type":"error"}}', "data: got nothing; allowed: a value; it is required"),
    ],
)
async def test_a_bad_publish_says_what_is_wrong(gateway: Gateway, body: bytes, words: str) -> None:
    status, answer, _ = await call(gateway, "POST", "/v1/publish", body)
    assert status == 400
    assert answer["code"] == "INVALID_MESSAGE"
    assert words in answer["message"]


async def test_a_message_that_is_too_big_is_a_413_and_is_not_delivered(gateway: Gateway) -> None:
    async with gateway.device() as device:
        status, answer = await publish(gateway, {"all": True}, {"type": "blob", "data": "x" * 140_000})
        assert (status, answer["code"]) == (413, "MESSAGE_TOO_BIG")
        await publish(gateway, {"all": True})
        assert (await read(device))["type"] == "notification"
    status, answer, _ = await call(gateway, "POST", "/v1/publish", b" " * (MAX_PUBLISH_BYTES + 1))
    assert (status, answer["code"]) == (413, "BODY_TOO_BIG")


async def test_a_batch_has_an_answer_per_line_and_a_bad_line_stops_no_other(gateway: Gateway) -> None:
    lines = [
        json.dumps({"target": {"user": "user-1"}, "message": HELLO}),
        "nonsense",
        "",
        json.dumps({"target": {"user": "user-1"}, "message": {"type": "blob", "data": "x" * 140_000}}),
        json.dumps({"target": {"user": "nobody"}, "message": HELLO}),
        json.dumps({"target": {"user": "user-1"}, "message": {"type": "last", "data": None}}),
    ]
    async with gateway.device() as device:
        status, answer, headers = await call(gateway, "POST", "/v1/publish/batch", "\r\n".join(lines).encode())
        assert [(await read(device))["type"] for _ in range(2)] == ["notification", "last"]
    assert status == 200
    assert headers["content-type"].startswith("application/x-ndjson")
    answers = [json.loads(line) for line in answer.splitlines()]
    assert [each.get("delivered", each.get("code")) for each in answers] == [
        1,
        "INVALID_MESSAGE",
        "MESSAGE_TOO_BIG",
        0,
        1,
    ]


async def test_a_long_batch_keeps_its_order_and_yields_to_other_requests(gateway: Gateway) -> None:
    body = b"\n".join(
        json.dumps({"target": {"user": "user-1"}, "message": {"type": "n", "data": n}}).encode() for n in range(3000)
    )
    async with gateway.device(max_queue=None) as device:
        status, answer, _ = await call(gateway, "POST", "/v1/publish/batch", body)
        assert status == 200
        assert answer.count(b'"delivered":1') == 3000
        assert [(await read(device))["data"] for _ in range(3000)] == list(range(3000))


async def test_an_empty_batch_has_nothing_to_answer_and_a_huge_one_is_refused(gateway: Gateway) -> None:
    assert (await call(gateway, "POST", "/v1/publish/batch", b""))[:2] == (200, b"")
    assert (await call(gateway, "POST", "/v1/publish/batch", b"\n" * (MAX_BATCH_BYTES + 1)))[0] == 413


@pytest.mark.parametrize("key", [None, "", "wrong", API_KEY + "x", API_KEY[:-1], "ключ"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/publish"),
        ("POST", "/v1/publish/batch"),
        ("GET", "/v1/users/u/connections"),
        ("DELETE", "/v1/connections/x"),
        ("GET", "/v1/stats"),
    ],
)
async def test_without_the_key_requests_are_refused(gateway: Gateway, method: str, path: str, key: str | None) -> None:
    encoded = None if key is None else key.encode().decode("latin-1")
    status, answer, headers = await call(gateway, method, path, HELLO if method == "POST" else None, key=encoded)
    assert (status, answer["code"]) == (401, "API_KEY_WRONG")
    assert headers["www-authenticate"] == "Bearer"
    assert API_KEY not in json.dumps(answer)


async def test_without_a_configured_key_the_api_is_closed(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(api_key=None)
    status, answer, _ = await call(gateway, "POST", "/v1/publish", HELLO, key="")
    assert (status, answer["code"]) == (403, "API_KEY_NOT_CONFIGURED")


async def test_in_development_it_is_open_unless_a_key_is_set(start_gateway: StartGateway) -> None:
    opened = await start_gateway(api_key=None, dev=True)
    assert (await call(opened, "GET", "/v1/stats", key=None))[0] == 200
    keyed = await start_gateway(dev=True)
    assert (await call(keyed, "GET", "/v1/stats", key=None))[0] == 401


@pytest.mark.parametrize(
    "header", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Host": "a{b.evil.test"}]
)
async def test_in_development_a_web_page_cannot_publish(start_gateway: StartGateway, header: dict[str, str]) -> None:
    opened = await start_gateway(api_key=None, dev=True)
    status, answer, _ = await call(opened, "POST", "/v1/publish", HELLO, key=None, **header)
    assert (status, answer["code"]) == (403, "NOT_FROM_A_PAGE")


async def test_an_unexpected_error_fails_one_line_of_a_batch(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_out_together = gateway.node.hub.hand_out_together

    def faulty(stream: StreamKey, publications: Sequence[Publication]) -> Any:
        if stream == user_stream("crash"):
            raise RuntimeError("internal detail")
        return hand_out_together(stream, publications)

    monkeypatch.setattr(gateway.node.hub, "hand_out_together", faulty)
    users = ("a", "crash", "b")
    body = b"\n".join(json.dumps({"target": {"user": user}, "message": HELLO}).encode() for user in users)
    status, answer, _ = await call(gateway, "POST", "/v1/publish/batch", body)
    codes = [json.loads(line).get("code") for line in answer.splitlines()]
    assert (status, codes) == (200, [None, "INTERNAL_ERROR", None])
    assert b"internal detail" not in answer


async def test_a_users_connections_are_listed_and_can_be_closed(gateway: Gateway) -> None:
    async with gateway.device() as device:
        _, answer, _ = await call(gateway, "GET", "/v1/users/user-1/connections")
        (info,) = answer["connections"]
        assert set(info) == {"connectionId", "userId", "connectedAt", "lastActiveAt", "expiresAt"}
        path = f"/v1/connections/{info['connectionId'].replace('=', '%3D')}"
        assert (await call(gateway, "DELETE", path))[0] == 204
        await device.wait_closed()
        assert device.close_code == 1000
    assert (await call(gateway, "DELETE", path))[:2] == (
        410,
        {"code": "GONE", "message": "There is no connection with this id (any more)"},
    )


async def test_health_readiness_and_counters(gateway: Gateway) -> None:
    assert (await call(gateway, "GET", "/healthz", key=None))[:2] == (200, {"status": "ok"})
    assert (await call(gateway, "GET", "/readyz", key=None))[:2] == (200, {"status": "ready"})
    async with gateway.device():
        assert (await call(gateway, "GET", "/v1/stats"))[1] == {
            "connections": 1,
            "slowClosed": 0,
            "unansweredClosed": 0,
            "publishesRefused": 0,
            "presenceTold": 0,
            "presenceUntold": 0,
            "escalationsCalled": 0,
            "escalationsAcknowledged": 0,
            "escalationsFailed": 0,
            "nodes": 1,
            "connectionsOnAllNodes": 1,
        }


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v1/publish", 405, "METHOD_NOT_ALLOWED"), ("GET", "/nowhere", 404, "NOT_FOUND")],
)
async def test_other_paths_and_methods_get_json_errors(
    gateway: Gateway, method: str, path: str, status: int, code: str
) -> None:
    assert (await call(gateway, method, path))[0] == status
    assert (await call(gateway, method, path))[1]["code"] == code
