"""Clients that are known without a token of the request: by a cookie, a connect webhook, or the program's function."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tellwire import ConfigError, HandshakeRequest, Identity, Settings
from tellwire.client import Client
from tellwire.gateway import Node
from tellwire.model import timestamp
from tellwire.shut_out import ShutOut
from tellwire.webhooks.signature import is_signed, key_of
from tests.conftest import API_KEY, SECRET, Gateway, read, token_for
from tests.integration.gateway.test_http_api import call
from tests.unit.aws_api.scripted import Response, Service

WEBHOOK_SECRET = "a secret of webhooks that nobody knows"
Start = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a gateway that has no source of tokens unless the test gives one."""
    async with AsyncExitStack() as stack:

        async def started(identify: Any = None, **settings: Any) -> Gateway:
            options: dict[str, Any] = {"port": 0, "api_key": API_KEY, "engine": "memory", "drain_seconds": 1}
            node = Node(Settings(**options | settings), identify=identify)
            return Gateway(node, await stack.enter_async_context(node.running()))

        yield started


def by_session(request: HandshakeRequest) -> str | None:
    return {"s-ada": "ada", "s-bob": "bob"}.get(request.cookies.get("session", ""))


async def connected(gateway: Gateway, headers: Mapping[str, str], path: str = "/") -> ClientConnection:
    return await connect(f"{gateway.ws_url}{path}", proxy=None, additional_headers=headers)


async def refused(gateway: Gateway, headers: Mapping[str, str]) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as error:
        await connected(gateway, headers)
    return error.value.response.status_code, str(error.value.response.body)


async def user_of(socket: ClientConnection) -> str:
    await socket.send('{"type": "hello"}')
    welcome = await read(socket)
    return str(welcome["data"]["userId"])


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_function_says_who_connects(start: Start, is_async: bool) -> None:
    async def later(request: HandshakeRequest) -> str | None:
        await asyncio.sleep(0)
        return by_session(request)

    gateway = await start(later if is_async else by_session)
    async with await connected(gateway, {"cookie": "session=s-ada"}) as socket:
        assert await user_of(socket) == "ada"
    status, body = await refused(gateway, {"cookie": "session=old"})
    assert (status, "NOT_SIGNED_IN" in body) == (401, True)


async def test_a_function_sees_the_request(start: Start) -> None:
    seen: list[HandshakeRequest] = []

    async def look(request: HandshakeRequest) -> Identity:
        seen.append(request)
        return Identity("ada", time.time() + 60, {"info": {"name": "Ada"}})

    gateway = await start(look)
    async with await connected(gateway, {"x-tenant": "7", "authorization": "Bearer opaque"}, "/a%20b?room=1") as socket:
        assert await user_of(socket) == "ada"
    (request,) = seen
    assert (request.path, request.query, request.client_address, request.scope) == (
        "/a%20b",
        "room=1",
        "127.0.0.1",
        None,
    )
    assert (request.headers["x-tenant"], request.headers["authorization"]) == ("7", "Bearer opaque")


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [(PermissionError(), 403, "NOT_ALLOWED"), (KeyError("x"), 503, "IDENTITY_UNAVAILABLE")],
)
async def test_what_a_function_raises_is_the_answer(start: Start, raised: Exception, status: int, code: str) -> None:
    def fails(request: HandshakeRequest) -> str:
        raise raised

    gateway = await start(fails)
    found, body = await refused(gateway, {})
    assert (found, code in body) == (status, True)


@pytest.mark.parametrize("who", ["", "x" * 5000, b"ada", True])
async def test_what_is_no_users_id_opens_nothing(start: Start, who: Any) -> None:
    gateway = await start(lambda request: who)
    assert (await refused(gateway, {}))[0] == 503


async def test_a_number_is_a_users_id(start: Start) -> None:
    gateway = await start(lambda request: 42)
    async with await connected(gateway, {}) as socket:
        assert await user_of(socket) == "42"


async def test_a_page_of_another_site_cannot_use_the_cookies_of_a_user(start: Start) -> None:
    gateway = await start(by_session, allowed_origins=("https://app.example.com",))
    session = {"cookie": "session=s-ada"}
    status, body = await refused(gateway, {**session, "origin": "https://evil.example"})
    assert (status, "ORIGIN_NOT_ALLOWED" in body) == (403, True)
    assert (await refused(gateway, {**session, "origin": "null"}))[0] == 403
    for origin in ("https://app.example.com", None):
        headers = session if origin is None else {**session, "origin": origin}
        async with await connected(gateway, headers) as socket:
            assert await user_of(socket) == "ada"


async def test_without_allowed_origins_cookies_count_from_the_gateways_own_address_alone(start: Start) -> None:
    gateway = await start(by_session)
    session = {"cookie": "session=s-ada"}
    assert (await refused(gateway, {**session, "origin": "https://evil.example"}))[0] == 403
    assert (await refused(gateway, {**session, "origin": "http://127.0.0.1:1"}))[0] == 403
    async with await connected(gateway, {**session, "origin": gateway.url}) as socket:
        assert await user_of(socket) == "ada"


async def test_a_token_in_a_cookie_opens_a_connection(start: Start) -> None:
    gateway = await start(jwt_secret=SECRET, token_cookie="live")
    async with await connected(gateway, {"cookie": f"live={token_for('ada')}", "origin": gateway.url}) as socket:
        assert await user_of(socket) == "ada"
    assert (await refused(gateway, {"cookie": "live=nonsense"}))[0] == 401
    status, body = await refused(gateway, {"cookie": f"live={token_for('ada')}", "origin": "https://evil.example"})
    assert (status, "ORIGIN_NOT_ALLOWED" in body) == (403, True)
    status, body = await refused(gateway, {})
    assert (status, "the cookie live" in body) == (401, True)


