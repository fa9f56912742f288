"""Positions in a stream, and their texts: cursors. Pure, and the same for servers and clients.

A position is an epoch and an offset: the end of the log that a client has. As text, `<epoch>:<offset>`, it is a cursor.
The epoch changes wherever offsets may begin again, so an old cursor is recognised and never misread.
"""

from typing import Final, NamedTuple

START: Final = "0"
"""The cursor before the first entry: a client with it gets the whole log that is kept."""

# Above every real offset. Python would take long to read a number with very many digits.
_MAX_OFFSET_DIGITS: Final = 15


class Position(NamedTuple):
    """The end of the log that a client has. Its text is a cursor."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, cursor: str | None) -> "Position | None":
        """Parse a cursor; None if there is none, or it has another form."""
        epoch, _, digits = (cursor or "").rpartition(":")
        is_cursor = epoch and digits.isdecimal() and digits.isascii() and len(digits) <= _MAX_OFFSET_DIGITS
        return cls(epoch, int(digits)) if is_cursor else None

    @property
    def before(self) -> "Position":
        """The position of a client that is to get the message at this one next."""
        return self._replace(offset=self.offset - 1)

    def offset_of(self, cursor: str) -> int | None:
        """Return the offset of a cursor; None if this log has not assigned it."""
        named = Position.parse(cursor)
        return named.offset if named and named.epoch == self.epoch and named.offset <= self.offset else None


class StreamEnd(NamedTuple):
    """The end of both lanes: the position in the log, and the highest version of a state; 0 if there is none."""

    position: Position
    version: int
