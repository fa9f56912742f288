"""Handshakes of clients that offer `tellwire.v1` and are refused: 101, and a close that says why."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from tellwire import Settings, limits
from tellwire.apigateway.certificate import make_certificate
from tellwire.errors import HistoryUnavailable, TokenMissing
from tellwire.gateway.node import Node
from tellwire.model import Identity
from tellwire.ports import NullObserver
from tellwire.server.server import Server
from tellwire.server.sockets import Sockets
from tellwire.shut_out import ShutOut
from tellwire.testing import FakeClock
from tests.conftest import SECRET, Gateway, StartGateway, offered
from tests.tools import until

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: tellwire.v1, token.x\r\n\r\n"
)
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
CLOSE = b"\x88\x82\x00\x00\x00\x00\x11\x31"


async def end_of(device: ClientConnection) -> tuple[int, str, str]:
    """Return close code, error code and text of a connection that says nothing else."""
    async with asyncio.timeout(100):
        with pytest.raises(ConnectionClosed) as caught:
            await device.recv()
    assert caught.value.rcvd is not None
    code, separator, text = caught.value.rcvd.reason.partition(": ")
    assert separator
    return caught.value.rcvd.code, code, text


async def refusal(gateway: Gateway, token: str, **options: Any) -> tuple[int, str]:
    """Connect as our clients do, in vain; return close code and error code."""
    async with connect(gateway.ws_url, subprotocols=offered(token), proxy=None, **options) as device:
        assert device.subprotocol == "tellwire.v1"
        return (await end_of(device))[:2]


async def status(gateway: Gateway, token: str, **options: Any) -> int:
    """Connect as any other client does, in vain; return the status."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"{gateway.ws_url}?token={token}", proxy=None, **options):
            pass
    return caught.value.response.status_code


async def test_a_refused_token_is_a_4401_and_leaves_no_trace(gateway: Gateway) -> None:
    async with connect(gateway.ws_url, subprotocols=[Subprotocol("tellwire.v1")], proxy=None) as device:
        assert await end_of(device) == (4401, "TOKEN_MISSING", str(TokenMissing()))
    assert await refusal(gateway, "abc.def.ghi") == (4401, "TOKEN_INVALID")
    assert await refusal(gateway, gateway.token(ttl_seconds=-1)) == (4401, "TOKEN_EXPIRED")
    sockets = gateway.node.sockets
    await until(lambda: not sockets._refused)
    assert len(gateway.node.hub) == 0
    assert sockets.timers._slots == {}


async def test_who_may_never_come_is_told_with_4403(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(allowed_origins=("https://app.example.com",))
    origin = Origin("https://evil.example")
    assert await refusal(gateway, gateway.token(), origin=origin) == (4403, "ORIGIN_NOT_ALLOWED")
    assert await status(gateway, gateway.token(), origin=origin) == 403


async def test_a_shut_out_user_reads_until_when_and_why(gateway: Gateway) -> None:
    shut_outs = gateway.node.engine.shut_outs
    assert shut_outs is not None
    reason = "übertrieben: " + "é" * 100
    await shut_outs.shut_out(ShutOut.of("user-1", time.time() + 3600, reason))
    async with connect(gateway.ws_url, subprotocols=offered(gateway.token()), proxy=None) as device:
        code, error, text = await end_of(device)
    assert (code, error) == (4403, "USER_SHUT_OUT")
    assert text.startswith("Shut out until 2")
    assert "übertrieben: é" in text
    assert len(f"{error}: {text}".encode()) in (122, 123)
    assert await status(gateway, gateway.token()) == 403


async def test_refused_handshakes_count_for_their_address(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(
        FakeClock(), trusted_proxies=("127.0.0.1",), handshakes_per_second=1.0, handshake_burst=2
    )
    options = {"additional_headers": {"X-Forwarded-For": "198.51.100.1"}}
    assert [await refusal(gateway, "x", **options) for _ in range(3)] == [
        (4401, "TOKEN_INVALID"),
        (4401, "TOKEN_INVALID"),
        (4429, "TOO_MANY_HANDSHAKES"),
    ]
    assert await status(gateway, "x", **options) == 429


@pytest.mark.parametrize(
    ("setting", "code", "http"),
    [("connections_per_user", 4429, 429), ("connections_per_address", 4429, 429), ("max_connections", 1013, 503)],
)
async def test_too_many_connections_are_told_by_whose_limit_it_is(
    start_gateway: StartGateway, setting: str, code: int, http: int
) -> None:
    settings: dict[str, Any] = {setting: 1, "trusted_proxies": ("127.0.0.1",)}
    gateway = await start_gateway(**settings)
    options = {"additional_headers": {"X-Forwarded-For": "198.51.100.1"}}
    async with gateway.device(**options):
        assert await refusal(gateway, gateway.token(), **options) == (code, "TOO_MANY_CONNECTIONS")
        assert await status(gateway, gateway.token(), **options) == http
        assert len(await gateway.node.hub.connections("user-1")) == 1
    await until(lambda: len(gateway.node.hub) == 0)
    # The place of a refused one is free again.
    async with gateway.device(**options) as device:
        await (await device.ping())


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        (HistoryUnavailable, "secret", (1013, "HISTORY_UNAVAILABLE")),
        (RuntimeError, "secret", (1011, "INTERNAL_ERROR")),
    ],
)
async def test_trouble_of_the_engine_and_of_the_server_has_its_code(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, kind: type[Exception], words: str, expected: tuple[int, str]
) -> None:
    async def fail(*_: object) -> bool:
        # Made here: one that lives on, as a parameter does, keeps the connections in its traceback.
        raise kind(words)

    monkeypatch.setattr(gateway.node._now.presence, "enters_at_once", lambda *_: False)
    monkeypatch.setattr(gateway.node._now.presence, "enter", fail)
    async with connect(gateway.ws_url, subprotocols=offered(gateway.token()), proxy=None) as device:
        code, error, text = await end_of(device)
    assert (code, error) == expected
    assert "secret" not in text


