"""The drain, on real sockets: sockets are closed over a time, and no producer loses its answer."""

import asyncio
import contextlib
import json
import logging
import time
from collections import Counter
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tellwire import limits
from tellwire.config import Settings
from tellwire.errors import ConfigError
from tellwire.gateway import Node
from tellwire.messages import create_message
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, read
from tests.integration.gateway.test_http_api import HELLO, call
from tests.integration.gateway.test_http_api import publish as published
from tests.integration.gateway.test_http_protocol import BODY, HEALTH, KEY, LENGTH, answer, publish, socket_of
from tests.tools import until

BATCH = b"POST /v1/publish/batch HTTP/1.1\r\nHost: x\r\n" + KEY
ONE_BY_ONE = {"drain_seconds": 10, "drain_spread_seconds": 10}


@pytest.fixture
def slow_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the whole time of the spread for a few clients, too."""
    monkeypatch.setattr(limits, "DRAIN_CLOSES_PER_SECOND", 0.01)


async def closed(device: ClientConnection) -> float:
    """Wait for the close of a device, and return its time."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await device.recv()
    assert (device.close_code, device.close_reason) == (1012, "Service restart")
    return time.monotonic()


async def ended(gateway: Gateway) -> float:
    """Wait until nobody listens, and return the time."""
    with contextlib.suppress(ConnectionError, RuntimeError):
        while True:
            _, writer = await asyncio.open_connection(*gateway.node.address)
            writer.close()
            await asyncio.sleep(0.02)
    return time.monotonic()


