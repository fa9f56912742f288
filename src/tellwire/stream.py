"""What was said to one user, in two lanes, and where a client is in it. Pure: no clock, no store, no socket.

    log     notifications, errors, your own types     each gets the next offset; kept by count and age, and replayed
    state   upload_progress, by upload; what is seen  each gets the key's next version; only the newest is kept

A cursor is `<epoch>:<offset>`: how much of the log a client has. The epoch is another one wherever offsets may have
begun anew, so that a cursor from before is noticed and never misread.

A message's place travels with it: `cursor` on the log, `key` and `version` on states, beside its type, data, timestamp
and id.
"""

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec import Struct, field, json

from tellwire import wire
from tellwire.errors import InvalidMessage
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, HISTORY_MAX_MESSAGES, HISTORY_MAX_STATES
from tellwire.messages import LAST_WORDS
from tellwire.model import timestamp

START: Final = "0"
"""The cursor of a client that wants everything that is kept."""

SEEN: Final = "seen"
"""The key of how much of the log the user has seen."""

# More than a client could have counted to, and less than Python takes a while to read.
_MOST_DIGITS: Final = 15


class _Data(Struct):
    upload_id: str = field(name="uploadId")
    progress: float
    status: str | None = None
    started_at: str | None = field(name="startedAt", default=None)
    lease_seconds: float | None = field(name="leaseSeconds", default=None)


class _Envelope(Struct):
    type: str
    timestamp: str
    id: str


class _Upload(Struct):
    data: _Data


_envelope = json.Decoder(_Envelope)
_upload = json.Decoder(_Upload)


class Said(Struct, frozen=True):
    """A message as a stream needs to know it. `key` is None for the log.

    `said_at` orders the states of a key: epoch seconds by the clock of whoever said it; for what is seen, the offset.
    `status` is an upload's, `run` when this run of it began (epoch seconds, if anybody says so), `lease_seconds` how
    long it may be silent. `begins`: where nobody tells runs apart, this looks like the first word of one.
    `replaces`: it was made of the state with this version, and is of no use in place of another.
    """

    id: str
    payload: bytes
    said_at: float
    key: str | None = None
    status: str | None = None
    run: float | None = None
    lease_seconds: float | None = None
    begins: bool = False
    replaces: int | None = None

    @classmethod
    def read(cls, payload: bytes) -> "Said":
        """Read an encoded message.

        Raises:
            InvalidMessage: one of its times names a day there is not.
        """
        envelope = _envelope.decode(payload)
        said_at = _seconds("timestamp", envelope.timestamp)
        if envelope.type != "upload_progress":
            return cls(envelope.id, payload, said_at)
        data = _upload.decode(payload).data
        status = data.status or ("complete" if data.progress >= 100 else "running")
        return cls(
            envelope.id,
            payload,
            said_at,
            key=upload_key(data.upload_id),
            status=status,
            run=None if data.started_at is None else _seconds("data.startedAt", data.started_at),
            lease_seconds=data.lease_seconds,
            begins=data.progress == 0 and status not in LAST_WORDS,
        )

    @property
    def is_final(self) -> bool:
        """Whether it is the last word on its key, until the key begins anew."""
        return self.status in LAST_WORDS


class Entry(Struct, frozen=True):
    """A message in its place. `number` is the log's offset or the state's version; `payload` says it. `at` is when it
    was taken, in epoch seconds. The others are `Said`'s.
    """

    id: str
    number: int
    payload: bytes
    at: float
    said_at: float
    key: str | None = None
    status: str | None = None
    run: float | None = None
    lease_seconds: float | None = None

    @property
    def is_final(self) -> bool:
        """Whether it is the last word on its key, until the key begins anew."""
        return self.status in LAST_WORDS

    @property
    def lapses_at(self) -> float | None:
        """When its worker has been silent for too long, in epoch seconds; None if it may be."""
        return None if self.lease_seconds is None or self.is_final else self.at + self.lease_seconds


class Replay(Struct, frozen=True):
    """What a client that comes back is told.

    `recovered`: `messages` are all that it missed of the log. Otherwise something may be missing, and they are all
    there is. `states` are the newest of each key; `cursor` is where a client is that has all this.
    """

    recovered: bool
    cursor: str
    messages: list[bytes]
    states: list[Entry]


