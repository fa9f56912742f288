"""The three functions on a local API Gateway, with their table in DynamoDB: handshakes, rows, and messages."""

import asyncio
import json
import logging
import time
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tellwire import broadcast_to_user, sync
from tellwire.auth.cache import TokenCache
from tellwire.aws.deployment import Deployment
from tellwire.aws.handlers import Connect, Default
from tellwire.engines.aws.connections import ConnectionRow
from tellwire.errors import ConfigError, InvalidMessage
from tellwire.limits import MAX_USER_ID_BYTES
from tellwire.messages import CustomMessage, create_message
from tellwire.model import Target
from tests.aws_stack import Stack, read, running_stack
from tests.conftest import SECRET, offered
from tests.faults import NONE, Fault, Proxy, Request

CONTEXT = None


async def refusal_of(url: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, proxy=None, **options):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"{}")["code"]


async def rows(stack: Stack) -> list[ConnectionRow]:
    return [row async for page, _ in stack.deployment.table.everyone() for row in page]


async def until_rows(stack: Stack, count: int) -> None:
    async with asyncio.timeout(100):
        while len(await rows(stack)) != count:
            await asyncio.sleep(0.01)


async def ask(device: ClientConnection, message: Any) -> dict[str, Any]:
    await device.send(message if isinstance(message, str) else json.dumps(message))
    return await read(device)


async def last_words(device: ClientConnection) -> list[str]:
    """Return the codes of the errors a device hears before it is closed with 1000."""
    codes = [json.loads(message)["data"]["code"] async for message in device]
    assert device.close_code == 1000
    return codes


# --- $connect ---------------------------------------------------------------------------------------------------------


async def test_a_connection_is_stored_with_its_user_and_its_times(stack: Stack) -> None:
    async with stack.device("user-1", ttl_seconds=600):
        (row,) = await rows(stack)
        now = stack.clock.now()
        assert row.user_id == "user-1"
        assert row.connected_at == pytest.approx(now, abs=1)
        assert row.expires_at == pytest.approx(now + 7200, abs=2)
        assert row.token_expires_at == pytest.approx(now + 600, abs=5)


async def test_missing_invalid_and_expired_tokens_are_told_apart(stack: Stack) -> None:
    url = stack.api.url
    assert await refusal_of(url) == (401, "TOKEN_MISSING")
    assert await refusal_of(f"{url}?token=") == (401, "TOKEN_MISSING")
    assert await refusal_of(f"{url}?token=nonsense") == (401, "TOKEN_INVALID")
    assert await refusal_of(f"{url}?token={stack.token(ttl_seconds=-60)}") == (401, "TOKEN_EXPIRED")
    assert await rows(stack) == []


async def test_a_user_id_beyond_dynamodb_s_keys_is_refused_at_the_door(stack: Stack) -> None:
    def url(size: int) -> str:
        claims = {"sub": "u" * size, "exp": int(time.time()) + 600}
        return f"{stack.api.url}?token={jwt.encode(claims, SECRET, algorithm='HS256')}"

    assert await refusal_of(url(MAX_USER_ID_BYTES + 1)) == (401, "TOKEN_INVALID")
    async with connect(url(MAX_USER_ID_BYTES), proxy=None):
        assert [len(user_id) for user_id in await stack.user_ids()] == [MAX_USER_ID_BYTES]
    with pytest.raises(InvalidMessage):
        Target(user="u" * (MAX_USER_ID_BYTES + 1))


async def test_a_token_may_come_as_a_subprotocol(stack: Stack) -> None:
    async with connect(stack.api.url, proxy=None, subprotocols=offered(stack.token("user-2"))) as device:
        assert device.subprotocol == "tellwire.v1"
        assert await stack.user_ids() == ["user-2"]


async def test_a_token_may_come_as_a_bearer(stack: Stack) -> None:
    bearer = {"Authorization": f"Bearer {stack.token('user-2')}"}
    async with connect(stack.api.url, proxy=None, additional_headers=bearer) as device:
        await device.send('{"type": "hello"}')
        assert (await read(device))["data"]["userId"] == "user-2"


