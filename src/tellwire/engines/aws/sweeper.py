"""The sweeper: it finds the uploads whose leases have expired, among all that run, within the time of a function.

    index, 1,000 keys at a time ─▶ the leases of 100 items in one call ─▶ those that have expired, 64 at a time

A run begins where the last one ended, so nobody is left out again and again. A healthy upload costs half a read unit
in a run: an index by the time of expiry would cost four times as much for each renewal of a lease, and there are
several in a minute.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct

from tellwire.aws_api.deadline import remaining_seconds
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.history_table import HistoryTable, StateKey
from tellwire.entry import Entry
from tellwire.errors import TellwireError
from tellwire.limits import SWEEP_MARGIN_SECONDS

_BATCH: Final = 100
"""Items of one BatchGetItem, at most."""


class Swept(Struct, frozen=True):
    """The outcome of a run: uploads with an expired lease, whether all were looked at, and the first error."""

    expired: int
    is_finished: bool
    error: TellwireError | None = None


class Sweeper:
    """One run. `expire` publishes that a lease has expired; False: it has been renewed."""

    def __init__(
        self, table: HistoryTable, now: Callable[[], float], expire: Callable[[Entry], Awaitable[bool]]
    ) -> None:
        self._table = table
        self._now = now
        self._expire = expire
        self._expired = 0
        self._error: TellwireError | None = None
        self._position: StateKey | None = None

    async def run(self) -> Swept:
        """Look at all uploads that run, for as long as there is time.

        Raises:
            HistoryUnavailable: the table cannot be read.
        """
        began_at = await self._table.sweep_position()
        self._position = began_at
        is_finished = await self._to_the_end() and (began_at is None or await self._to_the_end(until=began_at))
        position = None if is_finished else self._position
        if position != began_at:
            await self._table.put_sweep_position(position, self._now())
        return Swept(self._expired, is_finished, self._error)

    async def _to_the_end(self, until: StateKey | None = None) -> bool:
        """Go on from the position to the end of the index, or to a key. False: there is no time left."""
        while _has_time():
            keys, following = await self._table.leased_page(self._position)
            if not await self._sweep(keys):
                return False
            self._position = following
            if following is None or (until is not None and following.stream > until.stream):
                return True
        return False

    async def _sweep(self, keys: Sequence[StateKey]) -> bool:
        batches = [keys[first : first + _BATCH] for first in range(0, len(keys), _BATCH)]
        expired = await each(batches, self._expired_ones)
        done = await each([key for some in expired for key in some], self._expire_one)
        return all(done)

    async def _expired_ones(self, keys: Sequence[StateKey]) -> list[StateKey]:
        now = self._now()
        return [key for key, expires_at in await self._table.lease_expiries(keys) if expires_at <= now]

    async def _expire_one(self, key: StateKey) -> bool:
        """Publish that a lease has expired. False: there is no time left, so the next run does it."""
        if not _has_time():
            return False
        try:
            entry = await self._table.state_at(key)
            if entry is not None and entry.lease_expires_at is not None:
                has_expired = await self._expire(entry)
                self._expired += has_expired  # only now: many wait at a time
        except TellwireError as error:
            if not _has_time():
                return False
            # The next run tries it again.
            self._error = self._error or error
        return True


def _has_time() -> bool:
    return remaining_seconds() > SWEEP_MARGIN_SECONDS
