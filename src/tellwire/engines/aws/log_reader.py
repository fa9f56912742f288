"""Reading a log that others write: the rows after an offset, without a place where a message could still appear.

    rows ─▶ find_gaps ─▶ wait for what is young ─▶ a hole wherever nothing has come

The invariant: below a cursor that was given to a client no message is ever added. A writer whose offset has become a
hole gets another one. `gaps` judges the offsets, `history_table` has the calls.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from tellwire.aws_api.deadline import remaining_seconds
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.gaps import find_gaps, is_in_flight, is_settled_below
from tellwire.engines.aws.history_items import Head, Row
from tellwire.engines.aws.history_table import HistoryTable
from tellwire.entry import Entry
from tellwire.limits import HISTORY_HOLE_SECONDS, HISTORY_REPLAY_BYTES
from tellwire.publication import StreamKey

_FIRST_PAUSE_SECONDS: Final = 0.02
_WINDOW: Final = 16
"""Rows that are read at first for a client without a cursor, to see if any writer is at work. It doubles."""


class LogPart(Struct, frozen=True):
    """The rows of a log after an offset, and all states. `evicts`: messages after that offset may have been deleted, as
    they were too old. `is_cut`: the oldest rows are left out, as they were too many bytes.
    """

    rows: list[Row]
    states: list[Entry]
    evicts: bool = False
    is_cut: bool = False


class LogReader:
    """Reads logs. `hole_seconds` is the age from which a reader no longer waits for the message of an offset."""

    def __init__(
        self,
        table: HistoryTable,
        now: Callable[[], float],
        hole_seconds: float = HISTORY_HOLE_SECONDS,
        most_bytes: int = HISTORY_REPLAY_BYTES,
    ) -> None:
        self._table = table
        self._now = now
        self._hole_seconds = hole_seconds
        self._most_bytes = most_bytes

    async def after(self, stream: StreamKey, low: int, head: Head, oldest: float) -> LogPart:
        """Read the log after the offset `low` up to its head, and the states."""
        found = await self._table.since(stream, low, head.offset, self._most_bytes)
        low = max(low, found.first - 1)
        gaps = find_gaps(found.rows, low, head, oldest, self._now())
        rows = found.rows
        if gaps.holes:
            rows = sorted([*rows, *await self.fill(stream, gaps.holes, gaps.issued_at)], key=lambda row: row.offset)
        return LogPart(rows, found.states, gaps.evicts, not found.is_whole)

    async def end(self, stream: StreamKey, head: Head, kept_after: int, oldest: float) -> LogPart:
        """Make sure that nothing is added below the head any more, and read the states.

        For a client that has nothing yet, and gets the head as its cursor.
        """
        window = _WINDOW
        while is_in_flight(head.issued_at, self._now()):
            low = max(kept_after, head.offset - window)
            rows = await self._table.times(stream, low, head.offset)
            if low == kept_after or is_settled_below(rows, self._now()):
                gaps = find_gaps(rows, low, head, oldest, self._now())
                await self.fill(stream, gaps.holes, gaps.issued_at)
                break
            window *= 2
        found = await self._table.since(stream, head.offset + 1, head.offset, self._most_bytes)
        return LogPart([], found.states)

    async def fill(
        self, stream: StreamKey, empty: Sequence[int], issued_at: float, previous_issued_at: float = 0.0
    ) -> list[Row]:
        """Return the rows at offsets that were empty: messages that have come in the meantime, or new holes.

        `issued_at`: when the last of them was issued. It waits until that is `hole_seconds` ago.
        """
        rows: list[Row] = []
        age_seconds = max(0.0, self._now() - issued_at)
        until = time.monotonic() + min(self._hole_seconds - age_seconds, remaining_seconds() / 2)
        pause_seconds = _FIRST_PAUSE_SECONDS
        while empty and (seconds_left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(pause_seconds, seconds_left))
            pause_seconds *= 2
            found = await each(empty, lambda offset: self._table.row(stream, offset))
            rows += [row for row in found if row is not None]
            empty = [offset for offset, row in zip(empty, found, strict=True) if row is None]
        now = self._now()
        rows += await each(empty, lambda offset: self._table.put_hole(stream, offset, now, previous_issued_at))
        return rows
