"""The client's states, as pure code: what happened and `now` go in, `Action`s come out.

    idle ─start─▶ connecting ─opened─▶ open ─closed, silent─▶ waiting ─retry_at─▶ connecting …
                       └─no_token, refused, unreachable─▶ waiting
    any ─stop, or a verdict of never─▶ closed

There is one current link. When it has grown old it gets a successor; as soon as that is open it is the current one, and
the old one retires a few seconds later. A link that gives no sign of life retires at once. What a retiring link still
brings is passed on. Every link that becomes the current one asks what was missed: `recovery` does that, and sees to it
that the program gets nothing twice.

Waits have full jitter: a random time between 0 and a bound that doubles with every failure. It is the first one again
after a connection has been open for a while, and not at once, so that a server that lets everybody in and falls over is
left alone. What calls for coming back at once does so only as the first failure.

A look at the clock (`tick`) that comes much too late says that the computer has slept: then the connection is probed,
and what was waited for is tried now.
"""

from collections.abc import Callable
from math import inf
from typing import Final

from tellwire.client.actions import Action, AskToken, Close, Drop, Open, Why
from tellwire.client.link import Link
from tellwire.client.place import Place
from tellwire.client.reasons import (
    CloseReason,
    ComeBack,
    Refusal,
    Verdict,
    last_words,
    of_close,
    of_refusal,
    of_silence,
    unreachable,
    without_token,
)
from tellwire.client.received import ReceivedMessage, read_welcome
from tellwire.client.recovery import Recovery
from tellwire.client.state import ConnectionState
from tellwire.client.timing import LATE_SECONDS, TICK_SECONDS, Timing

_COUNTED_FAILURES: Final = 64


def _never(_: CloseReason) -> bool:
    return False


