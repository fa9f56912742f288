"""The forwarder of the play: one address before several gateways."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.processes import ForwarderProcess


class Upstream:
    """A server that says whether it is ready, and its name to whoever says hello."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_ready = True
        self.port = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Upstream"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readline()
        status = b"200 OK" if self.is_ready else b"503 Service Unavailable"
        writer.write(b"HTTP/1.1 %b\r\n\r\n" % status if b"readyz" in asked else self.name.encode())
        writer.close()


@pytest.fixture
async def upstreams() -> AsyncIterator[tuple[Upstream, Upstream]]:
    async with Upstream("a").serving() as a, Upstream("b").serving() as b:
        yield a, b


@pytest.fixture
async def port(tmp_path: Path, upstreams: tuple[Upstream, Upstream]) -> AsyncIterator[int]:
    forwarder = ForwarderProcess(tmp_path, [each.port for each in upstreams])
    await asyncio.to_thread(forwarder.start)
    yield forwarder.port
    await asyncio.to_thread(forwarder.kill)


async def answer(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"hello\n")
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.transport.abort()


async def answers(port: int, expected: set[bytes]) -> None:
    """Wait until the last answers are exactly these."""
    async with asyncio.timeout(60):
        while {await answer(port) for _ in range(4)} != expected:
            await asyncio.sleep(0.05)


async def test_connections_go_to_every_gateway_that_is_ready(port: int, upstreams: tuple[Upstream, Upstream]) -> None:
    await answers(port, {b"a", b"b"})
    upstreams[0].is_ready = False
    await answers(port, {b"b"})
    upstreams[1].is_ready = False
    await answers(port, {b""})
    upstreams[0].is_ready = True
    await answers(port, {b"a"})
