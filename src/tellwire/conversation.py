"""The conversation of a client and a server, the same on a socket and behind API Gateway.

    text ─▶ protocol.receive (pure) ─▶ an action ─▶ Conversation.handle ─▶ peer.send, peer.close, broker.publish

    Reply           sent back as it is
    Reauthenticate  authenticator ─▶ peer.renew ─▶ `auth_ok` │ `error`, and the connection is closed
    Recover         history.read ─▶ `welcome` in pages │ `error`, and the connection is closed
    Acknowledge     `seen` ─▶ every device of the user
    Cancel          `cancelled` ─▶ every device, and the worker with the answer to its next update │ `error`
    Custom          the handler of that type ─▶ its answer

A client is told its own errors. Errors of the server are logged, and the client is told to try again.
"""

import logging
import time
from collections.abc import Awaitable

from tellwire import protocol, wire
from tellwire.engine import Engine
from tellwire.errors import (
    ConnectionUnknown,
    HistoryMissing,
    HistoryUnavailable,
    InvalidMessage,
    KeysUnavailable,
    PublishError,
    TellwireError,
    TokenExpired,
    TokenOfAnotherUser,
    UploadUnknown,
)
from tellwire.lease_expiry import LeaseExpiry
from tellwire.limits import HEARTBEAT_SECONDS
from tellwire.message_handlers import MessageHandlers
from tellwire.messages import encode_message
from tellwire.model import Sender, timestamp
from tellwire.ports import Authenticator, Clock, History, NullObserver, Observer, Peer
from tellwire.publication import upload_key, user_stream
from tellwire.stream import Replay, seen_state
from tellwire.uploads import cancelled

logger = logging.getLogger("tellwire.conversation")


class Conversation:
    """The handling of a client's actions.

    `heartbeat_seconds` is in each welcome: after this time without a received message a client should send a `ping`.
    """

    def __init__(
        self,
        engine: Engine,
        authenticator: Authenticator,
        clock: Clock,
        handlers: MessageHandlers | None = None,
        *,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
        observer: Observer | None = None,
    ) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._clock = clock
        self._handlers = handlers if handlers is not None else MessageHandlers()
        self._heartbeat_seconds = heartbeat_seconds
        self._observer = observer or NullObserver()

    def receive(self, text: str) -> protocol.Action:
        """Return the action for a client's message."""
        return protocol.receive(text, self._handlers)

    async def handle(self, action: protocol.Action, peer: Peer) -> None:
        """Do it, and answer the client.

        Raises:
            Exception: all but `InvalidMessage` that a handler of the project's own types raises, and faults of ours.
                The client was told that something went wrong, and nothing else.
        """
        if peer.expires_at <= self._clock.now() and not isinstance(action, protocol.Reauthenticate):
            await peer.close(TokenExpired())
            return
        try:
            if isinstance(action, protocol.Custom):
                await self._call(action, peer)
            else:
                await self._answer(action, peer)
        except Exception:
            await peer.send(protocol.refusal(TellwireError("The message could not be handled; try again")))
            raise

    async def _call(self, action: protocol.Custom, peer: Peer) -> None:
        """Call the handler of a custom message, and send its answer."""
        try:
            answer = await self._handlers.call(action.type, action.data, Sender(peer.user_id, peer.connection_id))
        except InvalidMessage as error:
            await peer.send(protocol.refusal(error))
            return
        if answer is not None:
            await peer.send(encode_message(answer))

    async def _answer(self, action: protocol.Action, peer: Peer) -> None:
        try:
            await self._perform(action, peer)
        except TellwireError as error:
            await peer.send(protocol.refusal(_public(error, peer)))

    async def _perform(self, action: protocol.Action, peer: Peer) -> None:
        match action:
            case protocol.Reply(payload):
                await peer.send(payload)
            case protocol.Reauthenticate(token):
                await _or_close(peer, self._renew(peer, token), unless=KeysUnavailable)
            case protocol.Recover(cursor):
                # A client without a welcome concludes that no history is kept. Closing makes it come back and ask
                # again.
                await _or_close(peer, self._welcome(peer, cursor))
            case protocol.Acknowledge(cursor):
                await self._acknowledge(peer, cursor)
            case protocol.Cancel(upload_id):
                await self._cancel(peer, upload_id)

    async def _renew(self, peer: Peer, token: str) -> None:
        identity = await self._authenticator.authenticate(token)
        if identity.user_id != peer.user_id:
            raise TokenOfAnotherUser
        if not await peer.renew(identity):
            raise ConnectionUnknown
        await peer.send(protocol.auth_ok(identity))

    async def _welcome(self, peer: Peer, cursor: str | None) -> None:
        # The peer has received live publications since before the history is read, so none is missed in between.
        began_at = time.perf_counter()
        history = self._engine.history
        replay = await self._read(history, peer, cursor) if history else Replay(cursor is None, "", [], [])
        head = wire.Welcome(
            peer.connection_id,
            peer.user_id,
            replay.cursor,
            replay.recovered,
            timestamp(peer.expires_at),
            heartbeat_seconds=self._heartbeat_seconds,
        )
        for page in protocol.welcome(head, replay):
            # One page at a time: the outbox must have room for live publications.
            await peer.ready()
            if not await peer.send(page):
                return
        self._observer.welcomed(replay, time.perf_counter() - began_at)

    async def _read(self, history: History, peer: Peer, cursor: str | None) -> Replay:
        stream = user_stream(peer.user_id)
        replay = await history.read(stream, cursor)
        leases = LeaseExpiry(self._engine.broker, self._clock, self._observer)
        if any([await leases.expire(entry) for entry in replay.snapshot]):
            replay = await history.read(stream, cursor)
        return replay

    async def _acknowledge(self, peer: Peer, cursor: str) -> None:
        """Publish that the user has seen the log up to a cursor. A foreign cursor is ignored."""
        if self._engine.history is None:
            return
        stream = user_stream(peer.user_id)
        position = await self._engine.history.position(stream)
        offset = position and position.offset_of(cursor)
        if position is not None and offset is not None:
            await self._engine.broker.publish(seen_state(stream, position._replace(offset=offset), self._clock.now()))

    async def _cancel(self, peer: Peer, upload_id: str) -> None:
        if self._engine.history is None:
            raise HistoryMissing
        entry = await self._engine.history.state(user_stream(peer.user_id), upload_key(upload_id))
        if entry is None:
            raise UploadUnknown(upload_id)
        await self._engine.broker.publish(cancelled(entry, self._clock.now()))


async def _or_close(peer: Peer, work: Awaitable[None], unless: type[TellwireError] | None = None) -> None:
    """Await `work`, and close the connection if it fails, `unless` with this error, which is raised."""
    try:
        await work
    except TellwireError as error:
        if unless is not None and isinstance(error, unless):
            raise
        await peer.close(_public(error, peer))


def _public(error: TellwireError, peer: Peer) -> TellwireError:
    """Return the error that a client may see. Errors of the server are logged and replaced."""
    if not isinstance(error, PublishError):
        return error
    logger.error("%s: its request failed: %s", peer.connection_id, error)
    return HistoryUnavailable("try again in a few seconds")
