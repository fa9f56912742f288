"""Compression at a real gateway: devices of several libraries, with it and without, on one node."""

import asyncio
import json
import os
import subprocess
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode

from tellwire.limits import MAX_MESSAGE_BYTES
from tellwire.messages import Message, create_message
from tellwire.model import Target
from tellwire.publication import Publication
from tellwire.server.deflating_socket import DeflatingConnection
from tests.conftest import Gateway, StartGateway, read
from tests.integration.gateway.test_recovery import hello, numbers
from tests.redis_server import RedisServer
from tests.tools import require, require_module, until
from tests.unit.server.test_parser import frame as masked_frame

CLIENTS = Path(__file__).parents[3] / "clients"
SCRIPT = Path(__file__).with_name("deflating_device.cjs")
TOPICS = '[{"pattern": "*", "subscribe": "anyone"}]'
TEXT = "The inspection of section three found no deviation from the drawing. " * 20


def note(number: int, text: str = TEXT) -> Message:
    return create_message("note", {"number": number, "text": text})


@asynccontextmanager
async def deflating_device(gateway: Gateway, user_id: str = "user-1", **offer: Any) -> AsyncIterator[ClientConnection]:
    """Connect as the client of `websockets` does by default, or with an offer of the test's own."""
    uri = f"{gateway.ws_url}/?token={gateway.token(user_id)}"
    factories = [ClientPerMessageDeflateFactory(**offer)]
    async with connect(uri, proxy=None, compression=None, extensions=factories) as device:
        yield device


