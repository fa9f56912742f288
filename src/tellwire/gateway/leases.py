"""Uploads whose worker may fall silent: each is looked at when its lease is over, unless it was heard of before.

What is to be said then `uploads` decides, and `Streams` says it.
"""

import logging
from collections.abc import Awaitable, Callable

import msgspec

from tellwire.errors import HistoryUnavailable
from tellwire.ports import Clock, History
from tellwire.server.timer_wheel import Deadlines
from tellwire.stream import Entry

logger = logging.getLogger("tellwire.gateway")

_AGAIN_SECONDS = 5.0


class _Lease:
    """One upload's. `due_slot` is the wheel's."""

    __slots__ = ("due_slot", "entry", "user_id")

    def __init__(self, user_id: str, entry: Entry) -> None:
        self.user_id = user_id
        self.entry = entry
        self.due_slot = 0


class Leases:
    """The leases of this node's users. `note` is to hear of every state that is kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._wheel: Deadlines[_Lease] = Deadlines(clock.now())
        self._by_upload: dict[tuple[str, str], _Lease] = {}

    def __len__(self) -> int:
        return len(self._by_upload)

    def note(self, user_id: str, entry: Entry) -> None:
        """Hear of a state: the lease begins anew, or is over if it is the last word."""
        if entry.key is None:
            return
        upload = (user_id, entry.key)
        if entry.lapses_at is None:
            lease = self._by_upload.pop(upload, None)
            if lease is not None:
                self._wheel.discard(lease)
            return
        lease = self._by_upload.get(upload)
        if lease is None:
            lease = self._by_upload[upload] = _Lease(user_id, entry)
        lease.entry = entry
        self._wheel.put(lease, entry.lapses_at)

    async def load(self, history: History) -> None:
        """Take up the leases that a process before this one had. Each lasts a whole time from now: its worker could not
        renew it while nobody was here.
        """
        now = self._clock.now()
        async for user_id, entry in history.leased():
            self.note(user_id, msgspec.structs.replace(entry, at=now))

    async def watch(self, lapse: Callable[[str, Entry], Awaitable[bool]]) -> None:
        """Say what is to be said of each whose lease is over, for ever."""
        while True:
            await self._clock.sleep(1.0)
            now = self._clock.now()
            for lease in list(self._wheel.due(now)):
                if await self._lapses(lease, lapse):
                    self._forget(lease)
                else:
                    self._wheel.put(lease, now + _AGAIN_SECONDS)

    async def _lapses(self, lease: _Lease, lapse: Callable[[str, Entry], Awaitable[bool]]) -> bool:
        """Tell whether it was looked at; if not, it is to be looked at again."""
        try:
            await lapse(lease.user_id, lease.entry)
        except HistoryUnavailable as error:
            logger.warning("a silent upload cannot be declared so, trying again: %s", error)
            return False
        except Exception:
            # One upload's trouble must not leave all others unwatched.
            logger.exception("a silent upload cannot be declared so, trying again")
            return False
        return True

    def _forget(self, lease: _Lease) -> None:
        """Forget an upload of which nothing new came, since the history has forgotten it. Another run has its own."""
        upload = (lease.user_id, lease.entry.key or "")
        if not lease.due_slot and self._by_upload.get(upload) is lease:
            del self._by_upload[upload]