# --- sockets ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("slow_spread")
async def test_a_draining_gateway_is_not_ready_takes_no_sockets_and_serves_those_it_has(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(**ONE_BY_ONE)
    async with gateway.devices(2) as [one, two]:
        gateway.node.stop()
        assert (await call(gateway, "GET", "/readyz", key=None))[:2] == (503, {"status": "draining"})
        assert (await call(gateway, "GET", "/healthz", key=None))[0] == 200
        with pytest.raises(InvalidStatus) as refused:
            async with gateway.device():
                pass
        response = refused.value.response
        assert (response.status_code, json.loads(response.body or b"")["code"]) == (503, "DRAINING")
        assert response.headers["Retry-After"] == "1"
        # The first one may have gone already; another one is still here.
        assert (await published(gateway, {"user": "user-1"}))[1]["delivered"] in (1, 2)
        last = one if one.state.name == "OPEN" else two
        assert (await read(last))["type"] == HELLO["type"]


async def test_closes_are_spread_evenly_over_the_time_of_the_spread(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DRAIN_CLOSES_PER_SECOND", 1)
    gateway = await start_gateway(drain_seconds=5, drain_spread_seconds=1)
    async with gateway.devices(100) as devices:
        began = time.monotonic()
        gateway.node.stop()
        passed = [at - began for at in await asyncio.gather(*map(closed, devices))]
    per_fifth = Counter(int(max(0.0, each - 0.1) / 0.2) for each in passed)
    assert max(passed) < 2
    assert max(per_fifth.values()) < 40
    # In no order: the oldest are not the first.
    assert sorted(passed) != passed


async def test_a_few_sockets_are_closed_faster(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_seconds=60)
    async with gateway.device() as device:
        began = time.monotonic()
        gateway.node.stop()
        assert await closed(device) - began < 5
        assert await ended(gateway) - began < 10


async def test_a_welcome_in_progress_is_sent_before_the_close(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_seconds=10)
    history: Any = gateway.node.engine.history
    read_history, go_on = history.read, asyncio.Event()

    async def slow(*arguments: Any, **options: Any) -> Any:
        await go_on.wait()
        return await read_history(*arguments, **options)

    history.read = slow
    async with gateway.device() as device:
        await device.send('{"type": "hello"}')
        await asyncio.sleep(0.1)
        gateway.node.stop()
        await asyncio.sleep(0.3)
        go_on.set()
        assert (await read(device))["type"] == "welcome"
        await closed(device)


async def test_a_request_in_progress_is_answered_before_the_close(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_seconds=10)
    go_on = asyncio.Event()

    async def slow(data: Any, sender: Any) -> Any:
        await go_on.wait()
        return create_message("answered", None)

    gateway.node.on_message("slow", slow)
    async with gateway.device() as device:
        await device.send('{"type": "slow"}')
        await asyncio.sleep(0.1)
        gateway.node.stop()
        await asyncio.sleep(0.3)
        go_on.set()
        assert (await read(device))["type"] == "answered"
        await closed(device)


async def test_a_handshake_in_progress_is_closed_with_1012(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_seconds=60)
    application: Any = gateway.node.sockets.application
    authorize, go_on = application.authorize, asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        await go_on.wait()
        return authorize(*arguments)

    application.authorize = slow
    connecting = asyncio.create_task(connect(f"{gateway.ws_url}?token={gateway.token()}", proxy=None).__aenter__())
    await asyncio.sleep(0.2)
    gateway.node.stop()
    await asyncio.sleep(0.3)
    go_on.set()
    async with asyncio.timeout(20):
        await closed(await connecting)


# --- producers --------------------------------------------------------------------------------------------------------


async def test_a_slow_upload_of_a_batch_is_answered(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_seconds=10)
    body = b"\n".join([BODY] * 10)
    async with socket_of(gateway) as (reader, writer):
        writer.write(BATCH + b"Content-Length: %d\r\n\r\n" % len(body) + body[:100])
        await asyncio.sleep(0.1)
        gateway.node.stop()
        for start in range(100, len(body), 100):
            writer.write(body[start : start + 100])
            await asyncio.sleep(0.1)
        status, lines = await answer(reader)
    assert status == 200
    assert [json.loads(line).get("code") for line in lines.splitlines()] == [None] * 10


async def test_a_body_that_does_not_come_in_time_is_refused_as_retryable(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(drain_seconds=1)
    async with socket_of(gateway) as (reader, writer), gateway.device() as device:
        writer.write(publish(LENGTH) + BODY[:-1])
        await asyncio.sleep(0.1)
        with caplog.at_level(logging.WARNING):
            began = time.monotonic()
            gateway.node.stop()
            await closed(device)
            status, body = await answer(reader)
            assert (status, json.loads(body)["code"]) == (503, "RESTARTING")
            assert 0.5 < time.monotonic() - began < 3
            assert await ended(gateway) - began < 3
    assert not [record for record in caplog.records if record.name.startswith(("uvicorn", "tellwire"))]


@pytest.mark.usefixtures("slow_spread")
async def test_who_publishes_during_the_spread_is_served_and_told_to_connect_anew(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(**ONE_BY_ONE)
    async with gateway.devices(2), socket_of(gateway) as (reader, writer):
        writer.write(HEALTH)
        assert (await answer(reader))[0] == 200
        gateway.node.stop()
        await asyncio.sleep(0.3)
        writer.write(publish(LENGTH) + BODY)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in head.lower()
        assert (await published(gateway, {"user": "user-1"}))[0] == 200


async def test_a_request_that_was_on_its_way_when_the_last_socket_left_is_answered(
    start_gateway: StartGateway,
) -> None:
    gateway = await start_gateway(drain_seconds=10)
    async with socket_of(gateway) as (reader, writer), socket_of(gateway) as (new_reader, new_writer):
        writer.write(HEALTH)
        await answer(reader)
        gateway.node.stop()
        listener = gateway.node._own_server._listener
        await until(lambda: listener is None or listener.fileno() < 0)
        writer.write(publish(LENGTH) + BODY)
        new_writer.write(publish(LENGTH) + BODY)
        assert (await answer(reader))[0] == 200
        assert (await answer(new_reader))[0] == 200


async def test_idle_connections_do_not_delay_the_end(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_seconds=60)
    async with socket_of(gateway) as (reader, writer), socket_of(gateway) as (new_reader, _):
        writer.write(HEALTH)
        await answer(reader)
        began = time.monotonic()
        gateway.node.stop()
        assert await reader.read() == b""
        assert await new_reader.read() == b""
        assert time.monotonic() - began < 5


# --- who asks for it --------------------------------------------------------------------------------------------------


async def test_an_operator_drains_over_http(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(drain_seconds=3, api_key=f"w:publish:{API_KEY}\no:admin:{API_KEY}-admin")
    async with gateway.device() as device:
        assert (await call(gateway, "POST", "/v1/drain"))[0] == 403
        assert (await call(gateway, "GET", "/readyz", key=None))[0] == 200
        status, body, _ = await call(gateway, "POST", "/v1/drain", key=f"{API_KEY}-admin")
        assert (status, body) == (202, {"withinSeconds": 3.0})
        await closed(device)
        await ended(gateway)


@pytest.mark.parametrize(("seconds", "spread", "is_allowed"), [(10, 10, True), (10, 10.5, False), (1, None, True)])
def test_the_spread_is_within_the_drain(seconds: float, spread: float | None, is_allowed: bool) -> None:
    words = "DRAIN_SPREAD_SECONDS: got 10.5; allowed: at most the 10 seconds of drain_seconds"
    with contextlib.nullcontext() if is_allowed else pytest.raises(ConfigError, match=words):
        assert Settings(drain_seconds=seconds, drain_spread_seconds=spread).spread_seconds == (spread or seconds / 2)


# --- the program's own work -------------------------------------------------------------------------------------------


async def test_what_a_program_publishes_before_a_drain_reaches_its_devices() -> None:
    node = Node(Settings(port=0, engine="memory", jwt_secret=SECRET, drain_seconds=10))

    @node.before_drain
    async def say_goodbye() -> None:
        await node.broadcaster.broadcast_to_user("user-1", create_message("goodbye", {}))

    async with node.running() as url:
        gateway = Gateway(node, url)
        async with gateway.device() as device:
            with pytest.raises(RuntimeError, match="the node runs"):
                node.before_drain(say_goodbye)
            node.stop()
            assert (await read(device))["type"] == "goodbye"
            await closed(device)
