"""The user of a connection and the times at which it ends, for every kind of connection.

Intervals are measured on the clock that never goes back. A token expires by the wall clock; and if that is set back,
after the time that was left.
"""

from typing import TYPE_CHECKING

from tellwire import limits
from tellwire.model import ConnectionInfo, Identity, TokenStamp, timestamp
from tellwire.server.sockets import Sockets


class Lifetime:
    """A base class without fields of its own: a connection has them among its slots."""

    if not TYPE_CHECKING:
        __slots__ = ()

    _sockets: Sockets
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
