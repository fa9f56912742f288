"""One connection to a Redis on which channels are subscribed to.

    SSUBSCRIBE channel  ─▶  ssubscribe: `confirmed`, or an error: `refused`
    smessage            ─▶  `receive`, at once and in this turn of the event loop
    sunsubscribe that nobody asked for (a slot has moved)  ─▶  `refused`

redis-py's PubSub takes 5 µs for a message of a burst; this takes 1 µs. See docs/decisions/0009-reading-channels.md.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import hiredis

from tellwire.engines.redis.link.address import Endpoint, RedisAddress
from tellwire.engines.redis.link.words import UNREACHABLE, unavailable
from tellwire.errors import HistoryUnavailable
from tellwire.limits import REDIS_TIMEOUT_SECONDS

logger = logging.getLogger("tellwire.engines.redis")


class Subscription(Protocol):
    """A channel, as its link sees it."""

    @property
    def channel(self) -> bytes: ...

    @property
    def receive(self) -> Callable[[bytes], None]:
        """Takes a message."""
        ...

    def confirmed(self) -> None:
        """Note that Redis sends its messages from now on."""
        ...

    def refused(self, error: Exception | None) -> None:
        """Note that Redis does not send them. None: it does no more, because the channel has moved."""
        ...


class ChannelLink(asyncio.Protocol):
    """A connection. `lost` is called once, at its end."""

    def __init__(self, lost: Callable[["ChannelLink"], None]) -> None:
        self._lost = lost
        self._reader = hiredis.Reader()
        # Redis answers in the order of the questions; messages come in between.
        self._asked: deque[tuple[bytes, Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._was_heard = True
        self.subscriptions: dict[bytes, Subscription] = {}

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def subscribe(self, subscription: Subscription) -> None:
        """Ask for the messages of a channel."""
        self.subscriptions[subscription.channel] = subscription
        self._ask(b"SSUBSCRIBE", subscription, subscription.channel)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End it. Messages may still come."""
        if self.subscriptions.get(subscription.channel) is subscription:
            del self.subscriptions[subscription.channel]
            self._ask(b"SUNSUBSCRIBE", subscription.channel, subscription.channel)

    async def log_in(self, address: RedisAddress) -> None:
        """Name ourselves to Redis.

        Raises:
            HistoryUnavailable: Redis does not accept it, or does not answer in time.
        """
        answers = []
        if address.password is not None:
            words = [address.password] if address.username is None else [address.username, address.password]
            answers.append(self._answer(b"AUTH", *(each.encode() for each in words)))
        answers.append(self._answer(b"PING"))
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                for each in await asyncio.gather(*answers):
                    if isinstance(each, Exception):
                        raise unavailable(each)
        except TimeoutError:
            raise HistoryUnavailable(f"Redis did not answer within {REDIS_TIMEOUT_SECONDS:g} s") from None

    def check(self) -> None:
        """Cut the connection if nothing has come since the last check, and ask for a sign of life."""
        if not self._was_heard:
            self.abort()
            return
        self._was_heard = False
        self._ask(b"PING", None)

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._was_heard = True
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            if type(reply) is list and reply[0] == b"smessage":
                self._received(reply[1], reply[2])
            else:
                self._answered(reply)

    def _received(self, channel: bytes, data: bytes) -> None:
        subscription = self.subscriptions.get(channel)
        if subscription is None:
            return  # it was ended a moment ago
        try:
            subscription.receive(data)
        except Exception:
            # One message must not end the messages of all.
            logger.exception("a message of a channel cannot be handled")

    def connection_lost(self, exc: Exception | None) -> None:
        asked, self._asked = self._asked, deque()
        for command, waiting in asked:
            if command in (b"PING", b"AUTH") and waiting is not None and not waiting.done():
                waiting.set_result(ConnectionError("lost"))
        self._lost(self)

    # --- questions and answers ----------------------------------------------------------------------------------------

    def _ask(self, command: bytes, waiting: Any, *words: bytes) -> None:
        if self._transport is not None:
            self._asked.append((command, waiting))
            self._transport.write(hiredis.pack_command((command, *words)))  # type: ignore[arg-type]

    def _answer(self, command: bytes, *words: bytes) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._ask(command, answer, *words)
        return answer

    def _answered(self, reply: Any) -> None:
        if type(reply) is list and reply[0] == b"sunsubscribe" and not self._is_asked_to_end(reply[1]):
            moved = self.subscriptions.pop(reply[1], None)
            if moved is not None:
                moved.refused(None)
            return
        if not self._asked:
            self.abort()  # it speaks of something else
            return
        command, waiting = self._asked.popleft()
        if command in (b"PING", b"AUTH"):
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)
        elif command == b"SSUBSCRIBE":
            self._subscribed(waiting, reply)

    def _subscribed(self, subscription: Subscription, reply: Any) -> None:
        if self.subscriptions.get(subscription.channel) is not subscription:
            return  # it was ended meanwhile
        if isinstance(reply, Exception):
            del self.subscriptions[subscription.channel]
            subscription.refused(reply)
        else:
            subscription.confirmed()

    def _is_asked_to_end(self, channel: bytes) -> bool:
        return bool(self._asked) and self._asked[0] == (b"SUNSUBSCRIBE", channel)


async def connect(host: Endpoint, address: RedisAddress, lost: Callable[[ChannelLink], None]) -> ChannelLink:
    """Open a connection to one Redis.

    Raises:
        HistoryUnavailable: it cannot be reached, or does not accept us.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            _, link = await loop.create_connection(
                lambda: ChannelLink(lost), host[0], host[1], ssl=address.ssl_context()
            )
    except (OSError, TimeoutError) as error:
        raise unavailable(error) from error
    try:
        await link.log_in(address)
    except BaseException:
        link.abort()
        raise
    if not link.is_open:
        # It was lost together with the last answer, and nobody would hear of that again.
        raise HistoryUnavailable(UNREACHABLE)
    return link
