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

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from math import inf

from tellwire.client.actions import Action, AskToken, Close, Drop, Forget, Open, Pass, Settle, Why
from tellwire.client.backoff import Backoff
from tellwire.client.close_codes import (
    CloseReason,
    ComeBack,
    Refusal,
    Verdict,
    another_user,
    close_hint,
    judge_close,
    judge_refusal,
    nobodys,
    silent,
    unreachable,
    without_token,
)
from tellwire.client.decode import ReceivedMessage, read_welcome
from tellwire.client.leases import Leases
from tellwire.client.link import Link
from tellwire.client.options import LATE_SECONDS, TICK_SECONDS, ClientOptions, Pace
from tellwire.client.pacing import Pacing
from tellwire.client.recovery import Recovery
from tellwire.client.request_error import RequestError
from tellwire.client.requests import RequestLimits, Requests
from tellwire.client.session_user import SessionUser
from tellwire.client.state import ConnectionState
from tellwire.client.stream import Bounds
from tellwire.client.topic_presence import TopicPresences
from tellwire.client.topics import Topics
from tellwire.errors import TokenOfAnotherUser

_CLOSED = "The client is closed"


def _never(_: CloseReason) -> bool:
    return False


class Machine:
    """The decisions of one client. `jitter` returns a random number from 0 to 1; `gives_up` makes a reason a final one.

    `cursors` is where the application is: without any, from now on. Without `recover`, nothing is asked for. `user` is
    whose session it is; with a token or a welcome of another one it ends, or `restarts` as theirs.
    """

    def __init__(
        self,
        options: ClientOptions,
        jitter: Callable[[], float],
        gives_up: Callable[[CloseReason], bool] = _never,
        *,
        recover: bool = True,
        cursors: Mapping[str, str] | None = None,
        user: SessionUser | None = None,
        restarts: bool = False,
        starts_at: Mapping[str, str] | None = None,
        bounds: Bounds | None = None,
        request_limits: RequestLimits | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_urlsafe(12),
    ) -> None:
        self._user = user or SessionUser(None, "sub")
        self._restarts = restarts
        self._starts_at = starts_at or {}
        self.state = ConnectionState("idle", user=self._user.name)
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
        self._leases = Leases()
        pacing, bounds = Pacing(), bounds or Bounds()
        self._requests = Requests(options, jitter, request_limits or RequestLimits(), pacing)
        self._presences = TopicPresences(self._requests, new_id)
        self._topics = Topics(options, jitter, pacing, cursors or {}, bounds, self._presences)
        self._recovery_of = partial(
            Recovery,
            topics=self._topics,
            answer_timeout_seconds=options.answer_timeout_seconds,
            is_wanted=recover,
            bounds=bounds,
        )
        self._recovery = self._recovery_of({**self._starts_at, **(cursors or {})})

    def cursors(self, waiting: Callable[[str], str | None] = lambda _: None) -> dict[str, str]:
        """Return the cursor of each stream to come back with; see `Recovery.cursors`."""
        return self._recovery.cursors(waiting)

    @property
    def open_number(self) -> int | None:
        """The number of the link to send a message on; None if there is none."""
        return self._current.number if self._current is not None and self._current.is_open else None

    @property
    def version(self) -> int | None:
        """The highest version of a state that has passed; None: there was none."""
        return self._recovery.version

    # --- what the application asks ------------------------------------------------------------------------------------

    def request(self, request_id: str, payload: bytes, until: float) -> list[Action]:
        """Ask the server for something until a time. Its answer settles it."""
        if self.state.status == "closed":
            return [Settle(request_id, error=RequestError("CLOSED", _CLOSED))]
        return self._requests.add(request_id, payload, until)

    def forget(self, request_id: str) -> None:
        """Send a request no more: nobody waits for it."""
        self._requests.drop(request_id)

    def follow(self, topic: str, start: str | None, now: float) -> None:
        """Follow a topic; see `Topics`."""
        self._topics.follow(topic, start, now)

    def leave(self, topic: str, now: float) -> None:
        """Follow a topic no longer."""
        self._topics.leave(topic, now)

    def watch(self, topic: str) -> None:
        """Report the members of a topic that is followed; see `TopicPresences`."""
        self._topics.watch(topic)

    def proceed(self, now: float) -> list[Action]:
        """Send and give up requests whose time has come; the shell calls it after every other call."""
        link = self._current
        number = self.open_number if link is not None and link.is_verified else None
        # What a welcome says of limits, and of the user, comes first.
        of_topics = None if self._recovery.is_buffering else number
        actions = self._topics.proceed(now, of_topics) + self._requests.proceed(now, number)
        if link is not None:
            link.awaited_since = self._requests.awaited_since(link.number)
            link.silence_seconds = self._leases.silence_seconds
        return actions + self._presences.told()

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
        claim = self._user.claim_of(token)
        is_known = self._user.name is not None
        if not self._user.has_claim(claim):
            return self._become_another_users(now, claim)
        if link.is_open:
            return link.renews_with(token)
        link.connects_with(token, now)
        link.is_verified = claim is not None or not is_known or not self._recovery.is_wanted
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
        self.state = ConnectionState("open", user=self._user.name)
        return self._recovery.begin(number, now)

    def refused(self, number: int, refusal: Refusal, now: float) -> list[Action]:
        """Judge a handshake that the server answered with something else than 101."""
        return self._judged(number, judge_refusal(refusal), now)

    def unreachable(self, number: int, message: str, now: float) -> list[Action]:
        """Judge a handshake without an answer."""
        return self._ended(number, unreachable(message), now)

    def closed(self, number: int, code: int, text: str, now: float) -> list[Action]:
        """Judge the end of a connection."""
        link = self._find(number)
        hint = None if link is None else link.close_hint
        return self._judged(number, judge_close(code, text, hint, now), now)

    def _judged(self, number: int, verdict: Verdict, now: float) -> list[Action]:
        link = self._find(number)
        if link not in (None, self._retiring) and verdict.reason.error == TokenOfAnotherUser.code:
            return self._become_another_users(now)
        return self._ended(number, verdict, now)

    def _become_another_users(self, now: float, claim: str | None = None, user_id: str | None = None) -> list[Action]:
        """End the session, or begin anew as that of another user, with nothing of the one before."""
        settled = self._requests.reject("USER", "The session has become another user's")
        verdict = another_user()
        if not self._restarts or self._gives_up(verdict.reason):
            return settled + self._close(verdict.reason)
        links = [link for link in (self._current, self._successor, self._retiring) if link is not None]
        self._current = self._successor = self._retiring = None
        self._retire_at = inf
        self._topics.begin_anew()
        self._recovery = self._recovery_of(self._starts_at)
        self._leases = Leases()
        self._user.become(claim, user_id)
        return [*settled, *(Drop(link.number) for link in links), Forget(), *self._again(verdict, now)]

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
                self._recovery.pong(number, message.data, now)
                return []
            case "auth_ok":
                link.renewed(message, now)
                self._topics.renewed(number, now)
                return []
            case "welcome":
                return self._welcomed(link, message, now)
            case "ok" | "error":
                return self._answered(link, message, now)
            case "subscribed" | "unsubscribed" | "presence" | "join" | "leave":
                return self._noted(self._topics.answered(number, message, now))
        return self._pass(link, message, now)

    def _pass(self, link: Link, message: ReceivedMessage, now: float) -> list[Action]:
        if not link.is_verified and message.cursor is None and message.key is None:
            link.hold(message)
            return []
        is_beside = link is not self._current and self.open_number is not None
        return self._noted(self._recovery.receive(message, now, is_beside=is_beside))

    def _verify(self, link: Link, now: float) -> list[Action]:
        """Pass the messages on that were held until the user of this connection was known."""
        return [action for message in link.verified() for action in self._pass(link, message, now)]

    def _noted(self, actions: list[Action]) -> list[Action]:
        """Note the leases of messages that pass."""
        for action in actions:
            if isinstance(action, Pass):
                for message in action.messages:
                    self._leases.heard(message)
        return actions

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
        if not self._user.has_id(page.user_id):
            return self._become_another_users(now, user_id=page.user_id)
        held = self._verify(link, now)
        self._pace.obey(page.heartbeat_seconds, page.rotate_after_seconds)
        self._requests.obey(page.requests_per_second, page.request_burst)
        self._topics.obey(page.max_subscriptions, page.hello_interval_seconds)
        if page.last:
            link.expires(message, now)
        if self._successor is None:
            link.keep_pace()
        actions, recovered = self._recovery.welcome(page, now)
        is_news = recovered is False or (recovered is True and not self.state.recovered)
        if is_news or self.state.user != self._user.name:
            recovered = self.state.recovered if recovered is None else recovered
            self.state = ConnectionState("open", recovered=recovered, user=self._user.name)
        return held + self._noted(actions)

    def _answered(self, link: Link, answer: ReceivedMessage, now: float) -> list[Action]:
        """Take the answer to a request, or an error about something else, which passes."""
        match answer:
            case ReceivedMessage(type="error", data={"code": code}):
                if code == "UNKNOWN_TYPE" and (given_up := self._recovery.unknown_type(link.number)) is not None:
                    return given_up + self._verify(link, now)
                if self._topics.failed(link.number, answer, now):
                    return []
                link.close_hint = close_hint(answer.data, now) or link.close_hint
        is_answer, settled = self._requests.answered(answer, now)
        if not is_answer:
            return self._pass(link, answer, now)
        return [each for each in settled if not self._presences.answered(each)]

    # --- time ---------------------------------------------------------------------------------------------------------

    @property
    def due(self) -> float | None:
        """The time of the next `tick`; None when there is nothing to come."""
        if self.state.status in ("idle", "closed"):
            return None if self._requests.due == inf else self._requests.due
        links = [link.due for link in (self._current, self._successor) if link is not None]
        retry_at = inf if self.state.retry_at is None else self.state.retry_at
        parts = (self._recovery.due, self._requests.due, self._topics.due)
        return min(self._ticked_at + TICK_SECONDS, retry_at, *links, self._retire_at, *parts)

    def tick(self, now: float) -> list[Action]:
        """Do the tasks that are due."""
        if self.state.status == "idle":
            return []
        passed = now - self._ticked_at
        has_slept = not -LATE_SECONDS < passed < TICK_SECONDS + LATE_SECONDS
        self._ticked_at = now
        if passed < -LATE_SECONDS:
            self._requests.set_back(passed)
        actions = self._overslept(now) if has_slept else []
        if self.state.status == "waiting" and now >= (self.state.retry_at or now):
            actions += self._begin(self.state.reason, now)
        for link in (self._current, self._successor):
            if link is not None:
                actions += self._tick_link(link, now)
        if now >= self._retire_at:
            actions += self._retire()
        link = self._current
        if link is not None and not link.is_verified and now >= self._recovery.give_up_at:
            return [*actions, Drop(link.number), *self._ended(link.number, nobodys(), now)]
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
        self._topics.expect(now)
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
        self.state = ConnectionState("connecting", self.state.attempt + 1, None, reason, user=self._user.name)
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
            self.state = ConnectionState("connecting", 1, None, verdict.reason, user=self._user.name)
            return []
        return self._again(verdict, now)

    def _again(self, verdict: Verdict, now: float) -> list[Action]:
        wait = self._backoff.next_wait(verdict)
        if wait is None:
            return self._begin(verdict.reason, now)
        self.state = ConnectionState("waiting", self.state.attempt, now + wait, verdict.reason, user=self._user.name)
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
            self.state = ConnectionState("closed", 0, None, reason, user=self._user.name)
        self._recovery.stop()
        actions += self._requests.reject("CLOSED", _CLOSED)
        return actions + [Close(link.number) if link.is_open else Drop(link.number) for link in links]
