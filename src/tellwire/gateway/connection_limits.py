"""The limits of live connections: of one user, of one address, and in all. Pure.

That of a user holds for all nodes together (see `ports.Presence`), the others for this one. They are checked before the
token is verified, and again after it, since others may have taken the last places meanwhile.
"""

import logging
from dataclasses import dataclass
from typing import Final, Self

from tellwire.config import Settings
from tellwire.gateway.admission import address_key
from tellwire.limits import CONNECTIONS_PER_ADDRESS, CONNECTIONS_PER_USER, MAX_CONNECTIONS
from tellwire.server import descriptors
from tellwire.server.refusal import Refusal

logger = logging.getLogger("tellwire.gateway")

_PLENTY_IN_DEVELOPMENT: Final = 1000


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The most connections at a time."""

    per_user: int = CONNECTIONS_PER_USER
    per_address: int = CONNECTIONS_PER_ADDRESS
    in_all: int = MAX_CONNECTIONS

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the limits of the settings. A limit of open files that is lower counts in their place."""
        room = descriptors.room_for_connections()
        in_all = settings.max_connections if room is None else min(settings.max_connections, room)
        if in_all < settings.max_connections:
            is_plenty = settings.dev and in_all >= _PLENTY_IN_DEVELOPMENT
            logger.log(
                logging.DEBUG if is_plenty else logging.INFO,
                "at most %d connections, not max_connections = %d: the limit of open files is %s. Raise it: ulimit -n, "
                "or LimitNOFILE= of systemd",
                in_all,
                settings.max_connections,
                descriptors.limit(),
            )
        return cls(settings.connections_per_user, settings.connections_per_address, in_all)


class ConnectionCounts:
    """The connections of this node, and of each address. IPv6 clients share a count per /64, and loopback has none, as
    for handshakes.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._by_address: dict[str, int] = {}
        self._in_all = 0

    def admit(self, address: str) -> None:
        """Check a handshake from an address.

        Raises:
            Refusal: 503 if the node is full, 429 if the address has too many.
        """
        if self._in_all >= self._limits.in_all:
            message = "This server has as many connections as it may; come back later"
            raise Refusal(503, "TOO_MANY_CONNECTIONS", message, close_code=1013)
        key = address_key(address)
        if key is not None and self._by_address.get(key, 0) >= self._limits.per_address:
            raise _too_many("from one address", self._limits.per_address)

    def admit_user(self, has_entered: bool) -> None:
        """Check a handshake of a user, whom the presence has let in, or not.

        Raises:
            Refusal: 429 if the user has as many connections as one may have.
        """
        if not has_entered:
            raise _too_many("of one user", self._limits.per_user)

    def enter(self, address: str) -> None:
        """Check a handshake from an address, and count its connection.

        Raises:
            Refusal: 503 if the node is full, 429 if the address has too many. It is not counted.
        """
        self.admit(address)
        self._in_all += 1
        key = address_key(address)
        if key is not None:
            self._by_address[key] = self._by_address.get(key, 0) + 1

    def leave(self, address: str) -> None:
        """Forget a connection that was counted."""
        self._in_all -= 1
        key = address_key(address)
        left = 0 if key is None else self._by_address.pop(key, 0) - 1
        if key is not None and left > 0:
            self._by_address[key] = left


def _too_many(where: str, most: int) -> Refusal:
    message = f"Too many connections {where}; allowed: {most} at a time"
    return Refusal(429, "TOO_MANY_CONNECTIONS", message, close_code=4429)
