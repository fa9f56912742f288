"""Redis in trouble, with two nodes, devices on both, and a producer that publishes by HTTP without a pause.

In each case the sockets stay, a publish is answered at once, with 503 and `Retry-After` if it is not kept, and
everything goes on by itself afterwards. Whatever was acknowledged reaches every device once and in order, or it hears
that messages may be missing.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pyreqwest.client import ClientBuilder
from redis.crc import key_slot

from tellwire.client import Client
from tellwire.engines.redis.keys import Names
from tellwire.publication import user_stream
from tests.conftest import API_KEY, Gateway, StartGateway
from tests.redis_server import RedisCluster, RedisServer, Sentinels, running
from tests.tools import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

EACH_WRITE = ("--appendonly", "yes", "--appendfsync", "always")
AT_ONCE_SECONDS = 2.5
"""Longest time of an answer: below that of a cut, and enough for the timeout of Redis below on a busy machine."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut of 30 seconds, and its timeouts, on another scale."""
    for module in ("lane", "pipeline", "dial", "cluster"):
        monkeypatch.setattr(f"tellwire.engines.redis.link.{module}.REDIS_TIMEOUT_SECONDS", 0.4)


class Device:
    """A client, with all that it got."""

    def __init__(self, node: Gateway) -> None:
        self.client = Client(node.url, lambda purpose: node.token())
        self.numbers: list[int] = []
        self.opened = 0
        self.may_miss_some = 0
        self.client.on_state(self._note)

    def _note(self, state: Any) -> None:
        self.opened += state.status == "connecting"
        self.may_miss_some += state.recovered is False

    async def is_open(self) -> None:
        await until(lambda: self.client.state.recovered is not None)

    async def has(self, number: int) -> None:
        try:
            await until(lambda: self.numbers and self.numbers[-1] >= number)
        except TimeoutError:
            pytest.fail(f"got {self.numbers[-5:]} and not {number}; {self.client.state}, {self.client.cursors}")

    async def read(self) -> None:
        async for message in self.client:
            if message.type == "note":
                self.numbers.append(message.data)


class Play:
    """The producer, and the devices."""

    def __init__(self, nodes: list[Gateway], devices: list[Device]) -> None:
        self.nodes = nodes
        self.devices = devices
        self.acknowledged: list[int] = []
        self.refused = 0
        self.longest_seconds = 0.0
        self.is_over = False

    async def publish(self) -> None:
        number = 0
        async with ClientBuilder().build() as client:
            while not self.is_over:
                number += 1
                while not await self._published(client, number):
                    await asyncio.sleep(0.02)
                await asyncio.sleep(0.002)

    async def _published(self, client: Any, number: int) -> bool:
        began_at = time.monotonic()
        message = {"type": "note", "data": number, "id": f"note-{number}"}
        body = json.dumps({"target": {"user": "user-1"}, "message": message}).encode()
        request = client.post(self.nodes[number % len(self.nodes)].url + "/v1/publish")
        response = await request.headers({"Authorization": f"Bearer {API_KEY}"}).body_bytes(body).build().send()
        await response.bytes()
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began_at)
        if response.status == 200:
            self.acknowledged.append(number)
            return True
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        self.refused += 1
        return False

    async def goes_on(self, count: int = 20) -> None:
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted)

    async def is_refused(self) -> None:
        wanted = self.refused + 2
        await until(lambda: self.refused >= wanted)

    async def is_whole(self, *, may_miss_some: bool = False) -> None:
        """End it, and look at all devices."""
        await self.goes_on()
        self.is_over = True
        last = self.acknowledged[-1]
        for device in self.devices:
            await device.has(last)
        for device in self.devices:
            assert device.opened == 1, "its socket was closed"
            assert device.numbers == sorted(set(device.numbers))
            assert bool(device.may_miss_some) == may_miss_some
            if not may_miss_some:
                assert set(self.acknowledged) <= set(device.numbers)
        assert self.longest_seconds < AT_ONCE_SECONDS


