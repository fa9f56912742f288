"""The shared parts of one API's functions, each made on first use, once per process."""

import asyncio
import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from tellwire.aws_api.management import Management
from tellwire.engines.aws.connections import ConnectionRow, ConnectionsTable
from tellwire.engines.aws.environment import has_history, open_management, open_table
from tellwire.limits import CONNECTION_SETTLES_SECONDS
from tellwire.model import Identity
from tellwire.ports import Authenticator, Clock, History, SystemClock

if TYPE_CHECKING:
    from tellwire.engine import Engine

Event = Mapping[str, Any]

_INDEX_WAITS_SECONDS: Final = (0.1, 0.2, 0.4, 0.8)


class Deployment:
    """The parts that the environment configures. `environ` None is the process's environment.

    It is also an `Authenticator`, which is imported with the first token.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, clock: Clock | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self.clock = clock or SystemClock()
        self._managements: dict[str | None, Management] = {}

    async def authenticate(self, token: str) -> Identity:
        """Return the identity in a token. See `Authenticator`."""
        return await self._authenticator.authenticate(token)

    @cached_property
    def table(self) -> ConnectionsTable:
        """The table of connections."""
        return open_table(self._environ, self.clock)

    @cached_property
    def history(self) -> History | None:
        """The history; None if the environment names none."""
        if not has_history(self._environ):
            return None
        from tellwire.engines.aws.engine import open_history  # $connect and $disconnect need none of it

        return open_history(self._environ, self.clock)

    def engine(self, event: Event | None = None) -> "Engine":
        """Return the engine for the stage of an event; None: for the environment's stage."""
        from tellwire.engines.aws.engine import compose

        return compose(self.table, self.management(event), self.history, self.clock)

    def management(self, event: Event | None = None) -> Management:
        """Return the management API of the stage of an event; None: of the environment's stage."""
        endpoint = None
        if event is not None:
            request = event["requestContext"]
            endpoint = f"https://{request['domainName']}/{request['stage']}"
        if endpoint not in self._managements:
            self._managements[endpoint] = open_management(self._environ, endpoint)
        return self._managements[endpoint]

    async def find(self, event: Event) -> ConnectionRow | None:
        """Return the row of an event's connection. Waits for the index if the connection is new."""
        connection_id = event["requestContext"]["connectionId"]
        row = await self.table.find(connection_id)
        for wait_seconds in _INDEX_WAITS_SECONDS if self.is_new(event) else ():
            if row is not None:
                break
            await asyncio.sleep(wait_seconds)
            row = await self.table.find(connection_id)
        return row

    def is_new(self, event: Event) -> bool:
        """Return True if the connection may not be in the index yet."""
        connected_at: float = event["requestContext"]["connectedAt"] / 1000
        return self.clock.now() - connected_at < CONNECTION_SETTLES_SECONDS

    @cached_property
    def _authenticator(self) -> Authenticator:
        # Cryptography takes a third of a cold start; $disconnect needs none.
        from tellwire.auth import make_authenticator
        from tellwire.config import load_settings

        return make_authenticator(load_settings(self._environ), self.clock)
