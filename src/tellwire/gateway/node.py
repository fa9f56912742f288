"""A node: a gateway process, composed of an engine, the conversation, the sockets and the HTTP API.

The only module that chooses the clock, the authenticator and the engine.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar, overload

from msgspec import structs
from starlette.routing import BaseRoute

from tellwire.auth import Gatekeeper, SettingsAuthenticator, make_authenticator
from tellwire.auth.gatekeeper import NoTokens
from tellwire.auth.request import Identify
from tellwire.broadcast import Broadcaster
from tellwire.carriers.hub import Hub
from tellwire.config import RELOADED, Settings
from tellwire.conversation import Conversation
from tellwire.engine import Engine
from tellwire.engines.registry import check_engine, open_engine
from tellwire.errors import ConfigError, PresenceOff
from tellwire.gateway.admission import HandshakeLimiter, Origins, parse_networks
from tellwire.gateway.api_key import ApiKeyGuard
from tellwire.gateway.application import Admission, GatewayApplication
from tellwire.gateway.connection_limits import ConnectionLimits
from tellwire.gateway.connection_presence import ConnectionPresence
from tellwire.gateway.connection_topics import ConnectionTopics
from tellwire.gateway.console.facts import Facts
from tellwire.gateway.console.guard import ConsoleGuard
from tellwire.gateway.console.pages import console_routes
from tellwire.gateway.hangup import on_hangup
from tellwire.gateway.http_api import HttpApi
from tellwire.gateway.identification import Identification
from tellwire.gateway.metering import Metering, metrics_route, observer_of
from tellwire.gateway.node_carrier import HomeLoop, NodeCarrier
from tellwire.gateway.opening import Opening, StoppedEarly, on_end_signals
from tellwire.gateway.publish_rates import PublishRates
from tellwire.gateway.request_rates import RequestRates
from tellwire.gateway.rights_watch import RightsWatch
from tellwire.gateway.row_errors import RowErrorsApi
from tellwire.gateway.running_node import Front, RunningNode
from tellwire.gateway.service_manager import ServiceManager
from tellwire.gateway.topics_api import TopicsApi
from tellwire.gateway.users_api import UsersApi
from tellwire.gateway.webhooks import NodeWebhooks, targets_of
from tellwire.gateway.withdrawn_keys import WithdrawnKeys
from tellwire.gateway.worker import Worker
from tellwire.message_handlers import F, MessageHandlers
from tellwire.ports import Authenticator, Clock, Observer, Peer, Presence, SystemClock
from tellwire.publication import topic_stream
from tellwire.rate import Rate
from tellwire.server.deflating_socket import DeflatingHub
from tellwire.server.drain import Drain
from tellwire.server.outbox import OutboxBounds
from tellwire.server.server import Server
from tellwire.server.sockets import SocketLimits, Sockets
from tellwire.text import require_topic
from tellwire.topic_members import Members
from tellwire.topic_rights import Action, TopicCallback, TopicRights

if TYPE_CHECKING:
    pass

logger = logging.getLogger("tellwire.gateway")


C = TypeVar("C", bound=TopicCallback)
D = TypeVar("D", bound=Callable[[], Awaitable[object]])
S = TypeVar("S", bound=Front)


class Node:
    """One gateway process.

    `broadcaster` publishes without HTTP, for a program that serves and publishes, from any thread and event loop.
    `engine` is an open engine; None: the node opens the one that the settings name. The node closes it in both cases.
    `identify(request)` says who connects without a token: a user's id, an `Identity`, or None. With it, or with a
    connect webhook, no source of tokens is needed. A plain function runs in a thread.
    `routes` are further HTTP routes of the program: `/` and every path that the HTTP API does not use. Their errors are
    answered like the API's.

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
        identify: Identify | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self._identify = identify
        self._authenticator = authenticator or self._made_authenticator(settings)
        self._origins = Origins(settings.allowed_origins)
        self._trusted_proxies = parse_networks(settings.trusted_proxies)
        self._api_key = ApiKeyGuard(settings.api_keys, self._clock, is_open=settings.dev)
        self._admission = Admission(
            self._origins,
            HandshakeLimiter(settings.handshakes_per_second, settings.handshake_burst),
            self._trusted_proxies,
            ConnectionLimits.of(settings),
        )
        targets_of(settings)  # raises what cannot be used
        self._given_engine = engine
        if engine is None:
            check_engine(settings)
        self._topic_rules = settings.topic_rules
        self._metering = Metering(settings, self._topic_rules) if settings.metrics or settings.console else None
        self._observer = observer_of(settings, self._topic_rules, self._metering, observer)
        self._publish_rates = PublishRates(_publish_rate(settings), self._clock, self._observer)
        self._topic_callbacks: dict[Action, TopicCallback] = {}
        self._routes = routes
        self._before_drain: list[Callable[[], Awaitable[object]]] = []
        self._handlers = MessageHandlers()
        self._running: RunningNode | None = None
        self._server: Server | None = None
        self._worker: Worker | None = None
        self._manager = ServiceManager()
        self._opening = Opening()
        self.broadcaster = Broadcaster(NodeCarrier(self._home))

    def _made_authenticator(self, settings: Settings) -> Authenticator:
        if not settings.key_sources and (self._identify is not None or settings.connect_webhook_url):
            if settings.token_cookie is not None:
                raise ConfigError(
                    "TELLWIRE_TOKEN_COOKIE: got one; needed: also a way to verify tokens, such as a secret"
                )
            return NoTokens()
        return make_authenticator(settings, self._clock)

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
    def presence(self) -> Presence:
        """The live connections of all nodes.

        Raises:
            RuntimeError: the node does not run.
        """
        return self._now.presence

    @property
    def sockets(self) -> Sockets:
        """Its WebSockets.

        Raises:
            RuntimeError: the node does not run.
        """
        return self._now.sockets

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it listens on, once it does.

        Raises:
            RuntimeError: it has no server of its own that runs.
        """
        return self._own_server.address

    @property
    def authority(self) -> str:
        """The address as it stands in a URL."""
        return self._own_server.authority

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

    def authorize_topic(self, callback: C) -> C:
        """Ask `callback(identity, topic)` for rights to subscribe, where neither a rule nor the token has said yes.

        It is a function, which runs in a thread, or a coroutine function, and has two seconds. It is asked at each
        `subscribe`, when a client brings a new token, after a reload, and for `recheck_topics`. Also as a decorator.

        Raises:
            RuntimeError: the node runs; claims of the tokens before are not kept.
        """
        return self._decide("subscribe", callback)

    def authorize_publish(self, callback: C) -> C:
        """Ask `callback(identity, topic)` for rights of clients to publish, where a rule has `publish` "token", and
        the token has not said yes. See `authorize_topic`.
        """
        return self._decide("publish", callback)

    def before_drain(self, callback: D) -> D:
        """Await `callback()` when the node begins to drain, before it closes connections: jobs of this process end
        here, and their users read that. It has half of `drain_seconds`; then it is cancelled. Also as a decorator.

        Raises:
            RuntimeError: the node runs.
        """
        if self._running is not None:
            raise RuntimeError("the node runs: set what is to be done before a drain earlier")
        self._before_drain.append(callback)
        return callback

    def _decide(self, action: Action, callback: C) -> C:
        if self._running is not None:
            raise RuntimeError("the node runs: set the functions that decide about topics before")
        self._topic_callbacks[action] = callback
        return callback

    async def recheck_topics(self) -> None:
        """Check the rights of all clients of this node to their topics again, because something has changed in the
        program. A client whose right was withdrawn gets `unsubscribed` with `TOPIC_FORBIDDEN`.
        """
        await self._now.recheck_topics()

    async def topic_members(self, topic: str) -> Members:
        """Return the number of users in a topic, on all nodes, and at most 200 of them.

        Raises:
            InvalidMessage: `topic` is no topic's name.
            PresenceOff: its rule has no presence.
            HistoryUnavailable: nobody knows, just now.
        """
        engine, stream = self.engine, topic_stream(require_topic("topic", topic))
        if engine.topic_presence is None or not engine.topics.has_presence(stream):
            raise PresenceOff(topic)
        return await engine.topic_presence.members(stream)

    async def forget_topic(self, topic: str) -> None:
        """Delete everything that is kept of a topic. See `Engine.forget_topic`.

        Raises:
            InvalidMessage: `topic` is no topic's name.
            HistoryUnavailable: not all of it is deleted; doing it again does the rest.
        """
        await self.engine.forget_topic(require_topic("topic", topic))

    async def serve(
        self,
        started: Callable[["Node"], None] | None = None,
        reread: Callable[[], Settings] | None = None,
        worker: Worker | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        """Run until SIGTERM, SIGINT or `POST /v1/drain`, then drain within `drain_seconds`; a second signal ends it at
        once, and so does the first one before it serves.

        SIGHUP reloads; see `reload`. `reread` returns the settings as they are then; None: those of this node, with the
        files that they name read again. `worker`: this process is one of several, and `POST /v1/drain` drains all.
        `manager` is told of the start, reloads and the drain, and gets signs of life.

        Raises:
            ConfigError: the address cannot be listened on, or the engine cannot be used.
        """
        self._worker = worker
        manager = self._manager = manager or ServiceManager()

        def tell() -> None:
            if worker is not None:
                worker.tell_ready()
            manager.ready(self._status())
            if started is not None:
                started(self)

        opening = self._opening = Opening()
        obeying = contextlib.nullcontext() if worker is None else worker.obeying(self._stop, self._end)
        try:
            with contextlib.ExitStack() as signals:
                signals.enter_context(on_end_signals(self._stop))
                async with obeying, manager.watching(self._status), self.opened(self._listening) as server:
                    if not opening.is_stopped:
                        with on_hangup(manager.reloads(lambda: self.reload_or_log(reread)), self.stop):
                            await server.serve(tell)
                    # While the engine closes, a signal ends the process.
                    signals.close()
        except StoppedEarly:
            logger.info("stopped before it was open")

    async def reload(self, settings: Settings | None = None) -> None:
        """Use the API keys, secrets, key sets and rules of topics of `settings` from now on, and fetch the key sets
        anew. None: those of this node, with the files that they name read again. No connection is closed but those that
        a withdrawn key or secret has opened; a topic ends where there is no right to it any more. Other settings stay
        as they are, and so do the rules of an engine that was given.

        Raises:
            ConfigError: they cannot be used, and everything stays as it is.
        """
        settings = structs.replace(self.settings) if settings is None else settings
        authenticator = self._authenticator
        reloaded = structs.replace(self.settings, **{name: getattr(settings, name) for name in RELOADED})
        targets, rules = targets_of(reloaded), reloaded.topic_rules
        if isinstance(authenticator, SettingsAuthenticator):
            authenticator.use(settings)
        if self._running is not None:
            self._running.webhooks.sign_with(targets)
        self._api_key.replace(settings.api_keys, is_open=self.settings.dev)
        self.settings = reloaded
        if isinstance(authenticator, SettingsAuthenticator) and not await authenticator.fetch_all():
            logger.error("reload: a key set cannot be fetched; its keys of before stay")
        self._topic_rules.replace(rules.retention, rules.rules)
        if self._running is not None:
            await self._running.reloaded()
        logger.info("reload: API keys, secrets, key sets and rules of topics are read again")

    async def reload_or_log(self, reread: Callable[[], Settings] | None = None) -> None:
        """Reload. Settings that cannot be used are logged as an error, and everything stays as it is."""
        try:
            await self.reload(None if reread is None else reread())
        except ConfigError as error:
            logger.error("reload: nothing has changed: %s", error)  # noqa: TRY400 - the text says it all

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does, from any thread. `serve` or `running` ends when that is done."""
        self._now.front.stop()

    def _status(self) -> str:
        if self._running is None:
            return "not serving"
        is_draining = self._running.sockets.drain.has_begun
        return f"{'draining' if is_draining else 'serving'} {len(self.hub)} connections"

    async def _tell_of_drain(self) -> None:
        self._manager.stopping()

    def _stop(self) -> None:
        self._opening.stop()
        if self._running is not None:
            self.stop()

    def _end(self) -> None:
        self._stop()
        if self._running is not None:
            self._running.front.end()

    def _drain_all(self) -> None:
        if self._worker is not None:
            self._worker.ask_for_drain()
        self.stop()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve inside this event loop, for tests and for other programs; yields the HTTP address."""
        async with self.opened(self._listening) as server, server.running() as url:
            yield url

    def _listening(self, running: RunningNode) -> Server:
        self._server = server = Server(
            running.sockets,
            running.api.application(running.routes),
            direct=running.api.direct,
            before_drain=running.before_drain,
            host=self.settings.host,
            port=self.settings.port,
            listener=None if self._worker is None else self._worker.listener,
        )
        return server

    @property
    def _own_server(self) -> Server:
        if self._running is None or self._server is None:
            raise RuntimeError("the node has no server of its own that runs: use it inside `async with node.running()`")
        return self._server

    @property
    def _now(self) -> RunningNode:
        if self._running is None:
            raise RuntimeError("the node does not run: use it inside `async with node.running()`")
        return self._running

    @asynccontextmanager
    async def opened(self, make_front: Callable[[RunningNode], S]) -> AsyncIterator[S]:
        """Open the engine, and all parts behind the front that is made of them; inside it the node runs.

        Raises:
            ConfigError: the engine cannot be used.
        """
        async with contextlib.AsyncExitStack() as stack:
            engine = self._given_engine
            if engine is None:
                engine = await self._opening.run(
                    open_engine(self.settings, self._clock, self._observer, self._topic_rules)
                )
            await stack.enter_async_context(engine)
            running = self._compose(engine)
            front = running.front = make_front(running)
            self._running = running
            if self._metering is not None and running.exposition is not None:
                number = 0 if self._worker is None else self._worker.number - 1
                stack.enter_context(self._metering.listening(running.exposition, number))
            watching = [asyncio.create_task(each) for each in running.watches(self.settings)]
            stack.push_async_callback(running.webhooks.close)
            try:
                yield front
            finally:
                self._running = self._server = None
                running.home.close()
                for task in watching:
                    task.cancel()
                    await asyncio.wait([task])

    def _home(self) -> tuple[HomeLoop, Engine] | None:
        return None if self._running is None else (self._running.home, self._running.engine)

    def _compose(self, engine: Engine) -> RunningNode:
        if engine.hub is None or engine.presence is None:
            raise ConfigError("engine: got one without a hub; allowed: one that holds the connections of a process")
        hub = engine.hub
        gatekeeper = Gatekeeper(self._authenticator, engine.shut_outs)
        settings = self.settings
        rates = RequestRates(
            settings.messages_per_second,
            settings.message_burst,
            settings.hello_interval_seconds,
            settings.replay_bytes_per_second,
            settings.subscriptions_per_connection,
        )
        webhooks = NodeWebhooks(settings, self._clock, self._handlers, engine.escalations)
        claim, callbacks = settings.jwt_topics_claim, self._topic_callbacks
        rights = TopicRights(engine.topics, self._clock, claim, callbacks, webhooks.topics)
        conversation = Conversation(
            engine,
            gatekeeper,
            self._clock,
            self._handlers,
            authorizer=rights,
            limits=rates.on_the_wire,
            observer=self._observer,
        )
        members = ConnectionPresence(hub, engine.topics, engine.topic_presence, self._clock, settings.jwt_info_claim)
        at_most = settings.subscriptions_per_connection
        topics = ConnectionTopics(engine.hub, engine.subscribers, rights, members, at_most)
        # Where it is asked anyway, the store says in the same answer who is shut out.
        door = Gatekeeper(self._authenticator, None) if engine.presence.admits else gatekeeper
        application = GatewayApplication(
            engine.hub,
            engine.presence,
            conversation,
            door,
            self._identification(door, webhooks),
            self._clock,
            self._admission,
            rates,
            topics,
            self._observer,
        )
        bounds = OutboxBounds(settings.outbox_max_messages, settings.outbox_max_bytes)
        limits = SocketLimits(
            settings.ping_after_seconds, settings.idle_timeout_seconds, settings.max_connection_seconds, bounds
        )
        drain = Drain(settings.drain_seconds, settings.spread_seconds)
        sockets = Sockets(
            application,
            self._clock,
            limits,
            self._observer,
            engine.new_connection_id,
            drain,
            refuses_by_close=True,
            deflater=engine.hub.deflater if isinstance(engine.hub, DeflatingHub) else None,
        )
        rights_watch = RightsWatch(lambda: _peers_with_topics(hub), conversation.recheck_topics, self._clock)
        running = RunningNode(
            settings, engine, hub, engine.presence, sockets, application, webhooks, rights_watch, members
        )
        running.before_drain = [self._tell_of_drain, *self._before_drain]
        # An authenticator of the program's own does not tell its keys.
        if isinstance(self._authenticator, SettingsAuthenticator):
            running.keys = WithdrawnKeys(self._authenticator, hub, self._clock)
        running.api = self._http_api(running)
        running.routes = [*self._further_routes(running), *self._routes]
        return running

    def _identification(self, gatekeeper: Gatekeeper, webhooks: NodeWebhooks) -> Identification:
        return Identification(
            gatekeeper,
            self._origins,
            self._clock,
            self.settings.max_connection_seconds,
            takes_tokens=not isinstance(self._authenticator, NoTokens),
            cookie=self.settings.token_cookie,
            webhook=webhooks.connect,
            identify=self._identify,
        )

    def _further_routes(self, running: RunningNode) -> list[BaseRoute]:
        metering, engine, sockets = self._metering, running.engine, running.sockets
        if metering is None:
            return []
        exposition = running.exposition = metering.exposition(engine, sockets)
        routes = [] if exposition is None else [metrics_route(exposition, self._api_key)]
        if running.settings.console:
            facts = Facts(running.settings.chosen_engine, engine, running.hub, sockets, metering.counts, self._clock)
            routes += console_routes(ConsoleGuard(self._api_key, self._clock), facts, running.api.guarded_routes)
        return routes

    def _http_api(self, running: RunningNode) -> HttpApi:
        gatekeeper = Gatekeeper(self._authenticator, running.engine.shut_outs)
        identification = self._identification(gatekeeper, running.webhooks)
        row_errors = RowErrorsApi(running.engine, gatekeeper, identification, self._origins)
        return HttpApi(
            running.engine,
            running.hub,
            lambda: running.stats(self._publish_rates.refused),
            running.sockets.drain,
            self._drain_all,
            row_errors,
            UsersApi(running.engine, running.presence),
            TopicsApi(running.engine),
            self._api_key,
            self._publish_rates,
            self._trusted_proxies,
        )


def _publish_rate(settings: Settings) -> Rate | None:
    per_second = settings.publishes_per_second
    return None if per_second is None else Rate(per_second, settings.publish_burst)


def _peers_with_topics(hub: Hub) -> Iterator[Peer]:
    for connection in hub.connections_with_topics():
        # One that is closed has none any more.
        peer = getattr(connection, "state", None)
        if peer is not None:
            yield peer
