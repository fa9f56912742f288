"""Paths of the HTTP API: any id, slashes at the end, and the address of the client in the log."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from tellwire.auth import mint_token
from tellwire.carriers.http import HttpCarrier
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.limits import MAX_USER_ID_BYTES
from tellwire.testing import FakeClock
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway
from tests.integration.gateway.test_http_api import HELLO, call
from tests.integration.gateway.test_http_protocol import KEY, exchange
from tests.nginx import nginx

IDS = [
    ".",
    "..",
    "a\nb",
    "a\n",
    "\na",
    "a/b",
    "/",
    "a/",
    "/connections",
    "%",
    "%2F",
    "a%0Ab",
    "?user=x",
    "a&b=c",
    "a+b",
    "a b ",
    "é",
]


async def get(gateway: Gateway, target: str, method: str = "GET", headers: bytes = KEY) -> tuple[int, bytes]:
    """Send a request whose target is not tidied by a client."""
    return await exchange(gateway, f"{method} {target} HTTP/1.1\r\nHost: x\r\n".encode() + headers + b"\r\n")


@pytest.mark.parametrize("user", IDS)
async def test_any_user_is_found_by_path_and_by_query(gateway: Gateway, user: str) -> None:
    async with gateway.device(user):
        for target in (f"/v1/connections?user={quote(user, safe='')}", f"/v1/users/{quote(user, safe='')}/connections"):
            status, body = await get(gateway, target)
            assert (status, [each["userId"] for each in json.loads(body)["connections"]]) == (200, [user])


@pytest.mark.parametrize(
    "target", ["/v1/connections?user=%ff", "/v1/users/a%E4/connections", "/v1/users?user=%ED%A0%80"]
)
async def test_an_id_that_is_not_utf8_is_refused_and_taken_for_no_other(gateway: Gateway, target: str) -> None:
    status, body = await get(gateway, target, "DELETE" if "users?" in target else "GET")
    assert status == 400
    assert json.loads(body)["message"].endswith("allowed: percent-encoded UTF-8")


@pytest.mark.parametrize("user", IDS)
async def test_our_own_client_finds_any_user_and_disconnects(gateway: Gateway, user: str) -> None:
    carrier = HttpCarrier(gateway.url, API_KEY)
    async with gateway.device(user) as device:
        (info,) = await carrier.connections(user)
        assert await carrier.disconnect(info.connection_id)
        await device.wait_closed()
        assert not await carrier.disconnect(info.connection_id)
        assert not await carrier.disconnect(user)
    await carrier.close()


async def test_our_own_client_finds_any_user_behind_a_real_proxy(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway = await start_gateway(trusted_proxies=("127.0.0.1",))
    async with nginx(tmp_path, gateway.url, "/live/") as address:
        carrier = HttpCarrier(f"{address.replace('ws', 'http', 1)}/live/", API_KEY)
        for user in IDS:
            async with gateway.device(user):
                (info,) = await carrier.connections(user)
                assert info.user_id == user
                assert await carrier.disconnect(info.connection_id)
        await carrier.close()


@pytest.mark.parametrize("upload", IDS)
@pytest.mark.usefixtures("producer")
async def test_the_rows_of_any_upload_are_found_by_path_and_by_query(gateway: Gateway, upload: str) -> None:
    from tellwire import track_upload

    user = f"user of {upload}"
    async with track_upload(user, upload, "f.csv") as tracked:
        tracked.row_error(1, "BAD", "It is bad")
    bearer = f"Authorization: Bearer {mint_token(SECRET, user)}\r\n".encode()
    name = quote(upload, safe="")
    for target in (f"/v1/uploads/row-errors?upload={name}", f"/v1/uploads/{name}/row-errors"):
        assert await _rows(gateway, target, bearer) == (200, True)
        by_key = f"{target}{'&' if '?' in target else '?'}user={quote(user, safe='')}"
        assert await _rows(gateway, by_key, KEY) == (200, True)


async def _rows(gateway: Gateway, target: str, headers: bytes) -> tuple[int, bool]:
    reader, writer = await asyncio.open_connection(*gateway.node.address)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode() + headers + b"\r\n")
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), b'1,"BAD","It is bad"' in answer


@pytest.mark.parametrize(
    ("target", "given"),
    [
        ("/v1/connections", "user: got ''"),
        ("/v1/connections?user=", "user: got ''"),
        ("/v1/users//connections", "user: got ''"),
        ("/v1/connections?user=a&user=b", "user: got ['a', 'b']; allowed: one"),
        ("/v1/users/a/connections?user=b", "user: got ['a', 'b']; allowed: one"),
        (f"/v1/connections?user={'a' * (MAX_USER_ID_BYTES + 1)}", "bytes in UTF-8"),
    ],
)
async def test_an_id_is_given_once_and_is_bounded(gateway: Gateway, target: str, given: str) -> None:
    status, body = await get(gateway, target)
    assert (status, json.loads(body)["code"]) == (400, "INVALID_MESSAGE")
    assert given in json.loads(body)["message"]


@pytest.mark.parametrize("end", ["/", "//"])
async def test_a_slash_at_the_end_is_no_redirect(gateway: Gateway, end: str) -> None:
    for target in ("/healthz", "/readyz", "/openapi.json", "/v1/stats", "/v1/users/u/connections"):
        assert (await get(gateway, target + end))[0] == 200
    assert (await get(gateway, f"/v1/connections{end}?user=u"))[0] == 200
    assert (await get(gateway, f"/v1/connections/x{end}", "DELETE"))[0] == 410
    body = {"target": {"user": "u"}, "message": HELLO}
    assert (await call(gateway, "POST", f"/v1/publish{end}", body))[0] == 200
    assert (await call(gateway, "POST", f"/v1/publish/batch{end}", body))[0] == 200
    assert (await get(gateway, f"/v1/publish{end}"))[0] == 405
    assert (await get(gateway, f"/nothing{end}"))[0] == 404


@pytest.fixture
async def embedded() -> AsyncIterator[Gateway]:
    """A gateway with a mounted application, a page with a slash, and one without."""

    async def page(request: Request) -> Response:
        return PlainTextResponse(request.url.path)

    routes = [Mount("/assets", routes=[Route("/", page)]), Route("/with/", page), Route("/without", page)]
    node = Node(Settings(port=0, jwt_secret=SECRET, api_key=API_KEY, engine="memory"), routes=routes)
    async with node.running() as url:
        yield Gateway(node, url)


async def test_a_redirect_to_a_page_does_not_name_a_host(embedded: Gateway) -> None:
    for target, location in [
        ("/assets", b"./assets/"),
        ("/assets?a=b", b"./assets/?a=b"),
        ("/with", b"./with/"),
    ]:
        status, headers = await _head(embedded, target)
        assert (status, b"location: " + location + b"\r\n" in headers) == (307, True), headers
    assert (await get(embedded, "/with/"))[1] == b"/with/"
    assert (await get(embedded, "/without/"))[1] == b"/without"
    assert (await get(embedded, "/v1/stats/"))[0] == 200


@pytest.mark.parametrize(
    "target", ["//evil.example", "//evil.example/", "/javascript:x", "/%0d%0aX-Evil:%201", "/\\evil"]
)
async def test_no_path_makes_a_redirect_elsewhere(embedded: Gateway, target: str) -> None:
    status, headers = await _head(embedded, target)
    assert status == 404
    assert b"location" not in headers


async def _head(gateway: Gateway, target: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(*gateway.node.address)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), answer


async def test_the_log_names_who_publishes_and_is_refused_but_no_payload(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(trusted_proxies=("127.0.0.1",))
    via = b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 203.0.113.9:5123\r\n"
    good = json.dumps({"target": {"user": "u-7"}, "message": {"type": "hi", "data": "payload"}}).encode()
    with caplog.at_level(logging.DEBUG):
        for body, path in [(good, "publish"), (b'{"payload', "publish"), (good + b"\n" + good, "publish/batch")]:
            head = f"POST /v1/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
            await exchange(gateway, head + via + KEY + b"\r\n" + body)
        await get(gateway, "/v1/stats", headers=via + b"Authorization: Bearer not-the-key\r\n")
        await get(gateway, "/v1/stats", headers=via)
        gateway.node.stop()
        await asyncio.sleep(0.5)
    lines = {(r.levelname, r.getMessage()) for r in caplog.records if r.name == "tellwire.gateway"}
    assert ("DEBUG", "203.0.113.9 published hi for the user 'u-7': 0 delivered") in lines
    assert ("DEBUG", "203.0.113.9 published a batch: 2 lines") in lines
    assert ("DEBUG", "refused POST '/v1/publish' from 203.0.113.9: 400 INVALID_MESSAGE") in lines
    assert ("WARNING", "a wrong API key from 203.0.113.9") in lines
    assert ("WARNING", "no API key from 203.0.113.9") in lines
    assert {("INFO", "stopped")} <= lines
    assert any(text.startswith("stopping: ") for level, text in lines if level == "INFO")
    for secret in (API_KEY, "not-the-key", "payload"):
        assert secret not in caplog.text


async def test_a_missing_token_and_a_bad_body_are_said_in_the_endpoints_own_words(gateway: Gateway) -> None:
    status, body = await get(gateway, "/v1/uploads/u1/row-errors", headers=b"")
    assert (status, json.loads(body)["message"]) == (401, "No token: send the header Authorization: Bearer <jwt>")
    _, answer, _ = await call(gateway, "POST", "/v1/publish", "{schön".encode())
    assert answer["message"].startswith("message: got '{schön'; allowed: JSON (")


async def test_requests_without_a_key_do_not_fill_the_log(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(FakeClock(), trusted_proxies=("127.0.0.1",))
    for number in range(60):
        await get(gateway, "/v1/stats", headers=f"X-Forwarded-For: 203.0.113.{number}\r\n".encode())
    lines = [record.getMessage() for record in caplog.records if "no API key from" in record.getMessage()]
    assert (lines[0], len(lines)) == ("no API key from 203.0.113.0", 20)
