"""Streams in a DynamoDB table, for many functions that write at once.

    message   issue the stream's next offset ─▶ put the message there ─▶ deliver it                2 writes
              with a producer's own id: also put the id with its offset, before the message        3 writes and a read
    state     put it for its key, unless a newer one is there: one conditional write               1 write

A write costs a write unit for every KB. The first and the last state of an upload with a lease write the index, too.

A message with an id of its producer is kept once in 24 hours, however often it is published. An id of tellwire's form,
`t` and 24 hexadecimal digits, is new for each message, so it is not looked up.

An offset is issued before its message is written, and the writer may be slow, or gone. A reader waits for the message
until the offset is two seconds old, and then puts a hole there; the writer is issued another offset. So no message is
added below a client's position. A producer that publishes an id again whose offset is empty does the same. A writer
that has lost its offset twice also tries to write offset and message in one transaction, which no reader can come
between.

A state that is not just progress also notes its version in the head, where a `pong` finds it.
"""

import asyncio
import itertools
import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from tellwire.engines.aws.environment import open_history_table
from tellwire.engines.aws.history_items import Head, Row, number, text
from tellwire.engines.aws.history_table import NOTHING_THERE, Condition, HistoryTable
from tellwire.engines.aws.log_reader import LogReader
from tellwire.engines.aws.requests import DynamoRequests
from tellwire.engines.aws.sweeper import Sweeper, Swept
from tellwire.entry import Entry, with_offset, with_version
from tellwire.errors import HistoryUnavailable, TooManyEscalations
from tellwire.escalation import EscalationRules, at, waiting
from tellwire.http_client import full_jitter
from tellwire.limits import HISTORY_HOLE_SECONDS, MAX_ESCALATION_SECONDS, MAX_ESCALATIONS
from tellwire.messages import Escalation
from tellwire.model import new_epoch
from tellwire.ports import Clock, SystemClock
from tellwire.position import START, Position, StreamEnd
from tellwire.publication import REMOVED, Publication, StreamKey, is_of_escalations, stream_of
from tellwire.retention import Retention
from tellwire.stream import HistoryPage, Replay, is_kept, shown_states
from tellwire.topics import TopicRules
from tellwire.upload_states import successor

_OUR_ID: Final = re.compile(r"t[0-9a-f]{24}")

# Each failed attempt means that another writer has succeeded, or that a reader did not wait any longer.
_ATTEMPTS: Final = 20
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 1.5

logger = logging.getLogger("tellwire.aws")


