"""The topics of the connections of a node, and their bound."""

from collections.abc import Collection

from tellwire.carriers.hub import Hub
from tellwire.errors import TooManySubscriptions, TopicForbidden
from tellwire.gateway.connection import GatewayConnection
from tellwire.gateway.connection_presence import ConnectionPresence
from tellwire.limits import MAX_SUBSCRIPTIONS
from tellwire.model import Identity
from tellwire.ports import Present, Subscribers
from tellwire.publication import StreamKey, topic_of
from tellwire.topic_rights import TopicRights


class ConnectionTopics:
    """The subscriptions of all connections of a node, each to `at_most` topics. Without `subscribers`: to none.

    The hub alone has them, so nothing is kept of a connection without topics, and nothing outlives one. Of its token
    the claims are kept that `rights` need: mostly none.
    """

    def __init__(
        self,
        hub: Hub,
        subscribers: Subscribers | None,
        rights: TopicRights,
        presence: ConnectionPresence,
        at_most: int = MAX_SUBSCRIPTIONS,
    ) -> None:
        self._hub = hub
        self._subscribers = subscribers
        self._rights = rights
        self._presence = presence
        self._at_most = at_most
        self._identities: dict[str, Identity] = {}

    def identified(self, connection: GatewayConnection, identity: Identity) -> None:
        """Keep of a token the claims that rights need, in place of those of the token before."""
        needed = self._rights.needed(identity)
        if needed is not None:
            self._identities[connection.connection_id] = needed
        else:
            self._identities.pop(connection.connection_id, None)
        self._presence.identified(connection, identity)

    def left(self, connection: GatewayConnection) -> None:
        """Forget the claims of a connection, before the hub forgets its topics."""
        self._presence.left(connection)
        self._identities.pop(connection.connection_id, None)

    def grants(self, connection: GatewayConnection) -> Identity:
        """Return the user of a connection, with the claims that rights need."""
        known = self._identities.get(connection.connection_id)
        return known or Identity(connection.user_id, connection.expires_at, stamp=connection.stamp)

    def of(self, connection: Present) -> Collection[StreamKey]:
        """Return the streams of the topics that a connection is subscribed to."""
        return self._hub.topics_of(connection.connection_id)

    async def subscribe(self, connection: Present, stream: StreamKey) -> None:
        """Subscribe a connection; see `Peer.subscribe`."""
        if self._subscribers is None:
            raise TopicForbidden(topic_of(stream) or "", "this server has no topics")
        if stream in self.of(connection):
            return
        if len(self.of(connection)) >= self._at_most:
            raise TooManySubscriptions(self._at_most)
        await self._subscribers.subscribe(connection, stream)
        # Others may have come first while it waited.
        if len(self.of(connection)) > self._at_most:
            self._subscribers.unsubscribe(connection, stream)
            raise TooManySubscriptions(self._at_most)
        if stream in self.of(connection):  # it may have ended meanwhile
            self._presence.subscribed(connection, stream)

    async def watch(self, connection: Present, stream: StreamKey) -> None:
        """Tell a connection who is in a topic; see `Peer.watch`."""
        await self._presence.watch(connection, stream)

    def unsubscribe(self, connection: Present, stream: StreamKey) -> None:
        """End a subscription. It need not be there."""
        if self._subscribers is not None:
            self._presence.unsubscribed(connection, stream)
            self._subscribers.unsubscribe(connection, stream)
