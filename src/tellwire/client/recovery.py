"""Recovery of missed messages, as pure code: the time of each `hello`, and the messages that pass.

Every connection that becomes the current one is asked at once, for the user's own stream and for topics; `topics` has
their answers. It is asked again when something of the user's own turns out to be missing: one hello at a time, and at
least a second apart, or as long as the server says.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final

from tellwire.client.actions import Action, Pass, Send
from tellwire.client.cursors import USER_STREAM, topic_stream
from tellwire.client.decode import ReceivedMessage, WelcomePage
from tellwire.client.encode import hello
from tellwire.client.resequencer import Mode
from tellwire.client.stream import Bounds, Stream
from tellwire.client.topics import Topics

_AGAIN_SECONDS: Final = 1.0
"""The shortest time between two hellos on a connection, until a welcome names a longer one."""


class Recovery:
    """The current connection's hello and welcome. `cursors` is where the application is; without `is_wanted` there is
    no hello, and everything passes.
    """

    def __init__(
        self,
        cursors: Mapping[str, str],
        topics: Topics,
        answer_timeout_seconds: float,
        *,
        is_wanted: bool = True,
        bounds: Bounds,
    ) -> None:
        self._cursors = {name: cursor for name, cursor in cursors.items() if not name.startswith(topic_stream(""))}
        self._user = Stream(cursors.get(USER_STREAM), bounds)
        self._topics = topics
        self._answer_timeout_seconds = answer_timeout_seconds
        self.is_wanted = is_wanted
        self._number: int | None = None
        self._is_asked = False  # and the answer has not ended
        self._is_answered = False  # by a page, or given up
        self._is_paused = False
        self._answer_by = inf
        self._said_at = -inf
        self._again_seconds = _AGAIN_SECONDS

    def cursors(self, waiting: Callable[[str], str | None] = lambda _: None) -> dict[str, str]:
        """Return the cursor of each stream for a client that comes back with them, and then misses nothing.

        `waiting` returns the cursor before the first message of a stream that the application has not taken.
        """
        user = _known([(USER_STREAM, self._user.cursor_to_store(waiting(USER_STREAM)))])
        return self._cursors | user | self._topics.cursors(waiting)

    @property
    def version(self) -> int | None:
        """The highest version of a state of the user that has passed; None: there was none."""
        return self._user.resequencer.version

    @property
    def wants_hello(self) -> bool:
        """Return whether something is to be asked for."""
        return self._user.wants_resync

    @property
    def is_buffering(self) -> bool:
        """True while a welcome is waited for."""
        return self._user.resequencer.mode is Mode.BUFFERING

    # --- the current connection ---------------------------------------------------------------------------------------

    def begin(self, number: int, now: float, *, missed_nothing: bool = False) -> list[Action]:
        """Ask this connection, which is the current one from now on."""
        self._topics.begin(number, now, missed_nothing=missed_nothing)
        if not self.is_wanted:
            return []
        self._forget()
        self._number = number
        return self._hello(number, now, missed_nothing=missed_nothing)

    def end(self, number: int) -> None:
        """Ask this connection no more: it has ended."""
        self._topics.end()
        if number == self._number:
            self._forget()

    def stop(self) -> None:
        """Expect nothing any more."""
        self._topics.stop()
        self._forget()

    def pause(self, number: int) -> None:
        """Stop the time for the answers, as long as nothing is read."""
        self._topics.pause(number)
        if number == self._number:
            self._is_paused = True

    def resume(self, number: int, now: float) -> None:
        """Give the answers their whole time again."""
        self._topics.resume(number, now)
        if number == self._number and self._is_paused:
            self._is_paused = False
            self.expect(now)

    @property
    def due(self) -> float:
        """The time of the next `tick`, at the latest."""
        return min(self.give_up_at, self._again_at, self._user.check_at)

    def tick(self, now: float) -> list[Action]:
        """Do the tasks that are due."""
        if now >= self.give_up_at:
            return self._give_up()
        self._user.check(now)
        return self._ask_again(now)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def receive(self, message: ReceivedMessage, now: float, *, is_beside: bool) -> list[Action]:
        """Pass a message on if it is its turn. `is_beside`: it came by another connection than the open one."""
        if message.topic is not None:
            return self._topics.receive(message, now, is_beside=is_beside)
        return _passed(self._user.receive(message, is_beside=is_beside)) + self._ask_again(now)

    def welcome(self, page: WelcomePage, now: float) -> tuple[list[Action], bool | None]:
        """Take a page of the answer. Return the actions and, after the last page, True if all was recovered."""
        self._again_seconds = max(_AGAIN_SECONDS, page.hello_interval_seconds or self._again_seconds)
        replayed = self._user.resequencer.page(page)
        self._topics.expect(now)
        self._is_answered = True
        if page.last:
            self._is_asked, self._answer_by = False, inf
        else:
            self.expect(now)
        return _passed(self._user.new(replayed.messages)) + self._ask_again(now), replayed.recovered

    def pong(self, number: int, data: Any, now: float) -> None:
        """Note the ends of the streams. If the client is still behind a moment later, it has missed something."""
        self._topics.pong(number, data, now)
        if number == self._number:
            self._user.pong(data, now)

    def is_expected(self, number: int) -> bool:
        """Return whether a page that comes on this connection is of the answer to the last hello."""
        return number == self._number and self._is_asked

    def unknown_type(self, number: int) -> list[Action] | None:
        """Give up if this error answers the hello; None: it does not."""
        is_answer = number == self._number and self._is_asked and not self._is_answered
        return self._give_up() if is_answer else None

    # --- hello --------------------------------------------------------------------------------------------------------

    @property
    def give_up_at(self) -> float:
        """The time at which an answer is waited for no longer."""
        return inf if self._is_paused else self._answer_by

    @property
    def _again_at(self) -> float:
        is_due = self.wants_hello and self._number is not None
        return self._said_at + self._again_seconds if is_due else inf

    def _ask_again(self, now: float) -> list[Action]:
        if self._number is None or now < self._again_at:
            return []
        return self._hello(self._number, now)

    def _hello(self, number: int, now: float, *, missed_nothing: bool = False) -> list[Action]:
        cursors = _known([(USER_STREAM, self._user.resequencer.hello(missed_nothing=missed_nothing))])
        topics = self._topics.hello(now)
        cursors |= {topic_stream(topic): cursor for topic, (cursor, _) in topics.items()}
        versions = {topic_stream(topic): version for topic, (_, version) in topics.items() if version}
        self._said_at, self._is_asked, self._is_answered = now, True, False
        self.expect(now)
        return [Send(number, hello(cursors, self.version, versions))]

    def expect(self, now: float) -> None:
        """Give the answer its whole time from now on. One that is late is taken, but not waited for again."""
        if self._is_asked and self._user.resequencer.mode is not Mode.PASS_THROUGH:
            self._answer_by = now + self._answer_timeout_seconds

    def _give_up(self) -> list[Action]:
        self._answer_by, self._is_answered = inf, True
        return _passed(self._user.new(self._user.resequencer.give_up()))

    def _forget(self) -> None:
        self._number, self._answer_by, self._said_at = None, inf, -inf
        self._is_asked = self._is_paused = False
        self._user.end()


def _passed(messages: list[ReceivedMessage]) -> list[Action]:
    return [Pass(messages)] if messages else []


def _known(cursors: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    return {name: cursor for name, cursor in cursors if cursor is not None}
