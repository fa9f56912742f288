"""A real gateway in its own process, on a free port, with the page: it runs `web_server`.

It ends with the block, and also when this process is killed: it reads from a pipe, and stops when our end is closed.
"""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 15.0
_ANNOUNCED: Final = re.compile(rb"ws://(\S+)")

_PROGRAM: Final = """
import os, signal, threading

def end_with_parent():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_parent, daemon=True).start()

from examples.parts_upload.web_server import main
raise SystemExit(main())
"""
_REPOSITORY: Final = Path(__file__).parents[2]


class GatewayDown(Exception):
    """The gateway did not start, or ended unexpectedly."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its address as `host:port`, and its process."""

    address: str
    process: Process

    @property
    def http_url(self) -> str:
        return f"http://{self.address}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self.address}/"


@asynccontextmanager
async def running_gateway(pace_seconds: float) -> AsyncIterator[Gateway]:
    """Start a gateway, and end it with the block. `pace_seconds` is for uploads from the page.

    Raises:
        GatewayDown: it does not start. The reason is on standard error.
    """
    with TemporaryDirectory(prefix="parts-upload-page-", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PROGRAM, "--port", "0", "--pace", str(pace_seconds), "--folder", folder),
            stdin=PIPE,
            stdout=PIPE,
            env=_environment(os.environ.copy()),
            # Ctrl-C must reach us only, so that the gateway ends after the devices.
            start_new_session=True,
        )
        try:
            yield Gateway(await _announced_address(process), process)
        finally:
            await _end(process)


def _environment(environ: dict[str, str]) -> dict[str, str]:
    # The process must find the example's modules from any working directory.
    path = os.pathsep.join(filter(None, (str(_REPOSITORY), environ.get("PYTHONPATH"))))
    return environ | {"PYTHONPATH": path}


async def _announced_address(process: Process) -> str:
    assert process.stdout is not None
    with suppress(TimeoutError):
        async with asyncio.timeout(_START_SECONDS):
            async for line in process.stdout:
                if announced := _ANNOUNCED.search(line):
                    return announced[1].decode()
    raise GatewayDown("the gateway did not start")


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
