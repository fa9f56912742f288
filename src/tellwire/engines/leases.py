"""The leases of the uploads of one process, each on a timer wheel: a state renews it, silence lets it expire."""

import logging
from collections.abc import Awaitable, Callable

from msgspec import structs

from tellwire.errors import PublishError
from tellwire.ports import Clock, History
from tellwire.publication import StreamKey, stream_of
from tellwire.server.timer_wheel import TimerWheel
from tellwire.stream import Entry

logger = logging.getLogger("tellwire.engines.leases")

_RETRY_SECONDS = 5.0


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
        self._wheel: TimerWheel[_Lease] = TimerWheel(clock.now())
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
        lease = self._by_upload.get(upload)
        if lease is None:
            lease = self._by_upload[upload] = _Lease(entry)
        lease.entry = entry
        self._wheel.put(lease, entry.lease_expires_at)

    async def load(self, history: History) -> None:
        """Load the leases of an earlier process, and renew each: its worker could not do so while no gateway was
        running.

        Raises:
            HistoryUnavailable: they cannot be read.
        """
        now = self._clock.now()
        async for entry in history.leased_uploads():
            self.note(structs.replace(entry, stored_at=now))

    async def watch(self, expire: Callable[[Entry], Awaitable[bool]]) -> None:
        """Call `expire` for each lease that expires. It never returns."""
        while True:
            await self._clock.sleep(1.0)
            now = self._clock.now()
            for lease in list(self._wheel.due(now)):
                if await self._publish_expiry(lease, expire):
                    self._remove(lease)
                else:
                    self._wheel.put(lease, now + _RETRY_SECONDS)

    async def _publish_expiry(self, lease: _Lease, expire: Callable[[Entry], Awaitable[bool]]) -> bool:
        """Publish that a lease has expired. False: it failed, and is to be retried."""
        try:
            await expire(lease.entry)
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
