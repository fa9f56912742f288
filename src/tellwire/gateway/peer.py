"""The peer of a conversation on a socket, and the limits of its requests."""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass, field

from tellwire import protocol
from tellwire.carriers.hub import Sent
from tellwire.conversation import Conversation
from tellwire.errors import RequestsLimited, TellwireError
from tellwire.gateway.connection import GatewayConnection
from tellwire.gateway.connection_topics import ConnectionTopics
from tellwire.gateway.request_rates import REFUSALS, RequestRates
from tellwire.limits import MAX_REQUESTS_IN_FLIGHT
from tellwire.model import Identity
from tellwire.ports import Clock, NullObserver, Observer, Presence
from tellwire.publication import StreamKey
from tellwire.server.lifetime import RESTARTING

logger = logging.getLogger("tellwire.gateway")

_NEWEST_COUNTS = (protocol.Recover, protocol.Reauthenticate)


@dataclass(frozen=True, slots=True)
class PeerParts:
    """The parts of a node that its peers share."""

    conversation: Conversation
    presence: Presence
    topics: ConnectionTopics
    clock: Clock
    rates: RequestRates
    observer: Observer = field(default_factory=NullObserver)


class SocketPeer:
    """A `Peer` on a socket.

    Its requests run beside each other, up to `MAX_REQUESTS_IN_FLIGHT`, and come at the rates of `rates`. Above that the
    client is told, and closed with 4429 if it goes on. Of `hello` and `auth` the newest counts, and ends the one
    before. A request that has begun is finished although the client goes away, so that no cancel is lost.
    """

    __slots__ = (
        "_closes_when_idle",
        "_connection",
        "_hellos_full_at",
        "_messages_full_at",
        "_newest",
        "_of_node",
        "_refusals_full_at",
        "_requests",
    )

    def __init__(self, connection: GatewayConnection, of_node: PeerParts) -> None:
        # There is a peer for each of tens of thousands of idle sockets, so it has few fields, and these two are made
        # when they are needed.
        self._connection = connection
        self._of_node = of_node
        self._requests: set[asyncio.Task[None]] | None = None
        self._newest: dict[type[protocol.Action], asyncio.Task[None]] | None = None
        self._closes_when_idle = False
        self._messages_full_at = self._hellos_full_at = self._refusals_full_at = 0.0

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

    async def ready(self, size_bytes: int) -> None:
        await self._connection.drained()
        wait_seconds = self._of_node.rates.replays.wait_seconds(
            self.user_id, size_bytes, self._of_node.clock.monotonic()
        )
        if wait_seconds:
            await self._of_node.clock.sleep(wait_seconds)

    async def renew(self, identity: Identity) -> bool:
        if self._connection.is_open:
            self._connection.identify(identity)
            self._of_node.topics.identified(self._connection, identity)
            await self._of_node.presence.renewed(self._connection)
        return self._connection.is_open

    @property
    def subscriptions(self) -> Collection[StreamKey]:
        return self._of_node.topics.of(self._connection)

    async def grants(self) -> Identity:
        return self._of_node.topics.grants(self._connection)

    async def subscribe(self, stream: StreamKey) -> None:
        await self._of_node.topics.subscribe(self._connection, stream)

    async def unsubscribe(self, stream: StreamKey) -> None:
        self._of_node.topics.unsubscribe(self._connection, stream)

    async def watch(self, stream: StreamKey) -> None:
        await self._of_node.topics.watch(self._connection, stream)

    async def close(self, error: TellwireError) -> None:
        self._close(error)

    # --- messages of the client ---------------------------------------------------------------------------------------

    def receive(self, text: str) -> None:
        """Handle one message of the client."""
        now = self._of_node.clock.monotonic()
        full_at = self._of_node.rates.messages.take(self._messages_full_at, now)
        if full_at is None:
            self.refuse(f"messages: {self._of_node.rates.messages}", protocol.request_id_in(text))
            return
        self._messages_full_at = full_at
        action = self._of_node.conversation.receive(text)
        match action:
            case protocol.Reply(payload):
                self._send(payload)
            case protocol.Ping(request_id=None):
                self._send(self._of_node.conversation.pong(self))  # most messages are pings, and need no task
            case _ if isinstance(action, protocol.WHOLE_HISTORY) and not self._may_say_hello(now):
                self.refuse(f"hellos: {self._of_node.rates.hellos}", action.request_id)
            case _ if len(self._requests or ()) < MAX_REQUESTS_IN_FLIGHT:
                self._start(action)
            case _:
                self.refuse(f"{MAX_REQUESTS_IN_FLIGHT} that wait for an answer", action.request_id)

    def refuse(self, allowed: str, request_id: str | None = None) -> None:
        """Tell the client that it sends more than is allowed; close if it was told often."""
        error = RequestsLimited(allowed)
        self._of_node.observer.request_refused(error.code)
        full_at = REFUSALS.take(self._refusals_full_at, self._of_node.clock.monotonic())
        if full_at is None:
            self._close(error)
        else:
            self._refusals_full_at = full_at
            self._send(protocol.refusal(error, request_id))

    def refuse_control_frames(self) -> None:
        """Tell the client that it sends more WebSocket pings or pongs than are allowed."""
        self.refuse(f"pings: {self._connection.control_frames}")

    def _may_say_hello(self, now: float) -> bool:
        full_at = self._of_node.rates.hellos.take(self._hellos_full_at, now)
        self._hellos_full_at = self._hellos_full_at if full_at is None else full_at
        return full_at is not None

    def closed(self) -> None:
        """End the welcome and the renewal of a client that is gone."""
        for task in (self._newest or {}).values():
            task.cancel()

    def close_when_idle(self) -> None:
        """Close the connection because the gateway drains, when the welcome and the requests in progress are over."""
        self._closes_when_idle = True
        if not self._requests:
            self._connection.close(*RESTARTING)

    def _start(self, action: protocol.Request) -> None:
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
            self._requests, self._newest = None, None
            if self._closes_when_idle:
                self._connection.close(*RESTARTING)

    async def _handle(self, action: protocol.Request) -> None:
        try:
            await self._of_node.conversation.handle(action, self)
        except Exception:
            logger.exception("%s: a request failed", self.connection_id)

    def _send(self, payload: bytes) -> bool:
        return self._connection.send_text(payload, self._of_node.clock.now()) is Sent.DELIVERED

    def _close(self, error: TellwireError) -> None:
        self._send(protocol.refusal(error))
        self._connection.close(error.close_code, error.code)
