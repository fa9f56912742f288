"""The two lanes of what is said to a user, and where in them a message belongs, as pure code."""

from typing import Final, NamedTuple, Self

from tellwire.client.received import ReceivedMessage

# More than anybody has counted to, and less than Python takes a while to read.
_MOST_DIGITS: Final = 15


class Cursor(NamedTuple):
    """A place in the log: all of `epoch` up to `offset`."""

    epoch: str
    offset: int

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """Return the place that a text names; None if it names none."""
        epoch, _, digits = (text or "").rpartition(":")
        is_one = epoch and digits.isdecimal() and digits.isascii() and len(digits) <= _MOST_DIGITS
        return cls(epoch, int(digits)) if is_one else None

    @property
    def before(self) -> Self:
        """The place of who is to hear the message at this one next."""
        return self._replace(offset=self.offset - 1)

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"


def has_place(message: ReceivedMessage) -> bool:
    """Tell whether a message is in one of the lanes, so that the server can be asked for it again."""
    return Cursor.read(message.cursor) is not None or (message.key is not None and message.version is not None)


def offset_of(message: ReceivedMessage) -> int:
    """Return the offset of a message of the log; 0 for any other."""
    cursor = Cursor.read(message.cursor)
    return cursor.offset if cursor else 0


def is_within(message: ReceivedMessage, place: Cursor) -> bool:
    """Tell whether a message of the log is in all that a cursor names."""
    cursor = Cursor.read(message.cursor)
    return cursor is not None and cursor.epoch == place.epoch and cursor.offset <= place.offset


def in_order(messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
    """Return messages with those of the log in the order of offsets, and the others where they are."""
    log = iter(sorted((message for message in messages if Cursor.read(message.cursor)), key=offset_of))
    return [next(log) if Cursor.read(message.cursor) else message for message in messages]
