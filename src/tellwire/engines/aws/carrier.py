"""The carrier on AWS: a DynamoDB table has the connections, and each gets its own post.

target ─▶ rows of the table, or members of a topic, page by page ─▶ at most 64 posts at a time ─▶ one count

410                              gone; the row is removed, unless the connection may still be opening
the token has expired            gone; the client gets the error, the connection is closed, the row removed
busy after all retries, or refused                              failed; the first reason is logged
the answer is lost                                              repeated if the message has a place in its stream: the
                                                                client hears it once; else failed
the deadline of the function has passed                         unsent; a broadcast to a topic or to all can go on later
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from msgspec import structs

from tellwire.aws_api.client import Payload
from tellwire.aws_api.deadline import remaining_seconds
from tellwire.aws_api.management import Management
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.connections import BEGIN, ConnectionRow, ConnectionsTable, Position
from tellwire.engines.aws.environment import open_management, open_table
from tellwire.engines.aws.unfinished import Remainder, UnfinishedDelivery
from tellwire.entry import Entry
from tellwire.errors import AwsUnreachable, PublishError, TokenExpired
from tellwire.model import ConnectionInfo, Delivery, timestamp
from tellwire.ports import Clock, SystemClock
from tellwire.protocol import refusal
from tellwire.publication import Publication

if TYPE_CHECKING:
    from tellwire.engines.aws.topic_members import TopicMember

logger = logging.getLogger("tellwire.aws")

Outcome = Literal["delivered", "gone", "failed", "unsent"]


class _Row(Protocol):
    @property
    def position(self) -> Position: ...


R = TypeVar("R", bound=_Row)


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
        # A client drops a message of the log, or a version of a state, that it has heard.
        may_repeat = isinstance(publication, Entry)
        target, payload = publication.target, publication.payload
        if target.all or target.topic is not None:
            return await self._broadcast(Remainder(target, BEGIN, payload.decode(), may_repeat))
        posts = self._posts(payload, may_repeat=may_repeat)
        if target.user is not None:
            await posts.to_rows(self._table.of_user(target.user))
        else:
            await posts.to_ids(list(dict.fromkeys(target.connection_ids)))
        return posts.report()

    async def resume(self, token: str) -> Delivery:
        """Go on with a broadcast that had no time for all connections; `token` is the `resume` of its delivery.

        Raises:
            InvalidMessage: it is not such a token.
            PublishError: the table cannot be read, or API Gateway cannot be reached.
        """
        return await self._broadcast(Remainder.of(token))

    async def _broadcast(self, remainder: Remainder) -> Delivery:
        posts = self._posts(remainder.payload.encode(), may_repeat=remainder.may_repeat, can_resume=True)
        topic, after = remainder.target.topic, remainder.position
        if topic is not None:
            stopped_at = await posts.through(self._table.members.of_topic(topic, after), posts.to_member, after)
        else:
            stopped_at = await posts.through(self._table.everyone(after), posts.to_row, after)
        return posts.report(None if stopped_at is None else structs.replace(remainder, position=stopped_at))

    async def tell(self, pages: AsyncIterator[list["TopicMember"]], payload: bytes) -> Delivery:
        """Post to these members. A second post of the same changes nothing for them."""
        posts = self._posts(payload, may_repeat=True, can_resume=True)
        async for page in pages:
            await each(page, posts.to_member)
        return posts.report()

    def _posts(self, payload: bytes, *, may_repeat: bool, can_resume: bool = False) -> "_Posts":
        return _Posts(
            self._table,
            self._management,
            self._clock,
            Payload.of(payload),
            may_repeat=may_repeat,
            can_resume=can_resume,
        )

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        rows = [row async for page in self._table.of_user(user_id) for row in page]
        found = await asyncio.gather(*map(self._info, rows))
        return sorted(filter(None, found), key=lambda info: info.connected_at)

    async def count(self, user_id: str) -> int:
        """Return the number of rows of a user whose tokens are valid: one query.

        API Gateway is not asked, so a connection that has just ended may count.
        """
        now, pages = self._clock.now(), self._table.of_user(user_id)
        return sum([row.token_expires_at > now async for page in pages for row in page])

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

    def __init__(
        self,
        table: ConnectionsTable,
        management: Management,
        clock: Clock,
        payload: Payload,
        *,
        may_repeat: bool,
        can_resume: bool = False,
    ) -> None:
        self._table = table
        self._management = management
        self._clock = clock
        self._payload = payload
        self._may_repeat = may_repeat
        self._can_resume = can_resume
        self._counts: Counter[Outcome] = Counter()
        self._first_error: PublishError | None = None

    async def to_rows(self, pages: AsyncIterator[list[ConnectionRow]]) -> None:
        try:
            async for page in pages:
                await each(page, self.to_row)
        except AwsUnreachable:
            if remaining_seconds() > 0 or not self._counts:
                raise
            # There was no time to count the remaining connections.
            self._counts["unsent"] += 1

    async def through(
        self,
        pages: AsyncIterator[tuple[list[R], Position]],
        to_one: Callable[[R], Awaitable[Outcome]],
        position: Position,
    ) -> Position | None:
        """Post to all that come after a position. Return the one that was reached if there was no time for all."""
        try:
            async for page, end in pages:
                outcomes = await each(page, to_one)
                if "unsent" in outcomes:
                    # They were begun in this order, so all that follow are unsent, too.
                    first = outcomes.index("unsent")
                    return page[first - 1].position if first else position
                position = end
        except AwsUnreachable as error:
            if remaining_seconds() > 0 and not self._counts:
                raise
            logger.warning("a broadcast has stopped, and can be resumed: %s", error)
            self._counts["unsent"] += 1
            return position
        return None

    async def to_ids(self, connection_ids: Sequence[str]) -> None:
        await each(connection_ids, self._to_id)

    def report(self, remainder: Remainder | None = None) -> Delivery:
        if self._first_error is not None:
            failed, total = self._counts["failed"], self._counts.total()
            logger.warning("%d of %d connections did not take a message: %s", failed, total, self._first_error)
        counts = self._counts
        delivery = Delivery(counts["delivered"], counts["gone"], counts["failed"], counts["unsent"])
        return delivery if remainder is None else UnfinishedDelivery.of(delivery, remainder)

    async def to_member(self, member: "TopicMember") -> Outcome:
        if member.token_expires_at > self._clock.now():
            # It has sent a message, so it was open.
            outcome = await self._post(member.connection_id)
            if outcome == "gone":
                await self._remove(self._table.lose(member))
            self._counts[outcome] += 1
            return outcome
        return await self._to_member_by_its_row(member)

    async def _to_member_by_its_row(self, member: "TopicMember") -> Outcome:
        """Post to a member whose token has expired: its connection may have another one."""
        try:
            row = await self._table.at(member.user_id, member.connection_id)
            if row is None or row.token_expires_at <= self._clock.now():
                await self._table.lose(member)
        except PublishError as error:
            outcome = self._failed(error)
        else:
            if row is not None:
                return await self.to_row(row)
            outcome = "gone"
        self._counts[outcome] += 1
        return outcome

    async def to_row(self, row: ConnectionRow) -> Outcome:
        if row.token_expires_at > self._clock.now():
            outcome = await self._post(row.connection_id)
            if outcome == "gone" and row.is_settled(self._clock.now()):
                await self._remove(self._table.remove(row))
        else:
            outcome = await self._expel(row)
        self._counts[outcome] += 1
        return outcome

    async def _to_id(self, connection_id: str) -> None:
        # The index is eventually consistent, so a connection that is not in it gets its post all the same.
        try:
            row = await self._table.find(connection_id) if remaining_seconds() > 0 else None
        except PublishError as error:
            self._counts[self._failed(error)] += 1
            return
        if row is not None:
            await self.to_row(row)
        else:
            self._counts[await self._post(connection_id)] += 1

    async def _post(self, connection_id: str) -> Outcome:
        if remaining_seconds() <= 0:
            return "unsent"
        try:
            is_posted = await self._management.post(connection_id, self._payload, may_repeat=self._may_repeat)
        except PublishError as error:
            return self._failed(error)
        return "delivered" if is_posted else "gone"

    async def _expel(self, row: ConnectionRow) -> Outcome:
        if remaining_seconds() <= 0:
            return "unsent"
        try:
            await self._management.expel(row.connection_id, refusal(TokenExpired()))
        except PublishError as error:
            return self._failed(error)
        await self._remove(self._table.remove(row))
        return "gone"

    async def _remove(self, removal: Awaitable[None]) -> None:
        try:
            await removal
        except PublishError as error:
            # Harmless: the next broadcast makes one post too many.
            logger.warning("a connection that is gone stays in the table: %s", error)

    def _failed(self, error: PublishError) -> Outcome:
        if self._can_resume and remaining_seconds() <= 0:
            return "unsent"  # its answer may be lost, and a device hears a second one only once
        self._first_error = self._first_error or error
        return "failed"
