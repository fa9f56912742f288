"""A broker composed of a history and a carrier, and a carrier that publishes through a broker.

    publish      history.append ─▶ carrier.deliver ─▶ Published
    publish_all  history.append_all ─▶ carrier.deliver, one after the other

A connected client gets the publication now, and its number shows that none is missing before it. A client that is away
reads it from the history later. Only a broker calls both append and deliver.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable, PublishError, TooManyEscalations, code_of
from tellwire.escalations import make_room
from tellwire.model import ConnectionInfo, Delivery
from tellwire.ports import (
    Broker,
    Carrier,
    ConnectionCounter,
    History,
    NullObserver,
    Observer,
    PublishDone,
    Published,
)
from tellwire.publication import Publication
from tellwire.topics import TopicRules
from tellwire.upload_states import is_superseded
from tellwire.uploads import no_room

logger = logging.getLogger("tellwire.broker")


class ComposedBroker:
    """A `Broker` of a `History` and a `Carrier`. `on_kept` is called with every entry before it is delivered.

    `topics` say which publications of topics are kept; the others are only delivered.
    """

    def __init__(
        self,
        history: History,
        carrier: Carrier,
        on_kept: Callable[[Entry], None] = lambda entry: None,
        observer: Observer | None = None,
        topics: TopicRules | None = None,
    ) -> None:
        self._history = history
        self._carrier = carrier
        self._topics = topics or TopicRules()
        self._on_kept = on_kept
        self._observer = observer or NullObserver()
        self._tasks: set[asyncio.Task[None]] = set()

    def publish_soon(self, publication: Publication, done: PublishDone) -> None:
        publish_in_task(self, publication, done, self._tasks)

    async def publish(self, publication: Publication) -> Published:
        began_at = time.perf_counter()
        try:
            entry = await self._append(publication) if self._topics.keeps(publication) else None
            published = await self._deliver(publication, entry)
        except Exception as error:
            self._observer.publish_failed(code_of(error))
            raise
        self._observer.published(publication, published, time.perf_counter() - began_at)
        return published

    async def publish_linked(self, publications: Sequence[Publication]) -> list[Published]:
        began_at = time.perf_counter()
        outcomes: list[Published] = []
        for publication, entry in zip(publications, await self._history.append_linked(publications), strict=True):
            published = Published(None, Delivery()) if entry is None else await self._deliver(publication, entry)
            self._observer.published(publication, published, time.perf_counter() - began_at)
            outcomes.append(published)
        return outcomes

    async def publish_all(self, publications: Sequence[Publication]) -> list[Published | Exception]:
        if any(each.escalation is not None for each in publications):
            return [await _outcome(self.publish(each)) for each in publications]
        began_at = time.perf_counter()
        entries: Iterator[Entry | HistoryUnavailable | None]
        try:
            entries = iter(await self._history.append_all([each for each in publications if self._topics.keeps(each)]))
        except HistoryUnavailable as error:
            entries = itertools.repeat(error)
        outcomes: list[Published | Exception] = []
        for publication in publications:
            entry = next(entries) if self._topics.keeps(publication) else None
            if isinstance(entry, HistoryUnavailable):
                self._observer.publish_failed(code_of(entry))
                outcomes.append(entry)
            else:
                delivering = self._deliver(publication, entry)
                outcomes.append(await outcome_of(delivering, publication, self._observer, began_at))
        return outcomes

    async def _append(self, publication: Publication) -> Entry | None:
        try:
            return await self._history.append(publication)
        except TooManyEscalations:
            try:
                ended = await make_room(self._history, publication.target.user or "")
            except PublishError:
                ended = []  # a worker on AWS has no right to read the states of a stream
            if not ended:
                raise
        for entry in ended:
            self._on_kept(entry)
        return await self._history.append(publication)

    async def _deliver(self, publication: Publication, entry: Entry | None) -> Published:
        if entry is None:
            if not self._topics.keeps(publication):
                return Published(None, await self._carrier.deliver(publication))
            return Published(None, await self._not_kept(publication))
        self._on_kept(entry)
        try:
            return Published(entry, await self._carrier.deliver(entry))
        except PublishError as error:
            if not error.retryable:
                raise  # a right or a table is missing: that must not look like success
            # It is kept, so devices get it when they come back. An error would make the producer publish it again.
            logger.warning("a publication was kept and could not be delivered just now: %s", error)
            return Published(entry, Delivery(unsent=1))

    async def _not_kept(self, publication: Publication) -> Delivery:
        """Return the delivery of a publication that was not kept."""
        if publication.key is None or publication.stream is None:
            return Delivery()
        state = await self._history.state(publication.stream, publication.key)
        if state is None:
            if publication.replaces is None:
                await self._tell_no_room(publication)
            return Delivery()
        return refused(publication, state)

    async def _tell_no_room(self, publication: Publication) -> None:
        """Tell the user, once, that an upload is not shown."""
        error = no_room(publication)
        logger.warning("an upload of a user is not shown, because too many are running")
        entry = await self._history.append(error)
        if entry is not None:
            await self._deliver(error, entry)


def publish_in_task(
    broker: Broker, publication: Publication, done: PublishDone, tasks: set[asyncio.Task[None]]
) -> None:
    """Publish in a task, which is in `tasks` until it ends: `Broker.publish_soon` for brokers that have to wait."""

    async def publish() -> None:
        try:
            published = await broker.publish(publication)
        except Exception as error:  # noqa: BLE001 - it is this publication's outcome
            done(error)
        else:
            done(published)

    task = asyncio.get_running_loop().create_task(publish())
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _outcome(publishing: Awaitable[Published]) -> Published | Exception:
    try:
        return await publishing
    except Exception as error:  # noqa: BLE001 - it is this publication's outcome
        return error


async def outcome_of(
    publishing: Awaitable[Published], publication: Publication, observer: Observer, began_at: float
) -> Published | Exception:
    """Return the outcome of one of several publications: an error is its own, and the others go on."""
    try:
        published = await publishing
    except Exception as error:  # noqa: BLE001 - it is this publication's outcome
        observer.publish_failed(code_of(error))
        return error
    observer.published(publication, published, time.perf_counter() - began_at)
    return published


def refused(publication: Publication, state: Entry) -> Delivery:
    """Return the delivery of a publication that was not kept beside this state of its key: it tells a worker that its
    run is over.
    """
    if is_superseded(publication, state):
        return Delivery(cancelled=state.past_runs.get(publication.run or "") == "cancelled", superseded=True)
    return Delivery(cancelled=state.status == "cancelled" and not publication.is_final)


class LiveBroker:
    """A `Broker` without a history: it only delivers to live connections."""

    def __init__(self, carrier: Carrier, observer: Observer | None = None) -> None:
        self._carrier = carrier
        self._observer = observer or NullObserver()
        self._tasks: set[asyncio.Task[None]] = set()

    def publish_soon(self, publication: Publication, done: PublishDone) -> None:
        publish_in_task(self, publication, done, self._tasks)

    async def publish(self, publication: Publication) -> Published:
        began_at = time.perf_counter()
        published = Published(None, await self._carrier.deliver(publication))
        self._observer.published(publication, published, time.perf_counter() - began_at)
        return published

    async def publish_linked(self, publications: Sequence[Publication]) -> list[Published]:
        return [await self.publish(publication) for publication in publications]

    async def publish_all(self, publications: Sequence[Publication]) -> list[Published | Exception]:
        outcomes: list[Published | Exception] = []
        for publication in publications:
            try:
                outcomes.append(await self.publish(publication))
            except Exception as error:  # noqa: BLE001 - it is this publication's outcome
                outcomes.append(error)
        return outcomes


class BrokerCarrier:
    """A `Carrier` for producers: it publishes through a broker, which keeps publications in their streams."""

    def __init__(self, broker: Broker, carrier: Carrier) -> None:
        self._broker = broker
        self._carrier = carrier

    async def deliver(self, publication: Publication) -> Delivery:
        return (await self._broker.publish(publication)).delivery

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        return await self._carrier.connections(user_id)

    async def count(self, user_id: str) -> int:
        return await count_connections(self._carrier, user_id)

    async def disconnect(self, connection_id: str) -> bool:
        return await self._carrier.disconnect(connection_id)


async def count_connections(carrier: Carrier, user_id: str) -> int:
    """Return the number of live connections of a user.

    Raises:
        PublishError: nobody knows, just now.
    """
    if isinstance(carrier, ConnectionCounter):
        found = carrier.count(user_id)
        return found if isinstance(found, int) else await found
    return len(await carrier.connections(user_id))
