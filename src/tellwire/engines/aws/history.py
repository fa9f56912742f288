"""A history in a DynamoDB table: many functions write to it at once, and none of them lives long.

    message   the user's next offset ─▶ put there ─▶ and only then is it delivered            2 writes
              with an id of its own: also the id, with the offset, between the two            3 writes and a read
    state     in place of the one of its key, if that is not newer: one conditional write     1 write

A write is a write unit for every KB. The first and the last state of an upload with a lease write the index, too.

A message has an id of its own if its producer chose one, and is then taken once in 24 hours, however often it is
published. An id that tellwire made, `t` and 24 hexadecimal digits, is another one each time, so nobody looks for it;
nor does anybody for one that merely looks like it.

An offset is given out before its message is there. Its writer may be slow, or gone. A reader waits a moment for it and
then puts a mark there: the offset is a hole from then on, and a writer that comes late takes another one. So what a
client has been told is never added to. Who publishes an id again whose offset is empty does the same.
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
from tellwire.stream import (
    SEEN,
    START,
    Entry,
    Replay,
    Said,
    is_late,
    offset_in,
    place_message,
    place_state,
    seen,
)

_MADE_BY_US: Final = re.compile(r"t[0-9a-f]{24}")
_LAST_OFFSET: Final = 10**15 - 1

# Each time somebody else was faster, who is done then: more than a few in a row do not happen.
_ATTEMPTS: Final = 20


class DynamoHistory:
    """A `History` in a table that many processes share.

    `hole_seconds` is how long a reader waits for a message whose offset was given out.
    """

    def __init__(
        self, table: HistoryTable, clock: Clock | None = None, hole_seconds: float = HISTORY_HOLE_SECONDS
    ) -> None:
        self._table = table
        self._clock = clock or SystemClock()
        self._hole_seconds = hole_seconds
        self._turns: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()
        self._last_version = 0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], clock: Clock | None = None) -> "DynamoHistory":
        """Return the history in the table that the environment names; see `aws.environment`.

        Raises:
            ConfigError: a setting is missing or not what it must be.
        """
        return cls(open_history_table(environ), clock)

    def open(self) -> None:
        """Begin; there is nothing to do."""

    async def append(self, user_id: str, said: Said) -> Entry | None:
        async with self._turn(user_id):
            return await (self._say(user_id, said) if said.key is None else self._change(user_id, said))

    async def append_all(self, messages: Sequence[tuple[str, Said]]) -> list[Entry | None]:
        return [await self.append(user_id, said) for user_id, said in messages]

    async def read(self, user_id: str, cursor: str | None) -> Replay:
        # The head first: what is put there later is delivered to whoever asks now.
        head = await self._table.head(user_id) or await self._begin(user_id)
        oldest = self._oldest()
        kept_after = max(0, head.offset - HISTORY_MAX_MESSAGES)
        after = _offset(cursor, head)
        # Who has nothing yet misses nothing; but what is on its way must not get a place that counts as heard.
        low = max(kept_after, head.offset - HISTORY_IN_FLIGHT if cursor is None else after or 0)
        rows, states = await self._table.since(user_id, low)
        gaps = find_gaps(rows, low, head, oldest)
        if gaps.holes:
            rows = sorted([*rows, *await self._judge(user_id, gaps.holes)], key=lambda row: row.offset)
        is_whole = after is not None and after >= kept_after and not gaps.forgets
        return Replay(
            recovered=is_whole or cursor in (None, START),
            cursor=f"{head.epoch}:{head.offset}",
            messages=_messages(rows, max(low, after or 0), head.offset, oldest),
            states=_newest([entry for entry in states if entry.at >= oldest]),
        )

    async def state(self, user_id: str, key: str) -> Entry | None:
        return self._if_kept(await self._table.state(user_id, key))

    async def acknowledge(self, user_id: str, cursor: str) -> Entry | None:
        head = await self._table.head(user_id)
        offset = None if head is None else offset_in(cursor, head.epoch)
        if head is None or offset is None or offset > head.offset:
            return None
        return await self.append(user_id, seen(cursor, offset, self._clock.now()))

    async def leased(self) -> AsyncIterator[tuple[str, Entry]]:
        oldest = self._oldest()
        async for user_id, entry in self._table.running():
            if entry.lapses_at is not None and entry.at >= oldest:
                yield user_id, entry

    async def close(self) -> None:
        """Let the pooled connections go."""
        await self._table.close()

    # --- the log ------------------------------------------------------------------------------------------------------

    async def _say(self, user_id: str, said: Said) -> Entry | None:
        _require_room(said)
        is_repeatable = _MADE_BY_US.fullmatch(said.id) is None
        known = await self._table.offset_of(user_id, said.id, self._oldest()) if is_repeatable else None
        for _ in range(_ATTEMPTS):
            if known is not None and await self._is_at(user_id, known, said.id):
                return None
            now = self._clock.now()
            head, before = await self._table.next_place(user_id, new_epoch(), now)
            if is_repeatable:
                # Before the message: who publishes it again then finds where it is, or makes sure that it is nowhere.
                is_ours, other = await self._table.put_offset(
                    user_id, said.id, head.offset, now, known=known, oldest=self._oldest()
                )
                known = head.offset if is_ours else other
                if not is_ours:
                    continue
            entry = place_message(said, now, head.epoch, head.offset)
            if await self._table.put_message(user_id, entry, before):
                return entry
        raise HistoryUnavailable("too many write to this user's log at once")

    async def _is_at(self, user_id: str, offset: int, message_id: str) -> bool:
        """Tell whether a message is in its place. If not, it never will be."""
        # What is below it nobody has looked at.
        rows = await self._table.log(user_id, offset, offset) or await self._judge(user_id, [offset], self._clock.now())
        return any(row.entry is not None and row.entry.id == message_id for row in rows)

    async def _judge(self, user_id: str, empty: Sequence[int], before: float = 0.0) -> list[Row]:
        """Return what is in places that were empty: it was put there meanwhile, or they are holes from now on."""
        await asyncio.sleep(self._hole_seconds)
        now = self._clock.now()
        return [await self._table.put_hole(user_id, offset, now, before) for offset in empty]

    async def _begin(self, user_id: str) -> Head:
        return await self._table.begin(user_id, new_epoch(), self._clock.now())

    # --- states -------------------------------------------------------------------------------------------------------

    async def _change(self, user_id: str, said: Said) -> Entry | None:
        now = self._clock.now()
        version = self._next_version(now, said.replaces)
        condition = _surely_newer(said, version)
        for _ in range(_ATTEMPTS):
            entry = place_state(said, now, version)
            _require_fits(entry.payload, said)
            is_put, there = await self._table.put_state(user_id, entry, condition)
            if is_put:
                return entry
            known = self._if_kept(there)
            if (known is not None and known.id == said.id) or is_late(said, known):
                return None
            version = self._next_version(now, None if there is None else there.number)
            condition = NOTHING_THERE if there is None else _still(there.number)
        raise HistoryUnavailable("too many write to this state at once")

    def _next_version(self, now: float, known: int | None) -> int:
        """Return a version above all that are known. It follows the clock: what DynamoDB forgot was lower, too."""
        self._last_version = max(self._last_version + 1, (known or 0) + 1, int(now * 1000))
        return self._last_version

    # --- what both need -----------------------------------------------------------------------------------------------

    def _turn(self, user_id: str) -> asyncio.Lock:
        """Return what lets a user's appends in this loop happen one after the other, in the order of their begin."""
        return self._turns.setdefault((id(asyncio.get_running_loop()), user_id), asyncio.Lock())

    def _oldest(self) -> float:
        return self._clock.now() - HISTORY_MAX_AGE_SECONDS

    def _if_kept(self, entry: Entry | None) -> Entry | None:
        return entry if entry is not None and entry.at >= self._oldest() else None


