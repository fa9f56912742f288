"""The expiry of an upload's lease: its worker is silent, so the server publishes that it has stalled, or failed.

A timer, a client that comes back, and a sweeper on AWS may all notice the same silence. That does no harm: what they
publish names the state it was made of, and is not taken in place of another.
"""

from tellwire.ports import Broker, Clock, NullObserver, Observer
from tellwire.stream import Entry
from tellwire.uploads import on_lease_expired


class LeaseExpiry:
    """Publishes the consequences of expired leases."""

    def __init__(self, broker: Broker, clock: Clock, observer: Observer | None = None) -> None:
        self._broker = broker
        self._clock = clock
        self._observer = observer or NullObserver()

    async def expire(self, entry: Entry) -> bool:
        """Publish that an upload has stalled or failed. False if its lease lasts, or its worker was heard of meanwhile.

        Raises:
            HistoryUnavailable: it cannot be kept.
        """
        was_taken = False
        for publication in on_lease_expired(entry, self._clock.now()):
            published = await self._broker.publish(publication)
            if published.entry is None:
                break
            was_taken = True
            if published.entry.status is not None:
                self._observer.lease_expired(published.entry.status)
        return was_taken
