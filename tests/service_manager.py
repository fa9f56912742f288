"""A service manager of the test, in systemd's place, with its socket."""

import asyncio
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.tools import SECONDS

_LONGEST_PATH = 100
_CREDENTIALS = struct.Struct("iII")


@dataclass
class Manager:
    """The receiver of words, each time a dictionary, and the processes that have sent them."""

    notifying: socket.socket
    address: str
    senders: set[int] = field(default_factory=set)

    def environment(self, watchdog_seconds: float | None = None) -> dict[str, str]:
        """Return the variables for the child: it is watched if there are seconds."""
        watchdog = {} if watchdog_seconds is None else {"WATCHDOG_USEC": str(int(watchdog_seconds * 1_000_000))}
        return {"NOTIFY_SOCKET": self.address} | watchdog

    async def told(self, seconds: float = SECONDS) -> dict[str, str]:
        """Return the next words.

        Raises:
            TimeoutError: there came none in time.
        """
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.notifying, came.set)
        try:
            async with asyncio.timeout(seconds):
                await came.wait()
        finally:
            loop.remove_reader(self.notifying)
        data, ancillary, _, _ = self.notifying.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
        self.senders.add(_CREDENTIALS.unpack(ancillary[0][2])[0])
        return dict(line.split("=", 1) for line in data.decode().splitlines())

    async def until(self, name: str) -> dict[str, str]:
        """Return the next words with this name, past all others."""
        while name not in (words := await self.told()):
            pass
        return words

    async def silence(self, seconds: float) -> None:
        """Return after so long a time without words, as after it a service manager acts."""
        while True:
            try:
                await self.told(seconds)
            except TimeoutError:
                return


@contextmanager
def manager(directory: Path) -> Iterator[Manager]:
    """Listen for words of processes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
        notifying.setblocking(False)
        notifying.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        address = f"{directory}/notify"
        if len(address) > _LONGEST_PATH:
            address = f"@tellwire-test-{os.getpid()}-{id(notifying)}"
        notifying.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        yield Manager(notifying, address)