class DynamoHistory:
    """A `History` in a table that many processes share.

    `hole_seconds` is the age of an offset from which a reader no longer waits for its message.
    """

    def __init__(
        self,
        table: HistoryTable,
        clock: Clock | None = None,
        hole_seconds: float = HISTORY_HOLE_SECONDS,
        escalations: EscalationRules | None = None,
    ) -> None:
        self._table = table
        self._escalations = escalations
        self._clock = clock or SystemClock()
        self._reader = LogReader(table, self._clock.now, hole_seconds)
        self._turns: WeakValueDictionary[tuple[int, StreamKey], asyncio.Lock] = WeakValueDictionary()
        self._last_version = 0
        self.requests = DynamoRequests(table, self._clock)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], clock: Clock | None = None, topics: TopicRules | None = None
    ) -> "DynamoHistory":
        """Return the history in the table that the environment names; see `environment`.

        Raises:
            ConfigError: a setting is missing or not valid.
        """
        return cls(open_history_table(environ, topics=topics), clock)

    async def append(self, publication: Publication) -> Entry | None:
        stream = stream_of(publication)
        async with self._turn(stream):
            if publication.escalation is not None:
                return await self._put_escalated(stream, publication, publication.escalation)
            if is_of_escalations(stream):
                return await self._put_escalation(stream, publication)
            put = self._put_message if publication.key is None else self._put_state
            return await put(stream, publication)

    async def append_linked(self, publications: Sequence[Publication]) -> list[Entry | None]:
        first, *others = publications
        stream = stream_of(first)
        none: list[Entry | None] = [None] * len(publications)
        async with self._turn(stream):
            if not others:
                return [await self._put_state(stream, first)]
            pauses = _pauses()
            for _ in range(_ATTEMPTS):
                now = self._clock.now()
                known = self._if_kept(stream, await self._table.state(stream, first.key or ""))
                placed = successor(first, known, now)
                if known is None or placed is None:
                    return none
                head = await self._head(stream)
                state = with_version(placed, now, self._next_version(now, known.number))
                log = [with_offset(each, now, head.epoch, head.offset + n) for n, each in enumerate(others, 1)]
                if await self._table.write_all(
                    self._table.advance(stream, head, now, len(log), state.number),
                    self._table.write_state(stream, state, _still(known.number)),
                    *(self._table.write_message(stream, entry, head.issued_at) for entry in log),
                ):
                    return [state, *log]
                await asyncio.sleep(next(pauses))
        raise HistoryUnavailable(f"{_ATTEMPTS} attempts to write to this user's log were overtaken by other writers")

    async def append_all(self, publications: Sequence[Publication]) -> list[Entry | None]:
        return [await self.append(publication) for publication in publications]

    async def read(self, stream: StreamKey, cursor: str | None, version: int | None = None) -> Replay:
        # The head first: a later message is delivered to this client, which is connected.
        head = await self._head(stream)
        retention, oldest = self._table.retention(stream), self._oldest(stream)
        kept_after = max(0, head.offset - retention.max_messages)
        after = _offset(cursor, head)
        low = max(kept_after, after or 0)
        if cursor is None:
            part = await self._reader.end(stream, head, kept_after, oldest)
        else:
            part = await self._reader.after(stream, low, head, oldest)
        now = self._clock.now()
        kept = _kept_rows(part.rows, low, head.offset, oldest, retention.max_bytes)
        evicts = part.evicts or kept.evicts_after > (after or 0)
        is_all = after is not None and after >= kept_after and not evicts
        return Replay(
            recovered=(is_all or cursor in (None, START)) and not part.is_cut,
            cursor=str(_position(head)),
            messages=[
                entry.payload for entry in kept.entries if entry.number > (after or 0) and not entry.is_expired(now)
            ],
            snapshot=_snapshot(part.states, retention, now, version),
        )

    async def page(self, stream: StreamKey, before: int | None, limit: int, max_bytes: int) -> HistoryPage:
        """Read a page; see `History`. Nothing is cut by its bytes here, so it goes back as far as messages are old."""
        head = await self._table.head(stream)
        if head is None:
            return HistoryPage([], more=False)
        last = head.offset if before is None else min(head.offset, before - 1)
        first = max(0, head.offset - self._table.retention(stream).max_messages) + 1
        oldest, now = self._oldest(stream), self._clock.now()
        messages: list[bytes] = []
        size = 0
        async for rows in self._table.backwards(stream, first, last, limit + 1):
            for row in rows:
                if row.stored_at < oldest:
                    return HistoryPage(messages, more=False)
                if row.entry is None or row.entry.is_expired(now):
                    continue
                size += len(row.entry.payload)
                if len(messages) == limit or (messages and size > max_bytes):
                    return HistoryPage(messages, more=True)
                messages.append(row.entry.payload)
        return HistoryPage(messages, more=False)

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        return self._if_kept(stream, await self._table.state(stream, key))

    async def end(self, stream: StreamKey) -> StreamEnd | None:
        head = await self._table.head(stream, is_consistent=False)
        return None if head is None else StreamEnd(_position(head), head.version)

    def known_end(self, stream: StreamKey) -> StreamEnd | None:
        """Return None: other processes write, too."""
        return None

    async def position(self, stream: StreamKey) -> Position | None:
        head = await self._table.head(stream)
        return None if head is None else _position(head)

    async def forget(self, stream: StreamKey) -> None:
        """Delete everything that is kept of a stream; see `History`. A message that is written meanwhile may stay."""
        async with self._turn(stream):
            await self._table.forget(stream)

    async def leased_uploads(self) -> AsyncIterator[Entry]:
        async for entry in self._table.leased_uploads():
            if entry.lease_expires_at is not None and self._if_kept(stream_of(entry), entry) is not None:
                yield entry

    async def sweep(self, expire: Callable[[Entry], Awaitable[bool]]) -> Swept:
        """Call `expire` with every upload whose lease has expired, as long as there is time; see `Sweeper`.

        Raises:
            HistoryUnavailable: the table cannot be read.
        """
        return await Sweeper(self._table, self._clock.now, expire).run()

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._table.close()

    # --- the log ------------------------------------------------------------------------------------------------------

    async def _put_message(self, stream: StreamKey, publication: Publication) -> Entry | None:
        is_repeatable = _OUR_ID.fullmatch(publication.id) is None
        known = await self._table.offset_of(stream, publication.id, self._oldest(stream)) if is_repeatable else None
        pauses = _pauses()
        for attempt in range(_ATTEMPTS):
            if known is not None and await self._is_at(stream, known, publication.id):
                return None
            # In turn many can write at once, and readers can be in the way; in a transaction it is the other way round.
            put = self._put_at_once if attempt % 3 == 2 else self._put_in_turn
            if (entry := await put(stream, publication, known, is_repeatable)) is not None:
                return entry
            await asyncio.sleep(next(pauses))
            known = await self._table.offset_of(stream, publication.id, self._oldest(stream)) if is_repeatable else None
        raise HistoryUnavailable(f"{_ATTEMPTS} attempts to write to this user's log were overtaken by other writers")

    async def _put_in_turn(
        self, stream: StreamKey, publication: Publication, known: int | None, is_repeatable: bool
    ) -> Entry | None:
        """Issue an offset, then put the message there. None: its offset is a hole, or its id has another offset."""
        now = self._clock.now()
        head, previous_issued_at = await self._table.issue_offset(stream, new_epoch(), now)
        if is_repeatable:
            # Before the message, so that a producer that publishes it again finds its offset, and can put a hole there.
            is_ours = await self._table.put_offset(
                stream, publication.id, head.offset, now, known=known, oldest=self._oldest(stream)
            )
            if not is_ours:
                return None
        entry = with_offset(publication, now, head.epoch, head.offset)
        return entry if await self._table.put_message(stream, entry, previous_issued_at) else None

    async def _put_at_once(
        self, stream: StreamKey, publication: Publication, known: int | None, is_repeatable: bool
    ) -> Entry | None:
        """Issue an offset and put the message there in one transaction. None: another writer was faster.

        It costs twice as many write units, but readers cannot take its place.
        """
        head = await self._head(stream)
        now = self._clock.now()
        entry = with_offset(publication, now, head.epoch, head.offset + 1)
        writes = [self._table.write_message(stream, entry, head.issued_at)]
        if is_repeatable:
            writes.append(
                self._table.write_offset(stream, publication.id, entry.number, now, known, self._oldest(stream))
            )
        return entry if await self._table.write_all(self._table.advance(stream, head, now), *writes) else None

    async def _head(self, stream: StreamKey) -> Head:
        return await self._table.head(stream) or await self._table.begin(stream, new_epoch(), self._clock.now())

    async def _is_at(self, stream: StreamKey, offset: int, message_id: str) -> bool:
        """Return True if a message is at its offset. Otherwise a hole is put there, so that it never will be."""
        row = await self._table.row(stream, offset)
        if row is None:
            now = self._clock.now()
            # The offsets below may be empty, too, so the hole records the latest time at which they were issued.
            (row,) = await self._reader.fill(stream, [offset], issued_at=now, previous_issued_at=now)
        return row.entry is not None and row.entry.id == message_id

    # --- escalations --------------------------------------------------------------------------------------------------

    async def _put_escalated(self, stream: StreamKey, publication: Publication, escalation: Escalation) -> Entry | None:
        """Put a message and the first state of its escalation in one transaction, which also counts it."""
        self._rules().check(escalation)
        state = waiting(publication, escalation)
        of_state = stream_of(state)
        is_repeatable = _OUR_ID.fullmatch(publication.id) is None
        pauses = _pauses()
        for _ in range(_ATTEMPTS):
            oldest = self._oldest(stream)
            known = await self._table.offset_of(stream, publication.id, oldest) if is_repeatable else None
            if known is not None and await self._is_at(stream, known, publication.id):
                return None
            head = await self._head(stream)
            now = self._clock.now()
            entry = with_offset(publication, now, head.epoch, head.offset + 1)
            kept = with_version(at(state, head.epoch, entry.number), now, self._next_version(now, None))
            writes = [
                self._table.advance(stream, head, now),
                self._table.write_message(stream, entry, head.issued_at),
                self._table.write_state(of_state, kept, NOTHING_THERE),
                self._table.count_waiting(of_state, 1, now, MAX_ESCALATIONS),
            ]
            if is_repeatable:
                writes.append(self._table.write_offset(stream, publication.id, entry.number, now, known, oldest))
            if await self._table.write_all(*writes):
                return entry
            if await self._table.state(of_state, kept.key or "") is not None:
                return None  # it was kept with the message: an answer was lost
            if await self._table.waiting(of_state) >= MAX_ESCALATIONS:
                raise TooManyEscalations(MAX_ESCALATIONS)
            await asyncio.sleep(next(pauses))
        raise HistoryUnavailable(f"{_ATTEMPTS} attempts to write to this user's log were overtaken by other writers")

    async def _put_escalation(self, stream: StreamKey, publication: Publication) -> Entry | None:
        """Put the next state of an escalation, unless another function was first. The last one counts it no more."""
        now = self._clock.now()
        known = self._if_kept(stream, await self._table.state(stream, publication.key or ""))
        if known is None or successor(publication, known, now) is None:
            return None
        entry = with_version(publication, now, self._next_version(now, known.number))
        writes = [self._table.write_state(stream, entry, _still(known.number))]
        if entry.is_final:
            writes.append(self._table.count_waiting(stream, -1, now))
        return entry if await self._table.write_all(*writes) else None

    def _rules(self) -> EscalationRules:
        """Return the rules of escalations. Which targets there are, the sweeper knows."""
        if self._escalations is not None:
            return self._escalations
        longest = min(self._table.topics.retention.max_age_seconds, MAX_ESCALATION_SECONDS)
        return EscalationRules(longest_seconds=longest)

    # --- states -------------------------------------------------------------------------------------------------------

    async def _put_state(self, stream: StreamKey, publication: Publication) -> Entry | None:
        now = self._clock.now()
        if publication.part is None:
            version = self._next_version(now, publication.replaces)
            following, condition = publication, _surely_newer(publication, version)
        else:
            # The whole is made of all parts, so it is read first.
            known = self._if_kept(stream, await self._table.state(stream, publication.key or ""))
            placed = successor(publication, known, now)
            if placed is None:
                return None
            version = self._next_version(now, None if known is None else known.number)
            following, condition = placed, NOTHING_THERE if known is None else _still(known.number)
        pauses = _pauses()
        for attempt in range(_ATTEMPTS):
            entry = with_version(following, now, version)
            is_put, present = await self._put_and_note(stream, entry, condition)
            if is_put:
                return entry
            if attempt or (present is not None and present.number >= version):
                # Others write, too. After a pause the state is another one, so it is read again.
                await asyncio.sleep(next(pauses))
                present = await self._table.state(stream, publication.key or "")
            known = self._if_kept(stream, present)
            placed = None if known is not None and known.id == publication.id else successor(publication, known, now)
            if placed is None:
                return None
            following = placed
            version = self._next_version(self._clock.now(), None if present is None else present.number)
            condition = NOTHING_THERE if present is None else _still(present.number)
            if placed is publication and publication.part is None and present is not None:
                condition = _surely_newer(publication, version).or_else(condition)
        raise HistoryUnavailable(f"{_ATTEMPTS} attempts to write this state were overtaken by other writers")

    async def _put_and_note(self, stream: StreamKey, entry: Entry, condition: Condition) -> tuple[bool, Entry | None]:
        """Put a state. If it is one that no other may follow for long, its version is noted in the head, too."""
        if entry.status == "running":
            return await self._table.put_state(stream, entry, condition)
        outcome, noted = await asyncio.gather(
            self._table.put_state(stream, entry, condition),
            self._table.note_version(stream, new_epoch(), entry.number, entry.stored_at),
            return_exceptions=True,
        )
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(noted, BaseException):
            # A client that did not get this state learns of it later: with the next one, or when it reconnects.
            logger.warning("the version of a state was not noted: %s", noted)
        return outcome

    def _next_version(self, now: float, known: int | None) -> int:
        """Return a version above all known ones. It follows the clock, so it is above deleted ones, too."""
        self._last_version = max(self._last_version + 1, (known or 0) + 1, int(now * 1000))
        return self._last_version

    # --- shared by both lanes -----------------------------------------------------------------------------------------

    def _turn(self, stream: StreamKey) -> asyncio.Lock:
        """Return the lock that keeps a stream's appends in the order in which they began, per event loop."""
        return self._turns.setdefault((id(asyncio.get_running_loop()), stream), asyncio.Lock())

    def _oldest(self, stream: StreamKey) -> float:
        return self._clock.now() - self._table.retention(stream).max_age_seconds

    def _if_kept(self, stream: StreamKey, entry: Entry | None) -> Entry | None:
        is_there = entry is not None and is_kept(entry, self._table.retention(stream), self._clock.now())
        return entry if is_there else None


