"""A real gateway in a process of its own: `tellwire serve --dev` on a free port.

It ends with the block, and also when this process is killed: it reads our end of a pipe, and stops when that closes.
"""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
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

from tellwire.cli import main
main()
"""


class GatewayDown(Exception):
    """The gateway did not start, or ended before its time."""


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
async def running_gateway() -> AsyncIterator[Gateway]:
    """Start a gateway, and end it with the block.

    Raises:
        GatewayDown: it does not start. It has said why on standard error.
    """
    arguments = ("serve", "--dev", "--port", "0", "--log-level", "warning", "--config", os.devnull)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, *arguments),
        stdin=PIPE,
        stdout=PIPE,
        env=_without_settings(os.environ.copy()),
        # Ctrl-C is for us; the gateway should outlive the devices.
        start_new_session=True,
    )
    try:
        yield Gateway(await _announced_address(process), process)
    finally:
        await _end(process)


def _without_settings(environ: dict[str, str]) -> dict[str, str]:
    # The secret stays: where there is no home directory to keep one in, it is the way to have one.
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(("TELLWIRE_", "COGNITO_")) or name == "TELLWIRE_JWT_SECRET"
    }


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
