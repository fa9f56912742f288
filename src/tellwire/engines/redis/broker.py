"""The broker in Redis: a publication is kept, and sent to the channel of its stream, by one script.

    publish ─▶ append.lua ─▶ the channel ─▶ every node that holds a connection of the stream delivers it

So the order of a channel is that of its stream, whoever publishes. `delivered` counts the connections that were
registered at that moment, on nodes that live: they get it a moment later. The nodes count by themselves how many had
gone, or failed. Of a topic, each node has registered the number of its subscribers.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from tellwire.broker import outcome_of, publish_in_task, refused
from tellwire.engines.redis.history import Outcome, RedisHistory
from tellwire.errors import TellwireError, TooManyEscalations, code_of
from tellwire.escalations import make_room
from tellwire.limits import MAX_ESCALATIONS
from tellwire.model import Delivery
from tellwire.ports import Carrier, NullObserver, Observer, PublishDone, Published
from tellwire.publication import Publication
from tellwire.uploads import no_room

logger = logging.getLogger("tellwire.engines.redis")

_NO_ROOM: Final = "an upload of a user is not shown, because too many are running"


class RedisBroker:
    """A `Broker` on a history in Redis. `carrier` delivers publications that are not kept.

    `count_live` counts the ids of connections that are on nodes that live, and `count_subscribers` adds up the numbers
    of such nodes.
    """

    def __init__(
        self,
        history: RedisHistory,
        carrier: Carrier,
        count_live: Callable[[Iterable[bytes]], int],
        observer: Observer | None = None,
        count_subscribers: Callable[[Sequence[bytes]], int] = lambda counts: 0,
    ) -> None:
        self._history = history
        self._carrier = carrier
        self._count_live = count_live
        self._count_subscribers = count_subscribers
        self._observer = observer or NullObserver()
        self._tasks: set[asyncio.Task[None]] = set()

    def publish_soon(self, publication: Publication, done: PublishDone) -> None:
        if publication.part is not None or not self._history.keeps(publication):
            publish_in_task(self, publication, done, self._tasks)
        else:
            self._history.keep_soon(publication, partial(self._answer, publication, done, time.perf_counter()))

    async def publish(self, publication: Publication) -> Published:
        began_at = time.perf_counter()
        try:
            if self._history.keeps(publication):
                published = await self._published(publication, await self._history.keep(publication))
            else:
                published = await self._deliver(publication)
        except Exception as error:
            self._observer.publish_failed(code_of(error))
            raise
        self._observer.published(publication, published, time.perf_counter() - began_at)
        return published

    async def publish_linked(self, publications: Sequence[Publication]) -> list[Published]:
        began_at = time.perf_counter()
        outcomes: list[Published] = []
        for publication, outcome in zip(publications, await self._history.keep_linked(publications), strict=True):
            is_kept = outcome.entry is not None
            published = await self._published(publication, outcome) if is_kept else Published(None, Delivery())
            self._observer.published(publication, published, time.perf_counter() - began_at)
            outcomes.append(published)
        return outcomes

    async def publish_all(self, publications: Sequence[Publication]) -> list[Published | Exception]:
        began_at = time.perf_counter()
        outcomes: list[Published | Exception] = []
        start = 0
        for index, publication in enumerate(publications):
            if not self._history.keeps(publication):
                outcomes += await self._publish_kept(publications[start:index], began_at)
                delivering = self._deliver(publication)
                outcomes.append(await outcome_of(delivering, publication, self._observer, began_at))
                start = index + 1
        return outcomes + await self._publish_kept(publications[start:], began_at)

    async def _publish_kept(self, publications: Sequence[Publication], began_at: float) -> list[Published | Exception]:
        outcomes: list[Published | Exception] = []
        for publication, outcome in zip(publications, await self._history.keep_all(publications), strict=True):
            if isinstance(outcome, TellwireError):
                self._observer.publish_failed(code_of(outcome))
                outcomes.append(outcome)
            elif not outcome.has_no_room:
                published = self._known(publication, outcome)
                self._observer.published(publication, published, time.perf_counter() - began_at)
                outcomes.append(published)
            else:
                publishing = self._published(publication, outcome)
                outcomes.append(await outcome_of(publishing, publication, self._observer, began_at))
        return outcomes

    def _answer(
        self, publication: Publication, done: PublishDone, began_at: float, outcome: Outcome | Exception
    ) -> None:
        """Answer a publish whose outcome is known."""
        if isinstance(outcome, Exception):
            self._observer.publish_failed(code_of(outcome))
            done(outcome)
            return
        if outcome.has_no_room and publication.escalation is not None:
            publish_in_task(self, publication, done, self._tasks)
            return
        if outcome.has_no_room:
            logger.warning(_NO_ROOM)
            # The user has been told when the producer gets the answer, which is an error if that failed.
            self._history.keep_soon(
                no_room(publication),
                lambda told: self._answer(
                    publication, done, began_at, told if isinstance(told, Exception) else Outcome(None)
                ),
            )
            return
        published = self._known(publication, outcome)
        self._observer.published(publication, published, time.perf_counter() - began_at)
        done(published)

    async def _deliver(self, publication: Publication) -> Published:
        return Published(None, await self._carrier.deliver(publication))

    async def _published(self, publication: Publication, outcome: Outcome) -> Published:
        if outcome.has_no_room and publication.escalation is not None:
            return self._known(publication, await self._keep_with_room(publication))
        if outcome.has_no_room:
            logger.warning(_NO_ROOM)
            await self._history.keep(no_room(publication))
        return self._known(publication, outcome)

    async def _keep_with_room(self, publication: Publication) -> Outcome:
        """Keep a publication after escalations that are acknowledged have made room for that of it."""
        outcome = Outcome(None, has_no_room=True)
        if await make_room(self._history, publication.target.user or ""):
            outcome = await self._history.keep(publication)
        if outcome.has_no_room:
            raise TooManyEscalations(MAX_ESCALATIONS)
        return outcome

    def _known(self, publication: Publication, outcome: Outcome) -> Published:
        if outcome.entry is not None:
            receivers = outcome.receivers
            if not receivers:
                return Published(outcome.entry, Delivery())
            count = self._count_live if publication.target.topic is None else self._count_subscribers
            return Published(outcome.entry, Delivery(delivered=count(receivers)))
        if outcome.state is not None:
            return Published(None, refused(publication, outcome.state))
        return Published(None, Delivery())
