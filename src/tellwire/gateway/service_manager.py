"""The service manager that has started this process, and the words it is told: sd_notify(3) of systemd.

    opened ─▶ READY     SIGHUP ─▶ RELOADING ─▶ READY     a drain begins ─▶ STOPPING
    every few seconds ─▶ STATUS, and WATCHDOG if it wants signs of life

Signs of life come from the event loop, so they end if that hangs.

Each is a datagram to the socket in NOTIFY_SOCKET. Nothing waits for its arrival, and its errors disturb nobody.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Final

logger = logging.getLogger("tellwire.gateway")

STATUS_SECONDS: Final = 10.0
"""The longest time between two looks at the status."""

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """Takes words of this process. `address` is its socket; None: there is none, and nothing is told.

    `watchdog_seconds`: without a sign of life for so long, it ends the process. None: it does not.
    """

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self._watchdog_seconds = watchdog_seconds
        self._status = ""

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> "ServiceManager":
        """Return the one that an environment names, and remove it there: children are not to speak for this process."""
        address, micros, pid = (environment.pop(name, "") for name in _VARIABLES)
        if not address:
            return cls()
        if not address.startswith(("/", "@")):
            logger.warning("NOTIFY_SOCKET: got %r; allowed: a path, or @ and a name. systemd is told nothing", address)
            return cls()
        is_watched = micros.isdecimal() and int(micros) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(micros) / 1e6 if is_watched else None)

    def ready(self, status: str) -> None:
        """Tell that the process serves."""
        self._tell("READY=1", self._status_line(status))

    def stopping(self) -> None:
        """Tell that a drain has begun."""
        self._tell("STOPPING=1", self._status_line("draining"))

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell that settings are read again inside the block, and at its end that they are."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            self._tell("READY=1")

    def reloads(self, reload: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """Return `reload`, of which the service manager is told."""

        async def told() -> None:
            with self.reloading():
                await reload()

        return told

    @asynccontextmanager
    async def watching(self, status: Callable[[], str]) -> AsyncIterator[None]:
        """Give signs of life from this event loop inside the block, and the status when it has changed."""
        if self._address is None:
            yield
            return
        beating = asyncio.create_task(self._beat(status), name="tellwire-watchdog")
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait([beating])

    async def _beat(self, status: Callable[[], str]) -> None:
        # Twice as often as needed, as its manual says.
        pause = STATUS_SECONDS if self._watchdog_seconds is None else min(STATUS_SECONDS, self._watchdog_seconds / 2)
        while True:
            line = status()
            changed = [self._status_line(line)] if line != self._status else []
            self._tell(*changed, *([] if self._watchdog_seconds is None else ["WATCHDOG=1"]))
            await asyncio.sleep(pause)

    def _status_line(self, status: str) -> str:
        self._status = status
        return f"STATUS={status}"

    def _tell(self, *lines: str) -> None:
        if self._address is None or not lines:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A full queue of the manager must not stop the event loop.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifying:
            notifying.setblocking(False)
            notifying.sendto("\n".join(lines).encode(), address)
