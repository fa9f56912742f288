"""The feed of a stream at one node: how far it has come, and the outcome for the next message of its channel. Pure.

the next number          deliver
one that was delivered   drop: a read of the history has brought it
a higher one             fetch: pub/sub has lost something
another epoch            deliver, and tell the devices where the stream is now
"""

from enum import Enum, auto
from typing import Final, NamedTuple

from tellwire.position import START, Position, StreamEnd

NO_EPOCH: Final = ""


class Verdict(Enum):
    """The outcome for a message that came through the channel."""

    DELIVER = auto()
    DROP = auto()
    FETCH = auto()
    ANNOUNCE = auto()
    """Deliver it, and then announce the end of the stream."""


class Head(NamedTuple):
    """The head of a stream in Redis: `version` is the last one given out, `newest` that of the newest state."""

    epoch: str
    offset: int
    version: int
    newest: int

    @property
    def end(self) -> StreamEnd:
        """The end of the stream, as devices hear it."""
        return StreamEnd(Position(self.epoch, self.offset), self.newest)


def head_of(epoch: bytes | None, offset: bytes | None, version: bytes | None, newest: bytes | None) -> Head | None:
    """Return the head of a stream, from its fields in Redis; None if it has not begun."""
    if epoch is None:
        return None
    return Head(epoch.decode(), int(offset or 0), int(version or 0), int(newest or 0))


class Feed:
    """The end of a stream as far as this node has handed it on."""

    __slots__ = ("epoch", "newest", "offset", "version")

    def __init__(self) -> None:
        self.epoch = NO_EPOCH
        self.offset = 0
        self.version = 0
        self.newest = 0

    @property
    def head(self) -> Head | None:
        """The head that it has come to; None if the stream has not begun."""
        return None if self.epoch == NO_EPOCH else Head(self.epoch, self.offset, self.version, self.newest)

    def cursor_in(self, epoch: str) -> str:
        """Return the cursor from which a fetch reads on. In another epoch, numbers mostly go on."""
        return START if self.epoch == NO_EPOCH else str(Position(epoch, self.offset))

    def begin(self, head: Head | None) -> None:
        """Begin at this head: older messages are in the history, for whoever asks."""
        if head is not None:
            self.epoch, self.offset, self.version, self.newest = head

    def message(self, epoch: str, offset: int) -> Verdict:
        """Judge a message of the log, and note it if it is delivered."""
        if offset > self.offset + 1:
            return Verdict.FETCH
        if epoch == self.epoch and offset <= self.offset:
            return Verdict.DROP
        # The first message of a stream follows nothing that anybody could have missed.
        is_new_epoch = self.epoch not in (NO_EPOCH, epoch)
        self.epoch, self.offset = epoch, offset
        return Verdict.ANNOUNCE if is_new_epoch else Verdict.DELIVER

    def state(self, epoch: str, version: int) -> Verdict:
        """Judge a state, and note it if it is delivered."""
        if version <= self.version:
            return Verdict.DROP  # versions rise, also from epoch to epoch
        if self.epoch not in (NO_EPOCH, epoch) or self.version not in (0, version - 1):
            return Verdict.FETCH
        self.epoch, self.version, self.newest = epoch, version, version
        return Verdict.DELIVER

    def is_behind(self, head: Head) -> bool:
        """Return True if the stream has gone on, in this epoch or in another one."""
        return head.epoch != self.epoch or head.offset > self.offset or head.newest > self.newest


def has_less(head: Head, known: Head) -> bool:
    """Return True if the store has lost entries that this node has seen, and would give their numbers out again."""
    return head.epoch == known.epoch and (head.offset < known.offset or head.version < known.version)
