"""The resequencer of one stream, as pure code: messages in any order go in, and come out once and in order.

    mode           what a message does                             what ends it
    BUFFERING      it waits for the welcome                        last page ─▶ IN_ORDER, or RESYNC if one was left out
                                                                   no welcome ─▶ PASS_THROUGH
    IN_ORDER       the next of the log passes, and a newer state   an offset is skipped, another epoch ─▶ RESYNC
    RESYNC         it is dropped: the next welcome brings it       hello ─▶ BUFFERING
    PASS_THROUGH   everything passes                               last page of a late welcome ─▶ IN_ORDER
                                                                   hello ─▶ BUFFERING

These are the rules of "Coming back" in `spec/protocol.md`; numbers in brackets are theirs. A server keeps a message
before it delivers it. So what a client hears before it says `hello` is in the welcome.
"""

import enum
from dataclasses import dataclass
from typing import Final, assert_never

from tellwire.client.cursors import KEPT_NOTHING, by_offset, is_state, is_within, offset_of, position_of
from tellwire.client.decode import ReceivedMessage, WelcomePage
from tellwire.client.versions import Versions
from tellwire.position import START, Position

MAX_BUFFERED: Final = 1000
"""The number of messages that wait for a welcome to end. The server is asked again for those that come then."""


class Mode(enum.Enum):
    """The treatment of messages; the table is above."""

    BUFFERING = enum.auto()
    IN_ORDER = enum.auto()
    RESYNC = enum.auto()
    PASS_THROUGH = enum.auto()


@dataclass(frozen=True, slots=True)
class Replayed:
    """The messages of a page that pass. `recovered` is there after the last page; False: something may be missing."""

    messages: list[ReceivedMessage]
    recovered: bool | None = None


