"""A local API composed by a program: cases for which the contract's handlers have no option."""

import asyncio
import contextlib
import gc
import http.client
import json
import logging
import threading
import time
import weakref
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tellwire.apigateway.definition import (
    Api,
    Authorizer,
    Function,
    Integration,
    IntegrationResponse,
    Route,
    Templates,
)
from tellwire.apigateway.local import LocalApi
from tellwire.apigateway.runner.functions import DeployedFunction
from tellwire.apigateway.runner.host import InProcess
from tellwire.errors import ConfigError
from tellwire.limits import IDLE_TIMEOUT_SECONDS, NEW_CONNECTIONS_PER_SECOND
from tellwire.testing import FakeClock
from tests.tools import until


def ok(event: Any, context: Any) -> Any:
    return {"statusCode": 200, "body": "ok"}


@contextlib.asynccontextmanager
async def running(api: Api, clock: FakeClock | None = None, **handlers: Any) -> AsyncIterator[LocalApi]:
    hosts: dict[str, Function | InProcess] = {name: InProcess.of(handler) for name, handler in handlers.items()}
    with LocalApi(api, hosts, clock=clock or FakeClock()) as local:
        async with local.running():
            yield local


def client(local: LocalApi, headers: Mapping[str, str] | None = None) -> connect:
    return connect(local.websocket_url, proxy=None, additional_headers=headers)


async def status(local: LocalApi, headers: Mapping[str, str] | None = None) -> int:
    try:
        async with client(local, headers):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def test_compression_is_not_negotiated_as_on_aws() -> None:
    async with running(Api((Route("$default", "ok"),)), ok=ok) as local, client(local) as socket:
        # The client offers it by default.
        assert socket.request is not None
        assert socket.response is not None
        assert "permessage-deflate" in socket.request.headers["Sec-WebSocket-Extensions"]
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


@pytest.mark.parametrize(
    ("keys", "headers", "expected"),
    [
        (frozenset[str](), {}, 403),
        (frozenset[str](), {"x-api-key": ""}, 403),
        (frozenset[str](), {"X-Api-Key": "any"}, 403),
        (frozenset({"mine"}), {"x-api-key": "any"}, 403),
        (frozenset({"mine"}), {"x-api-key": "mine"}, 101),
    ],
)
async def test_a_connect_that_requires_an_api_key(keys: frozenset[str], headers: dict[str, str], expected: int) -> None:
    api = Api((Route("$connect", "ok", api_key_required=True),), api_keys=keys)
    async with running(api, ok=ok) as local:
        assert await status(local, headers) == expected


async def test_a_message_that_is_not_what_the_model_says_does_not_reach_the_function() -> None:
    heard = []

    def say(event: Any, context: Any) -> Any:
        heard.append(event["body"])
        return {"statusCode": 200, "body": "heard"}

    route = Route("$default", "say", has_response=True, models={"$default": {"type": "object"}})
    async with running(Api((route,)), say=say) as local, client(local) as device:
        for text, answer in [("[]", "Bad request body"), ("no json", "Bad request body"), ("{}", "heard")]:
            await device.send(text)
            assert answer in str(await device.recv())
    assert heard == ["{}"]


async def test_above_500_new_connections_a_second_clients_are_throttled() -> None:
    clock = FakeClock()
    async with running(Api((Route("$default", "ok"),)), clock, ok=ok) as local:
        for _ in range(int(NEW_CONNECTIONS_PER_SECOND)):
            assert await status(local) == 101
        assert await status(local) == 429
        await clock.advance(0.1)
        assert await status(local) == 101


async def test_a_function_that_takes_longer_than_its_own_timeout_failed() -> None:
    clock, release, begun = FakeClock(), threading.Event(), threading.Event()

    def slow(event: Any, context: Any) -> Any:
        begun.set()
        release.wait(45)
        return ok(event, context)

    async with running(Api((Route("$default", "slow"),)), clock, slow=slow) as local:
        # As a template's function with Timeout: 3.
        deployed = local.functions._deployed["slow"]
        local.functions._deployed = {"slow": DeployedFunction("slow", deployed.host, 3, 128)}
        async with client(local) as socket:
            await socket.send("hello")
            await asyncio.to_thread(begun.wait, 45)
            await clock.advance(3)
            assert json.loads(await socket.recv())["message"] == "Internal server error"
        release.set()


async def test_only_the_exact_word_is_unauthorized() -> None:
    def authorize(event: Any, context: Any) -> Any:
        raise RuntimeError(event["headers"]["X-Words"])

    api = Api((Route("$connect", "ok"),), authorizer=Authorizer("authorize"))
    async with running(api, ok=ok, authorize=authorize) as local:
        assert await status(local, {"X-Words": "Unauthorized"}) == 401
        for words in ("unauthorized", "Unauthorized!", "Not Unauthorized"):
            assert await status(local, {"X-Words": words}) == 500


