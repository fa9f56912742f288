"""The gateway's application: connections are let in by their token, join the hub, and are answered by the session."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from tellwire import protocol
from tellwire.broker import Streams
from tellwire.carriers.hub import Hub
from tellwire.errors import TellwireError, TokenMissing
from tellwire.gateway.admission import HandshakeLimiter, Network, Origins, client_address
from tellwire.model import timestamp
from tellwire.ports import Authenticator, Clock
from tellwire.server.framing import text_frames
from tellwire.server.handshake import Refusal, UpgradeRequest
from tellwire.server.socket import Connection

logger = logging.getLogger("tellwire.gateway")


class Sessions:
    """An `Application` (see `socket`) that tells users what is published to them."""

    def __init__(
        self,
        hub: Hub,
        streams: Streams,
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
        self._streams = streams
        self._renewals: dict[str, asyncio.Task[None]] = {}
        self._welcomes: dict[str, asyncio.Task[None]] = {}
        self._asked: set[asyncio.Task[None]] = set()

    async def authorize(self, connection: Connection, request: UpgradeRequest) -> str | None:
        self._admit(connection, request)
        if request.token is None:
            raise TokenMissing
        connection.identify(await self._authenticator.authenticate(request.token))
        return request.chosen_subprotocol

    def opened(self, connection: Connection) -> None:
        self._hub.attach(connection)

    def received(self, connection: Connection, text: str) -> None:
        match protocol.receive(text):
            case protocol.Reply(payload):
                self._tell(connection, payload)
            case protocol.Reauthenticate(token):
                self._start(self._renewals, connection, self._renew(connection, token))
            case protocol.Recover(cursor):
                self._start(self._welcomes, connection, self._welcome(connection, cursor))
            case protocol.Acknowledge(cursor):
                self._do(connection, self._streams.acknowledge(connection.user_id, cursor))
            case protocol.Cancel(upload_id):
                self._do(connection, self._streams.cancel(connection.user_id, upload_id))

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        self._hub.detach(connection.connection_id)
        for tasks in (self._renewals, self._welcomes):
            task = tasks.pop(connection.connection_id, None)
            if task is not None:
                task.cancel()

    def _admit(self, connection: Connection, request: UpgradeRequest) -> None:
        forwarded_for = request.headers.get("x-forwarded-for", "")
        address = client_address(connection.peer_address, forwarded_for, self._trusted_proxies)
        if not self._limiter.allows(address, self._clock.now()):
            raise Refusal(429, "TOO_MANY_HANDSHAKES", "Too many connections from this address; try again shortly")
        if not self._origins.allows(request.headers.get("origin")):
            raise Refusal(403, "ORIGIN_NOT_ALLOWED", "Pages from this origin may not connect")

    def _tell(self, connection: Connection, payload: bytes) -> None:
        connection.send(text_frames(payload), self._clock.now())

    def _start(
        self, tasks: dict[str, asyncio.Task[None]], connection: Connection, work: Coroutine[Any, Any, None]
    ) -> None:
        """Begin what a client asked for. The newer wish is the one that counts, and one at a time is enough."""
        connection_id = connection.connection_id
        previous = tasks.pop(connection_id, None)
        if previous is not None:
            previous.cancel()
        task = tasks[connection_id] = asyncio.get_running_loop().create_task(work)

        def forget(done: asyncio.Task[None]) -> None:
            if tasks.get(connection_id) is done:
                del tasks[connection_id]

        task.add_done_callback(forget)

    def _do(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        """Do what a client asked for, even if it goes away meanwhile, and tell it if that cannot be done."""
        task = asyncio.get_running_loop().create_task(self._done_or_refused(connection, work))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)

    async def _done_or_refused(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TellwireError as error:
            self._tell(connection, protocol.refusal(error))
        except Exception:
            logger.exception("what a client asked for failed")
            self._tell(connection, protocol.refusal(TellwireError("It could not be done; try again")))

    async def _welcome(self, connection: Connection, cursor: str | None) -> None:
        # The connection hears live messages since before the history is read, so nothing falls between the two.
        try:
            pages = await self._streams.welcome(
                connection.user_id, cursor, connection.connection_id, timestamp(connection.expires_at)
            )
        except TellwireError as error:
            logger.error("a client cannot be told what it missed: %s", error)  # noqa: TRY400 - it says what is wrong
            connection.close(error.close_code, error.code)
            return
        for page in pages:
            # One page at a time, however much was missed: the outbox is for what is said now.
            await connection.drained()
            self._tell(connection, page)

    async def _renew(self, connection: Connection, token: str) -> None:
        try:
            identity = await self._authenticator.authenticate(token)
            answer = protocol.renewed(identity, connection.user_id)
        except TellwireError as error:
            self._tell(connection, protocol.refusal(error))
            if not error.retryable:
                connection.close(error.close_code, error.code)
        except Exception:
            logger.exception("checking a new token failed")
            self._tell(connection, protocol.refusal(TellwireError("The token could not be checked; try again")))
        else:
            connection.identify(identity)
            self._tell(connection, answer)
