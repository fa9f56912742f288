"""A node: the composition of the gateway's parts.

The only module that knows which clock, which authenticator and which carrier the others work with.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.routing import BaseRoute

from tellwire.auth import make_authenticator
from tellwire.broadcast import Broadcaster
from tellwire.carriers.hub import Hub
from tellwire.config import Settings
from tellwire.engines.registry import make_history
from tellwire.gateway.admission import HandshakeLimiter, Origins, parse_networks
from tellwire.gateway.application import Sessions
from tellwire.gateway.http_api import HttpApi, Stats
from tellwire.gateway.leases import Leases
from tellwire.gateway.row_errors import RowErrorStreams
from tellwire.ports import Authenticator, Clock, SystemClock
from tellwire.server.framing import text_frames
from tellwire.server.outbox import OutboxBounds
from tellwire.server.server import Server
from tellwire.server.socket import SocketLimits, Sockets


class Node:
    """One gateway process.

    `broadcaster` sends to this node's own connections without HTTP, for a program that serves and publishes at once.
    `routes` are what that program serves beside the gateway: `/` and every path that the HTTP API does not use. Their
    errors are answered as the API's are.

    Example:
        async with Node(settings).running() as url:
            ...

    Raises:
        ConfigError: the settings do not fit together.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        authenticator: Authenticator | None = None,
        *,
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self.hub = Hub(self._clock, text_frames)
        self._history = make_history(settings, self._clock)
        self._leases = Leases(self._clock)
        self.carrier = RowErrorStreams(self._history, self.hub, self._clock, self._leases.note)
        self._authenticator = authenticator or make_authenticator(settings, self._clock)
        self._origins = Origins(settings.allowed_origins)
        self.broadcaster = Broadcaster(self.carrier)
        sessions = Sessions(
            self.hub,
            self.carrier,
            self._authenticator,
            self._clock,
            origins=self._origins,
            limiter=HandshakeLimiter(settings.handshakes_per_second, settings.handshake_burst),
            trusted_proxies=parse_networks(settings.trusted_proxies),
        )
        self.sockets = Sockets(
            sessions,
            self._clock,
            SocketLimits(
                settings.ping_after_seconds,
                settings.idle_timeout_seconds,
                settings.max_connection_seconds,
                OutboxBounds(settings.outbox_max_messages, settings.outbox_max_bytes),
            ),
        )
        self._server = Server(
            self.sockets,
            self._http_api().application(routes),
            host=settings.host,
            port=settings.port,
            drain_seconds=settings.drain_seconds,
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on, once it does."""
        return self._server.address

    @property
    def authority(self) -> str:
        """The address as it stands in a URL."""
        return self._server.authority

    async def serve(self, started: Callable[["Node"], None] | None = None) -> None:
        """Run until SIGTERM or SIGINT, then let everybody go within `drain_seconds`.

        Raises:
            ConfigError: the address cannot be listened on.
        """
        async with self._keeping():
            await self._server.serve(None if started is None else lambda: started(self))

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does."""
        self._server.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve inside this event loop, for tests and for programs of their own; gives the HTTP address."""
        async with self._keeping(), self._server.running() as url:
            yield url

    @asynccontextmanager
    async def _keeping(self) -> AsyncIterator[None]:
        """Have the history open, and watch over the leases in it."""
        self._history.open()
        try:
            await self._leases.load(self._history)
            watch = asyncio.create_task(self._leases.watch(self.carrier.lapse), name="tellwire-leases")
            try:
                yield
            finally:
                watch.cancel()
                await asyncio.wait([watch])
        finally:
            await self._history.close()

    def _http_api(self) -> HttpApi:
        return HttpApi(
            self.carrier,
            lambda: Stats(len(self.hub), self.sockets.slow_closed),
            lambda: not self._server.is_stopping,
            authenticator=self._authenticator,
            origins=self._origins,
            api_key=self.settings.api_key,
            is_open=self.settings.dev and self.settings.api_key is None,
        )
