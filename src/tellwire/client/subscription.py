"""The subscription to one topic, as pure code: its stream, its state, and the requests about it on a connection.

One thing of a topic is on its way at a time: `subscribe` (or a hello that names it) until the last page or an error;
`unsubscribe` until `unsubscribed`. What gets no answer is said again. Something that turns out to be missing is asked
for again; so is, later, what the server could not answer just now.

A topic that was left is kept here until the server has been told. If it is followed again, its stream is a new one.
"""

from collections.abc import Callable
from math import inf
from typing import Final, Literal

from tellwire.client.decode import ReceivedMessage, WelcomePage
from tellwire.client.stream import Bounds, Stream
from tellwire.client.topic_state import TopicState

SUBSCRIBING: Final = TopicState("subscribing")


class Subscription:
    """A topic. `tell` is called with each new state.

    `awaits` is what the server has to answer; `is_known`: something was said of it on this connection, and the server
    may send its messages; `say_at`: the time to say something, at the latest.
    """

    def __init__(self, bounds: Bounds | None, tell: Callable[[TopicState], None]) -> None:
        self._bounds = bounds
        self._tell = tell
        self._start: str | None = None
        self.stream = Stream(None, bounds)
        self.state = SUBSCRIBING
        self.is_followed = False
        self.awaits: Literal["subscribed", "unsubscribed"] | None = None
        self.is_known = False
        self.say_at = inf
        self.failures = 0
        self._is_asked = False  # for this stream, on some connection
        self._paged_at = -inf

    @property
    def is_refused(self) -> bool:
        """True if the server has said no."""
        return self.state.status == "refused"

    @property
    def is_to_be_asked(self) -> bool:
        """True if its messages are awaited, or are to be asked for."""
        return self.is_followed and (self.awaits == "subscribed" or self.say_at < inf)

    @property
    def is_answered(self) -> bool:
        """True if it is subscribed to on this connection, and nothing is asked or to be asked."""
        is_idle = self.is_known and self.awaits is None and not self.stream.wants_resync
        return is_idle and self.state.status == "subscribed"

    @property
    def is_over(self) -> bool:
        """True if nobody needs it any more."""
        return not self.is_followed and not self.is_known

    @property
    def due(self) -> float:
        """The time at which there is something to do."""
        return min(self.say_at, self.stream.check_at)

    # --- what the application asks ------------------------------------------------------------------------------------

    def follow(self, cursor: str | None, start: str | None) -> None:
        """Begin at `cursor`, and at `start` if the session becomes another user's."""
        self._start = start
        self._begin(cursor)
        self.is_followed = True
        self.state = SUBSCRIBING

    def leave(self, now: float) -> None:
        """Pass nothing on any more."""
        self.is_followed = False
        if self.awaits is None:
            self.say_at = now

    def begin_anew(self) -> None:
        """Follow the topic as another user."""
        self.end()
        self._begin(self._start)
        self._become(SUBSCRIBING)

    def _begin(self, cursor: str | None) -> None:
        self.stream = Stream(cursor, self._bounds)
        self._is_asked = False

    # --- what is said -------------------------------------------------------------------------------------------------

    def ask(self, now: float, again_at: float, *, missed_nothing: bool = False) -> tuple[str | None, int | None]:
        """Note that it is asked for now. Return the cursor and the version to say."""
        cursor = self.stream.resequencer.hello(missed_nothing=missed_nothing)
        self._is_asked = True
        self._say("subscribed", again_at)
        return cursor, self.stream.resequencer.version

    def unsubscribe(self, again_at: float) -> None:
        """Note that this is said now."""
        self._say("unsubscribed", again_at)

    def _say(self, awaits: Literal["subscribed", "unsubscribed"], again_at: float) -> None:
        self.failures = self.failures + 1 if self.awaits is not None else self.failures
        self.awaits, self.say_at, self.is_known = awaits, again_at, True

    def ask_if_missing(self, now: float, pause_seconds: float) -> None:
        """Ask again if something is missing, but not too soon after the last page."""
        if self.stream.wants_resync and self.is_followed and self.awaits is None and not self.is_refused:
            self.say_at = min(self.say_at, max(now, self._paged_at + pause_seconds))

    def end(self) -> None:
        """Forget the requests on a connection that has ended, or is no longer the current one."""
        self.awaits, self.is_known, self.failures = None, False, 0
        self.say_at, self._paged_at = inf, -inf
        self.stream.end()

    def lose(self) -> None:
        """Note that there is no connection."""
        self.end()
        if self.state.status == "subscribed":
            self._become(SUBSCRIBING)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def receive(self, message: ReceivedMessage, *, is_beside: bool) -> list[ReceivedMessage]:
        """Take a live message, and return those that pass now."""
        is_of_stream = self.is_followed and self._is_asked and not self.is_refused
        return self.stream.receive(message, is_beside=is_beside) if is_of_stream else []

    def page(self, page: WelcomePage, now: float, again_at: float) -> list[ReceivedMessage]:
        """Take a page of the answer, and return the messages that pass."""
        self.say_at, self._paged_at = again_at, now
        is_of_stream = self.is_followed and self._is_asked
        if page.last:
            self.awaits, self.failures = None, 0
            # Left meanwhile, or followed again: there is something else to say.
            self.say_at = inf if is_of_stream else now
        if not is_of_stream:
            return []
        replayed = self.stream.resequencer.page(page)
        if replayed.recovered is False or (replayed.recovered and not self.state.recovered):
            self.state = TopicState("subscribed", replayed.recovered)
            self._tell(self.state)
        return self.stream.new(replayed.messages)

    def unsubscribed(self, now: float) -> None:
        """Take the answer to `unsubscribe`."""
        if self.awaits == "unsubscribed":
            self.awaits, self.is_known, self.failures = None, False, 0
            self.say_at = now if self.is_followed else inf

    def refuse(self, code: str, message: str, now: float) -> None:
        """Take a no. It holds until the topic is asked for again."""
        self.is_known = self.awaits == "unsubscribed"
        if not self.is_known:
            self.awaits, self.say_at = None, inf
        if self.is_followed and self._is_asked:
            self._become(TopicState("refused", None, code, message))
        elif self.is_followed and not self.is_known:
            # It was an answer to what was asked before the topic was left, and followed again.
            self.say_at = now

    def refuse_one_more(self, most: float) -> None:
        """Ask not at all: there is no room for it."""
        self.say_at = inf
        words = f"A connection follows at most {most:g} topics: leave another one first"
        self._become(TopicState("refused", None, "TOO_MANY_SUBSCRIPTIONS", words))

    def fail(self, code: str, message: str, again_at: float) -> None:
        """Take an error that allows saying it again."""
        self.awaits, self.say_at, self.failures = None, again_at, self.failures + 1
        if self.is_followed and self._is_asked:
            self._become(TopicState("subscribing", None, code, message))

    def _become(self, state: TopicState) -> None:
        if state != self.state:
            self.state = state
            self._tell(state)
