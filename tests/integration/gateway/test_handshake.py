"""Handshakes with a real gateway: accepted and refused ones, and their answers."""

import asyncio
import json
import logging
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tellwire.limits import MAX_HEAD_BYTES
from tellwire.testing import FakeClock
from tests.conftest import Gateway, StartGateway, offered, read


async def refusal(uri: str, **options: Any) -> tuple[int, str, str]:
    """Connect in vain; return status, code and message."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(uri, proxy=None, **options):
            pass
    response = caught.value.response
    assert response.headers["Content-Type"] == "application/json"
    body = json.loads(response.body or b"")
    return response.status_code, body["code"], body["message"]


async def raw(gateway: Gateway, request: bytes) -> bytes:
    """Send bytes, return all that comes until the server closes."""
    host, port = gateway.node.address
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    try:
        async with asyncio.timeout(100):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


UPGRADE = (
    b"GET /?token=%s HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: %s\r\nSec-WebSocket-Key: %s\r\n\r\n"
)
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


async def test_the_guides_url_connects(gateway: Gateway) -> None:
    async with gateway.device() as device:
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"
        assert device.subprotocol is None


async def test_any_path_will_do_as_behind_a_stage(gateway: Gateway) -> None:
    async with connect(f"{gateway.ws_url}/dev?token={gateway.token()}", proxy=None) as device:
        await (await device.ping())


async def test_the_token_may_come_as_a_subprotocol_and_is_not_sent_back(gateway: Gateway) -> None:
    async with connect(gateway.ws_url, subprotocols=offered(gateway.token()), proxy=None) as device:
        assert device.subprotocol == "tellwire.v1"
        assert device.response is not None
        assert gateway.token().split(".")[2] not in str(device.response.headers)


async def test_missing_invalid_and_expired_tokens_are_told_apart(gateway: Gateway) -> None:
    url = gateway.ws_url
    assert (await refusal(url))[:2] == (401, "TOKEN_MISSING")
    assert (await refusal(f"{url}?token="))[:2] == (401, "TOKEN_MISSING")
    assert (await refusal(f"{url}?token=abc.def.ghi"))[:2] == (401, "TOKEN_INVALID")
    assert (await refusal(f"{url}?token={gateway.token(ttl_seconds=-1)}"))[:2] == (401, "TOKEN_EXPIRED")
    assert (await refusal(url, subprotocols=[Subprotocol("token.x")]))[:2] == (401, "TOKEN_INVALID")


async def test_no_token_reaches_a_log(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    expired = gateway.token(ttl_seconds=-1)
    with caplog.at_level(logging.DEBUG):
        async with connect(f"{gateway.ws_url}?token={gateway.token()}", proxy=None) as device:
            await device.send(json.dumps({"type": "auth", "token": gateway.token(ttl_seconds=60)}))
            await read(device)
        await refusal(f"{gateway.ws_url}?token={expired}")
        await raw(gateway, f"GET /?token={expired} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    ours = "\n".join(r.name + r.getMessage() for r in caplog.records if not r.name.startswith("websockets.client"))
    assert "401 TOKEN_EXPIRED" in ours
    assert expired.split(".")[1] not in ours
    assert gateway.token().split(".")[0] not in ours


async def test_no_user_forges_a_line_of_the_log(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "tellwire"):
        async with gateway.device("a\nERROR tellwire: forged\x1b[31m") as device:
            await device.send(json.dumps({"type": "x\nERROR tellwire: forged"}))
            await read(device)
            await device.close(1000, "\nERROR tellwire: forged")
    assert "forged" in caplog.text
    assert not any("\n" in record.getMessage() or "\x1b" in record.getMessage() for record in caplog.records)


async def test_bad_handshakes_get_their_status(gateway: Gateway) -> None:
    token = gateway.token().encode()
    assert (await raw(gateway, UPGRADE % (token, b"8", KEY))).startswith(b"HTTP/1.1 426 ")
    assert (await raw(gateway, UPGRADE % (token, b"13", b"short"))).startswith(b"HTTP/1.1 400 ")
    plain = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert (await raw(gateway, plain)).startswith(b"HTTP/1.1 426 ")


async def test_an_upgrade_of_http_1_0_is_ignored(gateway: Gateway) -> None:
    old = (UPGRADE % (gateway.token().encode(), b"13", KEY)).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = await raw(gateway, old)
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert len(gateway.node.hub) == 0


@pytest.mark.parametrize("length", ["0", "00"])
async def test_a_handshake_with_a_body_of_no_bytes_is_accepted(gateway: Gateway, length: str) -> None:
    async with gateway.device(additional_headers={"Content-Length": length}) as device:
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"


async def test_a_message_right_after_the_101_is_received(gateway: Gateway) -> None:
    host, port = gateway.node.address
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(UPGRADE % (gateway.token().encode(), b"13", KEY))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.write(b"\x81\x8f\x00\x00\x00\x00" + b'{"type":"ping"}')
    assert b"pong" in await reader.read(200)
    writer.close()
    await writer.wait_closed()


async def test_only_listed_origins_may_connect(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(allowed_origins=("https://app.example.com",))
    uri = f"{gateway.ws_url}?token={gateway.token()}"
    async with connect(uri, origin=Origin("https://app.example.com"), proxy=None):
        pass
    async with connect(uri, proxy=None):
        pass
    assert (await refusal(uri, origin=Origin("https://evil.example")))[:2] == (403, "ORIGIN_NOT_ALLOWED")


async def test_handshakes_of_an_address_behind_a_trusted_proxy_are_limited(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        FakeClock(),
        trusted_proxies=("127.0.0.1",),
        handshakes_per_second=1.0,
        handshake_burst=2,
        jwt_secret=None,
        jwks_url="http://127.0.0.1:9/jwks.json",
    )
    uri = f"{gateway.ws_url}?token=x"
    # One client, as proxies of several kinds write it.
    one = ["198.51.100.1", "1.2.3.4, 198.51.100.1:51234", 'for="198.51.100.1:80"']
    statuses = [(await refusal(uri, additional_headers={"X-Forwarded-For": each}))[0] for each in one]
    assert statuses == [401, 401, 429]
    lines = [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "198.51.100.1:1")]
    assert (await refusal(uri, additional_headers=lines))[0] == 429
    assert (await refusal(uri, additional_headers={"X-Forwarded-For": "198.51.100.2"}))[0] == 401


async def test_keys_out_of_reach_are_a_503_and_not_the_clients_fault(start_gateway: StartGateway) -> None:
    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa

    gateway = await start_gateway(jwks_url="http://127.0.0.1:9/jwks.json", jwt_secret=None)
    token = jwt.encode({"sub": "u"}, rsa.generate_private_key(65537, 2048), "RS256", {"kid": "k"})
    assert (await refusal(f"{gateway.ws_url}?token={token}"))[:2] == (503, "KEYS_UNAVAILABLE")


async def test_a_crash_while_authenticating_is_a_500_without_details(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("internal detail")

    monkeypatch.setattr(gateway.node.sockets.application, "authorize", crash)
    status, code, message = await refusal(f"{gateway.ws_url}?token=x")
    assert (status, code) == (500, "INTERNAL_ERROR")
    assert "internal detail" not in message
    assert "internal detail" in caplog.text


async def test_a_silent_or_slow_socket_is_closed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = "tellwire.limits.HEAD_TIMEOUT_SECONDS"
    host, port = gateway.node.address
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    monkeypatch.setattr(timeout, 0.1)
    writer.write(b"GET /heal")
    async with asyncio.timeout(100):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert await raw(gateway, b"") == b""
    assert await raw(gateway, b"GET / HTTP/1.1\r\nHost: ") == b""


async def test_a_head_without_end_is_refused(gateway: Gateway) -> None:
    endless = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * (MAX_HEAD_BYTES + 1)
    assert (await raw(gateway, endless)).startswith(b"HTTP/1.1 431 ")


async def test_a_kept_alive_connection_may_rest_and_go_on(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    # Long enough for a head on a machine that is busy.
    monkeypatch.setattr("tellwire.limits.HEAD_TIMEOUT_SECONDS", 2.0)
    host, port = gateway.node.address
    reader, writer = await asyncio.open_connection(host, port)
    for rest_seconds in (2.2, 0):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'{"status":"ok"}' in await reader.readuntil(b"}")
        await asyncio.sleep(rest_seconds)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("stray", [b"\r\n", b"\r\n\r\n"])
async def test_a_stray_byte_after_an_answer_does_not_keep_a_socket(gateway: Gateway, stray: bytes) -> None:
    gateway.node._own_server._uvicorn.config.timeout_keep_alive = 1
    host, port = gateway.node.address
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b'{"status":"ok"}' in await reader.readuntil(b"}")
    writer.write(stray)
    async with asyncio.timeout(100):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
