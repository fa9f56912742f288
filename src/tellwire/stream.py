"""What was said to one user, in two lanes, and where a client is in it. Pure: no clock, no store, no socket.

    log     notifications, errors, your own types   each gets the next offset; kept by count and age, and replayed
    state   upload_progress, by upload              each gets the key's next version; only the newest is kept

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

from tellwire.errors import InvalidMessage
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, HISTORY_MAX_MESSAGES, HISTORY_MAX_STATES

# More than a client could have counted to, and less than Python takes a while to read.
_MOST_DIGITS: Final = 15

_FINAL: Final = frozenset({"complete", "failed", "cancelled"})


class _Data(Struct):
    upload_id: str = field(name="uploadId")
    progress: float
    status: str | None = None


class _Envelope(Struct):
    type: str
    timestamp: str
    id: str


class _Upload(Struct):
    data: _Data


_envelope = json.Decoder(_Envelope)
_upload = json.Decoder(_Upload)


class Said(Struct, frozen=True):
    """A message as a stream needs to know it.

    `key` is None for the log. A final state is the last word on its key, until the key begins anew. `said_at` is epoch
    seconds, by the clock of whoever said it.
    """

    id: str
    payload: bytes
    said_at: float
    key: str | None = None
    is_final: bool = False
    begins: bool = False

    @classmethod
    def read(cls, payload: bytes) -> "Said":
        """Read an encoded message.

        Raises:
            InvalidMessage: its timestamp names a day there is not.
        """
        envelope = _envelope.decode(payload)
        try:
            said_at = datetime.fromisoformat(envelope.timestamp).timestamp()
        except ValueError as error:
            raise InvalidMessage("timestamp", envelope.timestamp, "a time that exists") from error
        if envelope.type != "upload_progress":
            return cls(envelope.id, payload, said_at)
        data = _upload.decode(payload).data
        return cls(
            envelope.id,
            payload,
            said_at,
            key=f"upload:{data.upload_id}",
            is_final=data.status in _FINAL or data.progress >= 100,
            begins=data.progress == 0 and data.status not in _FINAL,
        )


class Entry(Struct, frozen=True):
    """A message in its place. `number` is the log's offset or the state's version; `payload` says it. `at` is when it
    was taken, in epoch seconds.
    """

    id: str
    number: int
    payload: bytes
    at: float
    said_at: float
    key: str | None = None
    is_final: bool = False


class Replay(Struct, frozen=True):
    """What a client that comes back is told.

    `recovered`: `messages` are all that it missed of the log. Otherwise something may be missing, and they are all
    there is. `states` are the newest of each key; `cursor` is where a client is that has all this.
    """

    recovered: bool
    cursor: str
    messages: list[bytes]
    states: list[bytes]


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
            entry = self._place(said, now, self.offset, f',"cursor":"{self.epoch}:{self.offset}"}}')
        else:
            known = self._states.get(said.key)
            if known is not None and _is_late(said, known):
                return None
            self.version += 1
            key = json.encode(said.key).decode()
            entry = self._place(said, now, self.version, f',"key":{key},"version":{self.version}}}')
        self._keep(entry)
        self._forget(now)
        return entry

    def read(self, cursor: str | None, now: float) -> Replay:
        """Return what a client with this cursor missed. None is a client that has nothing yet, and missed nothing."""
        self._forget(now)
        after = self.offset if cursor is None else self._known_offset(cursor)
        return Replay(
            recovered=after is not None,
            cursor=f"{self.epoch}:{self.offset}",
            messages=[entry.payload for entry in self._log if entry.number > (after or 0)],
            states=[entry.payload for entry in self._states.values()],
        )

    def _known_offset(self, cursor: str) -> int | None:
        """Return the offset of a cursor, if everything after it is here: one from elsewhere or ahead of us is not."""
        epoch, _, digits = cursor.rpartition(":")
        if epoch != self.epoch or not digits.isdecimal() or len(digits) > _MOST_DIGITS:
            return None
        first_kept = self._log[0].number if self._log else self.offset + 1
        return offset if first_kept - 1 <= (offset := int(digits)) <= self.offset else None

    def _place(self, said: Said, now: float, number: int, place: str) -> Entry:
        payload = said.payload[:-1] + place.encode()
        return Entry(said.id, number, payload, now, said.said_at, said.key, said.is_final)

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
            if len(self._states) <= HISTORY_MAX_STATES and entry.at >= oldest:
                break
            self._ids.discard(self._states.pop(key).id)


def _is_late(said: Said, known: Entry) -> bool:
    """Tell whether a state is older than the known one. After the last word comes another, or a new beginning."""
    if known.is_final and not said.is_final:
        return not said.begins
    return said.said_at < known.said_at
