"""Where a client is in what is said to its user, as pure code: what comes goes in, what the program gets comes out.

    held ─last page of a welcome─▶ live ─an offset left out, another epoch─▶ held
      └─no welcome (`let_go`)─▶ loose: everything passes

A message of the log passes once and in the order of offsets, a state only if its version is higher than the last of its
key. What has no place in either lane passes as it comes; while held it waits, and is never left out. This is "Coming
back" of `spec/protocol.md`; numbers in brackets are its rules.

A message is kept by the server before anybody hears it. So what was heard before a `hello` is in the welcome that
answers it, and need not be held for longer than that.
"""

import enum
from dataclasses import dataclass
from typing import Final

from tellwire.client.lanes import Cursor, has_place, in_order, is_within, offset_of
from tellwire.client.received import ReceivedMessage, WelcomePage
from tellwire.stream import START

MAX_HELD: Final = 1000
"""How many messages wait for a welcome to end. Of what comes then, the server is asked again."""

_KEPT_NOTHING: Final = ""
_MAX_KEYS: Final = 1000


@dataclass(frozen=True, slots=True)
class Told:
    """What the program gets. `recovered` is there when a welcome has ended; False: something may be missing."""

    messages: list[ReceivedMessage]
    recovered: bool | None = None


class _Mode(enum.Enum):
    LIVE = enum.auto()
    HELD = enum.auto()
    LOOSE = enum.auto()


