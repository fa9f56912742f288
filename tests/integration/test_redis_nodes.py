"""`tellwire serve` on Redis: workers at one address, and clients that change nodes when one drains."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest

from tellwire.auth import mint_token
from tellwire.client import Client, ClientOptions
from tests.conftest import API_KEY, SECRET, Gateway
from tests.integration.gateway.test_http_api import call
from tests.integration.test_cli import Running, own_state, serving, tellwire
from tests.redis_server import RedisServer

__all__ = ["own_state"]

QUICK = ClientOptions(backoff_first_seconds=0.1, backoff_max_seconds=0.5)
DEVICES = 12


@pytest.fixture
def environment(redis_server: RedisServer, redis_prefix: str) -> dict[str, Any]:
    return {
        "TELLWIRE_ENGINE": "redis",
        "TELLWIRE_REDIS_URL": redis_server.url,
        "TELLWIRE_REDIS_PREFIX": redis_prefix,
        "TELLWIRE_JWT_SECRET": SECRET,
        "TELLWIRE_API_KEY": API_KEY,
    }


class Device:
    """A client of one user, and the numbers that it was told."""

    def __init__(self, port: int) -> None:
        self.client = Client(f"ws://127.0.0.1:{port}", lambda _: mint_token(SECRET, "user-1"), options=QUICK)
        self.numbers: list[int] = []
        self.recovered: list[bool] = []

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["Device"]:
        self.client.on_state(lambda state: self.recovered.append(state.recovered is not False))
        async with self.client:
            listening = asyncio.create_task(self._listen())
            async with asyncio.timeout(100):
                while self.client.state.status != "open":
                    await asyncio.sleep(0.01)
            try:
                yield self
            finally:
                listening.cancel()

    async def _listen(self) -> None:
        async for message in self.client:
            self.numbers.append(cast("Any", message.data)["number"])

    async def heard(self, count: int) -> None:
        async with asyncio.timeout(100):
            while len(self.numbers) < count:
                await asyncio.sleep(0.01)
        assert self.numbers == list(range(count))
        assert all(self.recovered)


async def publish(port: int, number: int) -> int:
    """Publish a number, and return how many devices got it at once."""
    message = {"target": {"user": "user-1"}, "message": {"type": "count", "data": {"number": number}}}
    gateway = Gateway(cast("Any", None), f"http://127.0.0.1:{port}")
    status, answer, _ = await call(gateway, "POST", "/v1/publish", message)
    assert status == 200, answer
    return int(answer["delivered"])


@pytest.mark.long
async def test_a_message_that_one_worker_takes_reaches_the_devices_of_all(environment: dict[str, Any]) -> None:
    async with serving("--workers", "2", **environment) as gateway, AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(Device(gateway.port).connected()) for _ in range(DEVICES)]
        node = Gateway(cast("Any", None), gateway.url)
        counts = {(await call(node, "GET", "/v1/stats"))[1]["connections"] for _ in range(10)}
        assert max(counts) < DEVICES
        assert [await publish(gateway.port, number) for number in range(10)] == [DEVICES] * 10
        for device in devices:
            await device.heard(10)
        drained = await tellwire("drain", "--url", gateway.url, TELLWIRE_API_KEY=API_KEY)
        assert (drained.code, drained.out) == (0, "draining: it ends within 10 seconds\n")
        assert await asyncio.wait_for(gateway.process.wait(), 45) == 0


class Balancer:
    """A load balancer: it leads each connection to the node that it takes for ready."""

    def __init__(self) -> None:
        self.target = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1")
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer), return_exceptions=True)
            to_writer.close()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
        writer.write_eof()


@pytest.mark.long
async def test_a_rolling_restart_loses_nothing(environment: dict[str, Any]) -> None:
    balancer = Balancer()
    published = 0

    async def go_on(gateway: Running, seconds: float) -> None:
        nonlocal published
        end = asyncio.get_running_loop().time() + seconds
        enough = published + 10
        while published < enough or asyncio.get_running_loop().time() < end:
            await publish(gateway.port, published)
            published += 1

    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(serving(**environment))
        balancer.target = old.port
        port = await stack.enter_async_context(balancer.running())
        devices = [await stack.enter_async_context(Device(port).connected()) for _ in range(DEVICES)]
        for _ in range(2):
            await go_on(old, 0.3)
            new = await stack.enter_async_context(serving(**environment))
            old.process.send_signal(signal.SIGTERM)
            # The load balancer does not know yet; clients that come back are refused, and come again.
            await go_on(new, 0.3)
            balancer.target = new.port
            await go_on(new, 0.5)
            assert await asyncio.wait_for(old.process.wait(), 45) == 0
            old = new
        for device in devices:
            await device.heard(published)
        assert published > 50
