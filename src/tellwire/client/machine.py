"""The client's state machine, as pure code: events and `now` go in, `Action`s come out.

    idle ─start─▶ connecting ─opened─▶ open ─closed─▶ waiting ─retry_at─▶ connecting …
                       └─no_token, refused, unreachable, too late─▶ waiting
    open ─no answer to a ping, or a close to come back from at once─▶ connecting
    any ─stop, or a verdict of never─▶ closed

There is one current link. When it has grown old it gets a successor; as soon as that is open it is the current one, and
the old one retires a few seconds later. A dead link retires at once. What a retiring link still brings is passed on.
Every link that becomes the current one asks what was missed: `recovery` does that, and passes nothing twice.

The backoff begins anew after a connection that was open for a while, and not at once, so that a server that lets
everybody in and falls over is left alone. A close to come back from at once is that only as a first failure.

A look at the clock (`tick`) that comes much too late says that the computer has slept: then it has woken up.
"""

from collections.abc import Callable, Mapping
from math import inf

from tellwire.client.actions import Action, AskToken, Close, Drop, Open, Why
from tellwire.client.backoff import Backoff
from tellwire.client.close_codes import (
    CloseReason,
    ComeBack,
    Refusal,
    Verdict,
    close_hint,
    judge_close,
    judge_refusal,
    silent,
    unreachable,
    without_token,
)
from tellwire.client.decode import ReceivedMessage, read_welcome
from tellwire.client.link import Link
from tellwire.client.options import LATE_SECONDS, TICK_SECONDS, ClientOptions, Pace
from tellwire.client.recovery import Bounds, Recovery
from tellwire.client.state import ConnectionState


def _never(_: CloseReason) -> bool:
    return False


