"""The gateway's application: it authenticates connections, attaches them to the hub, and begins conversations."""

from collections.abc import Sequence

from tellwire.carriers.hub import Hub
from tellwire.conversation import Conversation
from tellwire.errors import TokenMissing
from tellwire.gateway.admission import HandshakeLimiter, Network, Origins, client_address
from tellwire.gateway.peer import SocketPeer
from tellwire.ports import Authenticator, Clock
from tellwire.server.handshake import Refusal, UpgradeRequest
from tellwire.server.socket import Connection


class GatewayApplication:
    """An `Application` (see `server.socket`) for the users of a gateway."""

    def __init__(
        self,
        hub: Hub,
        conversation: Conversation,
        authenticator: Authenticator,
        clock: Clock,
        *,
        origins: Origins,
        limiter: HandshakeLimiter,
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self._hub = hub
        self._conversation = conversation
        self._authenticator = authenticator
        self._clock = clock
        self._origins = origins
        self._limiter = limiter
        self._trusted_proxies = trusted_proxies

    async def authorize(self, connection: Connection, request: UpgradeRequest) -> str | None:
        self._admit(connection, request)
        if request.token is None:
            raise TokenMissing
        connection.identify(await self._authenticator.authenticate(request.token))
        return request.chosen_subprotocol

    def opened(self, connection: Connection) -> None:
        connection.state = SocketPeer(connection, self._conversation, self._clock)
        self._hub.attach(connection)

    def received(self, connection: Connection, text: str) -> None:
        connection.state.receive(text)

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        self._hub.detach(connection.connection_id)
        connection.state.closed()
        # The two hold each other, and would wait for the garbage collector.
        connection.state = None

    def _admit(self, connection: Connection, request: UpgradeRequest) -> None:
        forwarded_for = request.headers.get("x-forwarded-for", "")
        address = client_address(connection.peer_address, forwarded_for, self._trusted_proxies)
        if not self._limiter.allows(address, self._clock.now()):
            raise Refusal(429, "TOO_MANY_HANDSHAKES", "Too many connections from this address; try again shortly")
        if not self._origins.allows(request.headers.get("origin")):
            raise Refusal(403, "ORIGIN_NOT_ALLOWED", "Pages from this origin may not connect")
