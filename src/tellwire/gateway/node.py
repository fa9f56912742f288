"""A node: a gateway process, composed of an engine, the conversation, the sockets and the HTTP API.

The only module that chooses the clock, the authenticator and the engine.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import overload

from starlette.routing import BaseRoute

from tellwire.auth import make_authenticator
from tellwire.broadcast import Broadcaster
from tellwire.broker import BrokerCarrier
from tellwire.carriers.hub import Hub
from tellwire.config import Settings
from tellwire.conversation import Conversation
from tellwire.engine import Engine
from tellwire.engines.registry import open_engine
from tellwire.errors import ConfigError, GatewayRefused, GatewayUnreachable
from tellwire.gateway.admission import HandshakeLimiter, Origins, parse_networks
from tellwire.gateway.application import GatewayApplication
from tellwire.gateway.http_api import HttpApi, Stats
from tellwire.gateway.row_errors import RowErrorsApi
from tellwire.message_handlers import F, MessageHandlers
from tellwire.model import ConnectionInfo, Delivery
from tellwire.ports import Authenticator, Clock, NullObserver, Observer, SystemClock
from tellwire.publication import Publication
from tellwire.row_errors import RowErrorChunk
from tellwire.server.outbox import OutboxBounds
from tellwire.server.server import Server
from tellwire.server.socket import SocketLimits, Sockets


class Node:
    """One gateway process.

    `broadcaster` publishes without HTTP, for a program that serves and publishes. `engine` is an open engine; None: the
    node opens the one that the settings name. The node closes it in both cases. `routes` are further HTTP routes of the
    program: `/` and every path that the HTTP API does not use. Their errors are answered like the API's.

    Example:
        node = Node(settings)
        async with node.running() as url:
            await node.broadcaster.broadcast_to_user("user-1", message)

    Raises:
        ConfigError: the settings do not fit together.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        authenticator: Authenticator | None = None,
        *,
        engine: Engine | None = None,
        observer: Observer | None = None,
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self._authenticator = authenticator or make_authenticator(settings, self._clock)
        self._origins = Origins(settings.allowed_origins)
        self._trusted_proxies = parse_networks(settings.trusted_proxies)
        self._limiter = HandshakeLimiter(settings.handshakes_per_second, settings.handshake_burst)
        self._given_engine = engine
        self._observer = observer or NullObserver()
        self._routes = routes
        self._handlers = MessageHandlers()
        self._running: _Running | None = None
        self.broadcaster = Broadcaster(_NodeCarrier(self))

    @property
    def engine(self) -> Engine:
        """The engine it works with.

        Raises:
            RuntimeError: the node does not run.
        """
        return self._now.engine

    @property
    def hub(self) -> Hub:
        """Its live connections.

        Raises:
            RuntimeError: the node does not run.
        """
        return self._now.hub

    @property
    def sockets(self) -> Sockets:
        """Its WebSockets.

        Raises:
            RuntimeError: the node does not run.
        """
        return self._now.sockets

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on, once it does."""
        return self._now.server.address

    @property
    def authority(self) -> str:
        """The address as it stands in a URL."""
        return self._now.server.authority

    @overload
    def on_message(self, message_type: str, handler: F) -> F: ...

    @overload
    def on_message(self, message_type: str) -> Callable[[F], F]: ...

    def on_message(self, message_type: str, handler: F | None = None) -> F | Callable[[F], F]:
        """Call `handler(data, sender)` for messages of your own type. Without it: a decorator.

        Raises:
            InvalidMessage: `message_type` is no name for a message of your own, or has a handler already.
        """
        add = self._handlers.on_message(message_type)
        return add if handler is None else add(handler)

    async def serve(self, started: Callable[["Node"], None] | None = None) -> None:
        """Run until SIGTERM or SIGINT, then drain within `drain_seconds`.

        Raises:
            ConfigError: the address cannot be listened on, or the engine cannot be used.
        """
        async with self._opened() as running:
            await running.server.serve(None if started is None else lambda: started(self))

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does."""
        self._now.server.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve inside this event loop, for tests and for other programs; yields the HTTP address."""
        async with self._opened() as running, running.server.running() as url:
            yield url

    @property
    def _now(self) -> "_Running":
        if self._running is None:
            raise RuntimeError("the node does not run: use it inside `async with node.running()`")
        return self._running

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator["_Running"]:
        async with contextlib.AsyncExitStack() as stack:
            engine = self._given_engine or await open_engine(self.settings, self._clock, self._observer)
            await stack.enter_async_context(engine)
            self._running = self._compose(engine)
            try:
                yield self._running
            finally:
                self._running = None

    def _compose(self, engine: Engine) -> "_Running":
        if engine.hub is None:
            raise ConfigError("engine: got one without a hub; allowed: one that holds the connections of a process")
        conversation = Conversation(engine, self._authenticator, self._clock, self._handlers, observer=self._observer)
        application = GatewayApplication(
            engine.hub,
            conversation,
            self._authenticator,
            self._clock,
            origins=self._origins,
            limiter=self._limiter,
            trusted_proxies=self._trusted_proxies,
        )
        settings = self.settings
        bounds = OutboxBounds(settings.outbox_max_messages, settings.outbox_max_bytes)
        limits = SocketLimits(
            settings.ping_after_seconds, settings.idle_timeout_seconds, settings.max_connection_seconds, bounds
        )
        return _Running(self, engine, engine.hub, Sockets(application, self._clock, limits, self._observer))

    def _http_api(self, running: "_Running") -> HttpApi:
        row_errors = RowErrorsApi(running.engine, self._authenticator, self._origins)
        return HttpApi(
            running.engine,
            lambda: Stats(len(running.hub), running.sockets.slow_closed, running.sockets.unanswered_closed),
            lambda: not running.server.is_stopping,
            row_errors,
            api_key=self.settings.api_key,
            is_open=self.settings.dev and self.settings.api_key is None,
        )


class _NodeCarrier:
    """The carrier of a node's broadcaster, which may be made before the node runs."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def deliver(self, publication: Publication) -> Delivery:
        return await self._running.carrier.deliver(publication)

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return await self._running.carrier.connections(user_id)

    async def disconnect(self, connection_id: str) -> bool:
        return await self._running.carrier.disconnect(connection_id)

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        store = self._running.engine.row_errors
        if store is None:
            raise GatewayRefused(501, "ROW_ERRORS_NOT_KEPT", "This gateway's engine keeps no lists of row errors")
        await store.add_row_errors(chunk)

    @property
    def _running(self) -> "_Running":
        if self._node._running is None:
            raise GatewayUnreachable("this process", "the node does not run", not_sent=True)
        return self._node._running


class _Running:
    """The parts of a node that is open."""

    def __init__(self, node: Node, engine: Engine, hub: Hub, sockets: Sockets) -> None:
        settings = node.settings
        self.engine = engine
        self.hub = hub
        self.sockets = sockets
        self.carrier = BrokerCarrier(engine.broker, engine.carrier)
        self.server = Server(
            sockets,
            node._http_api(self).application(node._routes),
            host=settings.host,
            port=settings.port,
            drain_seconds=settings.drain_seconds,
        )