@asynccontextmanager
async def playing(start_gateway: StartGateway, url: str, **settings: Any) -> AsyncIterator[Play]:
    """Start two nodes, a device on each, and the producer."""
    async with AsyncExitStack() as stack:
        nodes = [await start_gateway(engine="redis", redis_url=url, **settings) for _ in range(2)]
        devices = []
        for node in nodes:
            devices.append(device := Device(node))
            await stack.enter_async_context(device.client)
            stack.push_async_callback(ended, asyncio.create_task(device.read()))
        for device in devices:
            await device.is_open()
            device.may_miss_some = 0
        play = Play(nodes, devices)
        producer = asyncio.create_task(play.publish())
        stack.push_async_callback(ended, producer)
        await play.goes_on()
        yield play
        assert not producer.done() or play.is_over, producer.exception()


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


Trouble = Callable[[RedisServer, Play], Awaitable[None]]


async def is_killed(server: RedisServer, play: Play) -> None:
    await asyncio.to_thread(server.kill)
    await play.is_refused()
    await asyncio.to_thread(server.start)


async def is_cut_off(server: RedisServer, play: Play) -> None:
    server.freeze()
    await asyncio.sleep(3)
    server.thaw()


async def is_paused(server: RedisServer, play: Play) -> None:
    server.command("CLIENT", "PAUSE", "1500", "ALL")
    await play.is_refused()


async def kills_clients(server: RedisServer, play: Play) -> None:
    for kind in ("normal", "pubsub") * 5:
        server.command("CLIENT", "KILL", "TYPE", kind)
        await play.goes_on(3)


async def is_full(server: RedisServer, play: Play) -> None:
    server.command("CONFIG", "SET", "maxmemory", "100kb")
    await play.is_refused()
    server.command("CONFIG", "SET", "maxmemory", "0")


@pytest.mark.parametrize("trouble", [is_killed, is_cut_off, is_paused, kills_clients, is_full])
async def test_nothing_is_lost_when(start_gateway: StartGateway, tmp_path: Path, trouble: Trouble) -> None:
    with running(tmp_path, *EACH_WRITE) as server:
        async with playing(start_gateway, server.url) as play:
            for _ in range(2):
                await trouble(server, play)
                await play.goes_on()
            await play.is_whole()


async def loses_all(server: RedisServer, play: Play) -> None:
    server.command("FLUSHALL")


async def is_killed_without_proof(server: RedisServer, play: Play) -> None:
    server.options = ()
    await is_killed(server, play)


@pytest.mark.parametrize("trouble", [loses_all, is_killed_without_proof])
async def test_devices_hear_that_messages_may_be_missing_when_redis(
    start_gateway: StartGateway, tmp_path: Path, trouble: Trouble
) -> None:
    with running(tmp_path, *EACH_WRITE) as server:
        async with playing(start_gateway, server.url) as play:
            await trouble(server, play)
            await play.is_whole(may_miss_some=True)


async def test_devices_hear_of_a_fail_over_and_keep_their_sockets(start_gateway: StartGateway, tmp_path: Path) -> None:
    sentinels = Sentinels(tmp_path, "--repl-diskless-sync-delay", "0", *EACH_WRITE)
    try:
        await asyncio.to_thread(sentinels.start)
        async with playing(start_gateway, sentinels.url) as play:
            await asyncio.to_thread(sentinels.servers[0].kill)
            await play.is_refused()
            await play.is_whole(may_miss_some=True)
    finally:
        sentinels.kill()


async def test_devices_notice_nothing_of_the_move_of_a_slot(start_gateway: StartGateway, tmp_path: Path) -> None:
    cluster = RedisCluster(tmp_path, options=EACH_WRITE)
    key = Names("tellwire").channel(user_stream("user-1"))
    try:
        await asyncio.to_thread(cluster.start)
        async with playing(start_gateway, cluster.url) as play:
            source = cluster.server_of(key)
            target = next(each for each in cluster.servers if each is not source)
            await asyncio.to_thread(cluster.move_slot, key_slot(key), source, target)
            await play.is_whole()
            assert play.refused == 0
    finally:
        cluster.kill()
