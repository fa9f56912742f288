"""The expiry of an upload's lease: its worker is silent, so the server publishes that it has stalled, or failed.

A timer, a client that comes back, and a sweeper on AWS may all notice the same expiry. That is harmless: each
publication names the state it was made from, and does not replace another one.
"""

from tellwire.ports import Broker, Clock, NullObserver, Observer
from tellwire.stream import Entry
from tellwire.uploads import on_lease_expired


class LeaseExpiry:
    """The publication of expired leases."""

    def __init__(self, broker: Broker, clock: Clock, observer: Observer | None = None) -> None:
        self._broker = broker
        self._clock = clock
        self._observer = observer or NullObserver()

    async def expire(self, entry: Entry) -> bool:
        """Publish that an upload has stalled or failed. False if its lease lasts, or its worker has renewed it.

        Raises:
            HistoryUnavailable: it cannot be kept.
        """
        was_kept = False
        for publication in on_lease_expired(entry, self._clock.now()):
            published = await self._broker.publish(publication)
            if published.entry is None:
                break
            was_kept = True
            if published.entry.status is not None:
                self._observer.lease_expired(published.entry.status)
        return was_kept
