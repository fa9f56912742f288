"""Streams in a DynamoDB table, for many functions that write at once.

    message   issue the stream's next offset ─▶ put the message there ─▶ deliver it                2 writes
              with a producer's own id: also put the id with its offset, before the message        3 writes and a read
    state     put it for its key, unless a newer one is there: one conditional write               1 write

A write costs a write unit for every KB. The first and the last state of an upload with a lease write the index, too.

A message with an id of its producer is kept once in 24 hours, however often it is published. An id of tellwire's form,
`t` and 24 hexadecimal digits, is new for each message, so it is not looked up.

An offset is issued before its message is written, and the writer may be slow, or gone. A reader waits a moment for the
message, and then puts a hole there; a late writer is issued another offset. So no message is added below a client's
position. A producer that publishes an id again whose offset is empty does the same.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from weakref import WeakValueDictionary

from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.gaps import find_gaps
from tellwire.engines.aws.history_items import Head, Row, number, text
from tellwire.engines.aws.history_table import NOTHING_THERE, Condition, HistoryTable
from tellwire.engines.memory.history import new_epoch
from tellwire.errors import HistoryUnavailable, MessageTooBig
from tellwire.limits import (
    HISTORY_HOLE_SECONDS,
    HISTORY_IN_FLIGHT,
    HISTORY_MAX_AGE_SECONDS,
    HISTORY_MAX_MESSAGES,
    HISTORY_MAX_STATES,
    MAX_MESSAGE_BYTES,
)
from tellwire.ports import Clock, SystemClock
from tellwire.publication import Publication, StreamKey, stream_of
from tellwire.stream import SEEN, START, Entry, Position, Replay, is_late, with_offset, with_version

_OUR_ID: Final = re.compile(r"t[0-9a-f]{24}")
_LAST_OFFSET: Final = 10**15 - 1

# Each failed attempt means that another writer has succeeded, so more than a few in a row do not happen.
_ATTEMPTS: Final = 20


class DynamoHistory:
    """A `History` in a table that many processes share.

    `hole_seconds` is the time that a reader waits for a message whose offset was issued.
    """

    def __init__(
        self, table: HistoryTable, clock: Clock | None = None, hole_seconds: float = HISTORY_HOLE_SECONDS
    ) -> None:
        self._table = table
        self._clock = clock or SystemClock()
        self._hole_seconds = hole_seconds
        self._turns: WeakValueDictionary[tuple[int, StreamKey], asyncio.Lock] = WeakValueDictionary()
        self._last_version = 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], clock: Clock | None = None) -> "DynamoHistory":
        """Return the history in the table that the environment names; see `environment`.

        Raises:
            ConfigError: a setting is missing or not valid.
        """
        return cls(open_history_table(environ), clock)

    async def append(self, publication: Publication) -> Entry | None:
        stream = stream_of(publication)
        async with self._turn(stream):
            put = self._put_message if publication.key is None else self._put_state
            return await put(stream, publication)

    async def append_all(self, publications: Sequence[Publication]) -> list[Entry | None]:
        return [await self.append(publication) for publication in publications]

    async def read(self, stream: StreamKey, cursor: str | None) -> Replay:
        # The head first: a later message is delivered to this client, which is connected.
        head = await self._table.head(stream) or await self._table.begin(stream, new_epoch(), self._clock.now())
        oldest = self._oldest()
        kept_after = max(0, head.offset - HISTORY_MAX_MESSAGES)
        after = _offset(cursor, head)
        # A client that has nothing yet misses nothing. But a message in flight must not get an offset below the cursor
        # that the client receives.
        low = max(kept_after, head.offset - HISTORY_IN_FLIGHT if cursor is None else after or 0)
        rows, states = await self._table.since(stream, low)
        gaps = find_gaps(rows, low, head, oldest)
        if gaps.holes:
            rows = sorted([*rows, *await self._fill(stream, gaps.holes)], key=lambda row: row.offset)
        is_whole = after is not None and after >= kept_after and not gaps.evicts
        return Replay(
            recovered=is_whole or cursor in (None, START),
            cursor=str(_position(head)),
            messages=_messages(rows, max(low, after or 0), head.offset, oldest),
            snapshot=_newest([entry for entry in states if entry.stored_at >= oldest]),
        )

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        return self._if_kept(await self._table.state(stream, key))

    async def position(self, stream: StreamKey) -> Position | None:
        head = await self._table.head(stream)
        return None if head is None else _position(head)

    async def leased_uploads(self) -> AsyncIterator[Entry]:
        oldest = self._oldest()
        async for entry in self._table.leased_uploads():
            if entry.lease_expires_at is not None and entry.stored_at >= oldest:
                yield entry

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._table.close()

    # --- the log ------------------------------------------------------------------------------------------------------

    async def _put_message(self, stream: StreamKey, publication: Publication) -> Entry | None:
        _require_room(publication)
        is_repeatable = _OUR_ID.fullmatch(publication.id) is None
        known = await self._table.offset_of(stream, publication.id, self._oldest()) if is_repeatable else None
        for _ in range(_ATTEMPTS):
            if known is not None and await self._is_at(stream, known, publication.id):
                return None
            now = self._clock.now()
            head, previous_issued_at = await self._table.issue_offset(stream, new_epoch(), now)
            if is_repeatable:
                # Before the message, so that a producer that publishes it again finds its offset, and can put a hole
                # there.
                is_ours, other = await self._table.put_offset(
                    stream, publication.id, head.offset, now, known=known, oldest=self._oldest()
                )
                known = head.offset if is_ours else other
                if not is_ours:
                    continue
            entry = with_offset(publication, now, head.epoch, head.offset)
            if await self._table.put_message(stream, entry, previous_issued_at):
                return entry
        raise HistoryUnavailable("too many write to this log at once")

    async def _is_at(self, stream: StreamKey, offset: int, message_id: str) -> bool:
        """Return True if a message is at its offset. Otherwise a hole is put there, so that it never will be."""
        # The offsets below may be empty, too, so the hole records the latest time at which they were issued.
        rows = await self._table.log(stream, offset, offset) or await self._fill(stream, [offset], self._clock.now())
        return any(row.entry is not None and row.entry.id == message_id for row in rows)

    async def _fill(self, stream: StreamKey, empty: Sequence[int], previous_issued_at: float = 0.0) -> list[Row]:
        """Return the rows at offsets that were empty: messages written in the meantime, or new holes."""
        await asyncio.sleep(self._hole_seconds)
        now = self._clock.now()
        return [await self._table.put_hole(stream, offset, now, previous_issued_at) for offset in empty]

    # --- states -------------------------------------------------------------------------------------------------------

    async def _put_state(self, stream: StreamKey, publication: Publication) -> Entry | None:
        now = self._clock.now()
        version = self._next_version(now, publication.replaces)
        condition = _surely_newer(publication, version)
        for _ in range(_ATTEMPTS):
            entry = with_version(publication, now, version)
            _require_fits(entry.payload, publication)
            is_put, present = await self._table.put_state(stream, entry, condition)
            if is_put:
                return entry
            known = self._if_kept(present)
            if (known is not None and known.id == publication.id) or is_late(publication, known):
                return None
            version = self._next_version(now, None if present is None else present.number)
            condition = NOTHING_THERE if present is None else _still(present.number)
        raise HistoryUnavailable("too many write to this state at once")

    def _next_version(self, now: float, known: int | None) -> int:
        """Return a version above all known ones. It follows the clock, so it is above deleted ones, too."""
        self._last_version = max(self._last_version + 1, (known or 0) + 1, int(now * 1000))
        return self._last_version

    # --- shared by both lanes -----------------------------------------------------------------------------------------

    def _turn(self, stream: StreamKey) -> asyncio.Lock:
        """Return the lock that keeps a stream's appends in the order in which they began, per event loop."""
        return self._turns.setdefault((id(asyncio.get_running_loop()), stream), asyncio.Lock())

    def _oldest(self) -> float:
        return self._clock.now() - HISTORY_MAX_AGE_SECONDS

    def _if_kept(self, entry: Entry | None) -> Entry | None:
        return entry if entry is not None and entry.stored_at >= self._oldest() else None


