"""The gateway's application: it admits connections, attaches them to the hub, and begins conversations.

authorize   address, rate, origin ─▶ token ─▶ places of this node ─▶ presence.enter ─▶ 101; at once where nothing waits
opened      hub.attach
closed      topics.left, hub.detach, presence.leave; also where a client has gone before its 101
"""

import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

from tellwire.auth import Gatekeeper
from tellwire.auth.request import HandshakeRequest
from tellwire.carriers.hub import Hub
from tellwire.conversation import Conversation
from tellwire.errors import TokenMissing, shown
from tellwire.gateway.admission import HandshakeLimiter, Network, Origins, client_address
from tellwire.gateway.connection import GatewayConnection
from tellwire.gateway.connection_limits import ConnectionCounts, ConnectionLimits
from tellwire.gateway.connection_topics import ConnectionTopics
from tellwire.gateway.identification import Identification
from tellwire.gateway.peer import PeerParts, SocketPeer
from tellwire.gateway.request_rates import RequestRates
from tellwire.model import Identity
from tellwire.ports import Clock, NullObserver, Observer, Presence
from tellwire.server.handshake import UpgradeRequest
from tellwire.server.refusal import Refusal

logger = logging.getLogger("tellwire.gateway")


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules by which handshakes are admitted before their token is verified, and the limits of connections."""

    origins: Origins = field(default_factory=Origins)
    handshakes: HandshakeLimiter = field(default_factory=HandshakeLimiter)
    trusted_proxies: Sequence[Network] = ()
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)


class GatewayApplication:
    """An `Application` (see `server.sockets`) for the users of a gateway."""

    def __init__(
        self,
        hub: Hub,
        presence: Presence,
        conversation: Conversation,
        gatekeeper: Gatekeeper,
        identification: Identification,
        clock: Clock,
        admission: Admission,
        rates: RequestRates,
        topics: ConnectionTopics,
        observer: Observer | None = None,
    ) -> None:
        self._hub = hub
        self._presence = presence
        self._gatekeeper = gatekeeper
        self._identification = identification
        self._clock = clock
        self._admission = admission
        self._counts = ConnectionCounts(admission.limits)
        self._of_peers = PeerParts(conversation, presence, topics, clock, rates, observer or NullObserver())

    def authorize(self, connection: GatewayConnection, request: UpgradeRequest) -> str | Awaitable[str | None] | None:
        self._admit(connection, request)
        token = request.token if self._identification.takes_tokens else None
        if token is None:
            if self._identification.needs_token:
                raise TokenMissing
            return self._known(connection, request)
        identity = self._gatekeeper.authenticate_at_once(token)
        if identity is None:
            return self._authenticated(connection, request, token)
        self._identify(connection, identity)
        self._counts.enter(connection.client_address)
        if self._presence.enters_at_once(connection, self._admission.limits.per_user):
            return request.chosen_subprotocol
        return self._entered(connection, request)

    async def _known(self, connection: GatewayConnection, request: UpgradeRequest) -> str | None:
        asks = HandshakeRequest(request.path, request.query, request.headers, connection.client_address, request.scope)
        self._identify(connection, await self._identification.identity(asks))
        self._counts.enter(connection.client_address)
        return await self._entered(connection, request)

    async def _authenticated(self, connection: GatewayConnection, request: UpgradeRequest, token: str) -> str | None:
        self._identify(connection, await self._gatekeeper.authenticate(token))
        self._counts.enter(connection.client_address)
        return await self._entered(connection, request)

    async def _entered(self, connection: GatewayConnection, request: UpgradeRequest) -> str | None:
        try:
            self._counts.admit_user(await self._presence.enter(connection, self._admission.limits.per_user))
        except BaseException:
            # A cancelled handshake, and one whose outcome is not known, may have entered.
            self.abandoned(connection)
            raise
        return request.chosen_subprotocol

    def _identify(self, connection: GatewayConnection, identity: Identity) -> None:
        connection.identify(identity)
        self._of_peers.topics.identified(connection, identity)

    def abandoned(self, connection: GatewayConnection) -> None:
        self._presence.leave(connection)
        self._of_peers.topics.left(connection)
        self._counts.leave(connection.client_address)

    def opened(self, connection: GatewayConnection) -> None:
        connection.state = SocketPeer(connection, self._of_peers)
        self._hub.attach(connection)
        # A user's id may hold line ends.
        user = shown(connection.user_id)
        logger.debug("%s: user %s connected from %s", connection.connection_id, user, connection.client_address)

    def received(self, connection: GatewayConnection, text: str) -> None:
        connection.state.receive(text)

    def overran(self, connection: GatewayConnection) -> None:
        connection.state.refuse_control_frames()

    def close_when_idle(self, connection: GatewayConnection) -> None:
        connection.state.close_when_idle()

    def closed(self, connection: GatewayConnection, code: int, reason: str) -> None:
        self._of_peers.topics.left(connection)
        self._hub.detach(connection.connection_id)
        self._presence.leave(connection)
        self._counts.leave(connection.client_address)
        connection.state.closed()
        # The two hold each other, and would wait for the garbage collector.
        connection.state = None
        user = shown(connection.user_id)
        logger.debug("%s: user %s left with %d %s", connection.connection_id, user, code, shown(reason))

    def _admit(self, connection: GatewayConnection, request: UpgradeRequest) -> None:
        forwarded_for = request.headers.get("x-forwarded-for", "")
        address = client_address(connection.peer_address, forwarded_for, self._admission.trusted_proxies)
        connection.client_address = address
        if not self._admission.handshakes.allows(address, self._clock.monotonic()):
            message = "Too many connections from this address; try again shortly"
            raise Refusal(429, "TOO_MANY_HANDSHAKES", message, close_code=4429)
        self._counts.admit(address)
        origin = request.headers.get("origin")
        if not self._admission.origins.allows(origin):
            message = "Pages from this origin may not connect"
            raise Refusal(403, "ORIGIN_NOT_ALLOWED", message, f"origin {shown(origin)}", close_code=4403)