class Place:
    """A client's place in both lanes. It begins loose, at `cursor`: None is from now on, `START` all that is kept."""

    def __init__(self, cursor: str | None = None, max_held: int = MAX_HELD) -> None:
        self.wants_hello = False
        self._max_held = max_held
        self._mode = _Mode.LOOSE
        self._at = Cursor.read(cursor)
        self._origin = None if self._at else cursor  # what a hello says while there is no place in the log
        self._begins = False  # whether what is as old as `_at` may still be heard (5)
        self._epoch: str | None = None  # of the versions
        self._versions: dict[str, int] = {}
        self._held: list[ReceivedMessage] = []
        self._left_out: Cursor | None = None  # the first of the log that was not held
        self._asks_again = False
        self._is_new_welcome = False
        self._may_miss = False
        self._lost_at: str | None = None

    @property
    def cursor(self) -> str | None:
        """How much of the log has been passed on, as a `hello` says it."""
        return str(self._at) if self._at else self._origin

    @property
    def lost_at(self) -> str | None:
        """The cursor from before something went missing, until the end of a welcome tells of it."""
        return self._lost_at if self._may_miss else None

    @property
    def is_loose(self) -> bool:
        """Whether everything passes, in whatever order it comes."""
        return self._mode is _Mode.LOOSE

    # --- a welcome ----------------------------------------------------------------------------------------------------

    def hold(self, *, missed_nothing: bool = False) -> None:
        """Pass nothing on before the next welcome (1).

        `missed_nothing`: the connection before this one still lives. It matters where the server keeps nothing.
        """
        self._mode = _Mode.HELD
        self.wants_hello = True
        if missed_nothing and self._origin == _KEPT_NOTHING:
            self._origin = None

    def hello(self) -> str | None:
        """Return the cursor of the hello that is said now; None for one without."""
        if self.cursor is None:
            self._at = self._before_first_held()
        self._held = [message for message in self._held if not has_place(message)]
        self.wants_hello = self._asks_again = False
        self._left_out = None
        self._is_new_welcome = True
        self._begins = self.cursor is None
        return self.cursor

    def page(self, page: WelcomePage) -> Told:
        """Take a page of the welcome that answers the last hello."""
        end = Cursor.read(page.cursor)
        if end is None:
            return self._keeps_nothing(page)
        if self._is_new_welcome:
            self._judge(page, end)
        missed = sorted([*page.messages, *self._came_by_themselves(page, end)], key=offset_of)
        passed = [message for message in missed if self._is_newer(message)]
        passed += [state for state in page.states if self._is_news(state)]
        if not page.last:
            return Told(passed)
        passed += self._end_welcome(end)
        recovered, self._may_miss = not self._may_miss, False
        return Told(passed, recovered)

    def let_go(self) -> list[ReceivedMessage]:
        """Wait for no welcome on this connection (6); return what was held. One that is late still counts."""
        held, self._held, self._mode = self._held, [], _Mode.LOOSE
        self.wants_hello = False
        return [message for each in in_order(held) if not self._is_old(each) for message in self.live(each)]

    def flush(self) -> list[ReceivedMessage]:
        """Return what can be passed on of what is held when nothing more will come: what is next, or has no place."""
        passed = self._release()
        return passed + [message for message in self._held if not has_place(message)]

    def _keeps_nothing(self, page: WelcomePage) -> Told:
        if not page.last:
            return Told([])
        self._at, self._origin = None, _KEPT_NOTHING
        self._may_miss = False
        return Told(self.let_go(), page.recovered)

    def _judge(self, page: WelcomePage, end: Cursor) -> None:
        self._is_new_welcome = False
        if end.epoch != self._epoch:
            self._versions.clear()  # (4)
            if self._epoch is not None:
                self._distrust_held_states()
            self._epoch = end.epoch
        if not page.recovered:  # (3)
            self._miss()
            if self._at is None or self._at.epoch != end.epoch or self._at.offset > end.offset:
                # If this connection ends within the welcome, the next one goes on from where it was in these messages.
                self._at, self._origin, self._begins = None, START, False

    def _miss(self) -> None:
        if not self._may_miss:
            self._may_miss, self._lost_at = True, self.cursor

    def _distrust_held_states(self) -> None:
        """Leave out what may be of the old epoch: its high versions would shut out the new ones."""
        kept = [message for message in self._held if message.version is None]
        self._asks_again |= len(kept) < len(self._held)
        self._held = kept

    def _came_by_themselves(self, page: WelcomePage, end: Cursor) -> list[ReceivedMessage]:
        """Take out of what is held the messages that were too big for a page, up to where this page ends."""
        if self._begins:
            return []
        upto = Cursor(end.epoch, end.offset if page.last else max(map(offset_of, page.messages), default=0))
        taken = [message for message in self._held if is_within(message, upto)]
        if taken:
            self._held = [message for message in self._held if not is_within(message, upto)]
        return taken

    def _end_welcome(self, end: Cursor) -> list[ReceivedMessage]:
        if self._left_out is not None and self._left_out.epoch == end.epoch:
            end = min(end, self._left_out.before)
        self._at = end if self._at is None or self._at.epoch != end.epoch else max(self._at, end)
        self._origin = None
        passed = self._release()
        if self._asks_again:
            self.hold()
        return passed

    def _release(self) -> list[ReceivedMessage]:
        """Go on live, with what is held first; hold again from where something is missing."""
        held, self._held, self._mode = self._held, [], _Mode.LIVE
        return [message for each in in_order(held) for message in self.live(each)]

    def _before_first_held(self) -> Cursor | None:
        """Where the log of a client without a cursor begins: before the first message that it heard (5)."""
        heard = [cursor for message in self._held if (cursor := Cursor.read(message.cursor))]
        first = min((each for each in heard if each.epoch == heard[-1].epoch), default=None)
        return None if first is None else first.before

    # --- a message ----------------------------------------------------------------------------------------------------

    def live(self, message: ReceivedMessage) -> list[ReceivedMessage]:
        """Take a message that came live, and return what passes now."""
        match self._mode:
            case _Mode.HELD:
                return self._hold_back(message)
            case _Mode.LOOSE:
                self._note(message)
                return [message]
            case _Mode.LIVE:
                return [message] if self._follows(message) else []

    def _hold_back(self, message: ReceivedMessage) -> list[ReceivedMessage]:
        if len(self._held) < self._max_held:
            self._held.append(message)
            return []
        if has_place(message):
            self._leave_out(message)
            return []
        # Nobody could be asked for it again. So what has no place goes on instead of waiting.
        free = [each for each in self._held if not has_place(each)]
        self._held = [each for each in self._held if has_place(each)]
        return [*free, message]

    def _leave_out(self, message: ReceivedMessage) -> None:
        self._asks_again = True
        cursor, first = Cursor.read(message.cursor), self._left_out
        if cursor and (first is None or first.epoch != cursor.epoch or cursor < first):
            self._left_out = cursor

    def _follows(self, message: ReceivedMessage) -> bool:
        """Tell whether it is the next one of its lane (2). If one is missing before it, hold from now on."""
        cursor = Cursor.read(message.cursor)
        if cursor is None:
            return self._is_news(message)
        if self._is_old(message):
            return False
        if not self._is_next(cursor):
            self.hold()
            return False
        self._move(cursor)
        return True

    def _is_next(self, cursor: Cursor) -> bool:
        if self._at is None:
            return self._origin is None
        step = cursor.offset - self._at.offset
        return cursor.epoch == self._at.epoch and (step == 1 or (step < 1 and self._begins))

    def _move(self, cursor: Cursor) -> None:
        self._at, self._begins = cursor, False

    def _is_newer(self, message: ReceivedMessage) -> bool:
        """Tell whether a message of a welcome has not been passed on. What it leaves out the server has judged."""
        cursor, first = Cursor.read(message.cursor), self._left_out
        if cursor is None:
            return True
        is_after_left_out = first is not None and first.epoch == cursor.epoch and cursor >= first
        if is_after_left_out or self._is_old(message):
            return False
        self._move(cursor)
        return True

    def _is_old(self, message: ReceivedMessage) -> bool:
        return not self._begins and self._at is not None and is_within(message, self._at)

    def _is_news(self, message: ReceivedMessage) -> bool:
        if message.key is None or message.version is None:
            return True
        if message.version <= self._versions.get(message.key, 0):
            return False
        self._remember(message.key, message.version)
        return True

    def _remember(self, key: str, version: int) -> None:
        self._versions.pop(key, None)
        self._versions[key] = version
        if len(self._versions) > _MAX_KEYS:
            del self._versions[next(iter(self._versions))]

    def _note(self, message: ReceivedMessage) -> None:
        """Move along with what passes anyhow, and take note if that leaves something out."""
        cursor = Cursor.read(message.cursor)
        if cursor is not None:
            is_known = self._at is not None and self._at.epoch == cursor.epoch
            if not self._is_next(cursor) and not self._is_old(message):
                self._miss()
            self._move(max(cursor, self._at) if self._at and is_known else cursor)
        elif message.key is not None and message.version is not None:
            self._remember(message.key, message.version)