def _offset(cursor: str | None, head: Head) -> int | None:
    """Return the offset of a cursor; None if this log has not issued it."""
    if cursor is None:
        return head.offset
    if cursor == START:
        return 0
    return _position(head).offset_of(cursor)


def _position(head: Head) -> Position:
    return Position(head.epoch, head.offset)


def _messages(rows: Sequence[Row], after: int, last: int, oldest: float) -> list[bytes]:
    return [
        row.entry.payload
        for row in rows
        if row.entry is not None and row.stored_at >= oldest and after < row.offset <= last
    ]


def _newest(states: list[Entry]) -> list[Entry]:
    """Return the newest states up to the maximum, the newest at the end, and always with `seen`."""
    kept = sorted(states, key=lambda entry: (entry.key == SEEN, entry.stored_at, entry.number))[-HISTORY_MAX_STATES:]
    return sorted(kept, key=lambda entry: (entry.stored_at, entry.number))


def _surely_newer(publication: Publication, version: int) -> Condition:
    """Return a condition that holds only for a state that is not late, so that most states need no read.

    If it does not hold, `is_late` decides.
    """
    if publication.replaces is not None:
        return _still(publication.replaces)
    expression = "#version < :version AND #publishedAt <= :publishedAt AND #isFinal = :no AND #id <> :id"
    values: dict[str, Mapping[str, Any]] = {
        ":version": number(version),
        ":publishedAt": number(publication.published_at),
        ":no": {"BOOL": False},
    }
    if publication.run is not None:
        expression += " AND (attribute_not_exists(#run) OR #run <= :run)"
        values[":run"] = number(publication.run)
    return Condition(f"{NOTHING_THERE.expression} OR ({expression})", {**values, ":id": text(publication.id)})


def _still(version: int) -> Condition:
    return Condition("#version = :seen", {":seen": number(version)})


def _require_room(publication: Publication) -> None:
    """Refuse a message that would be too big with its cursor, at any offset."""
    _require_fits(with_offset(publication, 0.0, new_epoch(), _LAST_OFFSET).payload, publication)


def _require_fits(payload: bytes, publication: Publication) -> None:
    if len(payload) > MAX_MESSAGE_BYTES:
        size = len(publication.payload)
        raise MessageTooBig(size, MAX_MESSAGE_BYTES - (len(payload) - size))
