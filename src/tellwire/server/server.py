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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from types import FrameType, MappingProxyType
from typing import Any, cast

import uvicorn

from tellwire.errors import ConfigError
from tellwire.limits import UNSENT_BYTES
from tellwire.server.arrival import Arrival
from tellwire.server.deflating_socket import DeflatingConnection
from tellwire.server.direct import Answers, DirectEndpoint
from tellwire.server.drain import Drain
from tellwire.server.http_protocol import HttpProtocol
from tellwire.server.socket import Connection
from tellwire.server.sockets import Sockets
from tellwire.server.tls import TlsOrPlain
from tellwire.server.turns import Turns

logger = logging.getLogger("tellwire.gateway")

_BACKLOG = 4096
_KEEP_ALIVE_SECONDS = 75
_TURNS_TO_END = 100
_TURNS_TO_BEGIN = 5
_TURNS_TO_CANCEL = 3
_NO_ENDPOINTS: Mapping[bytes, DirectEndpoint] = MappingProxyType({})
_CLOSE_SECONDS = 1.0


class Server:
    """One listening address: `listener` if it is given, otherwise host and port, taken when `serve` is called.

    With `tls`, the same port speaks TLS to those who begin with it and plain text to the others. `direct` has endpoints
    of POST requests that are answered without the HTTP application, by their path. `before_drain` are called when a
    drain begins, and awaited before the sockets are closed.
    """

    def __init__(
        self,
        sockets: Sockets,
        http_application: Any,
        *,
        host: str = "",
        port: int = 0,
        listener: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
        direct: Mapping[bytes, DirectEndpoint] = _NO_ENDPOINTS,
        before_drain: Sequence[Callable[[], Awaitable[object]]] = (),
    ) -> None:
        self._sockets = sockets
        self._host, self._port = host, port
        self._listener = listener
        self._address = None if listener is None else address_of(listener)
        self._uvicorn = _Uvicorn(_uvicorn_config(sockets, http_application, direct), sockets.drain, tls)
        self._uvicorn.before_drain = before_drain

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on, once it does."""
        assert self._address is not None  # noqa: S101 - a precondition, as documented
        return self._address

    @property
    def authority(self) -> str:
        """The address as it stands in a URL."""
        return authority_of(*self.address)

    @property
    def is_stopping(self) -> bool:
        """True from `stop`, or a signal, on."""
        return self._sockets.drain.has_begun

    @property
    def is_ending(self) -> bool:
        """True in the last moments, when a request that has not ended is refused."""
        return self._sockets.drain.is_ending

    async def serve(self, started: Callable[[], None] | None = None) -> None:
        """Run until `stop`, SIGTERM or SIGINT, then drain (see `drain`). Another signal ends it at once.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        if self._listener is None:
            self._listener = listen(self._host, self._port)
            self._address = address_of(self._listener)
        _bound_unsent(self._listener)
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
            await self._uvicorn.closed()

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
        self._uvicorn.drain()

    def end(self) -> None:
        """End at once, as a second SIGTERM does."""
        self._uvicorn.end()

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


def _uvicorn_config(sockets: Sockets, http_application: Any, direct: Mapping[bytes, DirectEndpoint]) -> uvicorn.Config:
    def make_connection(config: Any, server_state: Any, app_state: Any) -> Connection:
        if sockets.deflater is None:
            return Connection(sockets, server_state)
        return DeflatingConnection(sockets.deflater, sockets, server_state)

    make_http = partial(HttpProtocol, turns=Turns(), drain=sockets.drain, direct=direct, answers=Answers())
    return _Config(
        http_application,
        # uvicorn calls a class with a connection's arguments; this adds what all connections share.
        http=cast("Any", partial(Arrival, make_http=make_http)),
        ws=cast("Any", make_connection),
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )


