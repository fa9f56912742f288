"""A stream with its two lanes, and the replay for a client that comes back. Pure: no clock, no store, no socket.

    log lane     notifications, errors, custom types    each gets the next offset; kept by count and age, and replayed
    state lane   upload_progress by upload, `seen`      each gets the next version; only the newest of a key is kept

A position is an epoch and an offset: the end of the log that a client has. As text, `<epoch>:<offset>`, it is a cursor.
The epoch changes wherever offsets may begin again, so an old cursor is recognised and never misread.

On the wire an entry has `cursor` (log), or `key` and `version` (state), beside its type, data, timestamp and id.
"""

import itertools
from collections import deque
from collections.abc import Iterable
from math import inf
from typing import Final, NamedTuple

from msgspec import Struct

from tellwire import wire
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, HISTORY_MAX_MESSAGES, HISTORY_MAX_STATES
from tellwire.model import timestamp
from tellwire.publication import Publication, StreamKey, stream_target

START: Final = "0"
"""The cursor before the first entry: a client with it gets the whole log that is kept."""

SEEN: Final = "seen"
"""The type, and the key, of the state that holds how much of the log the user has seen."""

# Above every real offset. Python would take long to read a number with very many digits.
_MAX_OFFSET_DIGITS: Final = 15


class Position(NamedTuple):
    """The end of the log that a client has. Its text is a cursor."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, cursor: str) -> "Position | None":
        """Parse a cursor; None if it has another form."""
        epoch, _, digits = cursor.rpartition(":")
        is_cursor = epoch and digits.isdecimal() and digits.isascii() and len(digits) <= _MAX_OFFSET_DIGITS
        return cls(epoch, int(digits)) if is_cursor else None

    def offset_of(self, cursor: str) -> int | None:
        """Return the offset of a cursor; None if this log has not assigned it."""
        named = Position.parse(cursor)
        return named.offset if named and named.epoch == self.epoch and named.offset <= self.offset else None


class Entry(Publication, frozen=True, gc=False, kw_only=True):
    """A publication in its stream. `number` is its offset or version, and part of `payload`; `stored_at` is the time at
    which it was kept, in epoch seconds.
    """

    number: int
    stored_at: float

    @property
    def lease_expires_at(self) -> float | None:
        """The expiry of its lease in epoch seconds; None if it has no lease, or is final."""
        return None if self.lease_seconds is None or self.is_final else self.stored_at + self.lease_seconds


class Replay(Struct, frozen=True):
    """The missed messages and the newest states, for a client that comes back.

    `recovered`: `messages` are all messages of the log after its cursor. Otherwise some may be missing, and `messages`
    are all that are kept. `snapshot` has the newest state of each key; `cursor` is the position after all this.
    """

    recovered: bool
    cursor: str
    messages: list[bytes]
    snapshot: list[Entry]


class Stream:
    """One stream. `offset` and `version` are the last assigned ones; in one epoch they only rise."""

    __slots__ = ("_evict_at", "_ids", "_log", "_states", "epoch", "offset", "version")

    def __init__(self, epoch: str, offset: int = 0, version: int = 0, entries: Iterable[Entry] = ()) -> None:
        self.epoch = epoch
        self.offset = offset
        self.version = version
        self._log: deque[Entry] = deque()
        self._states: dict[str, Entry] = {}
        self._ids: set[str] = set()
        self._evict_at = inf  # the oldest entry is too old then
        for entry in entries:
            self._keep(entry)

    @property
    def position(self) -> Position:
        """The end of the log."""
        return Position(self.epoch, self.offset)

    def append(self, publication: Publication, now: float) -> Entry | None:
        """Keep a publication. None: it is kept already, or is older than the state of its key."""
        if publication.id in self._ids:
            return None
        if publication.key is None:
            self.offset += 1
            entry = with_offset(publication, now, self.epoch, self.offset)
        else:
            if is_late(publication, self._states.get(publication.key)):
                return None
            self.version += 1
            entry = with_version(publication, now, self.version)
        self._keep(entry)
        if now >= self._evict_at or len(self._log) > HISTORY_MAX_MESSAGES or len(self._states) > HISTORY_MAX_STATES:
            self._evict(now)
        return entry

    def read(self, cursor: str | None, now: float) -> Replay:
        """Read all entries after a cursor. None is that of a client that has nothing yet, and so missed nothing."""
        self._evict(now)
        after = self.offset if cursor is None else self._recoverable(cursor)
        return Replay(
            recovered=after is not None,
            cursor=str(self.position),
            messages=[entry.payload for entry in self._log if entry.number > (after or 0)],
            snapshot=list(self._states.values()),
        )

    def state(self, key: str, now: float) -> Entry | None:
        """Return the newest state of a key."""
        self._evict(now)
        return self._states.get(key)

    def leased_uploads(self) -> list[Entry]:
        """Return the states of the uploads that have a lease."""
        return [entry for entry in self._states.values() if entry.lease_expires_at is not None]

    def _recoverable(self, cursor: str) -> int | None:
        """Return the offset of a cursor, if everything after it is kept."""
        if cursor == START:
            return 0
        offset = self.position.offset_of(cursor)
        first_kept = self._log[0].number if self._log else self.offset + 1
        return offset if offset is not None and first_kept - 1 <= offset else None

    def _keep(self, entry: Entry) -> None:
        self._ids.add(entry.id)
        if self._evict_at == inf:
            self._evict_at = entry.stored_at + HISTORY_MAX_AGE_SECONDS
        if entry.key is None:
            self._log.append(entry)
            return
        replaced = self._states.pop(entry.key, None)
        if replaced is not None:
            self._ids.discard(replaced.id)
        self._states[entry.key] = entry  # at the end: the newest

    def _evict(self, now: float) -> None:
        oldest = now - HISTORY_MAX_AGE_SECONDS
        while self._log and (len(self._log) > HISTORY_MAX_MESSAGES or self._log[0].stored_at < oldest):
            self._ids.discard(self._log.popleft().id)
        while self._states:
            key, entry = next(iter(self._states.items()))
            if entry.stored_at >= oldest and len(self._states) <= HISTORY_MAX_STATES:
                break
            del self._states[key]
            if entry.stored_at >= oldest and key == SEEN:
                self._states[key] = entry  # without it, messages that were seen long ago would be new again
            else:
                self._ids.discard(entry.id)
        kept = [*itertools.islice(self._log, 1), *itertools.islice(self._states.values(), 1)]
        self._evict_at = min((entry.stored_at + HISTORY_MAX_AGE_SECONDS for entry in kept), default=inf)


def seen_state(stream: StreamKey, position: Position, now: float) -> Publication:
    """Return the `seen` state of a position. Its id depends on the position alone, so doubles are recognised."""
    message_id = f"seen:{position}"
    payload = wire.encode(wire.SeenMessage(wire.Seen(str(position)), timestamp(now), message_id))
    return Publication(stream_target(stream), stream, message_id, SEEN, payload, position.offset, SEEN)


def with_offset(publication: Publication, now: float, epoch: str, offset: int) -> Entry:
    """Return a publication with its offset in the log."""
    return _entry(publication, wire.in_log(publication.payload, epoch, offset), offset, now)


def with_version(publication: Publication, now: float, version: int) -> Entry:
    """Return a publication with its version among the states."""
    return _entry(publication, wire.as_state(publication.payload, publication.key or "", version), version, now)


def _entry(of: Publication, payload: bytes, number: int, now: float) -> Entry:
    return Entry(
        of.target,
        of.stream,
        of.id,
        of.type,
        payload,
        of.published_at,
        of.key,
        of.status,
        of.run,
        of.lease_seconds,
        of.begins_run,
        of.replaces,
        of.ttl_seconds,
        of.trace_context,
        number=number,
        stored_at=now,
    )


def is_late(publication: Publication, known: Entry | None) -> bool:
    """Return True if a state is out of date beside the known state of its key.

    Of two runs the later one counts. In a run, a terminal status outranks all others, whatever the clocks say, and only
    another terminal status may follow it.
    """
    if publication.replaces is not None:
        return known is None or publication.replaces != known.number
    if known is None:
        return False
    if publication.run is not None and known.run is not None and publication.run != known.run:
        return publication.run < known.run
    if known.is_final and not publication.is_final:
        begins = publication.begins_run and (publication.run is None or known.run is None)
        return not begins or publication.published_at < known.published_at
    return publication.published_at < known.published_at and (known.is_final or not publication.is_final)
