"""TLS and plain text on one port, told apart by the first byte, for development: no second port to remember.

A handler builds `https://{domainName}/{stage}` from its event, a browser page says `ws://`, a script `http://`; on the
local API Gateway all three are the same address.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from tellwire.limits import HEAD_TIMEOUT_SECONDS

logger = logging.getLogger("tellwire.gateway")

_TLS_HANDSHAKE: Final = 0x16
"""The first byte of a TLS connection (RFC 8446 §5.1); no HTTP method begins with it."""

_FULL_PAUSE_SECONDS: Final = 1.0
"""Pause before the next accept when the process has no file descriptors left, as in asyncio."""


class TlsOrPlain:
    """An acceptor of connections: each gets a protocol, behind TLS if the client begins with it. Ends with `close`."""

    def __init__(
        self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol], tls: ssl.SSLContext, backlog: int
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        listener.setblocking(False)
        listener.listen(backlog)
        self._resume()

    def close(self) -> None:
        """Stop accepting, and close the connections that have not begun."""
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()
        for task in self._opening:
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        # At once, not in a task: one that is cancelled would lose the connection that it has just got.
        try:
            connected, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            logger.warning("cannot accept a connection: %s", error)
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(_FULL_PAUSE_SECONDS, self._resume)
            return
        task = self._loop.create_task(self._open(connected))
        self._opening.add(task)
        task.add_done_callback(functools.partial(self._opened, connected))

    def _opened(self, connected: socket.socket, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        # Cancelled before its first step, it had no chance to.
        if task.cancelled():
            connected.close()

    async def _open(self, connected: socket.socket) -> None:
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_SECONDS):
                tls = self._tls if await _first_byte(connected) == _TLS_HANDSHAKE else None
                await self._loop.connect_accepted_socket(self._make_protocol, connected, ssl=tls)
        except (OSError, TimeoutError) as error:
            # The client sent nothing in time, or does not trust our certificate.
            logger.debug("a connection did not begin: %s", error)
            connected.close()


async def _first_byte(connected: socket.socket) -> int | None:
    """Wait for the first byte and leave it in the socket; None if the client sent none."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    connected.setblocking(False)
    loop.add_reader(connected, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(connected)
    with contextlib.suppress(BlockingIOError):
        first = connected.recv(1, socket.MSG_PEEK)
        return first[0] if first else None
    return None