class Stream:
    """One user's stream. `offset` and `version` are the last ones given out; they only rise while the epoch lasts."""

    __slots__ = ("_ids", "_log", "_states", "epoch", "offset", "version")

    def __init__(self, epoch: str, offset: int = 0, version: int = 0, entries: Iterable[Entry] = ()) -> None:
        self.epoch = epoch
        self.offset = offset
        self.version = version
        self._log: deque[Entry] = deque()
        self._states: dict[str, Entry] = {}
        self._ids: set[str] = set()
        for entry in entries:
            self._keep(entry)

    def append(self, said: Said, now: float) -> Entry | None:
        """Give a message its place. None: it has one already, or is older than what is known of its key."""
        if said.id in self._ids:
            return None
        if said.key is None:
            self.offset += 1
            entry = place_message(said, now, self.epoch, self.offset)
        else:
            if is_late(said, self._states.get(said.key)):
                return None
            self.version += 1
            entry = place_state(said, now, self.version)
        self._keep(entry)
        self._forget(now)
        return entry

    def read(self, cursor: str | None, now: float) -> Replay:
        """Return what a client with this cursor missed. None is a client that has nothing yet, and missed nothing."""
        self._forget(now)
        after = self.offset if cursor is None else self._recoverable(cursor)
        return Replay(
            recovered=after is not None,
            cursor=f"{self.epoch}:{self.offset}",
            messages=[entry.payload for entry in self._log if entry.number > (after or 0)],
            states=list(self._states.values()),
        )

    def state(self, key: str, now: float) -> Entry | None:
        """Return the newest state of a key."""
        self._forget(now)
        return self._states.get(key)

    def leased(self) -> list[Entry]:
        """Return the states of the uploads that may lapse."""
        return [entry for entry in self._states.values() if entry.lapses_at is not None]

    def acknowledge(self, cursor: str, now: float) -> Entry | None:
        """Take note that the user has seen the log up to a cursor. None: they had, or it is not one of ours."""
        offset = offset_in(cursor, self.epoch)
        return None if offset is None or offset > self.offset else self.append(seen(cursor, offset, now), now)

    def _recoverable(self, cursor: str) -> int | None:
        """Return the offset of a cursor, if everything after it is here: one from elsewhere or ahead of us is not."""
        if cursor == START:
            return 0
        offset = offset_in(cursor, self.epoch)
        first_kept = self._log[0].number if self._log else self.offset + 1
        return offset if offset is not None and first_kept - 1 <= offset <= self.offset else None

    def _keep(self, entry: Entry) -> None:
        self._ids.add(entry.id)
        if entry.key is None:
            self._log.append(entry)
            return
        replaced = self._states.pop(entry.key, None)
        if replaced is not None:
            self._ids.discard(replaced.id)
        self._states[entry.key] = entry  # at the end: the newest

    def _forget(self, now: float) -> None:
        oldest = now - HISTORY_MAX_AGE_SECONDS
        while self._log and (len(self._log) > HISTORY_MAX_MESSAGES or self._log[0].at < oldest):
            self._ids.discard(self._log.popleft().id)
        while self._states:
            key, entry = next(iter(self._states.items()))
            if entry.at >= oldest and len(self._states) <= HISTORY_MAX_STATES:
                break
            del self._states[key]
            if entry.at >= oldest and key == SEEN:
                self._states[key] = entry  # without it, what was seen long ago would be new again
            else:
                self._ids.discard(entry.id)


def upload_key(upload_id: str) -> str:
    """Return the key of an upload's state."""
    return f"upload:{upload_id}"


def offset_in(cursor: str, epoch: str) -> int | None:
    """Return the offset that a cursor of this epoch names; None if it is none."""
    its_epoch, _, digits = cursor.rpartition(":")
    is_ours = its_epoch == epoch and digits.isdecimal() and digits.isascii() and len(digits) <= _MOST_DIGITS
    return int(digits) if is_ours else None


def seen(cursor: str, offset: int, now: float) -> Said:
    """Return the message that the user has seen the log up to here. It is the same one however often it is said."""
    message = wire.SeenMessage(wire.Seen(cursor), timestamp(now), f"seen:{cursor}")
    return Said(f"seen:{cursor}", wire.encode(message), said_at=offset, key=SEEN)


def place_message(said: Said, at: float, epoch: str, offset: int) -> Entry:
    """Return a message of the log in its place."""
    payload = wire.in_log(said.payload, epoch, offset)
    return Entry(said.id, offset, payload, at, said.said_at)


def place_state(said: Said, at: float, version: int) -> Entry:
    """Return a state in its place."""
    payload = wire.as_state(said.payload, said.key or "", version)
    return Entry(said.id, version, payload, at, said.said_at, said.key, said.status, said.run, said.lease_seconds)


def is_late(said: Said, known: Entry | None) -> bool:
    """Tell whether a state is out of date, by what is known of its key.

    Of two runs the later one counts. In a run, the last word outranks all others, whatever the clocks say, and after it
    comes only another last word.
    """
    if said.replaces is not None:
        return known is None or said.replaces != known.number
    if known is None:
        return False
    if said.run is not None and known.run is not None and said.run != known.run:
        return said.run < known.run
    if known.is_final and not said.is_final:
        begins = said.begins and (said.run is None or known.run is None)
        return not begins or said.said_at < known.said_at
    return said.said_at < known.said_at and (known.is_final or not said.is_final)


def _seconds(name: str, time: str) -> float:
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError as error:
        raise InvalidMessage(name, time, "a time that exists") from error
