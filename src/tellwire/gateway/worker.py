"""A worker: one of several gateway processes at one address, and its side of the channel to their supervisor.

    supervisor ─▶ drain, end, alive?         worker ─▶ ready, alive, drain (somebody asked this one for a drain of all)

The channel is a pair of sockets. Its end is the supervisor's: nobody would start this worker again, so it drains.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from tellwire.errors import ConfigError

logger = logging.getLogger("tellwire.gateway")

READY: Final = b"ready\n"
DRAIN: Final = b"drain\n"
END: Final = b"end\n"
ALIVE: Final = b"alive\n"


class Worker:
    """One of several gateway processes. `listener` is its own socket at their address."""

    def __init__(self, number: int, listener: socket.socket, channel: socket.socket) -> None:
        self.number = number
        self.listener = listener
        self._channel = channel
        for each in (listener, channel):
            each.set_inheritable(False)
            each.setblocking(False)

    @property
    def name(self) -> str:
        """The name in the log."""
        return f"worker-{self.number}"

    @classmethod
    def of(cls, text: str) -> "Worker":
        """Return this process as the worker that its supervisor made it; see `argument`.

        Raises:
            ConfigError: no supervisor has started this process.
        """
        try:
            number, listener, channel = map(int, text.split(":"))
            return cls(number, socket.socket(fileno=listener), socket.socket(fileno=channel))
        except (ValueError, OSError) as error:
            raise ConfigError(f"--worker: got {text!r}; allowed: what a supervisor says (see --workers)") from error

    @staticmethod
    def argument(number: int, listener: socket.socket, channel: socket.socket) -> str:
        """Return the text by which a child finds its sockets, which it inherits."""
        return f"{number}:{listener.fileno()}:{channel.fileno()}"

    def tell_ready(self) -> None:
        """Tell the supervisor that this worker listens."""
        self._tell(READY)

    def ask_for_drain(self) -> None:
        """Ask the supervisor to drain all workers."""
        self._tell(DRAIN)

    def _tell(self, word: bytes) -> None:
        # Without a supervisor, `obeying` drains this one. A few bytes always have room.
        with contextlib.suppress(OSError):
            self._channel.send(word)

    @asynccontextmanager
    async def obeying(self, drain: Callable[[], None], end: Callable[[], None]) -> AsyncIterator[None]:
        """Obey the supervisor inside the block."""
        task = asyncio.create_task(self._obey(drain, end), name="tellwire-worker")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            self._channel.close()

    async def _obey(self, drain: Callable[[], None], end: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while words := await loop.sock_recv(self._channel, 1024):
                # Each of them is whole: it was sent at once, and is shorter than what is read.
                for word in words.splitlines(keepends=True):
                    match word:
                        case bytes() if word == DRAIN:
                            drain()
                        case bytes() if word == END:
                            end()
                        case bytes() if word == ALIVE:
                            self._tell(ALIVE)
        logger.warning("the supervisor has gone, so this worker drains")
        drain()
