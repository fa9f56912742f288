"""Keys that were withdrawn while their tokens have connections: those are closed with 4401, and may come back.

A client with another key's token comes back at once. Key sets are also fetched without any handshake, when they are too
old, so that a withdrawn key ends within hours on a quiet gateway, too.
"""

import asyncio
import logging
from typing import Final

from tellwire.auth import SettingsAuthenticator
from tellwire.carriers.hub import Hub
from tellwire.errors import TokenInvalid
from tellwire.limits import CONNECTIONS_PER_TURN, KEYS_WATCH_SECONDS
from tellwire.ports import Clock

logger = logging.getLogger("tellwire.gateway")

# So that whoever is closed does not come back in one second.
_PAUSE_SECONDS: Final = 0.02


class WithdrawnKeys:
    """The watch over the keys of all connections of a node."""

    def __init__(self, authenticator: SettingsAuthenticator, hub: Hub, clock: Clock) -> None:
        self._authenticator = authenticator
        self._hub = hub
        self._clock = clock

    async def watch(self) -> None:
        """Look from time to time. It never returns."""
        while True:
            await self._clock.sleep(KEYS_WATCH_SECONDS)
            try:
                await self._authenticator.renew()
                await self.close_connections()
            except Exception:
                # Nobody else would notice that this has ended.
                logger.exception("the keys of connections cannot be looked at, trying again")

    async def close_connections(self) -> int:
        """Close the connections of keys that are not trusted any more. Returns their number."""
        found = self._hub.of_keys(lambda key: not self._authenticator.trusts(key))
        error = TokenInvalid("its key was withdrawn")
        for start in range(0, len(found), CONNECTIONS_PER_TURN):
            if start:
                await asyncio.sleep(_PAUSE_SECONDS)
            self._hub.close_all(found[start : start + CONNECTIONS_PER_TURN], error)
        if found:
            logger.warning("closed %d connections whose key or secret was withdrawn", len(found))
        return len(found)