async def test_keys_out_of_reach_are_a_1013(start_gateway: StartGateway) -> None:
    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa

    gateway = await start_gateway(jwks_url="http://127.0.0.1:9/jwks.json", jwt_secret=None)
    token = jwt.encode({"sub": "u"}, rsa.generate_private_key(65537, 2048), "RS256", {"kid": "k"})
    assert await refusal(gateway, token) == (1013, "KEYS_UNAVAILABLE")


async def test_a_server_that_drains_or_stops_is_a_1012(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def wait_long(_: str) -> Identity:
        asked.set()
        await asyncio.sleep(3600)
        raise AssertionError

    async with gateway.device() as device:
        application: Any = gateway.node.sockets.application
        monkeypatch.setattr(application._gatekeeper, "authenticate_at_once", lambda _: None)
        monkeypatch.setattr(application._gatekeeper, "authenticate", wait_long)
        late = asyncio.create_task(refusal(gateway, gateway.token()))
        await asked.wait()
        gateway.node.sockets.drain.begin()
        assert await refusal(gateway, gateway.token()) == (1012, "DRAINING")
        assert await status(gateway, gateway.token()) == 503
        for each in gateway.node._own_server._uvicorn._websockets():
            each.shutdown()
        assert await late == (1012, "RESTARTING")
        with pytest.raises(ConnectionClosed):
            await device.recv()


async def test_a_malformed_handshake_stays_a_status(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection(*gateway.node.address)
    writer.write(HANDSHAKE % b"short")
    async with asyncio.timeout(100):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_refused_handshake_is_counted_as_refused_and_nothing_else() -> None:
    counted: list[str] = []

    class Counting(NullObserver):
        def connection_opened(self) -> None:
            counted.append("opened")

        def connection_closed(self, code: int) -> None:
            counted.append(f"closed {code}")

        def connection_refused(self, code: str) -> None:
            counted.append(code)

    node = Node(Settings(port=0, jwt_secret=SECRET, dev=True, drain_seconds=1), observer=Counting())
    async with node.running() as url:
        await refusal(Gateway(node, url), "x")
        await until(lambda: not node.sockets._refused)
    assert counted == ["TOKEN_INVALID"]


@contextlib.asynccontextmanager
async def refused_socket(node: Node) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A socket that has been refused by a close, which it has read, and answers nothing."""
    reader, writer = await asyncio.open_connection(*node.address)
    try:
        writer.write(HANDSHAKE % KEY)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        opcode, size = await reader.readexactly(2)
        assert opcode == 0x88
        assert (await reader.readexactly(size))[:2] == (4401).to_bytes(2)
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_client_that_does_not_answer_the_close_is_cut(start_gateway: StartGateway) -> None:
    clock = FakeClock()
    gateway = await start_gateway(clock)
    sockets = gateway.node.sockets
    async with refused_socket(gateway.node) as (reader, _):
        assert await reader.read() == b""
        assert len(sockets._refused) == 1
        await clock.advance(limits.REFUSED_SECONDS + 1)
        await until(lambda: not sockets._refused)


async def test_words_sent_before_the_close_was_read_do_not_take_it_back(gateway: Gateway) -> None:
    hello = b"\x81\x90\x00\x00\x00\x00" + b'{"type":"hello"}'
    sockets = gateway.node.sockets
    async with refused_socket(gateway.node) as (_, writer):
        writer.write(hello * 20)
        (refused,) = sockets._refused
        before = refused.last_active_at
        await until(lambda: refused.last_active_at > before)
        assert refused in sockets._refused
        writer.write(CLOSE)
        await until(lambda: not sockets._refused)
    assert len(gateway.node.hub) == 0


async def test_the_oldest_of_many_silent_clients_make_room(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REFUSED_AT_ONCE", 3)
    gateway = await start_gateway(FakeClock())
    connections = gateway.node._own_server._uvicorn.server_state.connections
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(refused_socket(gateway.node))
        await until(lambda: len(connections) == 3)
        assert set(connections) == set(gateway.node.sockets._refused)


async def test_over_tls_the_clients_close_ends_the_socket(gateway: Gateway, tmp_path: Path) -> None:
    tls, trusted = make_certificate(tmp_path)
    # A time that does not pass: nothing but the client's close may end the socket.
    sockets = Sockets(gateway.node.sockets.application, FakeClock(), refuses_by_close=True)
    server = Server(sockets, None, host="127.0.0.1", tls=tls)
    async with server.running():
        context = ssl.create_default_context(cafile=trusted)
        url = f"wss://{server.authority}"
        async with connect(url, subprotocols=offered("x"), proxy=None, ssl=context) as device:
            assert (await end_of(device))[:2] == (4401, "TOKEN_INVALID")
            await until(lambda: not sockets._refused)
