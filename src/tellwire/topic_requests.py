"""Requests about topics: to subscribe, to end that, and to hear who is there.

    subscribe    the rights ─▶ peer.subscribe ─▶ history.read ─▶ `subscribed`, in pages │ `error` with the topic
    unsubscribe  peer.unsubscribe ─▶ `unsubscribed`
    presence     subscribed, and the rule has presence ─▶ peer.watch ─▶ `presence`, then who comes and goes
    hello        each of its topics as for a `subscribe`, one after the other
    auth         the rights to each topic again ─▶ `unsubscribed` with the reason, of those that are withdrawn

The client gets live messages since before the history is read, so none is missed in between. Of one connection, the
requests about one topic are done in their order, and the newest counts: the pages of one before it end.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from weakref import WeakValueDictionary

from tellwire import protocol
from tellwire.errors import PresenceOff, TellwireError, TopicForbidden, TopicNotSubscribed, TopicRightsUnavailable
from tellwire.model import Identity
from tellwire.ports import Peer, TopicAuthorizer
from tellwire.publication import StreamKey, topic_of, topic_stream
from tellwire.replays import Ended, Replays
from tellwire.text import require_topic
from tellwire.topics import TopicRules, forbidden

logger = logging.getLogger("tellwire.conversation")

Public = Callable[[TellwireError, Peer], TellwireError]
"""Returns the error that a client may see."""


class _Turn:
    """The requests of one connection about one topic that are being handled. `newest` is the number of the last."""

    __slots__ = ("__weakref__", "lock", "newest")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.newest = 0

    def take(self) -> int:
        """Return the number of another request, which is the newest now."""
        self.newest += 1
        return self.newest


class TopicRequests:
    """The handling of requests about topics. `public` makes of an error the one that a client may see."""

    def __init__(self, authorizer: TopicAuthorizer, rules: TopicRules, replays: Replays, public: Public) -> None:
        self._authorizer = authorizer
        self._rules = rules
        self._replays = replays
        self._public = public
        # Only those in progress: nothing is kept of a connection that waits for messages.
        self._turns: WeakValueDictionary[tuple[str, StreamKey], _Turn] = WeakValueDictionary()

    async def perform(
        self, request: protocol.Subscribe | protocol.Unsubscribe | protocol.WatchPresence, peer: Peer
    ) -> None:
        """Perform a request.

        Raises:
            TellwireError: it was not done.
            Ended: the client is gone, or takes nothing.
        """
        stream = topic_stream(require_topic("topic", request.topic))
        if isinstance(request, protocol.Subscribe):
            await self._subscribe(request, stream, peer)
        elif isinstance(request, protocol.Unsubscribe):
            await self._unsubscribe(stream, peer)
        else:
            await self._watch(stream, peer)

    async def subscribe_all(self, requests: Sequence[protocol.Subscribe], peer: Peer) -> None:
        """Perform the requests of a hello, and tell the client which are refused.

        Raises:
            Ended: the client is gone, or takes nothing.
        """
        for request in requests:
            try:
                await self.perform(request, peer)
            except TellwireError as error:
                refusal = protocol.refusal(self._public(error, peer), None, request.topic)
                await self._replays.ready(peer, len(refusal))
                await peer.send(refusal)

    async def recheck(self, peer: Peer) -> None:
        """Check the rights of a client to its topics again. Those that are withdrawn are ended, and the client is told.

        Where nobody knows just now, a topic stays.
        """
        for stream in tuple(peer.subscriptions):
            try:
                await self._require_right(stream, await peer.grants())
            except TopicForbidden as error:
                await self._withdraw(stream, peer, error)
            except TopicRightsUnavailable as error:
                # Whoever does not answer is in the log already.
                logger.debug("%s: a topic stays for now: %s", peer.connection_id, error)

    async def _subscribe(self, request: protocol.Subscribe, stream: StreamKey, peer: Peer) -> None:
        turn = self._turn(peer, stream)
        number = turn.take()
        async with turn.lock:
            was_subscribed = stream in peer.subscriptions
            try:
                await self._begin(stream, peer)
            except BaseException as error:
                if not was_subscribed or isinstance(error, TopicForbidden):
                    await peer.unsubscribe(stream)
                raise
        pages = partial(protocol.subscribed, request.topic)
        is_done = False
        try:
            await self._replays.send(
                peer, stream, request.cursor, request.version, pages, lambda: turn.newest == number
            )
            is_done = True
        except Ended:
            if turn.newest == number:
                raise
            # A newer request about this topic has taken its place, and is answered.
            is_done = True
        finally:
            if not is_done and not was_subscribed and turn.newest == number:
                await peer.unsubscribe(stream)

    async def _unsubscribe(self, stream: StreamKey, peer: Peer) -> None:
        turn = self._turn(peer, stream)
        turn.take()
        async with turn.lock:
            await peer.unsubscribe(stream)
        await peer.send(protocol.unsubscribed(topic_of(stream) or ""))

    async def _watch(self, stream: StreamKey, peer: Peer) -> None:
        topic = topic_of(stream) or ""
        # After a `subscribe` that was sent before, and as one step for an `unsubscribe` that comes after.
        async with self._turn(peer, stream).lock:
            if stream not in peer.subscriptions:
                raise TopicNotSubscribed(topic)
            if not self._rules.has_presence(stream):
                raise PresenceOff(topic)
            await peer.watch(stream)

    async def _withdraw(self, stream: StreamKey, peer: Peer, error: TopicForbidden) -> None:
        turn = self._turn(peer, stream)
        turn.take()
        async with turn.lock:
            await peer.unsubscribe(stream)
        await peer.send(protocol.unsubscribed(error.topic, error))

    async def _begin(self, stream: StreamKey, peer: Peer) -> None:
        identity = await peer.grants()
        await self._require_right(stream, identity)
        await peer.subscribe(stream)
        renewed = await peer.grants()
        if renewed != identity:
            # It was not subscribed yet when the topics were checked for the new token.
            await self._require_right(stream, renewed)

    async def _require_right(self, stream: StreamKey, identity: Identity) -> None:
        topic = topic_of(stream) or ""
        if not await self._authorizer.may_subscribe(identity, topic):
            raise forbidden(topic)

    def _turn(self, peer: Peer, stream: StreamKey) -> _Turn:
        return self._turns.setdefault((peer.connection_id, stream), _Turn())
