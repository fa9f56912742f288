"""The limits of connections on a real gateway, and the log of connections that were refused, came and went."""

import logging
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import connect

from tellwire.limited_log import LINES
from tests.conftest import Gateway, StartGateway, read
from tests.integration.gateway.test_handshake import refusal
from tests.integration.gateway.test_socket import start_with_clock
from tests.tools import until

FROM = "X-Forwarded-For"


async def test_a_user_has_so_many_connections_and_another_one_when_one_has_gone(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(connections_per_user=2)
    uri = f"{gateway.ws_url}?token={gateway.token()}"
    async with gateway.devices(2), gateway.device("user-2"):
        status, code, message = await refusal(uri)
        assert (status, code) == (429, "TOO_MANY_CONNECTIONS")
        assert "of one user; allowed: 2" in message
    await until(lambda: not len(gateway.node.hub))
    async with gateway.devices(2):
        pass


async def test_an_address_behind_a_trusted_proxy_has_so_many_connections_and_loopback_any(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(connections_per_address=2, trusted_proxies=("127.0.0.1",))
    uri = f"{gateway.ws_url}?token={gateway.token()}"
    one, another = {FROM: "198.51.100.1"}, {FROM: "198.51.100.2"}
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(gateway.device(additional_headers=one))
        assert (await refusal(uri, additional_headers=one))[:2] == (429, "TOO_MANY_CONNECTIONS")
        await stack.enter_async_context(gateway.device(additional_headers=another))
        for _ in range(3):
            await stack.enter_async_context(gateway.device())
    await until(lambda: not len(gateway.node.hub))
    async with gateway.device(additional_headers=one):
        pass


async def test_a_full_gateway_answers_503(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(max_connections=2)
    async with gateway.device("user-1"), gateway.device("user-2"):
        uri = f"{gateway.ws_url}?token={gateway.token('user-3')}"
        assert (await refusal(uri))[:2] == (503, "TOO_MANY_CONNECTIONS")


async def test_a_refused_handshake_is_logged_with_its_client_and_its_origin(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(trusted_proxies=("127.0.0.1",), allowed_origins=("https://app.example.com",))
    headers = {FROM: "203.0.113.9"}
    with caplog.at_level(logging.INFO, "tellwire"):
        await refusal(gateway.ws_url, additional_headers=headers)
        await refusal(gateway.ws_url, additional_headers=headers, origin="https://evil.example")
    assert [record.getMessage() for record in caplog.records if "refused" in record.getMessage()] == [
        "refused a connection from 203.0.113.9: 401 TOKEN_MISSING",
        "refused a connection from 203.0.113.9: 403 ORIGIN_NOT_ALLOWED (origin 'https://evil.example')",
    ]


async def test_refused_handshakes_do_not_flood_the_log(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    with caplog.at_level(logging.INFO, "tellwire"):
        for _ in range(int(LINES.burst) + 15):
            await refusal(gateway.ws_url)
        assert sum("refused a connection" in message for message in caplog.messages) == LINES.burst
        await clock.advance(2)
        assert "refused connections: 15 more lines were left out" in caplog.messages


async def test_connects_and_disconnects_are_logged_at_debug(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "tellwire"):
        async with gateway.device() as device:
            await device.send('{"type": "ping"}')
            await read(device)
            connection_id = next(iter(gateway.node.hub._by_id))
            await device.close(4000, "bye")
        await until(lambda: not len(gateway.node.hub))
    assert f"{connection_id}: user 'user-1' connected from 127.0.0.1" in caplog.messages
    assert f"{connection_id}: user 'user-1' left with 4000 'bye'" in caplog.messages


async def test_the_token_may_come_as_a_bearer(gateway: Gateway) -> None:
    bearer = {"Authorization": f"Bearer {gateway.token('user-2')}"}
    async with connect(gateway.ws_url, additional_headers=bearer, proxy=None) as device:
        await device.send('{"type": "hello"}')
        assert (await read(device))["data"]["userId"] == "user-2"
    basic = {"Authorization": "Basic dXNlcjpwYXNz"}
    async with gateway.device(additional_headers=basic) as device:
        await device.send('{"type": "hello"}')
        assert (await read(device))["data"]["userId"] == "user-1"
    assert (await refusal(gateway.ws_url, additional_headers=basic))[1] == "TOKEN_MISSING"


@pytest.mark.parametrize("step_seconds", [-3600, -86_400, 86_400 - 3600])
async def test_a_wall_clock_that_is_set_does_not_keep_a_connection_open(
    start_gateway: StartGateway, step_seconds: float
) -> None:
    gateway, clock = await start_with_clock(start_gateway, ttl_seconds=1e7, ping_after_seconds=0)
    async with gateway.device() as idle:
        clock.step(step_seconds)
        await clock.advance(601)
        await idle.wait_closed()
        assert idle.close_code == 1001
    gateway, clock = await start_with_clock(start_gateway, ttl_seconds=60)
    async with gateway.device() as expiring:
        clock.step(min(0, step_seconds))
        await clock.advance(61)
        await expiring.wait_closed()
        assert expiring.close_code == 4401


async def test_a_wall_clock_that_is_set_past_the_expiry_ends_a_connection_within_a_minute(
    start_gateway: StartGateway,
) -> None:
    gateway, clock = await start_with_clock(start_gateway, ttl_seconds=3600, ping_after_seconds=0)
    async with gateway.device() as device:
        clock.step(3601)
        await clock.advance(61)
        await device.wait_closed()
        assert device.close_code == 4401
