"""The user of a connection, the times at which it ends, and its close codes, for every kind of connection.

Intervals are measured on the clock that never goes back. A token expires by the wall clock; and if that is set back,
after the time that was left.
"""

from typing import TYPE_CHECKING

from tellwire import limits
from tellwire.model import ConnectionInfo, Identity, TokenStamp, timestamp
from tellwire.server.outbox import Outbox
from tellwire.server.sockets import Sockets

GOING_AWAY = (1001, "Going away")
TOO_SLOW = (1013, "Too slow: come back")
RESTARTING = (1012, "Service restart")
TOKEN_EXPIRED = (4401, "Token expired")
FAILED = (1011, "Internal error")


class Lifetime:
    """A base class without fields of its own: a connection has them among its slots."""

    if not TYPE_CHECKING:
        __slots__ = ()

    _sockets: Sockets
    _outbox: Outbox
    # The client does not take what is written.
    _is_behind: bool
    _expires_by: float
    connection_id: str
    user_id: str
    stamp: TokenStamp
    is_open: bool
    expires_at: float
    connected_at: float
    last_active_at: float

    def identify(self, identity: Identity) -> None:
        """Set the user of this connection, and the time at which it expires."""
        clock = self._sockets.clock
        self.user_id = identity.user_id
        self.stamp = identity.stamp
        self.expires_at = identity.expires_at
        self._expires_by = clock.monotonic() + identity.expires_at - clock.now()
        if self.is_open:
            self._set_deadline()

    def info(self) -> ConnectionInfo:
        return ConnectionInfo(
            self.connection_id,
            self.user_id,
            self.timestamp_of(self.connected_at),
            self.timestamp_of(self.last_active_at),
            timestamp(self.expires_at),
        )

    def timestamp_of(self, moment: float) -> str:
        """Return a time of the monotonic clock, such as `connected_at`, as a timestamp."""
        clock = self._sockets.clock
        return timestamp(moment + clock.now() - clock.monotonic())

    def close(self, code: int, reason: str) -> None:
        """Close the connection, after the messages that wait for the client."""
        raise NotImplementedError

    def _expire(self) -> None:
        if self._is_behind:
            # A slow client would receive the messages in the outbox after its token has expired.
            self._outbox.clear()
        self.close(*TOKEN_EXPIRED)

    def _close_slow(self) -> None:
        self._sockets.slow_closed += 1
        self._sockets.slow_endings.write("closing %s: %d messages behind", self.connection_id, len(self._outbox))
        self._outbox.clear()
        self.close(*TOO_SLOW)

    def _set_deadline(self) -> None:
        """Look at the deadlines again when the next one is due."""
        raise NotImplementedError

    def _ends_at(self) -> float:
        bounds = self._sockets.limits
        return min(self.last_active_at + bounds.idle_timeout_seconds, self.connected_at + bounds.max_connection_seconds)

    def _has_expired(self, now: float) -> bool:
        return now >= self._expires_by or self._sockets.clock.now() >= self.expires_at

    def _due_at(self) -> float:
        # At least once a minute: the wall clock may be set forward, past the expiry.
        again_at = self._sockets.clock.monotonic() + limits.EXPIRY_CHECK_SECONDS
        return min(self._expires_by, self._ends_at(), again_at)