async def test_a_subprotocol_that_cannot_be_sent_is_a_bad_gateway() -> None:
    def odd(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "a\r\nX-Evil: 1"}}

    async with running(Api((Route("$connect", "odd"),)), odd=odd) as local:
        assert await status(local) == 502


async def test_what_went_wrong_is_in_the_log_without_the_clients_ticket(caplog: pytest.LogCaptureFixture) -> None:
    def odd(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": event["headers"]["Sec-WebSocket-Protocol"]}}

    async with running(Api((Route("$connect", "odd"),)), odd=odd) as local:
        with caplog.at_level(logging.DEBUG, "tellwire"):
            assert await status(local, {"Sec-WebSocket-Protocol": "app.v1, ticket.secret"}) == 502
    assert "Sec-WebSocket-Protocol that is not one name" in caplog.text
    assert "secret" not in caplog.text


async def test_a_failure_is_logged_with_both_of_its_ids(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    def fail(event: Any, context: Any) -> Any:
        seen.extend([event["requestContext"]["requestId"], context.aws_request_id])
        raise RuntimeError("broken")

    async with running(Api((Route("$default", "fail"),)), fail=fail) as local, client(local) as socket:
        with caplog.at_level(logging.INFO, "tellwire"):
            await socket.send("hello")
            frame = json.loads(await socket.recv())
    assert frame["requestId"] == seen[0]
    assert f"$default fail failed: RuntimeError: broken (request {seen[0]}, invocation {seen[1]})" in caplog.text


async def test_the_last_disconnect_of_a_mute_client_ends() -> None:
    ended: list[int] = []

    def slow(event: Any, context: Any) -> Any:
        time.sleep(0.2)
        ended.append(event["requestContext"]["disconnectStatusCode"])

    api = Api((Route("$disconnect", "slow"),))
    async with running(api, slow=slow) as local:
        host, _, port = str(local.api.domain_name).partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /prod HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")
    assert ended == [1012]
    writer.close()


async def test_a_poster_who_leaves_in_the_middle_leaves_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Api((Route("$default", "ok"),)), ok=ok) as local:
        host, _, port = str(local.api.domain_name).partition(":")
        for path in ("/prod/@connections/nBUGZLR2Hhyb5qM%3D", "/_tellwire/clock"):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf".encode())
            await asyncio.sleep(0.1)
            writer.close()
            await asyncio.sleep(0.1)
    assert "Traceback" not in caplog.text


async def test_an_authorizers_half_character_is_no_verdict() -> None:
    def authorize(event: Any, context: Any) -> Any:
        return {"principalId": "half \ud800", "policyDocument": {"Statement": []}}

    api = Api((Route("$connect", "ok"),), authorizer=Authorizer("authorize"))
    async with running(api, ok=ok, authorize=authorize) as local:
        assert await status(local) == 500


async def test_who_has_gone_is_forgotten() -> None:
    api = Api((Route("$connect", "ok"), Route("$disconnect", "ok"), Route("$default", "ok", has_response=True)))
    async with running(api, ok=ok) as local:
        application, _ = local._sites._site("")
        connections = application._hub
        for _ in range(20):
            async with client(local) as socket:
                await socket.send("hello")
                await socket.recv()
        await until(lambda: not len(connections) and not application._tasks)
        assert not local.functions._tasks


async def test_a_client_that_leaves_while_it_connects_is_found_gone_after_it() -> None:
    begun, release = threading.Event(), threading.Event()
    seen: list[int] = []

    def slow(event: Any, context: Any) -> Any:
        seen.append(event["requestContext"].get("disconnectStatusCode", 0))
        begun.set()
        release.wait(45)
        return ok(event, context)

    api = Api((Route("$connect", "slow"), Route("$disconnect", "slow")))
    async with running(api, slow=slow) as local:
        connecting = asyncio.ensure_future(_connected(local))
        await asyncio.to_thread(begun.wait, 45)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        release.set()
        await until(lambda: len(seen) == 2)
        assert len(local._sites._site("")[0]._hub) == 0
    assert seen == [0, 1006]


async def _connected(local: LocalApi) -> ClientConnection:
    return await client(local)


async def test_leaving_lets_everything_go() -> None:
    async with running(Api((Route("$default", "ok"),)), ok=ok) as local:
        gone = weakref.ref(local._server)
        trusted = local._trusted
        assert trusted.exists()
        assert list(trusted.parent.iterdir()) == [trusted]
    del local
    assert not trusted.exists()
    gc.collect()
    assert gone() is None


def test_a_function_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="function: got 'nobody'"):
        LocalApi(Api((Route("$default", "nobody"),)), {"ok": InProcess.of(ok)})


# --- the clock --------------------------------------------------------------------------------------------------------


