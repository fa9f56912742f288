"""The TypeScript client as a process of Node, driven from a test."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tools import require, require_module

HERE = Path(__file__).parent
CLIENTS = Path(__file__).parents[3] / "clients"
SECONDS = 100.0
"""The timeout of one step of a client: far above its usual time, far below the timeout of a test."""


@pytest.fixture(scope="session")
def device_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`device.mjs` and all it needs, from the client's sources, in one file."""
    require("node")
    require_module(CLIENTS, "ws")
    bundle = tmp_path_factory.mktemp("client") / "device.cjs"
    options = ("--bundle", "--platform=node", "--format=cjs", "--log-level=error", f"--outfile={bundle}")
    source = f"--alias:@tellwire/client={CLIENTS / 'core' / 'src' / 'index.ts'}"
    subprocess.run(
        [CLIENTS / "node_modules" / ".bin" / "esbuild", HERE / "device.mjs", source, *options],
        env=os.environ | {"NODE_PATH": str(CLIENTS / "node_modules")},
        check=True,
        timeout=SECONDS,
    )
    return bundle


class Device:
    """A client in its own process. Its lines of output are read in their order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout

    def send_command(self, **line: Any) -> None:
        self._input.write(json.dumps(line).encode() + b"\n")

    async def next_line(self) -> dict[str, Any]:
        """Return the next line: an `asked`, a `state` or a `message`."""
        async with asyncio.timeout(SECONDS):
            return dict(json.loads(await self._output.readline()))

    async def next_line_of(self, kind: str) -> Any:
        """Return the next line, which must be of this kind."""
        line = await self.next_line()
        assert list(line) == [kind], f"got {line}; expected {kind}"
        return line[kind]

    async def becomes(self, status: str) -> dict[str, Any]:
        """Wait for the next state, which must be this one."""
        state: dict[str, Any] = await self.next_line_of("state")
        assert state["status"] == status, state
        return state

    async def connects(self, token: str) -> None:
        """Begin, as far as the end of the welcome."""
        await self.becomes("connecting")
        assert await self.next_line_of("asked") == "connect"
        self.send_command(token=token)
        await self.recovers()

    async def recovers(self) -> bool:
        """Become open, and return whether it has heard everything. Messages follow the state that says so."""
        assert "recovered" not in await self.becomes("open")
        return bool((await self.becomes("open"))["recovered"])

    async def ends(self) -> int:
        """Close the client, and return the exit code of its process."""
        self.send_command(close=True)
        await self.becomes("closed")
        async with asyncio.timeout(SECONDS):
            return await self._process.wait()


StartDevice = Callable[..., Any]


@asynccontextmanager
async def _running(script: Path, options: dict[str, Any]) -> AsyncIterator[Device]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        require("node"), script, json.dumps(options), stdin=pipe, stdout=pipe, limit=2**20
    )
    try:
        yield Device(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def start_device(device_script: Path) -> AsyncIterator[StartDevice]:
    """Start devices with options of the client; they end with the test."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Device:
            return await stack.enter_async_context(_running(device_script, options))

        yield start