class _Config(uvicorn.Config):
    """uvicorn's settings, without its changes to loggers: those belong to the program that this server runs in."""

    def configure_logging(self) -> None:
        pass


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, with a callback when it listens, a drain before its end, and exit code 0 after a signal."""

    on_started: Callable[[], None] | None = None
    before_drain: Sequence[Callable[[], Awaitable[object]]] = ()
    handles_signals = True

    def __init__(self, config: uvicorn.Config, drain: Drain, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._drain = drain
        self._tls = tls

    def drain(self) -> None:
        self._drain.begin()
        self.should_exit = True

    def end(self) -> None:
        self.drain()
        self._drain.force()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Only a second signal ends it: a SIGTERM may follow a drain that was asked for.
        if self._captured_signals:
            self.end()
        self._captured_signals.append(sig)
        self.drain()

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        # The original logs "Started server process", which the program around us has said of itself.
        if not self.config.loaded:
            self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets)
        if not self.should_exit:
            await self.main_loop()
        if self.started:
            await self.shutdown(sockets)

    def _log_started_message(self, listeners: Any) -> None:
        pass  # this server may be one of several in its process

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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        drain, connections = self._drain, self.server_state.connections
        drain.begin()
        drain.start_clock()
        logger.info("stopping: %d connections are open", len(connections))
        for each in self._http_connections():
            each.last_answer()
        await drain.work_first(self.before_drain)
        await drain.close_all(self._websockets())
        await drain.until(lambda: not self._websockets(), drain.last_moments_at)
        await self._close_listeners(sockets or [])
        for each in self._http_connections():
            each.shutdown()
        await drain.until(self._is_done, drain.last_moments_at)
        drain.is_ending = True
        if not self._is_done():
            await self._refuse_rest()
        logger.info("stopped")

    async def _close_listeners(self, sockets: list[socket.socket]) -> None:
        # The kernel has completed connections that nobody has accepted yet, and closing would reset them.
        accepted = [] if self._tls else [each for listener in sockets for each in _accept_all(listener)]
        for server in self.servers:
            server.close()
        for each in sockets:
            each.close()
        loop = asyncio.get_running_loop()
        for each in accepted:
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._make_protocol, each)
        # Those that the event loop has accepted get their protocols some turns later.
        for _ in range(_TURNS_TO_BEGIN):
            await asyncio.sleep(0)

    async def _refuse_rest(self) -> None:
        drain, state = self._drain, self.server_state
        for websocket in self._websockets():
            websocket.shutdown()
        for connection in self._http_connections():
            connection.refuse()
        await drain.until(self._is_done, (drain.last_moments_at + drain.ends_at) / 2)
        for task in list(state.tasks):
            task.cancel("the server ends")
        for connection in self._http_connections():
            connection.cut_short()
        for _ in range(_TURNS_TO_CANCEL):
            await asyncio.sleep(0)
        await drain.until(self._is_done, drain.ends_at)

    def _is_done(self) -> bool:
        return not (self.server_state.connections or self.server_state.tasks)

    def _websockets(self) -> list[Connection]:
        everyone = cast("set[Any]", self.server_state.connections)
        return [each for each in everyone if isinstance(each, Connection) and not each.is_refused]

    def _http_connections(self) -> list[HttpProtocol]:
        everyone = cast("set[Any]", self.server_state.connections)
        for each in list(everyone):
            if isinstance(each, Arrival):
                each.become_http()
        return [each for each in everyone if isinstance(each, HttpProtocol)]

    async def closed(self) -> None:
        """Wait until the listeners are closed. Connections must have ended before."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                for server in getattr(self, "servers", ()):
                    await server.wait_closed()

    def _make_protocol(self) -> asyncio.Protocol:
        make_protocol = cast("Any", self.config.http_protocol_class)
        protocol: asyncio.Protocol = make_protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The original raises the signal again after a clean end, so the process would end with code 143.
        if not self.handles_signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        names = ("SIGINT", "SIGTERM", "SIGHUP")
        signals = [getattr(signal, name) for name in names if hasattr(signal, name)]
        handled = [each for each in signals if _ends_here(each)]
        before = {each: signal.signal(each, self.handle_exit) for each in handled}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _ends_here(number: signal.Signals) -> bool:
    # A signal that the process ignores (`nohup`) stays ignored. A SIGHUP that the program handles is a wish to reload.
    handler = signal.getsignal(number)
    return handler is signal.SIG_DFL if number.name == "SIGHUP" else handler is not signal.SIG_IGN


def _bound_unsent(listener: socket.socket) -> None:
    """Bound the bytes that the kernel takes of a connection before it sends them. Accepted sockets inherit it."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS
    if option is not None and listener.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    accepted: list[socket.socket] = []
    # Ends with BlockingIOError when there is none left.
    with contextlib.suppress(OSError):
        while len(accepted) < _BACKLOG:
            accepted.append(listener.accept()[0])
    return accepted


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Return the host and the port that a socket is bound to."""
    host, port = listener.getsockname()[:2]
    return host, port


def authority_of(host: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(host: str, port: int, *, shares_port: bool = False) -> socket.socket:
    """Bind a listening socket to an address. With `shares_port` others may be bound to it, too: the kernel spreads new
    connections over those that listen (Linux).

    Raises:
        ConfigError: the address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio turns Nagle's algorithm off only on sockets that say they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.setblocking(False)
    return listener
