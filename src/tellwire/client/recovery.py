"""Recovery of missed messages, as pure code: the time of each `hello`, and the messages that pass.

Every connection that becomes the current one is asked at once, and again when something turns out to be missing: one
hello at a time, and at least a second apart. One resequencer per stream decides what passes; ids decide where it
cannot: for messages without a position, and where the server keeps no history.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from tellwire.client.actions import Action, Pass, Send
from tellwire.client.cursors import USER_STREAM, stream_of
from tellwire.client.decode import ReceivedMessage, WelcomePage
from tellwire.client.encode import hello
from tellwire.client.recent_ids import MAX_IDS, RecentIds
from tellwire.client.resequencer import MAX_BUFFERED, Mode, Resequencer
from tellwire.client.versions import MAX_KEYS

_AGAIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a client remembers."""

    buffered_messages: int = MAX_BUFFERED
    recent_ids: int = MAX_IDS
    state_keys: int = MAX_KEYS


class Recovery:
    """The current connection's hello and welcome. `cursors` is where the application is; without `is_wanted` there is
    no hello, and everything passes.
    """

    def __init__(
        self,
        cursors: Mapping[str, str],
        answer_timeout_seconds: float,
        *,
        is_wanted: bool = True,
        bounds: Bounds | None = None,
    ) -> None:
        bounds = bounds or Bounds()
        self._cursors = dict(cursors)
        self._user = Resequencer(cursors.get(USER_STREAM), bounds.buffered_messages, bounds.state_keys)
        self._streams: Final[Mapping[str, Resequencer]] = {USER_STREAM: self._user}
        self._recent_ids = RecentIds(bounds.recent_ids)
        self._answer_timeout_seconds = answer_timeout_seconds
        self._is_wanted = is_wanted
        self._number: int | None = None
        self._is_asked = False  # and the answer has not ended
        self._is_answered = False  # by a page, or given up
        self._is_paused = False
        self._answer_by = inf
        self._said_at = -inf

    def cursors(self, waiting: Callable[[str], str | None] = lambda _: None) -> dict[str, str]:
        """Return the cursor of each stream for a client that comes back with them, and then misses nothing.

        `waiting` returns the cursor before the first message of a stream that the application has not taken.
        """
        streams = self._streams.items()
        return self._cursors | _known((name, each.lost_at or waiting(name) or each.cursor) for name, each in streams)

    @property
    def wants_hello(self) -> bool:
        """Return whether something is to be asked for."""
        return any(each.mode is Mode.RESYNC for each in self._streams.values())

    # --- the current connection ---------------------------------------------------------------------------------------

    def begin(self, number: int, now: float, *, missed_nothing: bool = False) -> list[Action]:
        """Ask this connection, which is the current one from now on."""
        if not self._is_wanted:
            return []
        self._forget()
        self._number = number
        return self._hello(number, now, missed_nothing=missed_nothing)

    def end(self, number: int) -> None:
        """Ask this connection no more: it has ended, or is no longer the current one."""
        if number == self._number:
            self._forget()

    def stop(self) -> None:
        """Expect nothing any more."""
        self._forget()

    def pause(self, number: int) -> None:
        """Stop the time for the answer, as long as nothing is read."""
        if number == self._number:
            self._is_paused = True

    def resume(self, number: int, now: float) -> None:
        """Give the answer its whole time again."""
        if number == self._number and self._is_paused:
            self._is_paused = False
            self.expect(now)

    @property
    def due(self) -> float:
        """The time of the next `tick`, at the latest."""
        return min(self._give_up_at, self._again_at)

    def tick(self, now: float) -> list[Action]:
        """Do the tasks that are due."""
        if now >= self._give_up_at:
            return self._give_up()
        return self._ask_again(now)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def receive(self, message: ReceivedMessage, now: float, *, is_beside: bool) -> list[Action]:
        """Pass a message on if it is its turn. `is_beside`: it came by another connection than the open one."""
        stream = self._streams.get(stream_of(message) or "")
        if stream is None:
            return self._pass([message])
        if is_beside and stream.mode is not Mode.PASS_THROUGH:
            # It is in the welcome of the current connection, or comes there, too.
            return []
        return self._pass(stream.receive(message)) + self._ask_again(now)

    def welcome(self, page: WelcomePage, now: float) -> tuple[list[Action], bool | None]:
        """Take a page of the answer. Return the actions and, after the last page, True if all was recovered."""
        replayed = self._user.page(page)
        self._is_answered = True
        if page.last:
            self._is_asked, self._answer_by = False, inf
        else:
            self.expect(now)
        return self._pass(replayed.messages) + self._ask_again(now), replayed.recovered

    def is_expected(self, number: int) -> bool:
        """Return whether a page that comes on this connection is of the answer to the last hello."""
        return number == self._number and self._is_asked

    def unknown_type(self, number: int) -> list[Action] | None:
        """Give up if this error answers the hello; None: it does not."""
        is_answer = number == self._number and self._is_asked and not self._is_answered
        return self._give_up() if is_answer else None

    # --- hello --------------------------------------------------------------------------------------------------------

    @property
    def _give_up_at(self) -> float:
        return inf if self._is_paused else self._answer_by

    @property
    def _again_at(self) -> float:
        is_due = self.wants_hello and self._number is not None
        return self._said_at + _AGAIN_SECONDS if is_due else inf

    def _ask_again(self, now: float) -> list[Action]:
        if self._number is None or now < self._again_at:
            return []
        return self._hello(self._number, now)

    def _hello(self, number: int, now: float, *, missed_nothing: bool = False) -> list[Action]:
        cursors = _known((name, each.hello(missed_nothing=missed_nothing)) for name, each in self._streams.items())
        self._said_at, self._is_asked, self._is_answered = now, True, False
        self.expect(now)
        return [Send(number, hello(cursors))]

    def expect(self, now: float) -> None:
        """Give the answer its whole time from now on. One that is late is taken, but not waited for again."""
        if self._is_asked and self._user.mode is not Mode.PASS_THROUGH:
            self._answer_by = now + self._answer_timeout_seconds

    def _give_up(self) -> list[Action]:
        self._answer_by, self._is_answered = inf, True
        return self._pass([message for each in self._streams.values() for message in each.give_up()])

    def _pass(self, messages: list[ReceivedMessage]) -> list[Action]:
        new = [message for message in messages if self._recent_ids.add(message.id)]
        return [Pass(new)] if new else []

    def _forget(self) -> None:
        self._number, self._answer_by, self._said_at = None, inf, -inf
        self._is_asked = self._is_paused = False


def _known(cursors: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    return {name: cursor for name, cursor in cursors if cursor is not None}
