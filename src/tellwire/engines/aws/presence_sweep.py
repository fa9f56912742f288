"""The presence of topics by the sweeper: those whose time of grace is over, and connections that nobody saw end.

pending users that are due ─▶ their topics ─▶ settle, 64 at a time
topics whose check is due  ─▶ each connection of their members is looked up at API Gateway ─▶ pending users
"""

from typing import Final

from tellwire.aws_api.deadline import remaining_seconds
from tellwire.aws_api.management import Management
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.connections import ConnectionsTable
from tellwire.engines.aws.presence_items import MemberItem
from tellwire.engines.aws.topic_presence import AwsTopicPresence, subscribed
from tellwire.errors import PublishError
from tellwire.limits import AWS_PRESENCE_PARTITIONS, SWEEP_MARGIN_SECONDS
from tellwire.ports import Clock

_PARTITIONS: Final = range(AWS_PRESENCE_PARTITIONS)


class PresenceSweep:
    """One run. Whatever it has no time for, the next one does."""

    def __init__(
        self, table: ConnectionsTable, presence: AwsTopicPresence, management: Management, clock: Clock
    ) -> None:
        self._table = table
        self._presence = presence
        self._management = management
        self._clock = clock
        self._error: PublishError | None = None

    async def run(self) -> bool:
        """Settle all topics in which somebody is due. False: there was no time for all.

        Raises:
            PublishError: the table cannot be read, or not all topics could be settled.
        """
        checks = [topic for some in await each(_PARTITIONS, self._due_checks) for topic in some]
        are_checked = await each(checks, self._check)
        pending = [topic for some in await each(_PARTITIONS, self._due_topics) for topic in some]
        are_settled = await each(pending, self._settle)
        if self._error is not None:
            raise self._error
        return all(are_checked) and all(are_settled)

    async def _due_topics(self, number: int) -> list[str]:
        now, topics = self._clock.now(), dict[str, None]()
        async for page in self._table.presence.all_pending(number):
            topics.update({one.topic: None for one in page if one.due_at <= now})
        return list(topics)

    async def _due_checks(self, number: int) -> list[str]:
        now = self._clock.now()
        return [
            topic async for page in self._table.presence.all_checks(number) for topic, due_at in page if due_at <= now
        ]

    async def _settle(self, topic: str) -> bool:
        if not _has_time():
            return False
        try:
            return await self._presence.settle(topic)
        except PublishError as error:
            if not _has_time():
                return False
            self._error = self._error or error
            return True

    async def _check(self, topic: str) -> bool:
        """Look up the connections of all members of a topic. False: there is no time left."""
        try:
            return await self._look_up_all(topic)
        except PublishError as error:
            if not _has_time():
                return False
            self._error = self._error or error
            return True

    async def _look_up_all(self, topic: str) -> bool:
        table, is_empty = self._table.presence, True
        async for page in table.all_members(topic):
            is_empty = is_empty and not page
            looked_up = await each(
                [(member, connection_id) for member in page for connection_id in sorted(member.connections)],
                lambda one: self._look_up(topic, *one),
            )
            if not all(looked_up):
                return False
        if is_empty and await self._forget(topic):
            return True
        await table.put_check(topic, self._clock.now())
        return True

    async def _look_up(self, topic: str, member: MemberItem, connection_id: str) -> bool:
        if not _has_time():
            return False
        found = await subscribed(self._table, topic, connection_id, self._clock)
        is_open = found is not None and await self._management.get(connection_id) is not None
        if not is_open:
            await self._table.presence.put_going(topic, member.user_id, connection_id, self._clock.now())
        if found is not None and not is_open:
            await self._table.members.remove([found])
        return True

    async def _forget(self, topic: str) -> bool:
        """Remove the head of a topic without members, and look at it no more. False: somebody has come."""
        table = self._table.presence
        await table.remove_check(topic)
        head = (await table.listed(topic, 0)).head
        return head.count == 0 and await table.forget(topic, head)


def _has_time() -> bool:
    return remaining_seconds() > SWEEP_MARGIN_SECONDS