async def test_a_token_of_the_request_comes_before_the_cookie_and_needs_no_origin(start: Start) -> None:
    gateway = await start(by_session, jwt_secret=SECRET)
    headers = {
        "cookie": "session=s-ada",
        "origin": "https://evil.example",
        "authorization": f"Bearer {token_for('bob')}",
    }
    async with await connected(gateway, headers) as socket:
        assert await user_of(socket) == "bob"


async def test_who_is_shut_out_is_refused_without_a_token_too(start: Start) -> None:
    gateway = await start(by_session)
    shut_outs = gateway.node.engine.shut_outs
    assert shut_outs is not None
    await shut_outs.shut_out(ShutOut.of("ada", time.time() + 60))
    status, body = await refused(gateway, {"cookie": "session=s-ada"})
    assert (status, "USER_SHUT_OUT" in body) == (403, True)


async def test_an_identity_that_has_ended_opens_nothing(start: Start) -> None:
    gateway = await start(lambda request: Identity("ada", time.time() - 1))
    status, body = await refused(gateway, {})
    assert (status, "TOKEN_EXPIRED" in body) == (401, True)


async def test_a_renewal_by_token_is_refused_where_none_are_taken(start: Start) -> None:
    gateway = await start(by_session)
    async with await connected(gateway, {"cookie": "session=s-ada"}) as socket:
        await socket.send('{"type": "auth", "token": "any"}')
        assert (await read(socket))["data"]["code"] == "TOKEN_INVALID"
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_users_list_is_downloaded_with_the_session(start: Start) -> None:
    gateway = await start(by_session)
    path = "/v1/uploads/row-errors?upload=none"
    status, body, _ = await call(gateway, "GET", path, key=None, cookie="session=s-ada")
    assert (status, body["code"]) == (404, "ROW_ERRORS_UNKNOWN")
    elsewhere = {"cookie": "session=s-ada", "origin": "https://evil.example"}
    status, body, _ = await call(gateway, "GET", path, key=None, **elsewhere)
    assert (status, body["code"]) == (403, "ORIGIN_NOT_ALLOWED")
    status, body, _ = await call(gateway, "GET", path, key=None)
    assert (status, body["code"]) == (401, "NOT_SIGNED_IN")


async def test_a_client_without_tokens_hears_of_its_user(start: Start) -> None:
    gateway = await start(by_session)
    async with Client(gateway.url, headers=lambda: {"cookie": "session=s-ada"}) as client:
        message = {"target": {"user": "ada"}, "message": {"type": "said", "data": 1}}
        async with asyncio.timeout(60):
            while not len(gateway.node.hub):
                await asyncio.sleep(0.01)
            await call(gateway, "POST", "/v1/publish", message)
            assert (await anext(aiter(client))).data == 1
        assert client.state.user == "ada"


async def test_a_way_to_know_users_is_needed(start: Start) -> None:
    with pytest.raises(ConfigError, match="no way to verify tokens"):
        await start()
    with pytest.raises(ConfigError, match="TELLWIRE_TOKEN_COOKIE: got one; needed: also a way to verify tokens"):
        await start(by_session, token_cookie="live")


# --- the connect webhook ----------------------------------------------------------------------------------------------


def says(status: int, answer: Any) -> Service:
    return Service(Response(status, json.dumps(answer).encode()))


async def test_the_projects_server_says_who_connects(start: Start) -> None:
    ends = timestamp(time.time() + 600)
    service = says(200, {"userId": "ada", "expiresAt": ends, "info": {"name": "Ada"}, "topics": ["moc:*"]})
    headers = {"cookie": "session=1", "authorization": "Bearer opaque", "x-other": "no"}
    async with service.running():
        gateway = await start(connect_webhook_url=service.url, webhook_secret=WEBHOOK_SECRET)
        async with await connected(gateway, headers, "/live?room=1&token=secret") as socket:
            assert await user_of(socket) == "ada"
            (listed,) = await gateway.node.presence.connections("ada")
            assert listed.expires_at == ends
    (asked,) = service.requests
    assert is_signed([key_of(WEBHOOK_SECRET)], asked.headers, asked.body, time.time())
    assert asked.json["type"] == "connect"
    assert asked.json["data"] == {
        "path": "/live",
        "query": "room=1",
        "clientAddress": "127.0.0.1",
        "headers": {"cookie": "session=1", "authorization": "Bearer opaque"},
    }


@pytest.mark.parametrize(
    ("status", "answer", "expected", "code"),
    [
        (401, None, 401, "NOT_SIGNED_IN"),
        (403, None, 403, "NOT_ALLOWED"),
        (404, None, 503, "IDENTITY_UNAVAILABLE"),
        (200, {"userId": ""}, 503, "IDENTITY_UNAVAILABLE"),
        (200, {"user": "ada"}, 503, "IDENTITY_UNAVAILABLE"),
        (200, {"userId": "ada", "expiresAt": "2020-01-01T00:00:00Z"}, 401, "TOKEN_EXPIRED"),
    ],
)
async def test_another_answer_opens_nothing(start: Start, status: int, answer: Any, expected: int, code: str) -> None:
    service = says(status, answer)
    async with service.running():
        gateway = await start(connect_webhook_url=service.url, webhook_secret=WEBHOOK_SECRET)
        found, body = await refused(gateway, {})
    assert (found, code in body) == (expected, True)


async def test_a_refused_client_of_ours_hears_the_code(start: Start) -> None:
    gateway = await start(by_session)
    async with connect(gateway.ws_url, proxy=None, subprotocols=[Subprotocol("tellwire.v1")]) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason.split(":")[0]) == (4401, "NOT_SIGNED_IN")
