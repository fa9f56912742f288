"""Streams in a DynamoDB table: many functions write to it at once, and none of them lives long.

    message   the stream's next offset is issued ─▶ put there ─▶ and only then is it delivered     2 writes
              with an id of its own: also the id, with the offset, between the two                 3 writes and a read
    state     put for its key, if the one there is not newer: one conditional write                1 write

A write is a write unit for every KB. The first and the last state of an upload with a lease write the index, too.

A message has an id of its own if its producer chose one, and is then kept once in 24 hours, however often it is
published. An id that tellwire made, `t` and 24 hexadecimal digits, is another one each time, so it is not looked up;
nor is one that merely looks like it.

An offset is issued before its message is there. Its writer may be slow, or gone. A reader waits a moment for it and
then puts a hole there: a writer that comes late is issued another offset. So nothing is added behind a client. A
producer that publishes an id again whose offset is empty does the same.
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

_MADE_BY_US: Final = re.compile(r"t[0-9a-f]{24}")
_LAST_OFFSET: Final = 10**15 - 1

# Each time somebody else was faster, who is done then: more than a few in a row do not happen.
_ATTEMPTS: Final = 20


class DynamoHistory:
    """A `History` in a table that many processes share.

    `hole_seconds` is how long a reader waits for a message whose offset was issued.
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
        """Return the history in the table that the environment names; see `aws.environment`.

        Raises:
            ConfigError: a setting is missing or not what it must be.
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
        # The head first: a message that is put there later is delivered to a client that asks now.
        head = await self._table.head(stream) or await self._table.begin(stream, new_epoch(), self._clock.now())
        oldest = self._oldest()
        kept_after = max(0, head.offset - HISTORY_MAX_MESSAGES)
        after = _offset(cursor, head)
        # A client that has nothing yet misses nothing; but a message on its way must not get an offset that counts as
        # heard.
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
        """Let the pooled connections go."""
        await self._table.close()

    # --- the log ------------------------------------------------------------------------------------------------------

    async def _put_message(self, stream: StreamKey, publication: Publication) -> Entry | None:
        _require_room(publication)
        is_repeatable = _MADE_BY_US.fullmatch(publication.id) is None
        known = await self._table.offset_of(stream, publication.id, self._oldest()) if is_repeatable else None
        for _ in range(_ATTEMPTS):
            if known is not None and await self._is_at(stream, known, publication.id):
                return None
            now = self._clock.now()
            head, previous_issued_at = await self._table.issue_offset(stream, new_epoch(), now)
            if is_repeatable:
                # Before the message: a producer that publishes it again then finds its offset, or makes sure that it is
                # nowhere.
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
        """Return whether a message is at its offset. If not, it never will be."""
        # The offsets below it are not judged, so the hole says how long ago they may have been issued.
        rows = await self._table.log(stream, offset, offset) or await self._fill(stream, [offset], self._clock.now())
        return any(row.entry is not None and row.entry.id == message_id for row in rows)

    async def _fill(self, stream: StreamKey, empty: Sequence[int], previous_issued_at: float = 0.0) -> list[Row]:
        """Return the rows at offsets that were empty: messages put there meanwhile, or holes from now on."""
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
            is_put, there = await self._table.put_state(stream, entry, condition)
            if is_put:
                return entry
            known = self._if_kept(there)
            if (known is not None and known.id == publication.id) or is_late(publication, known):
                return None
            version = self._next_version(now, None if there is None else there.number)
            condition = NOTHING_THERE if there is None else _still(there.number)
        raise HistoryUnavailable("too many write to this state at once")

    def _next_version(self, now: float, known: int | None) -> int:
        """Return a version above all known ones. It follows the clock: those that DynamoDB deleted were lower, too."""
        self._last_version = max(self._last_version + 1, (known or 0) + 1, int(now * 1000))
        return self._last_version

    # --- shared by both lanes -----------------------------------------------------------------------------------------

    def _turn(self, stream: StreamKey) -> asyncio.Lock:
        """Return the lock that puts a stream's appends in this loop into the order of their begin."""
        return self._turns.setdefault((id(asyncio.get_running_loop()), stream), asyncio.Lock())

    def _oldest(self) -> float:
        return self._clock.now() - HISTORY_MAX_AGE_SECONDS

    def _if_kept(self, entry: Entry | None) -> Entry | None:
        return entry if entry is not None and entry.stored_at >= self._oldest() else None


def _offset(cursor: str | None, head: Head) -> int | None:
    """Return the offset that a cursor names, if this log has issued it."""
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
    """Return as many as are kept, those that changed last at the end. `seen` always is among them."""
    kept = sorted(states, key=lambda entry: (entry.key == SEEN, entry.stored_at, entry.number))[-HISTORY_MAX_STATES:]
    return sorted(kept, key=lambda entry: (entry.stored_at, entry.number))


def _surely_newer(publication: Publication, version: int) -> Condition:
    """Return the condition under which a state is certainly not late, so that it is put without reading the one there.

    Where it does not hold, `is_late` judges.
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
    """Refuse a message that is too big with its cursor, whichever offset it gets."""
    _require_fits(with_offset(publication, 0.0, new_epoch(), _LAST_OFFSET).payload, publication)


def _require_fits(payload: bytes, publication: Publication) -> None:
    if len(payload) > MAX_MESSAGE_BYTES:
        size = len(publication.payload)
        raise MessageTooBig(size, MAX_MESSAGE_BYTES - (len(payload) - size))
