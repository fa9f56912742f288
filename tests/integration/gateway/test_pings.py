"""The WebSocket pings of the gateway: their times, and connections with and without pongs."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from tellwire.limits import IDLE_TIMEOUT_SECONDS, MAX_CONNECTION_SECONDS, MAX_UNANSWERED_PINGS, SERVER_PING_SECONDS
from tellwire.messages import create_notification_message
from tellwire.server.framing import PING
from tests.conftest import Gateway, StartGateway
from tests.integration.gateway.test_socket import only_connection, start_with_clock
from tests.nginx import PROXY_TIMEOUT_SECONDS, nginx

HELLO = create_notification_message("Hello", "World", "info")
PONG = Frame(Opcode.PONG, b"").serialize(mask=True)


class PlainDevice:
    """A device that answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read_frame(self) -> tuple[int, bytes]:
        """Return the first byte of a short frame, and its payload."""
        async with asyncio.timeout(100):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2))
            return first, await self.reader.readexactly(length)


@asynccontextmanager
async def plain_device(gateway: Gateway) -> AsyncIterator[PlainDevice]:
    host, port = gateway.node.address
    reader, writer = await asyncio.open_connection(host, port)
    key = base64.b64encode(os.urandom(16)).decode()
    head = (
        f"GET /?token={gateway.token()} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
    writer.write(head.encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    try:
        yield PlainDevice(reader, writer)
    finally:
        writer.close()


async def answered(connection: Any) -> None:
    """Wait until the server has the pong for its ping."""
    async with asyncio.timeout(100):
        while connection._unanswered_pings:
            await asyncio.sleep(0)


async def test_a_silent_connection_gets_a_ping_after_25_seconds(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with plain_device(gateway) as device:
        await clock.advance(SERVER_PING_SECONDS - 1)
        assert only_connection(gateway)._unanswered_pings == 0
        await clock.advance(2)
        assert await device.read_frame() == (PING[0], b"")


async def test_traffic_postpones_the_ping(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with plain_device(gateway) as device:
        await clock.advance(SERVER_PING_SECONDS - 2)
        await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)
        assert (await device.read_frame())[0] == 0x81
        await clock.advance(SERVER_PING_SECONDS - 2)
        device.writer.write(Frame(Opcode.TEXT, b'{"type":"ping"}').serialize(mask=True))
        assert b"pong" in (await device.read_frame())[1]
        await clock.advance(SERVER_PING_SECONDS - 2)
        assert only_connection(gateway)._unanswered_pings == 0
        await clock.advance(4)
        assert await device.read_frame() == (PING[0], b"")


async def test_a_connection_that_answers_no_ping_is_cut_and_counted(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with plain_device(gateway) as device:
        for _ in range(MAX_UNANSWERED_PINGS):
            await clock.advance(SERVER_PING_SECONDS + 1)
            assert await device.read_frame() == (PING[0], b"")
            assert len(gateway.node.hub) == 1
        await clock.advance(SERVER_PING_SECONDS + 1)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await device.read_frame()
        assert len(gateway.node.hub) == 0
        assert gateway.node.sockets.unanswered_closed == 1


async def test_one_pong_is_enough_to_stay(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with plain_device(gateway) as device:
        for _ in range(3):
            for _ in range(MAX_UNANSWERED_PINGS):
                await clock.advance(SERVER_PING_SECONDS + 1)
                assert await device.read_frame() == (PING[0], b"")
            device.writer.write(PONG)
            await answered(only_connection(gateway))
        assert gateway.node.sockets.unanswered_closed == 0


async def test_a_client_that_only_answers_pings_stays_for_two_hours(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with gateway.device(ping_interval=None) as device:
        connection = only_connection(gateway)
        began = clock.now()
        while clock.now() < began + 2 * IDLE_TIMEOUT_SECONDS:
            await clock.advance(SERVER_PING_SECONDS)
            await answered(connection)
        assert connection.is_open
        connection.connected_at -= MAX_CONNECTION_SECONDS
        await clock.advance(SERVER_PING_SECONDS + 1)
        async with asyncio.timeout(100):
            await device.wait_closed()
        assert device.close_code == 1001


async def test_a_client_that_does_not_read_is_neither_pinged_nor_cut(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with plain_device(gateway) as device:
        connection = only_connection(gateway)
        connection.pause_writing()
        await clock.advance(4 * SERVER_PING_SECONDS)
        assert (connection.is_open, connection._unanswered_pings) == (True, 0)
        connection.resume_writing()
        await clock.advance(SERVER_PING_SECONDS + 1)
        assert await device.read_frame() == (PING[0], b"")


# --- behind a proxy ---------------------------------------------------------------------------------------------------


async def test_a_client_that_says_nothing_lives_behind_nginx(start_gateway: StartGateway, tmp_path: Path) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with (
        nginx(tmp_path, gateway.url) as url,
        connect(f"{url}/?token={gateway.token()}", proxy=None, ping_interval=None) as device,
    ):
        connection = only_connection(gateway)
        # Longer than nginx waits. Each pause is a quarter of that, and for the gateway 26 seconds.
        for _ in range(5):
            await asyncio.sleep(PROXY_TIMEOUT_SECONDS / 4)
            await clock.advance(SERVER_PING_SECONDS + 1)
            await answered(connection)
        assert connection.is_open
        # Now the gateway's time stands still, so there are no more pings, and nginx cuts the connection.
        async with asyncio.timeout(100):
            await device.wait_closed()
        assert device.close_code == 1006
