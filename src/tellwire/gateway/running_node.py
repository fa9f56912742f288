"""A node that is open: its parts, and the front that has its sockets. `node` composes it."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import structs
from starlette.routing import BaseRoute

from tellwire.carriers.hub import Hub
from tellwire.config import Settings
from tellwire.engine import Engine
from tellwire.errors import HistoryUnavailable
from tellwire.gateway.application import GatewayApplication
from tellwire.gateway.connection_presence import ConnectionPresence
from tellwire.gateway.http_api import HttpApi, Stats
from tellwire.gateway.node_carrier import HomeLoop
from tellwire.gateway.rights_watch import RightsWatch
from tellwire.gateway.webhooks import NodeWebhooks
from tellwire.gateway.withdrawn_keys import WithdrawnKeys
from tellwire.ports import Peer, Presence, ToldCounter
from tellwire.server.sockets import Sockets

if TYPE_CHECKING:
    from tellwire.gateway.metrics import Exposition


class Front(Protocol):
    """The side of a node that has its sockets: a server of its own, or a part of another program's (`asgi`)."""

    def stop(self) -> None:
        """Begin to drain, from any thread."""
        ...

    def end(self) -> None:
        """End without waiting for anybody."""
        ...


class RunningNode:
    """The parts of a node that is open. The node adds its HTTP API, and `front`, which has the sockets."""

    api: HttpApi
    front: Front

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        hub: Hub,
        presence: Presence,
        sockets: Sockets,
        application: GatewayApplication,
        webhooks: NodeWebhooks,
        rights: RightsWatch[Peer],
        members: ConnectionPresence,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.hub = hub
        self.presence = presence
        self.sockets = sockets
        self.application = application
        self.home = HomeLoop()
        self.webhooks = webhooks
        self.rights = rights
        self.members = members
        self.keys: WithdrawnKeys | None = None
        self.before_drain: Sequence[Callable[[], Awaitable[object]]] = ()
        self.routes: Sequence[BaseRoute] = ()
        self.exposition: Exposition | None = None

    def watches(self, settings: Settings) -> list[Coroutine[Any, Any, None]]:
        """Return the work that goes on while the node runs."""
        found = [] if self.keys is None else [self.keys.watch()]
        if self.webhooks.topics is not None:
            found.append(self.rights.watch(settings.topic_auth_cache_seconds))
        return found

    async def reloaded(self) -> None:
        """Act on keys and rules that have changed."""
        self.members.rules_changed()
        if self.keys is not None:
            await self.keys.close_connections()
        await self.recheck_topics()

    async def recheck_topics(self) -> None:
        """Look at all rights to topics again, whatever was known of them."""
        if self.webhooks.topics is not None:
            self.webhooks.topics.forget()
        await self.rights.look()

    async def stats(self, publishes_refused: int) -> Stats:
        """Return the counters of this node, and the connections of all."""
        presence = self.engine.topic_presence
        own = Stats(
            len(self.hub),
            self.sockets.slow_closed,
            self.sockets.unanswered_closed,
            publishes_refused,
            presence_told=presence.told if isinstance(presence, ToldCounter) else 0,
            presence_untold=presence.untold if isinstance(presence, ToldCounter) else 0,
        )
        if (escalations := self.engine.escalations) is not None:
            ended = escalations.counts
            own = structs.replace(
                own,
                escalations_called=ended.called,
                escalations_acknowledged=ended.acknowledged,
                escalations_failed=ended.failed,
            )
        try:
            counts = await self.presence.counts()
        except HistoryUnavailable:
            return own
        return structs.replace(own, nodes=counts.nodes, connections_on_all_nodes=counts.connections)
