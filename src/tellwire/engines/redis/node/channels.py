"""The channels that this process subscribes to, over one connection, or in a cluster over one to each master.

A channel that has lost its connection is subscribed to again as soon as Redis is there, and `resubscribed` is told:
what was published meanwhile is lost. Nobody else opens or watches these connections.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from tellwire.engines.redis.link.address import Endpoint, RedisAddress
from tellwire.engines.redis.link.words import unavailable
from tellwire.engines.redis.node.channel_link import ChannelLink, connect
from tellwire.errors import HistoryUnavailable
from tellwire.limits import (
    REDIS_CHANNELS_PER_TURN,
    REDIS_PROBE_SECONDS,
    REDIS_REFUSED_SECONDS,
    REDIS_TIMEOUT_SECONDS,
)

logger = logging.getLogger("tellwire.engines.redis")

_ANY: Final = Endpoint("", 0)


class Channel:
    """A channel that is subscribed to, or is to be. `receive` gets its messages, and `resubscribed` is called when some
    may be lost. `moved_to` is the master of a cluster that another one has named.
    """

    __slots__ = (
        "_channels",
        "_is_confirmed",
        "_ready",
        "_was_confirmed",
        "channel",
        "link",
        "moved_to",
        "receive",
        "resubscribed",
    )

    def __init__(
        self,
        channels: "Channels",
        channel: bytes,
        receive: Callable[[bytes], None],
        resubscribed: Callable[[], None],
    ) -> None:
        self._channels = channels
        self.receive = receive
        self.resubscribed = resubscribed
        self._ready: asyncio.Future[None] | None = None
        self.channel = channel
        self.link: ChannelLink | None = None
        self.moved_to: Endpoint | None = None
        self._is_confirmed = self._was_confirmed = False

    async def ready(self) -> None:
        """Wait until Redis sends its messages.

        Raises:
            HistoryUnavailable: it does not within `REDIS_TIMEOUT_SECONDS`.
        """
        if self._is_confirmed and self.link is not None and self.link.is_open:
            return
        self._ready = self._ready or asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise HistoryUnavailable(self._channels.trouble or "Redis does not confirm a channel") from None

    def end_wait(self) -> None:
        """End the wait of those who need it: it is ready, or nobody needs it any more."""
        if self._ready is not None:
            self._ready.set_result(None)
            self._ready = None

    # --- a Subscription -----------------------------------------------------------------------------------------------

    def confirmed(self) -> None:
        is_again, self._was_confirmed = self._was_confirmed, True
        self._is_confirmed, self.moved_to = True, None
        self.end_wait()
        if is_again:
            self.resubscribed()

    def refused(self, error: Exception | None) -> None:
        self.lost()
        self._channels.place_again(self, error)

    def lost(self) -> None:
        """Note that it has no connection any more."""
        self.link = None
        self._is_confirmed = False


class Channels:
    """All channels of a process. `endpoint_of` names the Redis that has a channel. Call `start` before use."""

    def __init__(
        self,
        address: RedisAddress,
        endpoint_of: Callable[[bytes], Awaitable[Endpoint]],
    ) -> None:
        self._address = address
        self._endpoint_of = endpoint_of
        self.trouble: str | None = None
        self._links: dict[Endpoint, ChannelLink] = {}
        # Those without a connection, in the order in which they came.
        self._waiting: dict[Channel, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep the connections."""
        self._task = asyncio.create_task(self._run(), name="tellwire-redis-channels")

    def subscribe(
        self, name: bytes, receive: Callable[[bytes], None], resubscribed: Callable[[], None] = lambda: None
    ) -> Channel:
        """Begin to subscribe to a channel. The caller may await that it is `ready`."""
        channel = Channel(self, name, receive, resubscribed)
        link = None if self._is_cluster else self._links.get(_ANY)
        if link is not None and link.is_open:
            channel.link = link
            link.subscribe(channel)
        else:
            self._wait(channel)
        return channel

    def unsubscribe(self, channel: Channel) -> None:
        """End a subscription."""
        self._waiting.pop(channel, None)
        channel.end_wait()
        link, channel.link = channel.link, None
        if link is not None:
            link.unsubscribe(channel)

    def place_again(self, channel: Channel, error: Exception | None) -> None:
        """Subscribe to a channel anew, where it is now."""
        channel.moved_to = _moved_to(error)
        if error is not None and channel.moved_to is None:
            self.trouble = unavailable(error).reason
        self._waiting[channel] = None
        # Where a slot is on its way, two masters may each name the other for a moment.
        asyncio.get_running_loop().call_later(REDIS_REFUSED_SECONDS, self._wake.set)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._place_all())
            group.create_task(self._check_links())

    async def close(self) -> None:
        """Cut all connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        links, self._links = self._links, {}
        for link in links.values():
            link.abort()

    @property
    def _is_cluster(self) -> bool:
        return self._address.kind == "cluster"

    def _wait(self, channel: Channel) -> None:
        self._waiting[channel] = None
        self._wake.set()

    async def _place_all(self) -> None:
        """Give a connection to each channel that waits for one."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._place_waiting()
            except HistoryUnavailable as error:
                if self.trouble is None:
                    logger.warning("the channels of Redis are away: %s", error.reason)
                self.trouble = error.reason
            except Exception:
                logger.exception("the channels of Redis cannot be subscribed to, trying again")
            else:
                self.trouble = None
                continue
            await asyncio.sleep(REDIS_PROBE_SECONDS)
            self._wake.set()

    async def _place_waiting(self) -> None:
        away: dict[Endpoint, HistoryUnavailable] = {}
        for number, channel in enumerate(list(self._waiting), 1):
            link = await self._link_for(channel, away)
            if link is not None and channel in self._waiting:  # nobody has ended it meanwhile
                del self._waiting[channel]
                channel.link = link
                link.subscribe(channel)
            if number % REDIS_CHANNELS_PER_TURN == 0:
                await asyncio.sleep(0)
        for error in away.values():
            raise error

    async def _link_for(self, channel: Channel, away: dict[Endpoint, HistoryUnavailable]) -> ChannelLink | None:
        """Return an open connection to the Redis of a channel; None if that is `away`, to which it may be added."""
        known = None if self._is_cluster else self._links.get(_ANY)
        if known is not None and known.is_open:
            return known
        endpoint = channel.moved_to or await self._endpoint_of(channel.channel)
        channel.moved_to = None
        key = endpoint if self._is_cluster else _ANY
        link = self._links.get(key)
        if (link is None or not link.is_open) and key not in away:
            try:
                link = self._links[key] = await connect(endpoint, self._address, self._lost)
            except HistoryUnavailable as error:
                away[key] = error
        return None if key in away else link

    def _lost(self, link: ChannelLink) -> None:
        for key in [key for key, each in self._links.items() if each is link]:
            del self._links[key]
        subscriptions, link.subscriptions = link.subscriptions, {}
        for channel in subscriptions.values():
            if isinstance(channel, Channel) and channel.link is link:
                channel.lost()
                self._wait(channel)

    async def _check_links(self) -> None:
        while True:
            await asyncio.sleep(REDIS_TIMEOUT_SECONDS)
            for link in list(self._links.values()):
                try:
                    link.check()
                except Exception:
                    # Nobody else would notice that the others are not checked any more.
                    logger.exception("a connection to Redis cannot be checked")
                    link.abort()


def _moved_to(error: Exception | None) -> Endpoint | None:
    """Return the master that has a slot, as another one says: `MOVED <slot> <host>:<port>`."""
    words = str(error).split(" ") if error is not None else []
    if len(words) != 3 or words[0] != "MOVED":
        return None
    host, _, port = words[2].rpartition(":")
    return Endpoint(host, int(port)) if host else None
