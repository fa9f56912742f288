"""One connection, as pure code: from its token to its end, its heartbeat, its age, the renewal of its token.

Anything received is a sign of life. A server that is silent for a heartbeat is sent a `ping`, and is dead if nothing
comes within the answer timeout. So it is if it was sent a request, and is silent for half of that timeout. While the
application does not keep up nothing is read, so silence says nothing.

A token is renewed before it expires, and again after half of what is left until the server has accepted one. A server
closes with 4401 when it has expired.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from tellwire.client.actions import Action, AskToken, Send, Why
from tellwire.client.close_codes import CloseHint
from tellwire.client.decode import ReceivedMessage
from tellwire.client.encode import PING, auth
from tellwire.client.options import ClientOptions, Pace
from tellwire.client.resequencer import MAX_BUFFERED
from tellwire.client.token import expiry_of, expiry_told

_RENEW_AGAIN_SECONDS: Final = 1.0


class Link:
    """A connection, or an attempt at one. `jitter` returns a random number from 0 to 1."""

    def __init__(
        self, number: int, why: Why, options: ClientOptions, pace: Pace, jitter: Callable[[], float], now: float
    ) -> None:
        self.number = number
        self.why: Why = why
        self.has_token = False
        self.is_open = False
        self.opened_at = 0.0
        self.connect_by = now + options.connect_timeout_seconds
        self.rotate_at = inf
        self.close_hint: CloseHint | None = None
        self.awaited_since = inf
        self.silence_seconds = inf
        self.is_verified = True
        self._held: deque[ReceivedMessage] = deque(maxlen=MAX_BUFFERED)
        self._options = options
        self._pace = pace
        self._jitter = jitter
        self._age_factor = 0.96 + 0.08 * jitter()
        self._token = ""
        self._offered = ""
        self._expires_at: float | None = None
        self._renew_at = inf
        self._heard_at = 0.0
        self._answer_by = inf
        self._is_stalled = False

    def connects_with(self, token: str, now: float) -> None:
        """Begin the handshake with this token."""
        self.has_token = True
        self._token = token
        self._expires_at = expiry_of(token)
        self.connect_by = now + self._options.connect_timeout_seconds

    def opened(self, now: float) -> None:
        """Begin the life of the connection."""
        self.is_open = True
        self.connect_by = inf
        self.opened_at = self._heard_at = now
        self.keep_pace()
        self._schedule_renewal(now)

    def keep_pace(self) -> None:
        """Set the time of the rotation by the pace that holds now."""
        self.rotate_at = self.opened_at + self._pace.rotate_after_seconds * self._age_factor

    # --- its user ----------------------------------------------------------------------------------------------------

    def hold(self, message: ReceivedMessage) -> None:
        """Keep a message until it is known whose connection this is."""
        self._held.append(message)

    def verified(self) -> list[ReceivedMessage]:
        """Return the messages that were held: the connection is that of the session's user."""
        self.is_verified = True
        held = list(self._held)
        self._held.clear()
        return held

    # --- signs of life ------------------------------------------------------------------------------------------------

    def heard(self, now: float) -> None:
        """Count something received as a sign of life."""
        self._heard_at = now
        self._answer_by = inf
        self._is_stalled = False

    def stalled(self) -> None:
        """Expect no sign of life: nothing is read until the application has caught up."""
        self._is_stalled = True
        self._answer_by = inf

    def overslept(self) -> None:
        """Forgive a missing answer: nothing was read while the machine slept."""
        self._answer_by = inf

    def probe(self, now: float, timeout_seconds: float) -> list[Action]:
        """Demand a sign of life within `timeout_seconds`, unless one is due earlier."""
        if self._is_stalled or self._pace.heartbeat_seconds == inf:
            return []
        is_asked, self._answer_by = self._answer_by < inf, min(self._answer_by, now + timeout_seconds)
        return [] if is_asked else [Send(self.number, PING)]

    def is_dead(self, now: float) -> bool:
        """Return whether the server was asked for a sign of life and gave none in time."""
        return now >= self._answer_by

    # --- the token ----------------------------------------------------------------------------------------------------

    def renews_with(self, token: str) -> list[Action]:
        """Offer the token that was asked for, unless the server has it already."""
        if token == self._token:
            return []
        self._offered = token
        return [Send(self.number, auth(token))]

    def renewed(self, answer: ReceivedMessage, now: float) -> None:
        """Take an `auth_ok`: the connection lives as long as the token that was offered."""
        self._token = self._offered
        self._expires_at = expiry_told(answer, now) or expiry_of(self._token)
        self._schedule_renewal(now)

    def expires(self, welcome: ReceivedMessage, now: float) -> None:
        """Take the time at which the token of this connection expires by a welcome."""
        told = expiry_told(welcome, now)
        if told is not None:
            self._expires_at = told
            self._schedule_renewal(now)

    def _schedule_renewal(self, now: float) -> None:
        left = (self._expires_at or now) - now
        early = left - self._options.renew_before_seconds * (1 + self._jitter())
        # A token that has expired by our clock, and was accepted all the same, says that our clock is wrong.
        self._renew_at = now + max(early, left / 2, _RENEW_AGAIN_SECONDS) if left > 0 else inf

    # --- time ---------------------------------------------------------------------------------------------------------

    @property
    def due(self) -> float:
        """The time to look at this link next, at the latest."""
        if not self.is_open:
            return self.connect_by
        return min(self._ping_at, self._answer_by, self._renew_at, self.rotate_at)

    def tick(self, now: float) -> list[Action]:
        """Do the tasks that are due on an open link."""
        actions: list[Action] = []
        if now >= self._ping_at:
            # Half of the time for the answer to a request has passed already.
            share = 1 if self.awaited_since == inf else 2
            actions += self.probe(now, self._options.answer_timeout_seconds / share)
        if now >= self._renew_at:
            self._schedule_renewal(now)
            actions.append(AskToken(self.number, "renew"))
        return actions

    @property
    def _ping_at(self) -> float:
        heartbeat_seconds = self._pace.heartbeat_seconds
        if self._is_stalled or self._answer_by < inf or heartbeat_seconds == inf:
            return inf
        awaited = max(self._heard_at, self.awaited_since) + self._options.answer_timeout_seconds / 2
        return min(self._heard_at + min(heartbeat_seconds, self.silence_seconds), awaited)
