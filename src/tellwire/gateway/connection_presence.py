"""The presence of topics, as the connections of a node make it: their subscriptions, and the infos of their tokens."""

import logging

from tellwire.carriers.hub import Hub
from tellwire.errors import PresenceOff, shown
from tellwire.limited_log import LimitedLog
from tellwire.model import Identity
from tellwire.ports import Clock, Present, TopicPresence
from tellwire.publication import StreamKey, topic_of
from tellwire.topic_members import INFO_CLAIM, claimed_info
from tellwire.topics import TopicRules

logger = logging.getLogger("tellwire.topics")


class ConnectionPresence:
    """The presence of all connections of a node in topics whose rule has it. `presence` None: nobody is told anything.

    The hub knows the subscriptions, so nothing is kept of a connection but the info of its token, and that only where
    some rule has presence.
    """

    def __init__(
        self, hub: Hub, rules: TopicRules, presence: TopicPresence | None, clock: Clock, claim: str = INFO_CLAIM
    ) -> None:
        self._hub = hub
        self._rules = rules
        self._presence = presence
        self._claim = claim
        self._infos: dict[str, bytes] = {}
        self._wrong = LimitedLog(logger, logging.WARNING, "tokens with wrong infos", clock)

    def identified(self, connection: Present, identity: Identity) -> None:
        """Keep the info of a token, in place of that of the token before, and tell it in the connection's topics."""
        if self._presence is None or not self._rules.have_presence:
            return
        info, refused = claimed_info(identity.claims, self._claim)
        if refused:
            self._wrong.tell_left_out()
            self._wrong.write("the token of %s: its info does not count: %s", shown(identity.user_id), refused)
        known = self._infos.get(connection.connection_id)
        if info is None:
            self._infos.pop(connection.connection_id, None)
        else:
            self._infos[connection.connection_id] = info
            if info != known:
                self._tell_all(connection)

    def subscribed(self, connection: Present, stream: StreamKey) -> None:
        """Count a connection that is subscribed to a topic, if the topic has presence."""
        if self._presence is not None and self._rules.has_presence(stream):
            self._presence.subscribed(connection, stream, self._infos.get(connection.connection_id))

    def unsubscribed(self, connection: Present, stream: StreamKey) -> None:
        """Count a connection no more. Its topic may have lost its presence."""
        if self._presence is not None:
            self._presence.unsubscribed(connection, stream)

    def left(self, connection: Present) -> None:
        """Count a connection that ends in none of its topics. The hub still has it."""
        for stream in self._hub.topics_of(connection.connection_id):
            self.unsubscribed(connection, stream)
        self._infos.pop(connection.connection_id, None)

    async def watch(self, connection: Present, stream: StreamKey) -> None:
        """Tell a connection who is in a topic; see `Peer.watch`."""
        if self._presence is None:
            raise PresenceOff(topic_of(stream) or "")
        await self._presence.watch(connection, stream)

    def rules_changed(self) -> None:
        """Count all connections by the rules as they are now. Infos of tokens that came before are not known."""
        for connection in self._hub.connections_with_topics():
            for stream in self._hub.topics_of(connection.connection_id):
                if self._rules.has_presence(stream):
                    self.subscribed(connection, stream)
                else:
                    self.unsubscribed(connection, stream)

    def _tell_all(self, connection: Present) -> None:
        for stream in self._hub.topics_of(connection.connection_id):
            self.subscribed(connection, stream)
