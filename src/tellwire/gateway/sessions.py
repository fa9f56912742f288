"""The gateway's application: connections are let in by their token, join the hub, and are answered by the session."""

import asyncio
import logging
from collections.abc import Sequence

from tellwire import session
from tellwire.carriers.hub import Hub
from tellwire.errors import TellwireError, TokenMissing
from tellwire.gateway.admission import HandshakeLimiter, Network, Origins, client_address
from tellwire.gateway.frames import text_frames
from tellwire.gateway.handshake import Refusal, UpgradeRequest
from tellwire.gateway.socket import Connection
from tellwire.ports import Authenticator, Clock

logger = logging.getLogger("tellwire.gateway")


class Sessions:
    """An `Application` (see `socket`) that tells users what is published to them."""

    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        clock: Clock,
        *,
        origins: Origins,
        limiter: HandshakeLimiter,
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self._hub = hub
        self._authenticator = authenticator
        self._clock = clock
        self._origins = origins
        self._limiter = limiter
        self._trusted_proxies = trusted_proxies
        self._renewals: dict[str, asyncio.Task[None]] = {}

    async def authorize(self, connection: Connection, request: UpgradeRequest) -> str | None:
        self._admit(connection, request)
        if request.token is None:
            raise TokenMissing
        connection.identify(await self._authenticator.authenticate(request.token))
        return request.chosen_subprotocol

    def opened(self, connection: Connection) -> None:
        self._hub.attach(connection)

    def received(self, connection: Connection, text: str) -> None:
        match session.receive(text):
            case session.Reply(payload):
                self._tell(connection, payload)
            case session.Reauthenticate(token):
                self._renew_soon(connection, token)

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        self._hub.detach(connection.connection_id)
        renewal = self._renewals.pop(connection.connection_id, None)
        if renewal is not None:
            renewal.cancel()

    def _admit(self, connection: Connection, request: UpgradeRequest) -> None:
        forwarded_for = request.headers.get("x-forwarded-for", "")
        address = client_address(connection.peer_address, forwarded_for, self._trusted_proxies)
        if not self._limiter.allows(address, self._clock.now()):
            raise Refusal(429, "TOO_MANY_HANDSHAKES", "Too many connections from this address; try again shortly")
        if not self._origins.allows(request.headers.get("origin")):
            raise Refusal(403, "ORIGIN_NOT_ALLOWED", "Pages from this origin may not connect")

    def _tell(self, connection: Connection, payload: bytes) -> None:
        connection.send(text_frames(payload), self._clock.now())

    def _renew_soon(self, connection: Connection, token: str) -> None:
        connection_id = connection.connection_id
        previous = self._renewals.pop(connection_id, None)
        if previous is not None:
            # The newer token is the one that counts, and one check at a time is enough for anybody.
            previous.cancel()
        task = asyncio.get_running_loop().create_task(self._renew(connection, token))
        self._renewals[connection_id] = task
        task.add_done_callback(lambda done: self._forget_renewal(connection_id, done))

    def _forget_renewal(self, connection_id: str, done: asyncio.Task[None]) -> None:
        if self._renewals.get(connection_id) is done:
            del self._renewals[connection_id]

    async def _renew(self, connection: Connection, token: str) -> None:
        try:
            identity = await self._authenticator.authenticate(token)
            answer = session.renewed(identity, connection.user_id)
        except TellwireError as error:
            self._tell(connection, session.refusal(error))
            if not error.retryable:
                connection.close(error.close_code, error.code)
        except Exception:
            logger.exception("checking a new token failed")
            self._tell(connection, session.refusal(TellwireError("The token could not be checked; try again")))
        else:
            connection.identify(identity)
            self._tell(connection, answer)
