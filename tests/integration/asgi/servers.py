"""The servers of others, as processes that run `host.py` on a free port."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx

from bench.processes import free_port
from tests.conftest import API_KEY

APP = "tests.integration.asgi.host:app"
START_SECONDS = 100.0

COMMANDS = {
    "uvicorn": ["uvicorn", "{app}", "--host", "127.0.0.1", "--port", "{port}", "--ws", "websockets-sansio"],
    "uvicorn-legacy": ["uvicorn", "{app}", "--host", "127.0.0.1", "--port", "{port}", "--ws", "websockets"],
    "uvicorn-wsproto": ["uvicorn", "{app}", "--host", "127.0.0.1", "--port", "{port}", "--ws", "wsproto"],
    "hypercorn": ["hypercorn", "{app}", "--bind", "127.0.0.1:{port}"],
    "gunicorn": ["gunicorn", "{app}", "--bind", "127.0.0.1:{port}", "--worker-class", "uvicorn_worker.UvicornWorker"],
    "granian": ["granian", "{app}", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}"],
}


@dataclass
class Host:
    """A server that runs."""

    process: asyncio.subprocess.Process
    url: str
    log: list[str] = field(default_factory=list)

    async def call(self, method: str, path: str, body: object = None, key: str | None = API_KEY) -> httpx.Response:
        """Make a request."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(timeout=60) as client:
            return await client.request(method, f"{self.url}{path}", json=body, headers=headers)

    async def stop(self) -> int:
        """End it as a deployment does, and return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), START_SECONDS)

    def has_logged(self, text: str) -> bool:
        """Return True if a line of its output has this text."""
        return any(text in line for line in self.log)


@contextlib.asynccontextmanager
async def running(server: str, *options: str, app: str = APP, **environment: str) -> AsyncIterator[Host]:
    """Run a server inside the block; yields it when it answers, or has ended."""
    port = free_port()
    command = [part.format(port=port, app=app) for part in COMMANDS[server]]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error::ResourceWarning", **environment},
    )
    host = Host(process, f"http://127.0.0.1:{port}")
    reading = asyncio.create_task(_read(process, host.log))
    try:
        await _until_it_answers(host)
        yield host
    finally:
        if process.returncode is None:
            await host.stop()
        await reading


async def _read(process: asyncio.subprocess.Process, log: list[str]) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        log.append(line.decode(errors="replace").rstrip())


async def _until_it_answers(host: Host) -> None:
    async with asyncio.timeout(START_SECONDS):
        while host.process.returncode is None:
            with contextlib.suppress(httpx.TransportError):
                await host.call("GET", "/openapi.json")
                return
            await asyncio.sleep(0.05)
