"""The peer of a conversation on a socket, and its bound on requests in flight."""

import asyncio
import logging

from tellwire import protocol
from tellwire.carriers.hub import Sent
from tellwire.conversation import Conversation
from tellwire.errors import RequestsLimited, TellwireError
from tellwire.limits import MAX_REQUESTS_IN_FLIGHT, MAX_REQUESTS_REFUSED
from tellwire.model import Identity
from tellwire.ports import Clock
from tellwire.server.framing import text_frames
from tellwire.server.socket import Connection

logger = logging.getLogger("tellwire.gateway")

_NEWEST_COUNTS = (protocol.Recover, protocol.Reauthenticate)


class SocketPeer:
    """A `Peer` on a socket.

    Its requests run beside each other, up to `MAX_REQUESTS_IN_FLIGHT`: above that the client is told, and closed with
    4429 if it goes on. Of `hello` and `auth` the newest counts, and ends the one before. A request that has begun
    is finished although the client goes away, so that no cancel is lost.
    """

    __slots__ = ("_clock", "_connection", "_conversation", "_newest", "_refused", "_requests")

    def __init__(self, connection: Connection, conversation: Conversation, clock: Clock) -> None:
        self._connection = connection
        self._conversation = conversation
        self._clock = clock
        # There is a peer for each of tens of thousands of idle sockets, so these are made when they are needed.
        self._requests: set[asyncio.Task[None]] | None = None
        self._newest: dict[type[protocol.Action], asyncio.Task[None]] | None = None
        self._refused = 0

    # --- a Peer -------------------------------------------------------------------------------------------------------

    @property
    def connection_id(self) -> str:
        return self._connection.connection_id

    @property
    def user_id(self) -> str:
        return self._connection.user_id

    @property
    def expires_at(self) -> float:
        return self._connection.expires_at

    async def send(self, payload: bytes) -> bool:
        return self._send(payload)

    async def ready(self) -> None:
        await self._connection.drained()

    async def renew(self, identity: Identity) -> bool:
        if self._connection.is_open:
            self._connection.identify(identity)
        return self._connection.is_open

    async def close(self, error: TellwireError) -> None:
        self._close(error)

    # --- messages of the client ---------------------------------------------------------------------------------------

    def receive(self, text: str) -> None:
        """Handle one message of the client."""
        action = self._conversation.receive(text)
        match action:
            case protocol.Reply(payload):
                self._send(payload)  # most messages are pings, and need no task
            case _ if len(self._requests or ()) < MAX_REQUESTS_IN_FLIGHT:
                self._start(action)
            case _:
                self._refuse()

    def closed(self) -> None:
        """End the welcome and the renewal of a client that is gone."""
        for task in (self._newest or {}).values():
            task.cancel()

    def _start(self, action: protocol.Action) -> None:
        task = asyncio.get_running_loop().create_task(self._handle(action))
        self._requests = self._requests or set()
        self._requests.add(task)
        task.add_done_callback(self._done)
        if isinstance(action, _NEWEST_COUNTS):
            self._newest = self._newest or {}
            previous = self._newest.get(type(action))
            if previous is not None:
                previous.cancel()
            self._newest[type(action)] = task

    def _done(self, task: asyncio.Task[None]) -> None:
        if self._requests is not None:
            self._requests.discard(task)
        if not self._requests:
            self._requests, self._newest, self._refused = None, None, 0

    async def _handle(self, action: protocol.Action) -> None:
        try:
            await self._conversation.handle(action, self)
        except Exception:
            logger.exception("%s: a request failed", self.connection_id)

    def _refuse(self) -> None:
        error = RequestsLimited(MAX_REQUESTS_IN_FLIGHT)
        self._refused += 1
        if self._refused > MAX_REQUESTS_REFUSED:
            self._close(error)
        else:
            self._send(protocol.refusal(error))

    def _send(self, payload: bytes) -> bool:
        return self._connection.send(text_frames(payload), self._clock.now()) is Sent.DELIVERED

    def _close(self, error: TellwireError) -> None:
        self._send(protocol.refusal(error))
        self._connection.close(error.close_code, error.code)
