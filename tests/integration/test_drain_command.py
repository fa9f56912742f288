"""The drain as operators ask for it, in real processes: `tellwire drain`, signals, and a web application's end."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tellwire.auth import mint_token
from tests.conftest import API_KEY, SECRET
from tests.integration.test_cli import Running, own_state, serving, tellwire

__all__ = ["own_state"]


async def connected(gateway: Running) -> ClientConnection:
    token = mint_token(SECRET, "user-1")
    return await connect(f"ws://127.0.0.1:{gateway.port}?token={token}", proxy=None)


async def close_of(device: ClientConnection) -> int | None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await device.recv()
    return device.close_code


async def test_tellwire_drain_ends_a_gateway_and_a_sigterm_after_it_does_not_cut_it_short() -> None:
    async with serving("--dev", TELLWIRE_JWT_SECRET=SECRET, TELLWIRE_DRAIN_SECONDS="60") as gateway:
        device = await connected(gateway)
        device.transport.pause_reading()
        drained = await tellwire("drain", "--url", gateway.url)
        assert (drained.code, drained.out) == (0, "draining: it ends within 60 seconds\n")
        # As a hook of Kubernetes before the stop, and then its SIGTERM.
        gateway.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert gateway.process.returncode is None
        device.transport.resume_reading()
        assert await close_of(device) == 1012
        assert await asyncio.wait_for(gateway.process.wait(), 45) == 0


async def test_a_second_signal_ends_it_at_once() -> None:
    async with serving("--dev", TELLWIRE_JWT_SECRET=SECRET, TELLWIRE_DRAIN_SECONDS="60") as gateway:
        device = await connected(gateway)
        device.transport.pause_reading()
        gateway.process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.5)
        assert gateway.process.returncode is None
        began = time.monotonic()
        assert await gateway.stop() == 0
        assert time.monotonic() - began < 3
        device.transport.abort()


@pytest.mark.parametrize(
    ("environment", "words", "code"),
    [
        ({}, "TELLWIRE_API_KEY: Send the header Authorization: Bearer <api key> (401)", 2),
        ({"TELLWIRE_API_KEY": API_KEY}, "is not for this: it needs the scope admin (403)", 2),
    ],
)
async def test_who_may_not_drain_is_told_why(environment: dict[str, str], words: str, code: int) -> None:
    async with serving("--dev", TELLWIRE_API_KEY=f"worker:publish:{API_KEY}") as gateway:
        refused = await tellwire("drain", "--url", gateway.url, **environment)
        assert (refused.code, words in refused.err) == (code, True), refused.err
        assert gateway.process.returncode is None


async def test_a_gateway_that_is_not_there_cannot_drain() -> None:
    result = await tellwire("drain", "--url", "http://127.0.0.1:9")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith("tellwire: The gateway at http://127.0.0.1:9 does not answer: Connection refused")


async def test_no_request_of_any_producer_is_lost() -> None:
    async with serving(TELLWIRE_ENGINE="memory", TELLWIRE_JWT_SECRET=SECRET, TELLWIRE_API_KEY=API_KEY) as gateway:
        device = await connected(gateway)
        device.transport.pause_reading()
        answers: Counter[bytes] = Counter()
        producing = [asyncio.create_task(produce(gateway.port, answers, number / 1000)) for number in range(50)]
        await asyncio.sleep(0.3)
        gateway.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        device.transport.resume_reading()
        await asyncio.wait_for(asyncio.gather(*producing), 45)
        assert await close_of(device) == 1012
        assert await asyncio.wait_for(gateway.process.wait(), 45) == 0
    assert set(answers) == {b"200", b"refused"}, answers
    assert answers[b"200"] > 100


async def produce(port: int, answers: Counter[bytes], pause_seconds: float) -> None:
    """Publish, one after the other on a connection for as long as that lasts, until nobody listens."""
    head = f"POST /v1/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\nContent-Length: "
    body = b'{"target": {"all": true}, "message": {"type": "hi", "data": 1}}'
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            answers[b"refused"] += 1
            return
        is_last = False
        while not is_last:
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            try:
                answer = await reader.readuntil(b"\r\n\r\n")
                answers[answer.split()[1]] += 1
                is_last = b"connection: close" in answer.lower()
                await reader.readuntil(b"}")
            except (OSError, asyncio.IncompleteReadError):
                answers[b"lost"] += 1
                is_last = True
            await asyncio.sleep(pause_seconds)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


HOST = """
from contextlib import asynccontextmanager
import sys
import uvicorn
from starlette.applications import Starlette
from tellwire import Node, Settings

node = Node(Settings(port=0, engine="memory", jwt_secret=sys.argv[1], drain_seconds=20))

@asynccontextmanager
async def lifespan(app):
    async with node.running() as url:
        print(url.replace("http", "ws"), flush=True)
        yield

uvicorn.run(Starlette(lifespan=lifespan), port=0, log_level="warning")
"""


async def test_a_node_in_a_web_application_drains_with_it(tmp_path: Path) -> None:
    program = tmp_path / "host.py"
    program.write_text(HOST)
    host = await asyncio.create_subprocess_exec(
        sys.executable, str(program), SECRET, stdout=-1, stderr=-1, env=os.environ
    )
    assert host.stdout is not None
    try:
        url = (await asyncio.wait_for(host.stdout.readline(), 45)).decode().strip()
        gateway = Running(host, int(url.rpartition(":")[2]))
        devices = [await connected(gateway) for _ in range(3)]
        host.send_signal(signal.SIGTERM)
        assert [await close_of(device) for device in devices] == [1012] * 3
        assert await asyncio.wait_for(host.wait(), 45) in (0, -signal.SIGTERM)
        assert host.stderr is not None
        assert b"Traceback" not in await host.stderr.read()
    finally:
        with contextlib.suppress(ProcessLookupError):
            host.kill()
