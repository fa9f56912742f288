"""A node: the composition of the gateway's parts, and its life from the first socket to the last.

The only module that knows which clock, which authenticator and which carrier the others work with.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import uvicorn

from tellwire.auth import CognitoRules, Jwks, JwtAuthenticator, Secret, StandardRules, TokenCache, cognito_issuer
from tellwire.broadcast import Broadcaster
from tellwire.carriers.hub import Hub
from tellwire.config import Settings
from tellwire.errors import ConfigError
from tellwire.gateway.admission import HandshakeLimiter, Origins, parse_networks
from tellwire.gateway.frames import text_frames
from tellwire.gateway.http_api import HttpApi, Stats
from tellwire.gateway.http_protocol import HttpProtocol
from tellwire.gateway.outbox import OutboxBounds
from tellwire.gateway.sessions import Sessions
from tellwire.gateway.socket import Connection, SocketLimits, Sockets
from tellwire.ports import Authenticator, Clock, SystemClock

logger = logging.getLogger("tellwire.gateway")

_BACKLOG = 4096
_KEEP_ALIVE_SECONDS = 75


def make_authenticator(settings: Settings, clock: Clock) -> Authenticator:
    """Return what verifies tokens by these settings.

    Raises:
        ConfigError: they name no way, or more than one.
    """
    match settings.key_sources:
        case []:
            raise ConfigError(
                "no way to verify tokens: set TELLWIRE_JWT_SECRET, TELLWIRE_JWKS_URL or COGNITO_USER_POOL_ID "
                "(or try it out with --dev)"
            )
        case [_]:
            return TokenCache(_jwt_authenticator(settings, clock), clock)
        case several:
            raise ConfigError(f"tokens: got {' and '.join(several)}; allowed: one of them")


def _jwt_authenticator(settings: Settings, clock: Clock) -> JwtAuthenticator:
    if settings.cognito_user_pool_id and settings.cognito_client_id:
        issuer = cognito_issuer(settings.cognito_user_pool_id)
        keys = Jwks(f"{issuer}/.well-known/jwks.json", clock=clock)
        return JwtAuthenticator(keys, CognitoRules(issuer, settings.cognito_client_id), clock)
    rules = StandardRules(settings.jwt_issuer, settings.jwt_audience)
    if settings.jwt_secret is not None:
        return JwtAuthenticator(Secret(settings.jwt_secret), rules, clock)
    return JwtAuthenticator(Jwks(settings.jwks_url, settings.jwks, clock), rules, clock)


class Node:
    """One gateway process.

    `broadcaster` sends to this node's own connections without HTTP, for a program that serves and publishes at once.

    Example:
        async with Node(settings).running() as url:
            ...

    Raises:
        ConfigError: the settings do not fit together.
    """

    def __init__(
        self, settings: Settings, clock: Clock | None = None, authenticator: Authenticator | None = None
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self.hub = Hub(self._clock, text_frames)
        self.broadcaster = Broadcaster(self.hub)
        sessions = Sessions(
            self.hub,
            authenticator or make_authenticator(settings, self._clock),
            self._clock,
            origins=Origins(settings.allowed_origins),
            limiter=HandshakeLimiter(settings.handshakes_per_second, settings.handshake_burst),
            trusted_proxies=parse_networks(settings.trusted_proxies),
        )
        self.sockets = Sockets(
            sessions,
            self._clock,
            SocketLimits(
                settings.idle_timeout_seconds,
                settings.max_connection_seconds,
                OutboxBounds(settings.outbox_max_messages, settings.outbox_max_bytes),
            ),
        )
        self._server = _Server(self._uvicorn_config())

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on, once it does."""
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        return host, port

    async def serve(self, started: Callable[["Node"], None] | None = None) -> None:
        """Run until SIGTERM or SIGINT, then let everybody go within `drain_seconds`.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        listener = _listen(self.settings.host, self.settings.port)
        if started is not None:
            self._server.on_started = lambda: started(self)
        watch = asyncio.create_task(self.sockets.watch(), name="tellwire-deadlines")
        try:
            await self._server.serve([listener])
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            listener.close()
            self._cut_what_is_left()

    def _cut_what_is_left(self) -> None:
        for task in list(self.sockets.tasks):
            task.cancel()
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, Connection):
                connection.abort()
            else:
                connection.transport.abort()

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does."""
        self._server.should_exit = True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve inside this event loop, for tests and for programs of their own; gives the HTTP address."""
        # Ctrl-C belongs to the program around us.
        self._server.handles_signals = False
        ready = asyncio.Event()
        serving = asyncio.create_task(self.serve(lambda _: ready.set()))
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if serving.done():
                await serving
            host, port = self.address
            yield f"http://{host}:{port}" if ":" not in host else f"http://[{host}]:{port}"
        finally:
            self.stop()
            await serving

    def _uvicorn_config(self) -> uvicorn.Config:
        # Its access log prints query strings, and those may hold tokens: off, whatever the program's logging says.
        logging.getLogger("uvicorn.access").disabled = True
        api = HttpApi(
            self.hub,
            lambda: Stats(len(self.hub), self.sockets.slow_closed),
            lambda: not self._server.should_exit,
            api_key=self.settings.api_key,
            is_open=self.settings.dev and self.settings.api_key is None,
        )
        return uvicorn.Config(
            api.application(),
            http=HttpProtocol,
            # uvicorn asks for a class and calls it with what a connection needs; ours also needs the node.
            ws=cast("Any", self.sockets.make_connection),
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(self.settings.drain_seconds)),
        )


class _Server(uvicorn.Server):
    """uvicorn's server, which tells when it listens, and ends with exit code 0 when it was asked to end."""

    on_started: Callable[[], None] | None = None
    handles_signals = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_started is not None:
            self.on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The original raises the signal again after a clean end, so that the process dies of it (143).
        if not self.handles_signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {each: signal.signal(each, self.handle_exit) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _listen(host: str, port: int) -> socket.socket:
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
