"""A broker composed of a history and a carrier, and a carrier that publishes through a broker.

    publish      history.append ─▶ carrier.deliver ─▶ Published
    publish_all  history.append_all ─▶ carrier.deliver, one after the other

A connected client gets the publication now, and its number shows that none is missing before it. A client that is away
reads it from the history later. Only this module calls both append and deliver.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence

from tellwire.errors import HistoryUnavailable, PublishError
from tellwire.model import ConnectionInfo, Delivery
from tellwire.ports import Broker, Carrier, History, NullObserver, Observer, Published
from tellwire.publication import Publication
from tellwire.stream import Entry

logger = logging.getLogger("tellwire.broker")


class ComposedBroker:
    """A `Broker` of a `History` and a `Carrier`. `on_kept` is called with every entry before it is delivered."""

    def __init__(
        self,
        history: History,
        carrier: Carrier,
        on_kept: Callable[[Entry], None] = lambda entry: None,
        observer: Observer | None = None,
    ) -> None:
        self._history = history
        self._carrier = carrier
        self._on_kept = on_kept
        self._observer = observer or NullObserver()

    async def publish(self, publication: Publication) -> Published:
        began_at = time.perf_counter()
        entry = None if publication.stream is None else await self._history.append(publication)
        published = await self._deliver(publication, entry)
        self._observer.published(publication, published, time.perf_counter() - began_at)
        return published

    async def publish_all(self, publications: Sequence[Publication]) -> list[Published | Exception]:
        began_at = time.perf_counter()
        entries: Iterator[Entry | HistoryUnavailable | None]
        try:
            entries = iter(await self._history.append_all([each for each in publications if each.stream is not None]))
        except HistoryUnavailable as error:
            entries = itertools.repeat(error)
        outcomes: list[Published | Exception] = []
        for publication in publications:
            entry = None if publication.stream is None else next(entries)
            if isinstance(entry, HistoryUnavailable):
                outcomes.append(entry)
                continue
            try:
                published = await self._deliver(publication, entry)
            except Exception as error:  # noqa: BLE001 - it is this publication's outcome
                outcomes.append(error)
                continue
            self._observer.published(publication, published, time.perf_counter() - began_at)
            outcomes.append(published)
        return outcomes

    async def _deliver(self, publication: Publication, entry: Entry | None) -> Published:
        if entry is None:
            if publication.stream is None:
                return Published(None, await self._carrier.deliver(publication))
            return Published(None, await self._not_kept(publication))
        self._on_kept(entry)
        try:
            return Published(entry, await self._carrier.deliver(entry))
        except PublishError as error:
            # It is kept, so devices get it when they come back. An error would make the producer publish it again.
            logger.warning("a publication was kept and could not be delivered just now: %s", error)
            return Published(entry, Delivery(unsent=1))

    async def _not_kept(self, publication: Publication) -> Delivery:
        """Return the delivery of a publication that was not kept. It tells a worker that its upload is cancelled."""
        if publication.key is None or publication.is_final or publication.stream is None:
            return Delivery()
        state = await self._history.state(publication.stream, publication.key)
        return Delivery(cancelled=state is not None and state.status == "cancelled")


class LiveBroker:
    """A `Broker` without a history: it only delivers to live connections."""

    def __init__(self, carrier: Carrier, observer: Observer | None = None) -> None:
        self._carrier = carrier
        self._observer = observer or NullObserver()

    async def publish(self, publication: Publication) -> Published:
        began_at = time.perf_counter()
        published = Published(None, await self._carrier.deliver(publication))
        self._observer.published(publication, published, time.perf_counter() - began_at)
        return published

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

    async def disconnect(self, connection_id: str) -> bool:
        return await self._carrier.disconnect(connection_id)
