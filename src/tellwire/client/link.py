"""One connection, as pure code: from its token to its end, its heartbeat, the renewal of its token.

Anything heard is life. A server that is quiet is asked by a WebSocket ping; when there was no message for long, in
either direction, by a `ping` as well, because that is what API Gateway counts.

A token is renewed before it expires. If that fails it is tried again after half of what is left, and so on; what the
server does in the end, closing with 4401, is not the link's business.
"""

from collections.abc import Callable
from math import inf
from typing import Final

import msgspec

from tellwire.client.actions import Action, AskToken, Ping, Send, Why
from tellwire.client.reasons import LastWords
from tellwire.client.received import ReceivedMessage
from tellwire.client.timing import Timing
from tellwire.client.token import expiry_of, expiry_told

_PING: Final = b'{"type":"ping"}'
_RENEW_AGAIN_SECONDS: Final = 1.0


class Link:
    """A connection, or an attempt at one. `jitter` returns a random number from 0 to 1."""

    def __init__(self, number: int, why: Why, timing: Timing, jitter: Callable[[], float]) -> None:
        self.number = number
        self.why: Why = why
        self.is_open = False
        self.opened_at = 0.0
        self.replace_at = inf
        self.last_words: LastWords | None = None
        self._timing = timing
        self._jitter = jitter
        self._token = ""
        self._offered = ""
        self._expires_at: float | None = None
        self._renew_at = inf
        self._heard_at = 0.0
        self._message_at = 0.0
        self._answer_by = inf
        self._is_stalled = False

    def connects_with(self, token: str) -> None:
        """Take note of the token of the handshake."""
        self._token = token
        self._expires_at = expiry_of(token)

    def opened(self, now: float) -> None:
        self.is_open = True
        self.opened_at = self._heard_at = self._message_at = now
        self.replace_at = now + self._timing.replace_seconds * (0.96 + 0.08 * self._jitter())
        self._schedule_renewal(now)

    # --- life ---------------------------------------------------------------------------------------------------------

    def heard(self, now: float) -> None:
        """Take note of a sign of life; whatever was waiting to be read is being read again."""
        self._heard_at = now
        self._answer_by = inf
        self._is_stalled = False

    def message(self, now: float) -> None:
        """Take note of a message, in either direction."""
        self._message_at = now

    def stalled(self) -> None:
        """Take note that nothing is read for now, so that silence says nothing of the server."""
        self._is_stalled = True
        self._answer_by = inf

    def probe(self, now: float, within_seconds: float) -> list[Action]:
        """Ask for a sign of life by all means there are."""
        if self._is_stalled:
            return []
        self._answer_by = now + within_seconds
        self._message_at = now
        return [Ping(self.number), Send(self.number, _PING)]

    def is_silent(self, now: float) -> bool:
        """Tell whether the server was asked for a sign of life and gave none in time."""
        return now >= self._answer_by

    # --- the token ----------------------------------------------------------------------------------------------------

    def renews_with(self, token: str, now: float) -> list[Action]:
        """Offer the token that was asked for. One that the server has already is no news."""
        self._schedule_renewal(now)
        if token == self._token:
            return []
        self._offered = token
        self.message(now)
        return [Send(self.number, msgspec.json.encode({"type": "auth", "token": token}))]

    def not_renewed(self, now: float) -> None:
        """Take note that there is no token to offer."""
        self._schedule_renewal(now)

    def renewed(self, answer: ReceivedMessage, now: float) -> None:
        """Take note of an `auth_ok`: the connection lives as long as the token that was offered."""
        self._token = self._offered
        self._expires_at = expiry_told(answer, now) or expiry_of(self._token)
        self._schedule_renewal(now)

    def expires(self, welcome: ReceivedMessage, now: float) -> None:
        """Take note of when the server says that this connection's token expires."""
        told = expiry_told(welcome, now)
        if told is not None:
            self._expires_at = told
            self._schedule_renewal(now)

    def _schedule_renewal(self, now: float) -> None:
        left = (self._expires_at or now) - now
        early = left - self._timing.renew_seconds * (1 + self._jitter())
        # A token that has expired by our clock, and was accepted all the same, says that our clock is wrong.
        self._renew_at = now + max(early, left / 2, _RENEW_AGAIN_SECONDS) if left > 0 else inf

    # --- time ---------------------------------------------------------------------------------------------------------

    @property
    def due(self) -> float:
        """When to look at an open link next, at the latest."""
        return min(self._ask_at, self._answer_by, self._renew_at, self.replace_at)

    def tick(self, now: float) -> list[Action]:
        """Do what is due on an open link."""
        actions: list[Action] = []
        if now >= self._ask_at:
            actions += self._ask(now)
        if now >= self._renew_at:
            self._renew_at = inf
            actions.append(AskToken(self.number, "renew"))
        return actions

    @property
    def _ask_at(self) -> float:
        if self._is_stalled or self._answer_by < inf:
            return inf
        return min(self._heard_at + self._timing.ping_seconds, self._heartbeat_at)

    @property
    def _heartbeat_at(self) -> float:
        return self._message_at + self._timing.heartbeat_seconds

    def _ask(self, now: float) -> list[Action]:
        if now >= self._heartbeat_at:
            return self.probe(now, self._timing.answer_seconds)
        self._answer_by = now + self._timing.answer_seconds
        return [Ping(self.number)]