def _offset(cursor: str | None, head: Head) -> int | None:
    """Return the offset that a cursor names, if it is one of ours that was given out."""
    if cursor is None:
        return head.offset
    if cursor == START:
        return 0
    offset = offset_in(cursor, head.epoch)
    return offset if offset is not None and offset <= head.offset else None


def _messages(rows: Sequence[Row], after: int, last: int, oldest: float) -> list[bytes]:
    return [
        row.entry.payload for row in rows if row.entry is not None and row.at >= oldest and after < row.offset <= last
    ]


def _newest(states: list[Entry]) -> list[Entry]:
    """Return as many as are kept, those that changed last at the end. What is seen always is among them."""
    kept = sorted(states, key=lambda entry: (entry.key == SEEN, entry.at, entry.number))[-HISTORY_MAX_STATES:]
    return sorted(kept, key=lambda entry: (entry.at, entry.number))


def _surely_newer(said: Said, version: int) -> Condition:
    """Return what must hold so that a state is put without a look at the one before it: it is not late for certain.

    Where it does not hold, `is_late` judges.
    """
    if said.replaces is not None:
        return _still(said.replaces)
    expression = "#version < :version AND #saidAt <= :saidAt AND #isFinal = :no AND #id <> :id"
    values: dict[str, Mapping[str, Any]] = {
        ":version": number(version),
        ":saidAt": number(said.said_at),
        ":no": {"BOOL": False},
    }
    if said.run is not None:
        expression += " AND (attribute_not_exists(#run) OR #run <= :run)"
        values[":run"] = number(said.run)
    return Condition(f"{NOTHING_THERE.expression} OR ({expression})", {**values, ":id": text(said.id)})


def _still(version: int) -> Condition:
    return Condition("#version = :seen", {":seen": number(version)})


def _require_room(said: Said) -> None:
    """Refuse a message that is too big with its place, whichever that will be."""
    _require_fits(place_message(said, 0.0, new_epoch(), _LAST_OFFSET).payload, said)


def _require_fits(placed: bytes, said: Said) -> None:
    if len(placed) > MAX_MESSAGE_BYTES:
        size = len(said.payload)
        raise MessageTooBig(size, MAX_MESSAGE_BYTES - (len(placed) - size))
