"""The server: uvicorn with our sockets, alone in a process or inside another program.

The sockets' application and the HTTP application are given. Nothing here depends on their purpose.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import uvicorn

from tellwire.errors import ConfigError
from tellwire.server.http_protocol import HttpProtocol
from tellwire.server.socket import Connection, Sockets
from tellwire.server.tls import TlsOrPlain

_BACKLOG = 4096
_KEEP_ALIVE_SECONDS = 75
_TURNS_TO_END = 100


class Server:
    """One listening address: `listener` if it is given, otherwise host and port, taken when `serve` is called.

    With `tls`, the same port speaks TLS to those who begin with it and plain text to the others.
    """

    def __init__(
        self,
        sockets: Sockets,
        http_application: Any,
        *,
        drain_seconds: float,
        host: str = "",
        port: int = 0,
        listener: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._sockets = sockets
        self._host, self._port = host, port
        self._listener = listener
        self._uvicorn = _Uvicorn(_uvicorn_config(sockets, http_application, drain_seconds), tls)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on, once it does."""
        assert self._listener is not None  # noqa: S101 - a precondition, as documented
        host, port = self._listener.getsockname()[:2]
        return host, port

    @property
    def authority(self) -> str:
        """The address as it stands in a URL."""
        return authority_of(*self.address)

    @property
    def is_stopping(self) -> bool:
        """True from `stop`, or a signal, on."""
        return self._uvicorn.should_exit

    async def serve(self, started: Callable[[], None] | None = None) -> None:
        """Run until `stop`, SIGTERM or SIGINT, then drain within `drain_seconds`.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        if self._listener is None:
            self._listener = listen(self._host, self._port)
        self._uvicorn.on_started = started
        watch = asyncio.create_task(self._sockets.watch(), name="tellwire-deadlines")
        try:
            await self._uvicorn.serve([self._listener])
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            self._listener.close()
            await self._abort_connections()

    async def _abort_connections(self) -> None:
        for task in list(self._sockets.tasks):
            task.cancel()
        for connection in list(self._uvicorn.server_state.connections):
            if isinstance(connection, Connection):
                connection.abort()
            else:
                connection.transport.abort()
        # `connection_lost` is called a turn of the event loop later.
        for _ in range(_TURNS_TO_END):
            if not self._uvicorn.server_state.connections:
                break
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does."""
        self._uvicorn.should_exit = True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve inside this event loop, for tests and for other programs; yields the HTTP address."""
        # Ctrl-C belongs to the program around us.
        self._uvicorn.handles_signals = False
        ready = asyncio.Event()
        serving = asyncio.create_task(self.serve(ready.set))
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if serving.done():
                await serving
            yield f"http://{self.authority}"
        finally:
            self.stop()
            await serving


def _uvicorn_config(sockets: Sockets, http_application: Any, drain_seconds: float) -> uvicorn.Config:
    # Its access log prints query strings, and those may hold tokens: off, whatever the program's logging says.
    logging.getLogger("uvicorn.access").disabled = True
    return uvicorn.Config(
        http_application,
        http=HttpProtocol,
        # uvicorn calls a class with a connection's arguments. This method adds the parts that all connections share.
        ws=cast("Any", sockets.make_connection),
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(drain_seconds)),
    )


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, with a callback when it listens, and exit code 0 after a signal."""

    on_started: Callable[[], None] | None = None
    handles_signals = True

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._tls is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self.servers.extend(
                cast("Any", TlsOrPlain(each, self._make_protocol, self._tls, _BACKLOG)) for each in sockets or ()
            )
        if self.on_started is not None:
            self.on_started()

    def _make_protocol(self) -> asyncio.Protocol:
        return HttpProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The original raises the signal again after a clean end, so the process would end with code 143.
        if not self.handles_signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        signals = [getattr(signal, name) for name in names if hasattr(signal, name)]
        # A signal that the process ignores (`nohup`) stays ignored.
        handled = [each for each in signals if signal.getsignal(each) is not signal.SIG_IGN]
        before = {each: signal.signal(each, self.handle_exit) for each in handled}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def authority_of(host: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Bind a listening socket to an address.

    Raises:
        ConfigError: the address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio turns Nagle's algorithm off only on sockets that say they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener
