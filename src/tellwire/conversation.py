"""The conversation of a client and a server, the same on a socket and behind API Gateway.

    text ─▶ protocol.receive (pure) ─▶ an action ─▶ Conversation.handle ─▶ peer.send, peer.close, broker.publish

    Reply           sent back as it is
    Ping            `pong`, which says where the user's stream ends: a client that has less says `hello`
    Reauthenticate  authenticator ─▶ peer.renew ─▶ `auth_ok` │ `error`, and the connection is closed
    Recover         history.read ─▶ `welcome` in pages │ `error`, and the connection is closed; then its topics
    Subscribe       the rights ─▶ peer.subscribe ─▶ history.read ─▶ `subscribed` in pages │ `error`
    Unsubscribe     peer.unsubscribe ─▶ `unsubscribed`
    WatchPresence   peer.watch ─▶ `presence`, and then who comes and goes │ `error`
    Publish         the rights ─▶ a message to the topic, from this user │ `error`
    Acknowledge     `seen` ─▶ every device of the user
    Cancel          `cancelled` ─▶ every device, and the worker with the answer to its next update │ `error`
    Mark            `marks`: what is read, or dismissed ─▶ every device
    Dismiss         `dismissed` ─▶ every device │ `error`
    DismissEnded    the same for all uploads that have ended
    ReadHistory     history.page ─▶ `ok`
    Custom          the handler of that type ─▶ its answer

A request with an id then gets one `ok`, or the `error`, with that id, unless the connection is closed for it. A client
repeats one that was not answered: all but those of own types change nothing the second time, and those of own types
are in a ledger, so their handlers are called once.

A client is told its own errors. Errors of the server are logged, and the client is told to try again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterator, Mapping
from functools import partial

from msgspec import UNSET, UnsetType

from tellwire import protocol, wire
from tellwire.client_publishes import ClientPublishes
from tellwire.engine import Engine
from tellwire.errors import (
    ConnectionUnknown,
    HistoryUnavailable,
    KeysUnavailable,
    PublishError,
    TellwireError,
    TokenExpired,
    TokenOfAnotherUser,
)
from tellwire.limited_log import LimitedLog
from tellwire.limits import HEARTBEAT_SECONDS
from tellwire.message_handlers import MessageHandlers
from tellwire.model import timestamp
from tellwire.own_requests import OwnRequests
from tellwire.ports import Authenticator, Clock, NullObserver, Observer, Peer, TopicAuthorizer
from tellwire.position import StreamEnd
from tellwire.publication import StreamKey, topic_of, user_stream
from tellwire.replays import Ended, Replays
from tellwire.stream import Replay
from tellwire.stream_requests import StreamRequest, StreamRequests
from tellwire.topic_requests import TopicRequests
from tellwire.topics import ClaimAuthorizer

logger = logging.getLogger("tellwire.conversation")

Answered = protocol.Ping | protocol.Reauthenticate | protocol.Recover | protocol.TopicRequest | StreamRequest
"""The requests that the server itself answers."""


class Conversation:
    """The handling of a client's actions.

    `authorizer` has the rights to topics; None: those of the rules of topics, and of the claims of tokens.
    `heartbeat_seconds` and `limits` are in each welcome: after this time without a received message a client should
    send a `ping`, and these are the limits that it should keep to.
    """

    def __init__(
        self,
        engine: Engine,
        authenticator: Authenticator,
        clock: Clock,
        handlers: MessageHandlers | None = None,
        *,
        authorizer: TopicAuthorizer | None = None,
        heartbeat_seconds: int = HEARTBEAT_SECONDS,
        limits: wire.Limits | UnsetType = UNSET,
        observer: Observer | None = None,
    ) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._clock = clock
        self._handlers = handlers if handlers is not None else MessageHandlers()
        self._heartbeat_seconds = heartbeat_seconds
        self._limits = limits
        self._observer = observer or NullObserver()
        self._replays = Replays(engine, clock, self._observer)
        authorizer = ClaimAuthorizer(engine.topics) if authorizer is None else authorizer
        self._topic_requests = TopicRequests(authorizer, engine.topics, self._replays, self._public)
        self._client_publishes = ClientPublishes(engine.broker, authorizer)
        self._own_requests = OwnRequests(self._handlers, engine.requests, self._public)
        self._stream_requests = StreamRequests(engine.broker, engine.history, clock, engine.handed_on, engine.topics)
        # Where a store is away, the requests of all its devices fail.
        self._failures = LimitedLog(logger, logging.ERROR, "failed requests", clock)

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
        if isinstance(action, protocol.Reply):
            await peer.send(action.payload)
            return
        answer = None
        try:
            if isinstance(action, protocol.Custom):
                answer = await self._own_requests.answer(action, peer)
            else:
                await self._answer(action, peer)
        except Exception:
            await peer.send(protocol.failed(action.request_id))
            raise
        # Outside: where it cannot be sent, the request was handled all the same, and has not failed.
        if answer is not None:
            await peer.send(answer)

    async def _answer(self, request: Answered, peer: Peer) -> None:
        request_id = request.request_id
        try:
            result = await self._perform(request, peer)
            if result is not None:
                await self._replays.ready(peer, len(result))
            if request_id is not None:
                await peer.send(protocol.ok(request_id, result))
        except Ended:
            pass
        except TellwireError as error:
            topic = request.topic if isinstance(request, protocol.TopicRequest) else None
            await peer.send(protocol.refusal(self._public(error, peer), request_id, topic))

    async def _perform(self, request: Answered, peer: Peer) -> bytes | None:
        """Perform a request; return the result, as JSON, that belongs into its `ok`.

        Raises:
            Ended: the connection was closed for it.
            TellwireError: it was not done.
        """
        match request:
            case protocol.Ping():
                await peer.send(await self._pong(peer))
            case protocol.Reauthenticate(token):
                await self._or_close(peer, self._renew(peer, token), unless=KeysUnavailable)
                await self.recheck_topics(peer)
            case protocol.Recover():
                # A client without a welcome concludes that no history is kept. Closing makes it come back and ask
                # again.
                await self._or_close(peer, self._welcome(peer, request))
                await self._topic_requests.subscribe_all(request.topics, peer)
            case protocol.Subscribe() | protocol.Unsubscribe() | protocol.WatchPresence():
                await self._topic_requests.perform(request, peer)
            case protocol.Publish():
                await self._client_publishes.perform(request, peer)
            case _:
                return await self._stream_requests.perform(request, peer)
        return None

    async def recheck_topics(self, peer: Peer) -> None:
        """Check the rights of a client to its topics again, and end those that are withdrawn."""
        await self._topic_requests.recheck(peer)

    def pong(self, peer: Peer) -> bytes:
        """Return the answer to a ping, without waiting."""
        history = self._engine.history
        if history is None:
            return protocol.pong(None)
        return protocol.pong(
            history.known_end(user_stream(peer.user_id)),
            _by_topic({each: history.known_end(each) for each in peer.subscriptions}),
        )

    async def _pong(self, peer: Peer) -> bytes:
        history = self._engine.history
        if history is None:
            return protocol.pong(None)
        try:
            end = await history.end(user_stream(peer.user_id))
            topics = [each for each in peer.subscriptions if self._engine.topics.retention_of(each) is not None]
            ends = dict(zip(topics, await asyncio.gather(*map(history.end, topics)), strict=True))
            return protocol.pong(end, _by_topic(ends))
        except HistoryUnavailable as error:
            logger.warning("a pong cannot say where a stream ends: %s", error)
            return protocol.pong(None)  # it is a sign of life, all the same

    async def _renew(self, peer: Peer, token: str) -> None:
        identity = await self._authenticator.authenticate(token)
        if identity.user_id != peer.user_id:
            raise TokenOfAnotherUser
        if not await peer.renew(identity):
            raise ConnectionUnknown
        await peer.send(protocol.auth_ok(identity))

    async def _welcome(self, peer: Peer, hello: protocol.Recover) -> None:
        # The peer has received live publications since before the history is read, so none is missed in between.
        began_at = time.perf_counter()
        pages = partial(self._welcome_pages, peer)
        stream = user_stream(peer.user_id)
        replay = await self._replays.send(peer, stream, hello.cursor, hello.version, pages)
        self._observer.welcomed(replay, time.perf_counter() - began_at)

    def _welcome_pages(self, peer: Peer, replay: Replay) -> Iterator[bytes]:
        head = wire.Welcome(
            peer.connection_id,
            peer.user_id,
            replay.cursor,
            replay.recovered,
            timestamp(peer.expires_at),
            heartbeat_seconds=self._heartbeat_seconds,
            limits=self._limits,
        )
        return protocol.welcome(head, replay)

    async def _or_close(self, peer: Peer, work: Awaitable[None], unless: type[TellwireError] | None = None) -> None:
        """Await `work`, and close the connection if it fails, `unless` with this error, which is raised.

        Raises:
            Ended: the connection was closed.
        """
        try:
            await work
        except TellwireError as error:
            if unless is not None and isinstance(error, unless):
                raise
            await peer.close(self._public(error, peer))
            raise Ended from error

    def _public(self, error: TellwireError, peer: Peer) -> TellwireError:
        """Return the error that a client may see. Errors of the server are logged and replaced."""
        if not isinstance(error, PublishError):
            return error
        self._failures.tell_left_out()
        self._failures.write("%s: its request failed: %s", peer.connection_id, error)
        return HistoryUnavailable("try again in a few seconds")


def _by_topic(ends: Mapping[StreamKey, StreamEnd | None]) -> dict[str, StreamEnd]:
    """Return the ends that are known, by the name of the topic."""
    return {topic_of(stream) or "": end for stream, end in ends.items() if end is not None}