def _offset(cursor: str | None, head: Head) -> int | None:
    """Return the offset of a cursor; None if this log has not issued it."""
    if cursor is None:
        return head.offset
    if cursor == START:
        return 0
    return _position(head).offset_of(cursor)


def _position(head: Head) -> Position:
    return Position(head.epoch, head.offset)


class _Kept(NamedTuple):
    """The messages of a log that are kept, and the offset of the last one that has no room."""

    entries: list[Entry]
    evicts_after: int


def _kept_rows(rows: Sequence[Row], low: int, last: int, oldest: float, max_bytes: int) -> _Kept:
    """Return the messages after the offset `low` up to the last one, of which the newest have room in so many bytes."""
    kept: deque[Entry] = deque()
    size = 0
    for row in reversed(rows):
        entry = row.entry
        if entry is None or row.stored_at < oldest or not low < row.offset <= last:
            continue
        size += len(entry.payload)
        if size > max_bytes and kept:
            return _Kept(list(kept), row.offset)
        kept.appendleft(entry)
    return _Kept(list(kept), 0)


def _snapshot(states: list[Entry], retention: Retention, now: float, version: int | None) -> list[Entry]:
    """Return the states of a snapshot; of those that have ended only the newest, up to the maximum."""
    kept = [entry for entry in states if is_kept(entry, retention, now)]
    shown = shown_states(kept, retention, now, version)
    too_many = sum(entry.is_final for entry in shown) - retention.max_states
    excess = set(itertools.islice((entry.number for entry in shown if entry.is_final), max(0, too_many)))
    return [entry for entry in shown if entry.number not in excess]


def _surely_newer(publication: Publication, version: int) -> Condition:
    """Return a condition that holds only for a state that is not late, so that most states need no read.

    If it does not hold, `successor` decides.
    """
    if publication.replaces is not None:
        return _still(publication.replaces) if publication.replaces else NOTHING_THERE
    expression = (
        "#version < :version AND #isFinal = :no AND #id <> :id "
        "AND attribute_not_exists(#pastRuns) AND attribute_not_exists(#parts)"
    )
    values: dict[str, Mapping[str, Any]] = {":version": number(version), ":no": {"BOOL": False}}
    if not publication.is_final or publication.status == REMOVED:
        expression += " AND #publishedAt <= :publishedAt"
        values[":publishedAt"] = number(publication.published_at)
    if publication.run is None:
        expression += " AND attribute_not_exists(#run)"
    else:
        expression += " AND #run = :run"
        values[":run"] = text(publication.run)
    return Condition(f"{NOTHING_THERE.expression} OR ({expression})", {**values, ":id": text(publication.id)})


def _pauses() -> Iterator[float]:
    """Yield random pauses, so that writers that were equally late do not collide again."""
    return full_jitter(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)


def _still(version: int) -> Condition:
    return Condition("#version = :seen", {":seen": number(version)})