def push(local: LocalApi, body: str, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(str(local.api.domain_name), timeout=100)
    try:
        connection.request("POST", "/_tellwire/clock", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


async def test_a_silent_connection_gets_no_pings_and_is_closed_with_1001_as_on_aws() -> None:
    clock = FakeClock()
    async with (
        running(Api((Route("$default", "ok"),)), clock, ok=ok) as local,
        connect(local.websocket_url, proxy=None, ping_interval=None) as device,
    ):
        await clock.advance(IDLE_TIMEOUT_SECONDS + 1)
        async with asyncio.timeout(100):
            await device.wait_closed()
        assert device.close_code == 1001


async def test_the_clock_is_moved_from_this_machine_only() -> None:
    clock = FakeClock(1000.0)
    async with running(Api((Route("$default", "ok"),)), clock, ok=ok) as local:
        assert await asyncio.to_thread(push, local, '{"advance_seconds": 5}') == (200, {"now": 1005.0})
        page = await asyncio.to_thread(lambda: push(local, '{"advance_seconds": 5}', Origin="http://evil.example"))
        rebound = await asyncio.to_thread(lambda: push(local, '{"advance_seconds": 5}', Host="evil.example"))
        malformed = await asyncio.to_thread(lambda: push(local, '{"advance_seconds": 5}', Host="a{b.evil.test"))
        assert (page[0], rebound[0], malformed[0]) == (403, 403, 403)
        assert clock.now() == 1005.0


@pytest.mark.parametrize("body", ["", "5", "{}", '{"advance_seconds": -1}', '{"advance_seconds": 1e9}', '{"a": 1}'])
async def test_the_clock_is_not_moved_by_nonsense(body: str) -> None:
    clock = FakeClock(1000.0)
    async with running(Api((Route("$default", "ok"),)), clock, ok=ok) as local:
        answer_status, problem = await asyncio.to_thread(push, local, body)
        assert answer_status == 400
        assert "allowed" in problem["message"]
        assert clock.now() == 1000.0


# --- what stands behind a route --------------------------------------------------------------------------------------


async def say(local: LocalApi, message: str, path: str = "") -> Any:
    url = f"ws://{local.address}{path}" if path else local.websocket_url
    async with connect(url, proxy=None) as socket:
        await socket.send(message)
        return json.loads(await socket.recv())


@contextlib.asynccontextmanager
async def with_left_out(*routes: Route, **handlers: Any) -> AsyncIterator[LocalApi]:
    functions: dict[str, Function | InProcess] = {name: InProcess.of(each) for name, each in handlers.items()}
    functions["gone"] = Function("gone", "", Path(), left_out="its code is in S3")
    with LocalApi(Api(routes), functions, clock=FakeClock()) as local:
        async with local.running():
            yield local


@pytest.mark.parametrize("integration", [Integration.PROXY, Integration.CUSTOM, Integration.EVENT])
async def test_a_route_that_is_left_out_answers_as_an_integration_error(integration: Integration) -> None:
    async with with_left_out(
        Route("$default", "gone", integration=integration), Route("hi", "ok", has_response=True), ok=ok
    ) as local:
        answer = await say(local, '{"action": "other"}')
        assert answer["message"] == "Internal server error"
        assert set(answer) == {"message", "connectionId", "requestId"}
        async with client(local) as socket:
            await socket.send('{"action": "hi"}')
            assert await socket.recv() == "ok"


async def test_a_connect_that_is_left_out_lets_nobody_in() -> None:
    async with with_left_out(Route("$connect", "gone")) as local:
        assert await status(local) == 502


async def test_a_custom_integration_gets_the_message_and_its_result_is_the_answer() -> None:
    given = []

    def heard(event: Any, context: Any) -> Any:
        given.append(event)
        if event == "fail":
            raise ValueError("no")
        return {"twice": [event, event]}

    route = Route("$default", "heard", has_response=True, integration=Integration.CUSTOM)
    connecting = Route("$connect", "heard", integration=Integration.CUSTOM)
    async with running(Api((connecting, route)), heard=heard) as local:
        assert await say(local, "[1]") == {"twice": [[1], [1]]}
        assert await say(local, "null") == {"twice": [None, None]}
        # Without a mapping template an error is a result like others.
        assert await say(local, '"fail"') == {"errorMessage": "no", "errorType": "ValueError"}
        assert (await say(local, "not JSON"))["message"] == "Internal server error"
    assert [each for each in given if each != {}] == [[1], None, "fail"]


async def test_nobody_waits_for_an_asynchronous_function() -> None:
    release, ended = threading.Event(), threading.Event()

    def slow(event: Any, context: Any) -> Any:
        assert event == {"action": "later"}
        release.wait(45)
        ended.set()

    routes = (Route("later", "slow", integration=Integration.EVENT), Route("$default", "ok", has_response=True))
    clock = FakeClock()
    async with running(Api(routes), clock, slow=slow, ok=ok) as local, client(local) as socket:
        await socket.send('{"action": "later"}')
        await socket.send("now")
        assert await socket.recv() == "ok"
        # Longer than API Gateway would wait: its timeout is not told, as it has its answer.
        await clock.advance(29.5)
        release.set()
        assert await asyncio.to_thread(ended.wait, 45)
        await socket.send("now")
        assert await socket.recv() == "ok"


def answering(template: str) -> tuple[IntegrationResponse, ...]:
    return (IntegrationResponse(templates=Templates({"200": template})),)


async def test_a_mock_answers_without_a_function() -> None:
    mock = Integration.MOCK
    routes = (
        Route("$connect", "", integration=mock),
        Route("$disconnect", "", integration=mock),
        Route("ping", "", integration=mock, has_response=True, responses=answering('{"pong": true}')),
        Route("quiet", "", integration=mock, responses=answering("not sent")),
    )
    async with running(Api(routes)) as local, client(local) as socket:
        await socket.send('{"action": "quiet"}')
        await socket.send('{"action": "ping"}')
        assert await socket.recv() == '{"pong": true}'
    refusing = Templates({"$default": '#set($status = 403){"statusCode": $status}'})
    async with running(Api((Route("$connect", "", integration=mock, request=refusing),))) as local:
        assert await status(local) == 403


async def test_mapping_templates_change_the_input_and_the_answer() -> None:
    given = []

    def heard(event: Any, context: Any) -> Any:
        given.append(event)
        return {"name": event["name"]}

    route = Route(
        "$default",
        "heard",
        has_response=True,
        integration=Integration.CUSTOM,
        request=Templates({"$default": '{"name": $input.json("$.name"), "route": "$context.routeKey"}'}),
        responses=answering("Hello, $input.path('$.name')"),
    )
    async with running(Api((route,)), heard=heard) as local, client(local) as socket:
        await socket.send('{"name": "Ann"}')
        assert await socket.recv() == "Hello, Ann"
        await socket.send("not JSON")
        assert json.loads(await socket.recv())["message"] == "Internal server error"
    assert given == [{"name": "Ann", "route": "$default"}]


async def test_a_message_without_a_template_is_an_error_if_the_integration_takes_no_other() -> None:
    request = Templates({"yes": "{}"}, "$request.body.action", passes_through=False)
    route = Route("$default", "", has_response=True, integration=Integration.MOCK, request=request)
    async with running(Api((route,))) as local:
        assert (await say(local, '{"action": "no"}'))["message"] == "Internal server error"


async def test_a_function_is_invoked_by_its_alias() -> None:
    def arn(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "body": json.dumps(context.invoked_function_arn)}

    route = Route("$default", "arn", has_response=True, qualifier="live")
    async with running(Api((route,)), arn=arn) as local:
        assert await say(local, "x") == "arn:aws:lambda:us-east-1:123456789012:function:arn:live"


async def test_several_apis_have_a_path_each_and_know_only_their_own_connections() -> None:
    def whoami(event: Any, context: Any) -> Any:
        return {"statusCode": 200, "body": json.dumps(event["requestContext"])}

    route = Route("$default", "whoami", has_response=True)
    apis = [Api((route,), api_id=f"tellwire0{i}", prefix=prefix) for i, prefix in enumerate(("/Chat", "/News"))]
    with LocalApi(apis, {"whoami": InProcess.of(whoami)}, clock=FakeClock()) as local:
        async with local.running():
            for api in apis:
                context = await say(local, "x", api.path)
                assert (context["apiId"], context["domainName"]) == (api.api_id, f"{local.address}{api.prefix}")
            async with connect(f"ws://{local.address}/News/prod", proxy=None) as socket:
                await socket.send("x")
                connection_id = json.loads(await socket.recv())["connectionId"]
                assert await asyncio.to_thread(post, local, f"/Chat/prod/@connections/{connection_id}") == 410
                assert await asyncio.to_thread(post, local, f"/News/prod/@connections/{connection_id}") == 200
                assert await socket.recv() == "hello"
                assert await asyncio.to_thread(post, local, f"/prod/@connections/{connection_id}") == 403
                # Code that puts the host together itself is led here by it.
                host, path = "tellwire01.execute-api.us-east-1.amazonaws.com", f"/prod/@connections/{connection_id}"
                assert await asyncio.to_thread(post, local, path, {"Host": host}) == 200
                assert await socket.recv() == "hello"


def post(local: LocalApi, path: str, headers: Mapping[str, str] | None = None) -> int:
    host, _, port = local.address.partition(":")
    with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=100)) as to:
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=x", **(headers or {})}
        to.request("POST", path, b"hello", signed)
        return to.getresponse().status