@pytest.fixture
def wire_frames(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """The data frames that devices have got, as they were on the wire: whether they were compressed, and their size."""
    found: list[tuple[bool, int]] = []
    decode = PerMessageDeflate.decode

    def noted(self: PerMessageDeflate, frame: Frame, **options: Any) -> Frame:
        if frame.opcode in (Opcode.TEXT, Opcode.CONT):
            found.append((frame.rsv1, len(frame.data)))
        return decode(self, frame, **options)

    monkeypatch.setattr(PerMessageDeflate, "decode", noted)
    return found


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def gateway(
    request: pytest.FixtureRequest, start_gateway: StartGateway, tmp_path: Path, redis_prefix: str
) -> Gateway:
    """A gateway with compression, on each engine."""
    settings: dict[str, Any] = {"engine": request.param, "compression": True, "topics": TOPICS}
    if request.param == "sqlite":
        settings["database"] = str(tmp_path / "tellwire.sqlite3")
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        settings |= {"redis_url": server.url, "redis_prefix": redis_prefix}
    started = await start_gateway(**settings)
    assert isinstance(started, Gateway)
    return started


async def publish(gateway: Gateway, *messages: Message) -> None:
    for message in messages:
        await gateway.node.broadcaster.broadcast_to_user("user-1", message)


async def test_devices_with_and_without_compression_get_every_message(
    gateway: Gateway, wire_frames: list[tuple[bool, int]]
) -> None:
    async with deflating_device(gateway) as one, deflating_device(gateway) as two, gateway.device() as plain:
        assert [type(each) for each in one.protocol.extensions] == [PerMessageDeflate]
        await publish(gateway, *map(note, range(3)), create_message("short", {"number": 3}))
        await asyncio.gather(*(gateway.node.broadcaster.broadcast_to_user("user-1", note(n)) for n in range(4, 20)))
        await gateway.node.broadcaster.broadcast_to_all(note(20))
        for device in (one, two, plain):
            got = [await read(device) for _ in range(21)]
            assert sorted(each["data"]["number"] for each in got) == list(range(21))
            assert all(each["data"].get("text", TEXT) == TEXT for each in got)
    sizes = [size for is_compressed, size in wire_frames if is_compressed]
    assert len(sizes) == 40
    assert max(sizes) < len(TEXT) / 4
    assert [is_compressed for is_compressed, _ in wire_frames].count(False) == 2


async def test_a_welcome_is_compressed(gateway: Gateway, wire_frames: list[tuple[bool, int]]) -> None:
    count = 200
    await publish(gateway, *map(note, range(count)))
    async with deflating_device(gateway) as device, gateway.device() as plain:
        welcome = await hello(device, "0")
        assert numbers(welcome) == list(range(count)) == numbers(await hello(plain, "0"))
    assert sum(size for _, size in wire_frames) < count * len(TEXT) / 10
    assert wire_frames[0][0]


async def test_messages_of_a_topic_are_compressed(gateway: Gateway, wire_frames: list[tuple[bool, int]]) -> None:
    target = Target(topic="moc:1")
    async with deflating_device(gateway, "user-1") as one, gateway.device("user-2") as plain:
        broker = gateway.node.engine.broker
        await broker.publish(Publication.of(target, note(0)))
        for device in (one, plain):
            await device.send(json.dumps({"type": "subscribe", "topic": "moc:1", "cursor": "0"}))
            page = (await read(device))["data"]
            assert [each["data"]["number"] for each in page["messages"]] == [0]
        await asyncio.gather(*(broker.publish(Publication.of(target, note(number))) for number in range(1, 10)))
        for device in (one, plain):
            got = [await read(device) for _ in range(9)]
            assert sorted(each["data"]["number"] for each in got) == list(range(1, 10))
            assert {each["topic"] for each in got} == {"moc:1"}
    assert all(is_compressed for is_compressed, _ in wire_frames)
    assert max(size for _, size in wire_frames) < len(TEXT) / 4


@pytest.fixture
async def small_gateway(start_gateway: StartGateway) -> Gateway:
    """A gateway with compression, in memory."""
    started = await start_gateway(compression=True)
    assert isinstance(started, Gateway)
    return started


@pytest.mark.parametrize(
    "offer",
    [
        {},
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        {"server_max_window_bits": 9, "client_max_window_bits": 9},
        {"server_max_window_bits": 13, "client_max_window_bits": None},
    ],
)
async def test_requests_are_compressed_too(small_gateway: Gateway, offer: dict[str, Any]) -> None:
    @small_gateway.node.on_message("measure")
    async def measure(data: Any, sender: Any) -> Any:
        return create_message("measured", len(data["text"]))

    async with deflating_device(small_gateway, **offer) as device:
        for length in (1, 1000, 100_000):
            await device.send(json.dumps({"type": "measure", "id": str(length), "data": {"text": "x" * length}}))
            answer = await read(device)
            assert answer["data"]["result"]["data"] == length
        await publish(small_gateway, note(1))
        assert (await read(device))["data"]["text"] == TEXT


async def test_without_the_setting_an_offer_is_not_answered(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    async with deflating_device(gateway) as device:
        assert device.protocol.extensions == []
        assert not any(isinstance(each, DeflatingConnection) for each in gateway.node.hub._by_id.values())
        await publish(gateway, note(1))
        assert (await read(device))["data"]["text"] == TEXT


async def test_a_bomb_closes_its_own_connection_alone(small_gateway: Gateway) -> None:
    async with deflating_device(small_gateway) as bomber, deflating_device(small_gateway) as other:
        compressor = zlib.compressobj(9, wbits=-15)
        bomb = compressor.compress(b"x" * 20_000_000) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert MAX_MESSAGE_BYTES / 8 < len(bomb) < MAX_MESSAGE_BYTES / 4
        bomber.transport.write(masked_frame(0x40 | Opcode.TEXT, bomb[:-4]))
        with pytest.raises(ConnectionClosed):
            await bomber.recv()
        assert bomber.close_code == 1009
        await other.send('{"type": "ping"}')
        assert (await read(other))["type"] == "pong"


async def test_a_slow_reader_is_closed_though_its_messages_are_compressed(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(compression=True, outbox_max_messages=10)
    async with deflating_device(gateway) as slow, deflating_device(gateway) as fast:
        slow.transport.pause_reading()
        sent = 0
        # What cannot be compressed well fills the kernel's buffers sooner.
        noise = os.urandom(40_000).hex()
        while gateway.node.sockets.slow_closed == 0:
            await publish(gateway, note(sent, noise))
            assert (await read(fast))["data"]["number"] == sent
            sent += 1
        slow.transport.resume_reading()
        with pytest.raises(ConnectionClosed):
            while True:
                await slow.recv()
        assert slow.close_code == 1013


async def test_a_state_that_waits_for_a_slow_reader_is_conflated(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(compression=True)
    async with deflating_device(gateway) as slow:
        (connection,) = gateway.node.hub._by_id.values()
        connection.pause_writing()
        send = gateway.node.hub.hand_out
        stream = next(iter(gateway.node.hub._by_stream))
        for number in range(50):
            send(stream, json.dumps({"number": number, "text": TEXT}).encode(), "upload:u1")
        connection.resume_writing()
        assert (await read(slow))["number"] == 49


async def test_nodes_ws_speaks_with_it(small_gateway: Gateway) -> None:
    require_module(CLIENTS, "ws")
    url = f"{small_gateway.ws_url}/?token={small_gateway.token()}"
    process = await asyncio.create_subprocess_exec(
        require("node"),
        SCRIPT,
        url,
        env=os.environ | {"NODE_PATH": str(CLIENTS / "node_modules")},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(100):
        opened = json.loads(await process.stdout.readline())
        assert opened == {"extensions": "permessage-deflate"}
        await publish(small_gateway, note(1))
        got = json.loads(await process.stdout.readline())
        await until(lambda: process.returncode is not None)
    # It has sent what it got back, in a request with an answer.
    assert (got["number"], got["code"]) == (1, "UNKNOWN_TYPE")
    assert got["bytesRead"] < got["length"]


async def test_connections_only_is_a_target_too(small_gateway: Gateway) -> None:
    async with deflating_device(small_gateway) as device:
        (connection_id,) = small_gateway.node.hub._by_id
        target = Target(connections=(connection_id,))
        await small_gateway.node.broadcaster.broadcast(target, note(7))
        assert (await read(device))["data"]["number"] == 7
