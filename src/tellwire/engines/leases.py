"""The leases of the uploads of one process, each on a timer wheel: a state renews it, silence lets it expire.

Silence is measured on the monotonic clock, from the moment at which a state was kept. After a pause (the process was
stopped, the machine slept, the clock was set forward) every lease begins anew: words of the workers may wait in the
sockets, unread, and the workers may have been stopped, too. An escalation waits for a date, which no pause moves.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from tellwire.entry import Entry
from tellwire.errors import PublishError
from tellwire.ports import Clock, History
from tellwire.publication import StreamKey, stream_of
from tellwire.server.timer_wheel import TimerWheel

logger = logging.getLogger("tellwire.engines.leases")

_TICK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 5.0
# How much longer than it asked a watch may sleep before that is a pause. The shortest lease is a second.
_LATE_SECONDS: Final = 1.0

Expire = Callable[[Entry, float], Awaitable[bool]]
"""Publishes that a lease has expired: the upload's state, and the seconds of silence."""


class _Lease:
    """One upload's lease. `due_slot` is the wheel's."""

    __slots__ = ("due_slot", "entry")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.due_slot = 0


class Leases:
    """The leases of all uploads. `note` must be called with every entry that is kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wheel: TimerWheel[_Lease] = TimerWheel(clock.monotonic())
        self._by_upload: dict[tuple[StreamKey, str], _Lease] = {}

    def __len__(self) -> int:
        return len(self._by_upload)

    def note(self, entry: Entry) -> None:
        """Renew the lease of an upload, or end it if the state is final."""
        if entry.key is None:
            return
        upload = (stream_of(entry), entry.key)
        if entry.lease_expires_at is None:
            lease = self._by_upload.pop(upload, None)
            if lease is not None:
                self._wheel.discard(lease)
            return
        now = self._clock.monotonic()
        lease = self._by_upload.get(upload)
        if lease is None:
            lease = self._by_upload[upload] = _Lease(entry)
        lease.entry = entry
        self._begin(lease, now)

    def forget(self, stream: StreamKey) -> None:
        """End the leases of a stream."""
        for upload in [each for each in self._by_upload if each[0] == stream]:
            self._wheel.discard(self._by_upload.pop(upload))

    async def load(self, history: History) -> None:
        """Load the leases of an earlier process, and renew each: its worker could not do so while no gateway was
        running. An escalation waits for the same time as before.

        Raises:
            HistoryUnavailable: they cannot be read.
        """
        async for entry in history.leased_uploads():
            self.note(entry)

    async def watch(self, expire: Expire) -> None:
        """Call `expire` for each lease that expires. It never returns."""
        while True:
            slept_seconds = await self._sleep()
            if slept_seconds > _TICK_SECONDS + _LATE_SECONDS:
                self._begin_anew(slept_seconds)
            now = self._clock.monotonic()
            for lease in list(self._wheel.due(now)):
                if await self._publish_expiry(lease, expire):
                    self._remove(lease)
                else:
                    self._wheel.put(lease, now + _RETRY_SECONDS)

    async def _sleep(self) -> float:
        """Sleep for a tick. Return the seconds that it took, on whichever clock they were more."""
        monotonic, wall = self._clock.monotonic(), self._clock.now()
        await self._clock.sleep(_TICK_SECONDS)
        # The monotonic clock of Linux stands still while the machine sleeps.
        return max(self._clock.monotonic() - monotonic, self._clock.now() - wall)

    def _begin_anew(self, slept_seconds: float) -> None:
        """Give every upload a whole lease from now. An escalation waits for the same time as before."""
        if self._by_upload:
            logger.warning(
                "nothing ran here for %.0f s, or the clock was set forward: %d leases begin anew",
                slept_seconds,
                len(self._by_upload),
            )
        now = self._clock.monotonic()
        for lease in self._by_upload.values():
            self._begin(lease, now)

    def _begin(self, lease: _Lease, now: float) -> None:
        until = lease.entry.waits_until
        self._wheel.put(lease, now + (_seconds(lease) if until is None else until - self._clock.now()))

    async def _publish_expiry(self, lease: _Lease, expire: Expire) -> bool:
        """Publish that a lease has expired. False: it failed, and is to be retried."""
        try:
            # One lease, however late this is: an upload is stalled before it has failed.
            await expire(lease.entry, _seconds(lease))
        except PublishError as error:
            logger.warning("a lease has expired and that cannot be published yet, trying again: %s", error)
            return False
        except Exception:
            # An error with one upload must not stop the watch of the others.
            logger.exception("a lease has expired and that cannot be published, trying again")
            return False
        return True

    def _remove(self, lease: _Lease) -> None:
        """Remove a lease, unless it was renewed or belongs to another run by now."""
        upload = (stream_of(lease.entry), lease.entry.key or "")
        if not lease.due_slot and self._by_upload.get(upload) is lease:
            del self._by_upload[upload]


def _seconds(lease: _Lease) -> float:
    return lease.entry.silence_seconds or 0.0