class Resequencer:
    """The position of a client in one stream. It begins at `cursor`; None: from now on, `START`: all that is kept."""

    def __init__(
        self, cursor: str | None = None, max_buffered: int = MAX_BUFFERED, max_keys: int | None = None
    ) -> None:
        self.mode = Mode.PASS_THROUGH
        self._max_buffered = max_buffered
        self._position = Position.parse(cursor)
        self._origin = None if self._position else cursor  # what a hello says while there is no position
        self._begins = False  # the next message of the log may be as old as the position (9)
        self._versions = Versions() if max_keys is None else Versions(max_keys)
        self._buffer: list[ReceivedMessage] = []
        self._left_out: Position | None = None  # the first of the log that the buffer did not take
        self._is_incomplete = False
        self._is_first_page = False
        self._may_miss = False
        self._lost_at: str | None = None
        self._asked_version = 0

    @property
    def cursor(self) -> str | None:
        """The position in the log, as a `hello` says it; None before anything is known."""
        return str(self._position) if self._position else self._origin

    @property
    def version(self) -> int | None:
        """The highest version of a state that has passed; None before the first one."""
        return self._versions.highest

    @property
    def lost_at(self) -> str | None:
        """The cursor from before something went missing, until the end of a welcome tells of it."""
        return self._lost_at if self._may_miss else None

    # --- the end of the stream, as a pong tells it --------------------------------------------------------------------

    def is_behind(self, cursor: str | None, version: int) -> bool:
        """Return whether messages or states up to this end have not come (14)."""
        if self.mode is not Mode.IN_ORDER or self._position is None:
            return False
        end = Position.parse(cursor)
        is_shorter = end is not None and (end.epoch != self._position.epoch or end.offset > self._position.offset)
        return is_shorter or version > max(self.version or 0, self._asked_version)

    def ask_up_to(self, version: int) -> None:
        """Ask for the rest of the stream. A version that the welcome does not have either is not asked for again."""
        self._asked_version = max(self._asked_version, version)
        self.mode = Mode.RESYNC

    # --- hello and welcome --------------------------------------------------------------------------------------------

    def hello(self, *, missed_nothing: bool = False) -> str | None:
        """Wait for a welcome from now on (1). Return the cursor of the hello; None for one without.

        `missed_nothing`: the connection before this one still lives. It matters where the server keeps no history.
        """
        if self._origin == KEPT_NOTHING:
            if missed_nothing:
                self._origin = None
            else:
                self._miss()
        if self.cursor is None:
            self._position = self._before_first_buffered()
        self.mode = Mode.BUFFERING
        self._buffer = []
        self._left_out, self._is_incomplete = None, False
        self._is_first_page = True
        self._begins = self.cursor is None
        return self.cursor

    def page(self, page: WelcomePage) -> Replayed:
        """Take a page of the welcome that answers the last hello."""
        end = Position.parse(page.cursor)
        if end is None:
            return self._keep_nothing(page)
        if self._is_first_page:
            self._begin_welcome(page, end)
        passed = [each for each in by_offset([*page.messages, *self._too_big(page, end)]) if self._is_replayed(each)]
        passed += [state for state in page.states if self._versions.is_newer(state)]
        if not page.last:
            return Replayed(passed)
        passed += self._end_welcome(end)
        recovered, self._may_miss = not self._may_miss, False
        return Replayed(passed, recovered)

    def give_up(self) -> list[ReceivedMessage]:
        """Stop waiting for a welcome (10), and return the messages that pass. A welcome that is late still counts."""
        waited, self._buffer, self.mode = by_offset(self._buffer), [], Mode.PASS_THROUGH
        return [message for each in waited if not self._is_old(each) for message in self.receive(each)]

    def _keep_nothing(self, page: WelcomePage) -> Replayed:
        if not page.last:
            return Replayed([])
        self._position, self._origin = None, KEPT_NOTHING  # (11)
        recovered, self._may_miss = page.recovered and not self._may_miss, False
        return Replayed(self.give_up(), recovered)

    def _begin_welcome(self, page: WelcomePage, end: Position) -> None:
        self._is_first_page = False
        if self._versions.begin(end.epoch):
            self._asked_version = 0
            # What waits may be of the epoch before (8): its high versions would shut out the new ones.
            log = [message for message in self._buffer if not is_state(message)]
            self._is_incomplete |= len(log) < len(self._buffer)
            self._buffer = log
        if not page.recovered:  # (7)
            self._miss()
            if self._position is None or self._position.epoch != end.epoch or self._position.offset > end.offset:
                # If this connection ends within the welcome, the next hello goes on from its last message.
                self._position, self._origin, self._begins = None, START, False

    def _too_big(self, page: WelcomePage, end: Position) -> list[ReceivedMessage]:
        """Take the messages out of the buffer that fit into no page, up to where this page ends (3)."""
        if self._begins:
            return []
        until = Position(end.epoch, end.offset if page.last else max(map(offset_of, page.messages), default=0))
        taken = [message for message in self._buffer if is_within(message, until)]
        if taken:
            self._buffer = [message for message in self._buffer if not is_within(message, until)]
        return taken

    def _end_welcome(self, end: Position) -> list[ReceivedMessage]:
        if self._left_out is not None and self._left_out.epoch == end.epoch:
            end = min(end, self._left_out.before)
        is_behind = self._position is None or self._position.epoch != end.epoch or self._position < end
        self._position = end if is_behind else self._position  # (4)
        self._origin = None
        waited, self._buffer, self.mode = by_offset(self._buffer), [], Mode.IN_ORDER
        passed = [message for each in waited for message in self.receive(each)]
        if self._is_incomplete:
            self.mode = Mode.RESYNC
        return passed

    def _before_first_buffered(self) -> Position | None:
        """Return the beginning of the log of a client without a cursor: before the first message that it heard (9)."""
        heard = [position for message in self._buffer if (position := position_of(message))]
        first = min((each for each in heard if each.epoch == heard[-1].epoch), default=None)
        return None if first is None else first.before

    # --- a message of the stream --------------------------------------------------------------------------------------

    def receive(self, message: ReceivedMessage) -> list[ReceivedMessage]:
        """Take a message that came live, and return the messages that pass now."""
        match self.mode:
            case Mode.BUFFERING:
                self._wait(message)
                return []
            case Mode.IN_ORDER:
                return [message] if self._is_next(message) else []
            case Mode.RESYNC:
                return []
            case Mode.PASS_THROUGH:
                self._follow(message)
                return [message]
            case _:
                assert_never(self.mode)

    def _wait(self, message: ReceivedMessage) -> None:
        if len(self._buffer) < self._max_buffered:
            self._buffer.append(message)
            return
        self._is_incomplete = True  # (13)
        position, first = position_of(message), self._left_out
        if position and (first is None or first.epoch != position.epoch or position < first):
            self._left_out = position

    def _is_next(self, message: ReceivedMessage) -> bool:
        position = position_of(message)
        if position is None:
            return self._versions.is_newer(message)  # (6)
        if self._is_old(message):
            return False
        if not self._follows(position):
            self.mode = Mode.RESYNC  # (5)
            return False
        self._move(position)
        return True

    def _is_replayed(self, message: ReceivedMessage) -> bool:
        """Return whether a message of a welcome passes. Offsets that it leaves out are the server's decision (4)."""
        position, first = position_of(message), self._left_out
        if position is None:
            return True
        is_after_left_out = first is not None and first.epoch == position.epoch and position >= first
        if is_after_left_out or self._is_old(message):
            return False
        self._move(position)
        return True

    def _is_old(self, message: ReceivedMessage) -> bool:
        return not self._begins and self._position is not None and is_within(message, self._position)

    def _follows(self, position: Position) -> bool:
        if self._position is None:
            return self._origin is None
        step = position.offset - self._position.offset
        return position.epoch == self._position.epoch and (step == 1 or (step < 1 and self._begins))

    def _follow(self, message: ReceivedMessage) -> None:
        """Move along with a message that passes in any case, and note a skipped offset."""
        position = position_of(message)
        if position is None:
            self._versions.note(message)
            return
        if not self._follows(position) and not self._is_old(message):
            self._miss()
        is_known = self._position is not None and self._position.epoch == position.epoch
        self._move(max(position, self._position) if self._position and is_known else position)

    def _move(self, position: Position) -> None:
        self._position, self._begins = position, False

    def _miss(self) -> None:
        if not self._may_miss:
            self._may_miss, self._lost_at = True, self.cursor