class Machine:
    """The decisions of one client. `jitter` returns a random number from 0 to 1; `gives_up` makes a reason a final one.

    `cursors` is where the application is: without any, from now on. Without `recover`, nothing is asked for.
    """

    def __init__(
        self,
        options: ClientOptions,
        jitter: Callable[[], float],
        gives_up: Callable[[CloseReason], bool] = _never,
        *,
        recover: bool = True,
        cursors: Mapping[str, str] | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.state = ConnectionState("idle")
        self._options = options
        self._pace = Pace(options)
        self._jitter = jitter
        self._gives_up = gives_up
        self._number = 0
        self._why: Why = "connect"
        self._backoff = Backoff(options, jitter)
        self._ticked_at = 0.0
        self._current: Link | None = None
        self._successor: Link | None = None
        self._retiring: Link | None = None
        self._retire_at = inf
        self._recovery = Recovery(cursors or {}, options.answer_timeout_seconds, is_wanted=recover, bounds=bounds)

    def cursors(self, waiting: Callable[[str], str | None] = lambda _: None) -> dict[str, str]:
        """Return the cursor of each stream to come back with; see `Recovery.cursors`."""
        return self._recovery.cursors(waiting)

    @property
    def open_number(self) -> int | None:
        """The number of the link to send a message on; None if there is none."""
        return self._current.number if self._current is not None and self._current.is_open else None

    # --- what the application asks ------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Action]:
        """Connect."""
        self._ticked_at = now
        return self._begin(None, now)

    def stop(self) -> list[Action]:
        """Close for good."""
        return self._close(None)

    # --- what the shell did -------------------------------------------------------------------------------------------

    def token(self, number: int, token: str, now: float) -> list[Action]:
        """Use a token that was asked for."""
        link = self._find(number)
        if link is None:
            return []
        if link.is_open:
            return link.renews_with(token)
        link.connects_with(token, now)
        return [Open(number, token)]

    def no_token(self, number: int, message: str, now: float) -> list[Action]:
        """Do without a token: the attempt has failed, while a connection that is open lives on."""
        link = self._find(number)
        if link is None or link.is_open:
            return []
        return self._ended(number, without_token(message), now)

    def opened(self, number: int, now: float) -> list[Action]:
        """Use a connection whose handshake has succeeded."""
        link = self._find(number)
        if link is None:
            return []
        link.opened(now)
        self._why = "connect"
        if link is self._successor:
            return self._succeed(link, now)
        self.state = ConnectionState("open")
        return self._recovery.begin(number, now)

    def refused(self, number: int, refusal: Refusal, now: float) -> list[Action]:
        """Judge a handshake that the server answered with something else than 101."""
        return self._ended(number, judge_refusal(refusal), now)

    def unreachable(self, number: int, message: str, now: float) -> list[Action]:
        """Judge a handshake without an answer."""
        return self._ended(number, unreachable(message), now)

    def closed(self, number: int, code: int, text: str, now: float) -> list[Action]:
        """Judge the end of a connection."""
        link = self._find(number)
        hint = None if link is None else link.close_hint
        return self._ended(number, judge_close(code, text, hint, now), now)

    # --- what was received --------------------------------------------------------------------------------------------

    def received(self, number: int, message: ReceivedMessage | None, now: float) -> list[Action]:
        """Take a message that a link has received; None: a text that is no message."""
        link = self._find(number)
        if link is None:
            return []
        link.heard(now)
        if message is None:
            return []
        match message.type:
            case "pong":
                return []
            case "auth_ok":
                link.renewed(message, now)
                return []
            case "welcome":
                return self._welcomed(link, message, now)
            case "error":
                link.close_hint = close_hint(message.data, now) or link.close_hint
                if (given_up := self._answered(link, message)) is not None:
                    return given_up
        is_beside = link is not self._current and self.open_number is not None
        return self._recovery.receive(message, now, is_beside=is_beside)

    def stalled(self, number: int) -> None:
        """Expect nothing until `resumed`: the application does not keep up, and nothing is read."""
        if (link := self._find(number)) is not None:
            link.stalled()
            self._recovery.pause(number)

    def resumed(self, number: int, now: float) -> None:
        """Expect messages again: they are being read."""
        if (link := self._find(number)) is not None:
            link.heard(now)
            self._recovery.resume(number, now)

    def _welcomed(self, link: Link, message: ReceivedMessage, now: float) -> list[Action]:
        page = read_welcome(message)
        if page is None or not self._recovery.is_expected(link.number):
            return []
        self._pace.obey(page.heartbeat_seconds, page.rotate_after_seconds)
        if page.last:
            link.expires(message, now)
        if self._successor is None:
            link.keep_pace()
        actions, recovered = self._recovery.welcome(page, now)
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
        """The time of the next `tick`; None when there is nothing to come."""
        if self.state.status in ("idle", "closed"):
            return None
        links = [link.due for link in (self._current, self._successor) if link is not None]
        retry_at = inf if self.state.retry_at is None else self.state.retry_at
        return min(self._ticked_at + TICK_SECONDS, retry_at, *links, self._retire_at, self._recovery.due)

    def tick(self, now: float) -> list[Action]:
        """Do the tasks that are due."""
        has_slept = not -LATE_SECONDS < now - self._ticked_at < TICK_SECONDS + LATE_SECONDS
        self._ticked_at = now
        actions = self._overslept(now) if has_slept else []
        if self.state.status == "waiting" and now >= (self.state.retry_at or now):
            actions += self._begin(self.state.reason, now)
        for link in (self._current, self._successor):
            if link is not None:
                actions += self._tick_link(link, now)
        if now >= self._retire_at:
            actions += self._retire()
        return actions + self._recovery.tick(now)

    def wake(self, now: float) -> list[Action]:
        """Demand a sign of life, or connect without waiting: the device has woken up, or is on another network."""
        self._backoff.reset()
        if self.state.status == "waiting":
            return self._begin(self.state.reason, now)
        if self._current is not None and self._current.is_open:
            return self._current.probe(now, self._options.wake_timeout_seconds)
        return []

    def _overslept(self, now: float) -> list[Action]:
        if self._current is not None:
            self._current.overslept()
        self._recovery.expect(now)
        return self.wake(now)

    def _tick_link(self, link: Link, now: float) -> list[Action]:
        if not link.is_open:
            return self._tick_attempt(link, now)
        if link.is_dead(now):
            return self._abandon(link, now)
        actions = link.tick(now)
        if now >= link.rotate_at:
            link.rotate_at = inf
            self._successor = self._new_link(now)
            actions.append(AskToken(self._successor.number, self._successor.why))
        return actions

    def _tick_attempt(self, link: Link, now: float) -> list[Action]:
        if now < link.connect_by:
            return []
        within = f"within {self._options.connect_timeout_seconds:g} seconds"
        verdict = unreachable(f"no answer {within}") if link.has_token else without_token(f"get_token: none {within}")
        return [Drop(link.number), *self._ended(link.number, verdict, now)]

    def _abandon(self, link: Link, now: float) -> list[Action]:
        # It may only have been slow. What still comes until the new one is open, and a little later, is not lost.
        actions = self._retire() + self._ended(link.number, silent(), now)
        if self.state.status == "closed":
            return [*actions, Drop(link.number)]
        self._retiring, self._retire_at = link, now + self._options.overlap_seconds
        return actions

    # --- from state to state ------------------------------------------------------------------------------------------

    def _find(self, number: int) -> Link | None:
        for link in (self._current, self._successor, self._retiring):
            if link is not None and link.number == number:
                return link
        return None

    def _new_link(self, now: float) -> Link:
        self._number += 1
        return Link(self._number, self._why, self._options, self._pace, self._jitter, now)

    def _begin(self, reason: CloseReason | None, now: float) -> list[Action]:
        self._current = self._new_link(now)
        self.state = ConnectionState("connecting", self.state.attempt + 1, None, reason)
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
                self._current.rotate_at = now + (self._backoff.next_wait(verdict) or 0.0)
            return []
        return self._current_ended(link, verdict, now)

    def _current_ended(self, link: Link, verdict: Verdict, now: float) -> list[Action]:
        self._current = None
        self._recovery.end(link.number)
        if verdict.come_back is ComeBack.NEVER or self._gives_up(verdict.reason):
            return self._close(verdict.reason)
        if link.is_open and now - link.opened_at >= self._options.stable_after_seconds:
            self._backoff.reset()
        if self._successor is not None:
            self._current, self._successor = self._successor, None
            self.state = ConnectionState("connecting", 1, None, verdict.reason)
            return []
        wait = self._backoff.next_wait(verdict)
        if wait is None:
            return self._begin(verdict.reason, now)
        self.state = ConnectionState("waiting", self.state.attempt, now + wait, verdict.reason)
        return []

    def _learn(self, verdict: Verdict) -> None:
        if verdict.reason.kind != "token" or verdict.reason.code is not None:
            self._why = "refused" if verdict.reason.kind == "token" else "connect"

    def _succeed(self, link: Link, now: float) -> list[Action]:
        actions = self._retire()
        self._retiring, self._current, self._successor = self._current, link, None
        self._retire_at = now + self._options.overlap_seconds
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
        self._recovery.stop()
        return actions + [Close(link.number) if link.is_open else Drop(link.number) for link in links]