async def test_a_store_that_fails_is_500_and_a_secret_to_the_client(
    stack: Stack, dynamodb_proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    dynamodb_proxy.fault = lambda _: Fault(
        status=400, body=b'{"__type": "x#AccessDeniedException", "Message": "arn:aws:iam::1:role/secret may not"}'
    )
    token = stack.token()
    with caplog.at_level(logging.ERROR, "tellwire.aws"):
        assert await refusal_of(f"{stack.api.url}?token={token}") == (500, "INTERNAL_ERROR")
    assert "AccessDeniedException" in caplog.text
    assert token not in caplog.text


async def test_keys_that_cannot_be_had_are_503_and_no_judgement_of_the_token(stack: Stack) -> None:
    environ = {name: value for name, value in stack.environ.items() if name != "TELLWIRE_JWT_SECRET"}
    function = Connect(Deployment(environ | {"TELLWIRE_JWKS_URL": "http://127.0.0.1:1/jwks"}, stack.clock))
    # A header that names a key, and nothing that could be checked without it.
    token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.eyJzdWIiOiJ1In0.c2ln"
    event = {"requestContext": {"connectionId": "c1", "connectedAt": 0}, "queryStringParameters": {"token": token}}
    answer = await asyncio.to_thread(function, event, CONTEXT)
    assert answer["statusCode"] == 503
    assert json.loads(answer["body"])["code"] == "KEYS_UNAVAILABLE"


async def test_without_a_way_to_verify_tokens_nobody_gets_in(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    environ = {name: value for name, value in stack.environ.items() if name != "TELLWIRE_JWT_SECRET"}
    function = Connect(Deployment(environ, stack.clock))
    event = {"requestContext": {"connectionId": "c1", "connectedAt": 0}, "queryStringParameters": {"token": "t"}}
    assert (await asyncio.to_thread(function, event, CONTEXT))["statusCode"] == 500
    assert "COGNITO_USER_POOL_ID" in caplog.text


# --- $disconnect ------------------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_is_forgotten(stack: Stack) -> None:
    async with stack.device("user-1"), stack.device("user-2"):
        assert await stack.user_ids() == ["user-1", "user-2"]
    await until_rows(stack, 0)


async def test_a_client_that_leaves_at_once_is_forgotten_although_the_index_is_behind(
    stack: Stack, dynamodb_proxy: Proxy
) -> None:
    lagging = iter([True, True, True])

    def index_is_behind(request: Request) -> Fault:
        if request.action == "Query" and "IndexName" in request.parameters and next(lagging, False):
            return Fault(status=200, body=b'{"Items": [], "Count": 0}')
        return NONE

    dynamodb_proxy.fault = index_is_behind
    async with stack.device():
        await until_rows(stack, 1)
    await until_rows(stack, 0)
    assert next(lagging, False) is False


# --- $default ---------------------------------------------------------------------------------------------------------


async def test_the_conversation_is_the_gateways(stack: Stack) -> None:
    async with stack.device() as device:
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"
        assert (await ask(device, {"type": "dance"}))["data"]["code"] == "UNKNOWN_TYPE"
        assert (await ask(device, "not json"))["data"]["code"] == "INVALID_JSON"
        assert (await ask(device, {"type": "auth"}))["data"]["code"] == "INVALID_MESSAGE"
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"


async def test_hello_is_answered_although_nothing_is_kept(stack: Stack) -> None:
    async with stack.device() as device:
        welcome = (await ask(device, {"type": "hello"}))["data"]
        assert (welcome["userId"], welcome["recovered"], welcome["last"]) == ("user-1", True, True)
        assert welcome["heartbeatSeconds"] == 240
        assert (await ask(device, {"type": "hello", "cursor": "x:1"}))["data"]["recovered"] is False


async def test_without_a_history_nothing_is_seen_and_nothing_can_be_cancelled(stack: Stack) -> None:
    async with stack.device() as device:
        await device.send('{"type": "ack", "cursor": "x:1"}')
        assert (await ask(device, {"type": "cancel", "uploadId": "u1"}))["data"]["code"] == "HISTORY_MISSING"


async def test_without_a_history_a_sweep_says_what_is_missing(stack: Stack) -> None:
    with pytest.raises(ConfigError, match="HISTORY_TABLE_NAME: not set"):
        await asyncio.to_thread(stack.sweep)


async def test_a_hello_on_a_connection_that_nobody_finds_is_to_be_said_again(
    stack: Stack, dynamodb_proxy: Proxy
) -> None:
    dynamodb_proxy.fault = lambda request: (
        Fault(status=200, body=b'{"Items": []}') if "IndexName" in request.parameters else NONE
    )
    async with stack.device() as device:
        await device.send('{"type": "hello"}')
        assert await last_words(device) == ["CONNECTION_UNKNOWN"]


async def test_a_new_token_moves_the_expiry(stack: Stack) -> None:
    async with stack.device(ttl_seconds=10) as device:
        answer = await ask(device, {"type": "auth", "token": stack.token(ttl_seconds=3600)})
        assert answer["type"] == "auth_ok"
        (row,) = await rows(stack)
        assert row.token_expires_at == pytest.approx(stack.clock.now() + 3600, abs=5)
        stack.api.advance(15)
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"


@pytest.mark.parametrize(
    ("user_id", "ttl_seconds", "code"),
    [("user-2", 3600, "TOKEN_OF_ANOTHER_USER"), ("user-1", -60, "TOKEN_EXPIRED"), (None, 0, "TOKEN_INVALID")],
)
async def test_a_token_that_is_refused_ends_the_connection_with_the_reason(
    stack: Stack, user_id: str | None, ttl_seconds: float, code: str
) -> None:
    async with stack.device("user-1") as device:
        token = "nonsense" if user_id is None else stack.token(user_id, ttl_seconds)
        await device.send(json.dumps({"type": "auth", "token": token}))
        assert await last_words(device) == [code]
    await until_rows(stack, 0)


@pytest.mark.parametrize("text", ['{"type": "ping"}', '{"type": "not handled", "id": "1"}'])
async def test_after_its_token_expired_a_connection_gets_the_reason_and_nothing_more(stack: Stack, text: str) -> None:
    async with stack.device(ttl_seconds=10) as device:
        stack.api.advance(15)
        await device.send(text)
        assert await last_words(device) == ["TOKEN_EXPIRED"]
    await until_rows(stack, 0)


async def test_a_new_token_is_welcome_even_after_the_old_one_expired(stack: Stack) -> None:
    async with stack.device(ttl_seconds=10) as device:
        stack.api.advance(15)
        assert (await ask(device, {"type": "auth", "token": stack.token(ttl_seconds=3600)}))["type"] == "auth_ok"


async def test_a_connection_that_is_not_stored_any_more_must_connect_again(stack: Stack) -> None:
    async with stack.device() as device:
        for row in await rows(stack):
            await stack.deployment.table.remove(row)
        stack.api.advance(31)
        await device.send('{"type": "ping"}')
        assert await last_words(device) == ["CONNECTION_UNKNOWN"]


async def test_a_function_remembers_two_megabytes_of_tokens(stack: Stack) -> None:
    cache = stack.deployment._authenticator
    assert isinstance(cache, TokenCache)
    assert cache._max_bytes == 2 * 1024 * 1024


async def test_a_new_connection_that_is_not_in_the_index_yet_stays(stack: Stack, dynamodb_proxy: Proxy) -> None:
    async with stack.device() as device:
        dynamodb_proxy.fault = lambda request: (
            Fault(status=200, body=b'{"Items": []}') if "IndexName" in request.parameters else NONE
        )
        assert (await ask(device, {"type": "ping"}))["type"] == "pong"
        answer = await ask(device, {"type": "auth", "token": stack.token()})
        assert answer["data"]["code"] == "CONNECTION_UNKNOWN"
        dynamodb_proxy.fault = lambda _: NONE
        assert (await ask(device, {"type": "auth", "token": stack.token()}))["type"] == "auth_ok"


# --- types of your own ------------------------------------------------------------------------------------------------


async def test_a_function_answers_messages_of_its_type(stack: Stack) -> None:
    @stack.default.on_message("rename")
    def rename(data: Any, connection: ConnectionRow) -> CustomMessage:
        return create_message("renamed", {"to": data["name"], "by": connection.user_id})

    @stack.default.on_message("slow")
    async def slow(data: Any, connection: ConnectionRow) -> CustomMessage | None:
        await asyncio.sleep(0.01)
        return create_message("slept", data)

    @stack.default.on_message("silent")
    def silent(data: Any, connection: ConnectionRow) -> None:
        assert data is None

    async with stack.device("user-7") as device:
        renamed = await ask(device, {"type": "rename", "data": {"name": "Falcon"}})
        assert (renamed["type"], renamed["data"]) == ("renamed", {"to": "Falcon", "by": "user-7"})
        assert (await ask(device, {"type": "slow", "data": [1]}))["data"] == [1]
        await device.send('{"type": "silent"}')
        unknown = await ask(device, {"type": "other"})
        assert (
            "subscribe, unsubscribe, presence, publish, ack, cancel, read, dismiss, history, rename, slow, silent"
            in unknown["data"]["message"]
        )


async def test_a_handler_publishes_to_the_api_of_its_message_without_an_address_in_the_environment(
    stack: Stack,
) -> None:
    @stack.default.on_message("tell")
    async def tell(data: Any, connection: ConnectionRow) -> None:
        await broadcast_to_user("user-8", create_message("told", data))

    @stack.default.on_message("tell_plainly")
    def tell_plainly(data: Any, connection: ConnectionRow) -> None:
        sync.broadcast_to_user("user-8", create_message("told", data))

    async with stack.device("user-7") as device, stack.device("user-8") as other:
        for number, name in enumerate(("tell", "tell_plainly")):
            await device.send(json.dumps({"type": name, "data": number}))
            told = await read(other)
            assert (told["type"], told["data"]) == ("told", number)


async def test_a_handlers_invalid_message_is_sent_to_the_client(stack: Stack) -> None:
    @stack.default.on_message("rename")
    def rename(data: Any, connection: ConnectionRow) -> None:
        raise InvalidMessage("data.name", data, "a name")

    async with stack.device() as device:
        error = await ask(device, {"type": "rename", "data": 5})
        assert error["data"] == {"code": "INVALID_MESSAGE", "message": "data.name: got 5; allowed: a name"}


async def test_a_request_whose_connection_cannot_be_looked_up_is_to_be_tried_again(
    stack: Stack, dynamodb_proxy: Proxy
) -> None:
    calls: list[Any] = []

    @stack.default.on_message("add")
    def add(data: Any, connection: ConnectionRow) -> None:
        calls.append(data)

    async with stack.device() as device:
        dynamodb_proxy.fault = lambda _: Fault(status=400, body=b'{"__type": "x#ResourceNotFoundException"}')
        await device.send('{"type": "add", "data": 1, "id": "q1"}')
        messages = [await read(device), await read(device)]  # one is API Gateway's own: the function has failed
        ours = next(message for message in messages if "type" in message)
        assert (ours["data"]["code"], ours["data"]["id"]) == ("HISTORY_UNAVAILABLE", "q1")
        dynamodb_proxy.fault = lambda _: NONE
        assert (await ask(device, {"type": "add", "data": 2, "id": "q1"}))["data"] == {"id": "q1"}
    assert calls == [2]


async def test_a_function_that_breaks_breaks_the_invocation_and_tells_the_client_no_details(stack: Stack) -> None:
    @stack.default.on_message("rename")
    def rename(data: Any, connection: ConnectionRow) -> None:
        raise ZeroDivisionError("/srv/secret")

    async with stack.device() as device:
        await device.send('{"type": "rename"}')
        messages = [await read(device), await read(device)]
    ours = next(message for message in messages if "type" in message)
    theirs = next(message for message in messages if "type" not in message)
    assert ours["data"]["code"] == "INTERNAL_ERROR"
    assert theirs["message"] == "Internal server error"
    assert "secret" not in str(messages)


def test_a_type_is_a_name_of_ones_own_and_has_one_function() -> None:
    default = Default(Deployment({}))
    default.on_message("rename")(lambda data, connection: None)
    for name in ("ping", "notification", "no spaces", "", "rename"):
        with pytest.raises(InvalidMessage):
            default.on_message(name)


# --- metrics ----------------------------------------------------------------------------------------------------------


async def test_a_conversation_is_in_the_metrics_of_its_functions(
    dynamodb_proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_stack(dynamodb_proxy.url, {"TELLWIRE_METRICS": "1"}, has_history=True) as stack:
        async with stack.device("user-1") as device:
            assert (await ask(device, {"type": "hello"}))["type"] == "welcome"
        await until_rows(stack, 0)
    found = {name for line in capsys.readouterr().out.splitlines() for name in json.loads(line)}
    assert {"tellwire_connections_opened_total", "tellwire_welcome_seconds"} <= found
