"""Keys that are withdrawn, and their tokens and connections, at a real gateway with a real key set."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tellwire.limits import JWKS_MAX_AGE_SECONDS, JWKS_PENALTY_SECONDS, KEYS_WATCH_SECONDS
from tellwire.testing import FakeClock
from tests.conftest import Gateway, StartGateway, read
from tests.integration.gateway.test_http_api import call

LEAKED, NEW = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


class Provider:
    """An identity provider on loopback; `keys` are those in its key set."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {}
        self.fetches = 0
        self.status = b"200 OK"

    def _document(self) -> bytes:
        of_key = jwt.algorithms.ECAlgorithm.to_jwk
        keys = [json.loads(of_key(key.public_key())) | {"kid": name} for name, key in self.keys.items()]
        return json.dumps({"keys": keys}).encode()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.fetches += 1
        body = self._document()
        writer.write(
            b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (self.status, len(body)) + body
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"


def token_of(key: Any, kid: str) -> str:
    # Ten years: a key that leaks is used for what lasts.
    return jwt.encode({"sub": "user-1", "exp": time.time() + 10 * 365 * 86_400}, key, "ES256", {"kid": kid})


def device(gateway: Gateway, token: str) -> connect:
    return connect(f"{gateway.ws_url}/?token={token}", proxy=None)


async def closes_with(socket: ClientConnection) -> tuple[int | None, str]:
    message = await read(socket)
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    return socket.close_code, message["data"]["code"]


async def is_refused(gateway: Gateway, token: str) -> bool:
    try:
        async with device(gateway, token):
            return False
    except InvalidStatus as refused:
        return refused.response.status_code == 401


async def test_a_withdrawn_key_opens_nothing_and_what_it_opened_is_closed(start_gateway: StartGateway) -> None:
    provider, clock = Provider(), FakeClock(time.time())
    provider.keys = {"leaked": LEAKED, "new": NEW}
    leaked, new = token_of(LEAKED, "leaked"), token_of(NEW, "new")
    async with provider.serving() as url:
        gateway = await start_gateway(
            clock, jwks_url=url, idle_timeout_seconds=1e6, max_connection_seconds=1e6, ping_after_seconds=0
        )
        async with device(gateway, leaked) as theirs, device(gateway, new) as ours:
            assert not await is_refused(gateway, leaked)
            del provider.keys["leaked"]
            # Nobody connects: the set is fetched all the same when it is too old.
            closing = asyncio.create_task(closes_with(theirs))
            for _ in range(100):
                await clock.advance((JWKS_MAX_AGE_SECONDS + 2 * KEYS_WATCH_SECONDS) / 100)
                await asyncio.sleep(0.005)
            assert await asyncio.wait_for(closing, 20) == (4401, "TOKEN_INVALID")
            assert await is_refused(gateway, leaked)
            assert not await is_refused(gateway, new)
            status, _, _ = await call(gateway, "GET", "/v1/uploads/u/row-errors", None, leaked)
            assert status == 401
            await ours.send(json.dumps({"type": "auth", "token": leaked}))
            assert await closes_with(ours) == (4401, "TOKEN_INVALID")


async def test_a_reload_closes_what_a_withdrawn_key_opened_at_once(start_gateway: StartGateway) -> None:
    provider = Provider()
    provider.keys = {"leaked": LEAKED, "new": NEW}
    async with provider.serving() as url:
        gateway = await start_gateway(jwks_url=url)
        async with device(gateway, token_of(LEAKED, "leaked")) as theirs, device(gateway, token_of(NEW, "new")) as ours:
            await gateway.node.reload()
            for socket in (theirs, ours):
                await socket.send('{"type": "ping"}')
                assert (await read(socket))["type"] == "pong"
            del provider.keys["leaked"]
            await gateway.node.reload()
            assert await closes_with(theirs) == (4401, "TOKEN_INVALID")
            await ours.send('{"type": "ping"}')
            assert (await read(ours))["type"] == "pong"


async def test_a_key_set_that_cannot_be_fetched_withdraws_nothing(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider()
    provider.keys = {"new": NEW}
    async with provider.serving() as url:
        gateway = await start_gateway(jwks_url=url)
        async with device(gateway, token_of(NEW, "new")) as ours:
            provider.status = b"500 Internal Server Error"
            await gateway.node.reload()
            assert "its keys of before stay" in caplog.text
            await ours.send('{"type": "ping"}')
            assert (await read(ours))["type"] == "pong"
        assert not await is_refused(gateway, token_of(NEW, "new"))


async def test_a_key_set_that_is_empty_withdraws_all_its_keys(start_gateway: StartGateway) -> None:
    provider = Provider()
    provider.keys = {"leaked": LEAKED}
    async with provider.serving() as url:
        gateway = await start_gateway(jwks_url=url)
        async with device(gateway, token_of(LEAKED, "leaked")) as theirs:
            provider.keys = {}
            await gateway.node.reload()
            assert await closes_with(theirs) == (4401, "TOKEN_INVALID")
        assert await is_refused(gateway, token_of(LEAKED, "leaked"))


@pytest.mark.parametrize("step_seconds", [-3600.0, -86_400.0, 86_400.0])
async def test_after_a_step_of_the_clock_a_rotated_key_is_fetched(
    start_gateway: StartGateway, step_seconds: float
) -> None:
    provider, clock = Provider(), FakeClock(time.time())
    provider.keys = {"leaked": LEAKED}
    async with provider.serving() as url:
        gateway = await start_gateway(clock, jwks_url=url)
        assert not await is_refused(gateway, token_of(LEAKED, "leaked"))
        provider.keys = {"new": NEW}
        clock.step(step_seconds)
        await clock.advance(JWKS_PENALTY_SECONDS)
        assert not await is_refused(gateway, token_of(NEW, "new"))
