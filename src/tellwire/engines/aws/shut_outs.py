"""Shut-outs on AWS: rows in the table of connections, beside those of the user's connections.

    shut out    put the row ─▶ query the user's connections, consistently ─▶ an `error` and an end to each, and no row
    $connect    put the connection's row ─▶ query the shut-outs, consistently ─▶ refused, and the row removed

Either the first finds the connection, or the second finds the shut-out: nobody slips through in between. DynamoDB
deletes the row some time after its end, by the attribute of the connections.
"""

import logging
from collections.abc import Callable

from tellwire.aws_api.management import Management
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.connections import ConnectionRow, ConnectionsTable
from tellwire.errors import PublishError
from tellwire.model import Identity
from tellwire.ports import Clock
from tellwire.protocol import refusal
from tellwire.shut_out import ShutOut, require_let_in

logger = logging.getLogger("tellwire.aws")


class AwsShutOuts:
    """`ShutOuts` for the connections of one WebSocket API. `management` is called when it is needed first."""

    def __init__(self, table: ConnectionsTable, management: Callable[[], Management], clock: Clock) -> None:
        self._table = table
        self._management = management
        self._clock = clock

    async def shut_out(self, entry: ShutOut) -> int:
        await self._table.put_shut_out(entry)
        if self._clock.now() >= entry.until:
            return 0
        closed = 0
        first_error: PublishError | None = None
        async for page in self._table.of_user(entry.user_id):
            meant = [row for row in page if entry.is_for(row.stamp)]
            for outcome in await each(meant, lambda row: self._expel(row, entry)):
                closed += outcome is None
                first_error = first_error or outcome
        if first_error is not None:
            raise first_error
        return closed

    async def let_in(self, user_id: str) -> int:
        now = self._clock.now()
        entries = await self._table.shut_outs_of(user_id)
        for entry in entries:
            await self._table.remove_shut_out(entry)
        return sum(now < entry.until for entry in entries)

    async def of(self, user_id: str) -> list[ShutOut]:
        now = self._clock.now()
        return [entry for entry in await self._table.shut_outs_of(user_id) if now < entry.until]

    def admits_at_once(self, identity: Identity) -> bool:
        return False  # the store is asked

    async def admit(self, identity: Identity) -> None:
        require_let_in(await self._table.shut_outs_of(identity.user_id), identity.stamp, self._clock.now())

    async def _expel(self, row: ConnectionRow, entry: ShutOut) -> PublishError | None:
        try:
            await self._management().expel(row.connection_id, refusal(entry.error))
            await self._table.remove(row)
        except PublishError as error:
            logger.warning("a connection of a user who is shut out could not be closed: %s", error)
            return error
        return None
