"""A stream with its two lanes, and the replay for a client that comes back. Pure: no clock, no store, no socket.

    log lane     notifications, errors, custom types    each gets the next offset; kept by count, bytes and age
    state lane   upload_progress by upload, `seen`,     each gets the next version; only the newest of a key is kept
                 states of the project's own types

On the wire an entry has `cursor` (log), or `key` and `version` (state), beside its type, data, timestamp and id.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from math import inf
from typing import Final

from msgspec import Struct

from tellwire import wire
from tellwire.entry import Entry, with_offset, with_version
from tellwire.model import timestamp
from tellwire.position import START, Position
from tellwire.publication import UNSHOWN_STATUSES, Publication, StreamKey, stream_target
from tellwire.retention import Retention
from tellwire.upload_states import successor

SEEN: Final = "seen"
"""The type, and the key, of the state that holds how much of the log the user has seen."""

DEFAULT_RETENTION: Final = Retention()


class Replay(Struct, frozen=True):
    """The missed messages and the newest states, for a client that comes back.

    `recovered`: `messages` are all messages of the log after its cursor. Otherwise some may be missing, and `messages`
    are all that are kept. `snapshot` has the newest state of each key; `cursor` is the position after all this.
    """

    recovered: bool
    cursor: str
    messages: list[bytes]
    snapshot: list[Entry]

    @property
    def size_bytes(self) -> int:
        """The bytes of all that it has."""
        return sum(map(len, self.messages)) + sum(len(entry.payload) for entry in self.snapshot)


class HistoryPage(Struct, frozen=True):
    """Some kept messages of a log, the newest first. `more`: there are older ones."""

    messages: list[bytes]
    more: bool


class Stream:
    """One stream. `offset` and `version` are the last assigned ones; in one epoch they only rise."""

    __slots__ = (
        "_ended",
        "_ended_bytes",
        "_evict_at",
        "_ids",
        "_log",
        "_log_bytes",
        "_others",
        "_others_bytes",
        "_retention",
        "_running",
        "_running_bytes",
        "epoch",
        "offset",
        "version",
    )

    def __init__(
        self,
        epoch: str,
        offset: int = 0,
        version: int = 0,
        entries: Iterable[Entry] = (),
        retention: Retention = DEFAULT_RETENTION,
    ) -> None:
        self.epoch = epoch
        self.offset = offset
        self.version = version
        self._retention = retention
        self._log: deque[Entry] = deque()
        self._log_bytes = 0
        # The newest at the end.
        self._running: dict[str, Entry] = {}
        self._running_bytes = 0
        self._ended: dict[str, Entry] = {}
        self._ended_bytes = 0
        self._others: dict[str, Entry] = {}  # `seen` and its like, which are no uploads
        self._others_bytes = 0
        self._ids: set[str] = set()
        self._evict_at = inf  # the oldest entry is too old then
        for entry in entries:
            self._keep(entry)

    def __len__(self) -> int:
        """Return the number of entries that are kept."""
        return len(self._log) + len(self._running) + len(self._ended) + len(self._others)

    @property
    def position(self) -> Position:
        """The end of the log."""
        return Position(self.epoch, self.offset)

    @property
    def size_bytes(self) -> int:
        """The bytes of everything that is kept."""
        return self._log_bytes + self._running_bytes + self._ended_bytes + self._others_bytes

    @property
    def first_offset(self) -> int:
        """The offset of the oldest message that is kept, or of the next one."""
        return self._log[0].number if self._log else self.offset + 1

    @property
    def first_ended_version(self) -> int:
        """The lowest version of an ended upload that is kept, or the next version."""
        return next(iter(self._ended.values())).number if self._ended else self.version + 1

    def append(self, publication: Publication, now: float) -> Entry | None:
        """Keep a publication. None: it is kept already, is older than the state of its key, or has no room."""
        if publication.id in self._ids:
            return None
        if publication.key is None:
            self.offset += 1
            entry = with_offset(publication, now, self.epoch, self.offset)
        else:
            known = self._state(publication.key)
            following = successor(publication, known, now)
            if following is None or (known is None and not self.has_room(publication)):
                return None
            self.version += 1
            entry = with_version(following, now, self.version)
        self._keep(entry)
        if now >= self._evict_at:
            self._evict(now)
        elif entry.key is None:
            self._trim_log()
        elif entry.is_final:
            self._trim_ended()
        return entry

    def read(self, cursor: str | None, now: float, version: int | None = None) -> Replay:
        """Read all entries after a cursor. None is that of a client that has nothing yet, and so missed nothing.

        `version` is the highest one that the client has of a state: it also gets all that has ended since.
        """
        self._evict(now)
        after = self.offset if cursor is None else self._recoverable(cursor)
        return Replay(
            recovered=after is not None,
            cursor=str(self.position),
            messages=[
                entry.payload for entry in self._log if entry.number > (after or 0) and not entry.is_expired(now)
            ],
            snapshot=shown_states(self._states(), self._retention, now, version),
        )

    def page(self, before: int | None, limit: int, max_bytes: int, now: float) -> HistoryPage:
        """Read the newest messages below an offset; see `History.page`."""
        self._evict(now)
        shown = (
            entry.payload
            for entry in reversed(self._log)
            if (before is None or entry.number < before) and not entry.is_expired(now)
        )
        return page_of(shown, limit, max_bytes)

    def knows(self, message_id: str) -> bool:
        """Return True if a publication with this id is kept."""
        return message_id in self._ids

    def state(self, key: str, now: float) -> Entry | None:
        """Return the newest state of a key."""
        self._evict(now)
        return self._state(key)

    @property
    def has_running_uploads(self) -> bool:
        """True if an upload has not ended."""
        return bool(self._running)

    def remove_old(self, now: float) -> None:
        """Remove entries that are too old, as `append` and `read` do."""
        if now >= self._evict_at:
            self._evict(now)

    def shed(self) -> None:
        """Remove all messages, and all uploads that have ended: there is no memory for them.

        Numbers go on, so a client that has not got all of them is told that something may be missing.
        """
        self._ids.difference_update(entry.id for entry in (*self._log, *self._ended.values()))
        self._log.clear()
        self._ended.clear()
        self._log_bytes = self._ended_bytes = 0

    def leased_uploads(self) -> list[Entry]:
        """Return the states of the uploads that have a lease."""
        return [entry for entry in self._running.values() if entry.lease_expires_at is not None]

    def _states(self) -> Iterator[Entry]:
        return itertools.chain(self._running.values(), self._ended.values(), self._others.values())

    def _state(self, key: str) -> Entry | None:
        return self._running.get(key) or self._ended.get(key) or self._others.get(key)

    def _recoverable(self, cursor: str) -> int | None:
        """Return the offset of a cursor, if everything after it is kept."""
        if cursor == START:
            return 0
        offset = self.position.offset_of(cursor)
        return offset if offset is not None and self.first_offset - 1 <= offset else None

    def has_room(self, publication: Publication) -> bool:
        """Return True if one more state may be kept: a running one is never removed for another one."""
        return (
            publication.is_final
            or publication.status is None
            or (
                len(self._running) < self._retention.max_running
                and self._running_bytes + len(publication.payload) <= self._retention.max_bytes
            )
        )

    def _keep(self, entry: Entry) -> None:
        self._ids.add(entry.id)
        if self._evict_at == inf:
            self._evict_at = entry.stored_at + self._retention.max_age_seconds
        if entry.key is None:
            self._log.append(entry)
            self._log_bytes += len(entry.payload)
            return
        self._remove_state(entry.key)
        if entry.is_final:
            self._ended[entry.key] = entry
            self._ended_bytes += len(entry.payload)
        elif entry.status is not None:
            self._running[entry.key] = entry
            self._running_bytes += len(entry.payload)
        else:
            self._others[entry.key] = entry
            self._others_bytes += len(entry.payload)

    def _remove_state(self, key: str) -> None:
        if (removed := self._running.pop(key, None)) is not None:
            self._running_bytes -= len(removed.payload)
        elif (removed := self._ended.pop(key, None)) is not None:
            self._ended_bytes -= len(removed.payload)
        elif (removed := self._others.pop(key, None)) is not None:
            self._others_bytes -= len(removed.payload)
        if removed is not None:
            self._ids.discard(removed.id)

    def _trim_log(self) -> None:
        """Remove the oldest messages above the bounds, but never the newest one."""
        retention, log = self._retention, self._log
        while len(log) > retention.max_messages or (self._log_bytes > retention.max_bytes and len(log) > 1):
            self._remove_message()

    def _trim_ended(self) -> None:
        """Remove the uploads above the bounds that ended first, but never the last one."""
        retention, ended = self._retention, self._ended
        while len(ended) > retention.max_states or (self._ended_bytes > retention.max_bytes and len(ended) > 1):
            self._remove_state(next(iter(ended)))

    def _remove_message(self) -> None:
        removed = self._log.popleft()
        self._log_bytes -= len(removed.payload)
        self._ids.discard(removed.id)

    def _evict(self, now: float) -> None:
        """Remove all that is too old or too much, and note when the next entry will be too old."""
        self._trim_log()
        self._trim_ended()
        while self._log and not is_kept(self._log[0], self._retention, now):
            self._remove_message()
        lanes = (self._ended, self._running, self._others)
        for states in lanes:
            while states and not is_kept(next(iter(states.values())), self._retention, now):
                self._remove_state(next(iter(states)))
        firsts = [next(iter(self._log), None), *(next(iter(states.values()), None) for states in lanes)]
        ages = [entry.stored_at + max_age_seconds(entry, self._retention) for entry in firsts if entry is not None]
        self._evict_at = min(ages, default=inf)


def max_age_seconds(entry: Entry, retention: Retention) -> float:
    """Return the age above which an entry is removed. A running upload is ended by its lease, long before."""
    if entry.status is None or entry.is_final:
        return retention.max_age_seconds
    return retention.running_max_age_seconds


def is_kept(entry: Entry, retention: Retention, now: float) -> bool:
    """Return True if an entry is not too old."""
    return entry.stored_at >= now - max_age_seconds(entry, retention)


def page_of(newest_first: Iterator[bytes], limit: int, max_bytes: int) -> HistoryPage:
    """Return the first of these messages, as many as fit into a page, but one at least."""
    messages: list[bytes] = []
    size = 0
    for payload in newest_first:
        size += len(payload)
        if len(messages) == limit or (messages and size > max_bytes):
            return HistoryPage(messages, more=True)
        messages.append(payload)
    return HistoryPage(messages, more=False)


def shown_states(states: Iterable[Entry], retention: Retention, now: float, version: int | None = None) -> list[Entry]:
    """Return the states of a snapshot, the newest at the end: `seen`, running uploads, those that ended a short time
    ago, and those that have changed since this version.
    """
    ended_after = now - retention.finished_keep_seconds

    def is_shown(entry: Entry) -> bool:
        if not entry.is_final or (version is not None and entry.number > version):
            return True
        return entry.stored_at >= ended_after and entry.status not in UNSHOWN_STATUSES

    shown = [entry for entry in states if is_shown(entry) and not entry.is_expired(now)]
    return sorted(shown, key=lambda entry: entry.number)


def seen_state(stream: StreamKey, position: Position, now: float) -> Publication:
    """Return the `seen` state of a position. Its id depends on the position alone, so doubles are recognised."""
    message_id = f"seen:{position}"
    payload = wire.encode(wire.SeenMessage(wire.Seen(str(position)), timestamp(now), message_id))
    return Publication(stream_target(stream), stream, message_id, SEEN, payload, position.offset, SEEN)
