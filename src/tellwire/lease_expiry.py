"""The expiry of a lease: an upload's worker is silent, so the server publishes that it has stalled, or failed; the time
to live of a state of an own type has passed, so it is removed.

A timer, a client that comes back, and a sweeper on AWS may all notice the same expiry. That is harmless: each
publication names the state it was made from, and does not replace another one.
"""

from tellwire.entry import ESCALATION, Entry
from tellwire.escalations import Escalations
from tellwire.own_states import on_state_expired
from tellwire.ports import Broker, Clock, NullObserver, Observer
from tellwire.publication import Publication, is_own_state
from tellwire.uploads import on_lease_expired


class LeaseExpiry:
    """The publication of expired leases."""

    def __init__(
        self, broker: Broker, clock: Clock, observer: Observer | None = None, escalations: Escalations | None = None
    ) -> None:
        self._broker = broker
        self._escalations = escalations
        self._clock = clock
        self._observer = observer or NullObserver()

    async def expire(self, entry: Entry, silent_seconds: float | None = None) -> bool:
        """Publish that an upload has stalled or failed, or that a state is removed. An escalation goes its next step.

        False if its lease lasts, or it has been renewed.

        `silent_seconds` is the time since its state was kept, as its watch has measured it. None: since its date.

        Raises:
            HistoryUnavailable: it cannot be kept.
        """
        if entry.type == ESCALATION:
            return self._escalations is not None and await self._escalations.expire(entry)
        was_kept = False
        now = self._clock.now()
        silent = now - entry.stored_at if silent_seconds is None else silent_seconds
        publications = _verdict(entry, silent, now)
        for published in await self._broker.publish_linked(publications) if publications else ():
            if published.entry is None:
                break
            was_kept = True
            if published.entry.status is not None:
                self._observer.lease_expired(published.entry.status)
        return was_kept


def _verdict(entry: Entry, silent_seconds: float, now: float) -> list[Publication]:
    if is_own_state(entry.key):
        removal = on_state_expired(entry, silent_seconds, now)
        return [] if removal is None else [removal]
    return list(on_lease_expired(entry, silent_seconds, now))