class Machine:
    """Says what to do. `jitter` returns a random number from 0 to 1; `gives_up` makes a reason a final one.

    `cursor` is where the program is: None is from now on. Unless it shall `recover`, nothing is asked for.
    """

    def __init__(
        self,
        timing: Timing,
        jitter: Callable[[], float],
        gives_up: Callable[[CloseReason], bool] = _never,
        *,
        recover: bool = True,
        cursor: str | None = None,
    ) -> None:
        self.state = ConnectionState("idle")
        self._timing = timing
        self._jitter = jitter
        self._gives_up = gives_up
        self._number = 0
        self._why: Why = "connect"
        self._failures = 0
        self._ticked_at = 0.0
        self._current: Link | None = None
        self._successor: Link | None = None
        self._retiring: Link | None = None
        self._retire_at = inf
        self._recovery = Recovery(Place(cursor), timing.answer_seconds, is_wanted=recover)

    @property
    def cursor(self) -> str | None:
        """How much of the log has been passed on; None before anything is known of it."""
        return self._recovery.place.cursor

    @property
    def lost_at(self) -> str | None:
        """The cursor from before something went missing that was not told yet; None if nothing did."""
        return self._recovery.place.lost_at

    # --- what the program asks ----------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Action]:
        self._ticked_at = now
        return self._begin()

    def stop(self) -> list[Action]:
        return self._close(None)

    def speaks(self, now: float) -> int | None:
        """Return the number of the connection to send a message on now; None if there is none."""
        if self._current is None or not self._current.is_open:
            return None
        self._current.message(now)
        return self._current.number

    # --- what the shell did -------------------------------------------------------------------------------------------

    def token(self, number: int, token: str, now: float) -> list[Action]:
        link = self._find(number)
        if link is None:
            return []
        if link.is_open:
            return link.renews_with(token, now)
        link.connects_with(token)
        return [Open(number, token)]

    def no_token(self, number: int, message: str, now: float) -> list[Action]:
        link = self._find(number)
        if link is not None and link.is_open:
            link.not_renewed(now)
            return []
        return self._ended(number, without_token(message), now)

    def opened(self, number: int, now: float) -> list[Action]:
        link = self._find(number)
        if link is None:
            return []
        link.opened(now)
        self._why = "connect"
        self._recovery.twins.forget_at = now + self._timing.overlap_seconds + self._timing.settled_seconds
        if link is self._successor:
            return self._succeed(link, now)
        self.state = ConnectionState("open")
        return self._recovery.begin(number, now)

    def refused(self, number: int, refusal: Refusal, now: float) -> list[Action]:
        return self._ended(number, of_refusal(refusal), now)

    def unreachable(self, number: int, message: str, now: float) -> list[Action]:
        return self._ended(number, unreachable(message), now)

    def closed(self, number: int, code: int, text: str, now: float) -> list[Action]:
        link = self._find(number)
        words = None if link is None else link.last_words
        return self._ended(number, of_close(code, text, words, now), now)

    # --- what was heard -----------------------------------------------------------------------------------------------

    def received(self, number: int, message: ReceivedMessage, now: float) -> list[Action]:
        """Take note of a message; every one passes here."""
        link = self._find(number)
        if link is None:
            return []
        link.heard(now)
        link.message(now)
        match message.type:
            case "pong":
                return []
            case "auth_ok":
                link.renewed(message, now)
                return []
            case "welcome":
                return self._welcomed(link, message, now)
            case "error":
                link.last_words = last_words(message.data, now) or link.last_words
                if (given_up := self._answered(link, message)) is not None:
                    return given_up
        is_beside = link is not self._current and self._current is not None and self._current.is_open
        return self._recovery.received(message, now, is_beside=is_beside)

    def heard(self, number: int, now: float) -> None:
        """Take note of a sign of life that is no message."""
        if (link := self._find(number)) is not None:
            link.heard(now)

    def stalled(self, number: int) -> None:
        """Take note that nothing is read until `resumed`, because the program does not keep up."""
        if (link := self._find(number)) is not None:
            link.stalled()
            self._recovery.pause(number)

    def resumed(self, number: int, now: float) -> None:
        """Take note that it is being read again."""
        self.heard(number, now)
        self._recovery.resume(number, now)

    def _welcomed(self, link: Link, message: ReceivedMessage, now: float) -> list[Action]:
        page = read_welcome(message)
        if page is None:
            return []
        if page.last:
            link.expires(message, now)
        actions, recovered = self._recovery.welcomed(link.number, page, now)
        if recovered is False or (recovered and not self.state.recovered):
            self.state = ConnectionState("open", recovered=recovered)
        return actions

    def _answered(self, link: Link, error: ReceivedMessage) -> list[Action] | None:
        match error.data:
            case {"code": "UNKNOWN_TYPE"}:
                return self._recovery.unknown_type(link.number)
        return None

    # --- time ---------------------------------------------------------------------------------------------------------

    @property
    def due(self) -> float | None:
        """When to call `tick` next; None when there is nothing to come."""
        if self.state.status in ("idle", "closed"):
            return None
        link_due = self._current.due if self._current is not None and self._current.is_open else inf
        retry_at = inf if self.state.retry_at is None else self.state.retry_at
        return min(self._ticked_at + TICK_SECONDS, retry_at, link_due, self._retire_at, self._recovery.due)

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        has_slept = not -LATE_SECONDS < now - self._ticked_at < TICK_SECONDS + LATE_SECONDS
        self._ticked_at = now
        actions = self._wake(now) if has_slept else []
        if self.state.status == "waiting" and now >= (self.state.retry_at or now):
            actions += self._begin()
        elif self._current is not None and self._current.is_open:
            actions += self._tick_link(self._current, now)
        if now >= self._retire_at:
            actions += self._retire()
        return actions + self._recovery.tick(now)

    def _tick_link(self, link: Link, now: float) -> list[Action]:
        if link.is_silent(now):
            return self._abandon(link, now)
        actions = link.tick(now)
        if now >= link.replace_at and self._successor is None:
            link.replace_at = inf
            self._recovery.twins.watch()
            self._successor = self._new_link()
            actions.append(AskToken(self._successor.number, self._successor.why))
        return actions

    def _abandon(self, link: Link, now: float) -> list[Action]:
        # It may only have been slow. What still comes until the new one is open, and a little later, is not lost.
        self._recovery.twins.watch()
        actions = self._retire() + self._ended(link.number, of_silence(), now)
        if self.state.status == "closed":
            return [*actions, Drop(link.number)]
        self._retiring, self._retire_at = link, now + self._timing.overlap_seconds
        return actions

    def _wake(self, now: float) -> list[Action]:
        self._failures = 0
        if self.state.status == "waiting":
            self._wait(now, self.state.reason)
        if self._current is None:
            return []
        if self._current.is_open:
            return self._current.probe(now, self._timing.wake_seconds)
        # What was under way was so on a network that may be gone.
        return [Drop(self._current.number), *self._begin()]

    # --- from state to state ------------------------------------------------------------------------------------------

    def _find(self, number: int) -> Link | None:
        for link in (self._current, self._successor, self._retiring):
            if link is not None and link.number == number:
                return link
        return None

    def _new_link(self) -> Link:
        self._number += 1
        return Link(self._number, self._why, self._timing, self._jitter)

    def _begin(self) -> list[Action]:
        self._current = self._new_link()
        self.state = ConnectionState("connecting", self.state.attempt + 1, None, self.state.reason)
        return [AskToken(self._current.number, self._current.why)]

    def _ended(self, number: int, verdict: Verdict, now: float) -> list[Action]:
        link = self._find(number)
        if link is None:
            return []
        if link is self._retiring:
            self._retiring, self._retire_at = None, inf
            return []
        self._learn(verdict)
        if link is self._successor:
            self._successor = None
            if self._current is not None:
                self._current.replace_at = now + self._delay(verdict)
            return []
        return self._current_ended(link, verdict, now)

    def _current_ended(self, link: Link, verdict: Verdict, now: float) -> list[Action]:
        self._current = None
        self._recovery.end(link.number)
        if verdict.come_back is ComeBack.NEVER or self._gives_up(verdict.reason):
            return self._close(verdict.reason)
        if link.is_open and now - link.opened_at >= self._timing.settled_seconds:
            self._failures = 0
        if self._successor is not None:
            self._current, self._successor = self._successor, None
            self.state = ConnectionState("connecting", 1, None, verdict.reason)
        else:
            self._wait(now + self._delay(verdict), verdict.reason)
        return []

    def _learn(self, verdict: Verdict) -> None:
        if verdict.reason.kind != "token" or verdict.reason.code is not None:
            self._why = "refused" if verdict.reason.kind == "token" else "connect"

    def _delay(self, verdict: Verdict) -> float:
        bound = min(self._timing.first_wait_seconds * 2.0**self._failures, self._timing.longest_wait_seconds)
        self._failures = min(self._failures + 1, _COUNTED_FAILURES)
        if self._failures == 1 and verdict.come_back is ComeBack.AT_ONCE:
            return 0.0
        return verdict.retry_after_seconds + self._jitter() * bound

    def _wait(self, until: float, reason: CloseReason | None) -> None:
        self.state = ConnectionState("waiting", self.state.attempt, until, reason)

    def _succeed(self, link: Link, now: float) -> list[Action]:
        actions = self._retire()
        self._retiring, self._current, self._successor = self._current, link, None
        self._retire_at = now + self._timing.overlap_seconds
        return actions + self._recovery.begin(link.number, now, missed_nothing=True)

    def _retire(self) -> list[Action]:
        link, self._retiring, self._retire_at = self._retiring, None, inf
        return [] if link is None else [Close(link.number)]

    def _close(self, reason: CloseReason | None) -> list[Action]:
        actions: list[Action] = [] if self._retiring is None else [Drop(self._retiring.number)]
        links = [link for link in (self._current, self._successor) if link is not None]
        self._current = self._successor = self._retiring = None
        if self.state.status != "closed":
            self.state = ConnectionState("closed", 0, None, reason)
        actions += [Close(link.number) if link.is_open else Drop(link.number) for link in links]
        return actions + self._recovery.stop()
