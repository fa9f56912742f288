"""The carrier on AWS: a DynamoDB table has the connections, and each gets its own post.

target ─▶ rows of the table, page by page ─▶ at most 64 posts at a time ─▶ one count of the outcomes

410                              gone; the row is removed, unless the connection may still be opening
the token has expired            gone; the client gets the error, the connection is closed, the row removed
busy after all retries, or refused                              failed; the first reason is logged
the deadline of the function has passed                         unsent
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC
from typing import Literal, TypeVar

from tellwire.aws_api.client import Payload
from tellwire.aws_api.deadline import remaining_seconds
from tellwire.aws_api.management import Management
from tellwire.engines.aws.connections import ConnectionRow, ConnectionsTable
from tellwire.engines.aws.environment import open_management, open_table
from tellwire.errors import AwsUnreachable, PublishError, TokenExpired
from tellwire.limits import AWS_CONCURRENT_POSTS
from tellwire.model import ConnectionInfo, Delivery, timestamp
from tellwire.ports import Clock, SystemClock
from tellwire.protocol import refusal
from tellwire.publication import Publication

logger = logging.getLogger("tellwire.aws")

T = TypeVar("T")
Outcome = Literal["delivered", "gone", "failed", "unsent"]


class AwsCarrier:
    """A `Carrier` for the connections of one WebSocket API."""

    def __init__(self, table: ConnectionsTable, management: Management, clock: Clock | None = None) -> None:
        self._table = table
        self._management = management
        self._clock = clock or SystemClock()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "AwsCarrier":
        """Return the carrier of the API that the environment names; see `environment`.

        Raises:
            ConfigError: a setting is missing or not valid.
        """
        return cls(open_table(environ), open_management(environ))

    async def deliver(self, publication: Publication) -> Delivery:
        posts = _Posts(self._table, self._management, self._clock, Payload.of(publication.payload))
        target = publication.target
        if target.user is not None:
            await posts.to_rows(self._table.of_user(target.user))
        elif target.all:
            await posts.to_rows(self._table.everyone())
        else:
            await posts.to_ids(list(dict.fromkeys(target.connection_ids)))
        return posts.report()

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        rows = [row async for page in self._table.of_user(user_id) for row in page]
        found = await asyncio.gather(*map(self._info, rows))
        return sorted(filter(None, found), key=lambda info: info.connected_at)

    async def disconnect(self, connection_id: str) -> bool:
        return await self._management.delete(connection_id)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._table.close()
        await self._management.close()

    async def _info(self, row: ConnectionRow) -> ConnectionInfo | None:
        # The table may have rows of connections that have ended; API Gateway knows.
        activity = await self._management.get(row.connection_id)
        if activity is None:
            return None
        return ConnectionInfo(
            row.connection_id,
            row.user_id,
            timestamp(row.connected_at),
            timestamp(activity.last_active_at.replace(tzinfo=UTC).timestamp()),
            timestamp(min(row.expires_at, row.token_expires_at)),
        )


class _Posts:
    """The posts of one publication, and their outcomes so far."""

    def __init__(self, table: ConnectionsTable, management: Management, clock: Clock, payload: Payload) -> None:
        self._table = table
        self._management = management
        self._clock = clock
        self._payload = payload
        self._counts: Counter[Outcome] = Counter()
        self._first_error: PublishError | None = None

    async def to_rows(self, pages: AsyncIterator[list[ConnectionRow]]) -> None:
        try:
            async for page in pages:
                await _for_each(page, self._to_row)
        except AwsUnreachable:
            if remaining_seconds() > 0 or not self._counts:
                raise
            # There was no time to count the remaining connections.
            self._counts["unsent"] += 1

    async def to_ids(self, connection_ids: Sequence[str]) -> None:
        await _for_each(connection_ids, self._to_id)

    def report(self) -> Delivery:
        if self._first_error is not None:
            failed, total = self._counts["failed"], self._counts.total()
            logger.warning("%d of %d connections did not take a message: %s", failed, total, self._first_error)
        counts = self._counts
        return Delivery(counts["delivered"], counts["gone"], counts["failed"], counts["unsent"])

    async def _to_row(self, row: ConnectionRow) -> None:
        if row.token_expires_at > self._clock.now():
            outcome = await self._post(row.connection_id)
            if outcome == "gone" and row.is_settled(self._clock.now()):
                await self._remove(row)
        else:
            outcome = await self._expel(row)
        self._counts[outcome] += 1

    async def _to_id(self, connection_id: str) -> None:
        # The index is eventually consistent, so a connection that is not in it gets its post all the same.
        try:
            row = await self._table.find(connection_id) if remaining_seconds() > 0 else None
        except PublishError as error:
            self._record_error(error)
            self._counts["failed"] += 1
            return
        if row is not None:
            await self._to_row(row)
        else:
            self._counts[await self._post(connection_id)] += 1

    async def _post(self, connection_id: str) -> Outcome:
        if remaining_seconds() <= 0:
            return "unsent"
        try:
            return "delivered" if await self._management.post(connection_id, self._payload) else "gone"
        except PublishError as error:
            self._record_error(error)
            return "failed"

    async def _expel(self, row: ConnectionRow) -> Outcome:
        if remaining_seconds() <= 0:
            return "unsent"
        try:
            await self._management.expel(row.connection_id, refusal(TokenExpired()))
        except PublishError as error:
            self._record_error(error)
            return "failed"
        await self._remove(row)
        return "gone"

    async def _remove(self, row: ConnectionRow) -> None:
        try:
            await self._table.remove(row)
        except PublishError as error:
            # Harmless: the next broadcast makes one post too many.
            logger.warning("a connection that is gone stays in the table: %s", error)

    def _record_error(self, error: PublishError) -> None:
        self._first_error = self._first_error or error


async def _for_each(items: Sequence[T], do: Callable[[T], Awaitable[None]]) -> None:
    """Call a function with every item, at most `AWS_CONCURRENT_POSTS` at a time."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await do(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AWS_CONCURRENT_POSTS, len(items))):
                group.create_task(work())
    except ExceptionGroup as several:
        # All fail for the same reason, such as missing credentials.
        raise several.exceptions[0] from None
