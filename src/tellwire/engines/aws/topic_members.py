"""The members of topics: items of the table of connections, beside its rows.

    userId        topic#<shard>#<name>    "the members of a topic" is a strongly consistent query for each shard
    connectionId  #@<connection id>       the mark tells them from rows; "the topics of a connection" is a query of the
                                          index `byConnection`, eventually consistent
    attributes    memberUserId            the user; with the connection's id, the key of the connection's own row
                  expiresAt               that of the row
                  tokenExpiresAt          the token's at that time; the row has the newest

A topic begins with one shard, and a partition of DynamoDB takes 1,000 writes a second. Some members, chosen by their
ids, look whether the newest shard is full, and double the number; the item `#!shards` in the first shard has it. It
only grows: a member in one of the first shards is found by all readers, also if its writer knew of fewer.

A connection has several items in a topic if it subscribes again before the index has the first one, and the number of
shards has grown in between. Its client drops the second message: it has the same id.
"""

import math
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final
from zlib import crc32

from msgspec import Struct

from tellwire.aws_api.dynamodb import DynamoDb, Item
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.connections import BEGIN, BY_CONNECTION, ConnectionRow, Position
from tellwire.limits import MAX_TOPIC_SHARDS, TOPIC_SHARD_MEMBERS, TOPIC_SHARD_SAMPLES
from tellwire.ports import Clock

_TOPIC: Final = "topic#"
_MEMBER: Final = "#@"
_AFTER_MEMBERS: Final = "#A"
# Sorts before all members.
_SHARDS: Final = "#!shards"
_WATCHERS: Final = "attribute_exists(watches) OR attribute_exists(shardCount)"


class TopicMember(Struct, frozen=True):
    """A subscribed connection. Times are epoch seconds, infinity if there is none."""

    topic: str
    shard: int
    connection_id: str
    user_id: str
    expires_at: float
    token_expires_at: float
    has_presence: bool = False

    @property
    def position(self) -> Position:
        """The key of the item among those of its topic."""
        return str(self.shard), _MEMBER + self.connection_id

    @classmethod
    def read(cls, item: Item) -> "TopicMember":
        """Read an item."""
        shard, _, topic = str(item["userId"]["S"]).removeprefix(_TOPIC).partition("#")
        return cls(
            topic,
            int(shard),
            str(item["connectionId"]["S"]).removeprefix(_MEMBER),
            str(item["memberUserId"]["S"]),
            _seconds(item, "expiresAt"),
            _seconds(item, "tokenExpiresAt"),
            "presence" in item,
        )


class TopicMembers:
    """The members of all topics of one API."""

    def __init__(self, dynamodb: DynamoDb, table_name: str, clock: Clock) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name
        self._clock = clock

    async def add(self, topic: str, row: ConnectionRow, *, has_presence: bool = False) -> None:
        """Add a connection to a topic. When this returns, every later broadcast finds it."""
        shards = await self._shards(topic)
        await self._put(topic, _hash(row.connection_id) % shards, row, has_presence=has_presence)
        if shards < MAX_TOPIC_SHARDS and (_hash(row.connection_id) >> 16) % TOPIC_SHARD_SAMPLES == 0:
            await self._grow_if_full(topic, shards)

    async def renew(self, members: Sequence[TopicMember], token_expires_at: float) -> None:
        """Give members the expiry of a new token. Those that are no members any more stay away."""

        async def renew(member: TopicMember) -> None:
            await self._dynamodb.succeeds(
                "UpdateItem",
                TableName=self._table_name,
                Key=_key(member.topic, member.shard, _MEMBER + member.connection_id),
                UpdateExpression="SET tokenExpiresAt = :end",
                ConditionExpression="attribute_exists(memberUserId)",
                ExpressionAttributeValues={":end": {"N": str(int(token_expires_at))}},
            )

        await each(members, renew)

    async def find(self, topic: str, connection_id: str) -> TopicMember | None:
        """Return a member. It is there as soon as `add` has returned. None: it is not one."""
        shards = await self._shards(topic, is_consistent=True)
        # Where its writer knew of fewer shards, it is in one of the first.
        for shard in dict.fromkeys(_hash(connection_id) % count for count in _counts_up_to(shards)):
            found = self._live(await self._get(topic, shard, _MEMBER + connection_id, is_consistent=True))
            if found:
                return found[0]
        return None

    async def watch(self, member: TopicMember) -> bool:
        """Tell a member who comes and goes from now on. False: it is none any more."""
        return await self._dynamodb.succeeds(
            "UpdateItem",
            TableName=self._table_name,
            Key=_key(member.topic, member.shard, _MEMBER + member.connection_id),
            UpdateExpression="SET watches = :yes",
            ConditionExpression="attribute_exists(memberUserId)",
            ExpressionAttributeValues={":yes": {"BOOL": True}},
        )

    async def remove(self, members: Sequence[TopicMember]) -> None:
        """Remove members. They need not be there."""
        await each(members, self._remove)

    async def remove_from(self, topic: str, connection_id: str) -> None:
        """Remove a connection from a topic, also if the index does not have it yet."""
        shards = await self._shards(topic, is_consistent=True)
        for shard in dict.fromkeys(_hash(connection_id) % count for count in _counts_up_to(shards)):
            await self._remove(TopicMember(topic, shard, connection_id, "", math.inf, math.inf))

    async def of_connection(self, connection_id: str) -> list[TopicMember]:
        """Return the topics of a connection. New ones may be missing: the index is eventually consistent."""
        pages = self._dynamodb.pages(
            "Query",
            TableName=self._table_name,
            IndexName=BY_CONNECTION,
            KeyConditionExpression="connectionId = :member",
            ExpressionAttributeValues={":member": {"S": _MEMBER + connection_id}},
        )
        return [member async for page in pages for member in self._live(page)]

    async def of_topic(
        self, topic: str, after: Position = BEGIN, *, watchers: bool = False
    ) -> AsyncIterator[tuple[list[TopicMember], Position]]:
        """Yield the members of a topic after a position, in pages, each with the position of its end.

        Every one that was added before this call is among them. `watchers`: those alone who watch.
        """
        number, after_key = int(after[0] or 0), after[1]
        # The first page of the first shard has the number of shards, too.
        shards = 1 if after == BEGIN else await self._shards(topic, is_consistent=True)
        while number < shards:
            async for page in self._pages(topic, number, after_key or _SHARDS, _WATCHERS if watchers else None):
                if page and page[0]["connectionId"]["S"] == _SHARDS:
                    shards = _count_in(page.pop(0))
                if page:
                    yield self._live(page), (str(number), str(page[-1]["connectionId"]["S"]))
            number, after_key = number + 1, _MEMBER

    def _pages(
        self, topic: str, shard: int, after_key: str, filter_expression: str | None
    ) -> AsyncIterator[list[Item]]:
        # Nothing lies between the number of shards and the members, nor right after a key of a member.
        first = after_key if after_key in (_SHARDS, _MEMBER) else f"{after_key}\0"
        return self._dynamodb.pages(
            "Query",
            TableName=self._table_name,
            ConsistentRead=True,
            KeyConditionExpression="userId = :shard AND connectionId BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":shard": {"S": _partition(topic, shard)},
                ":first": {"S": first},
                ":last": {"S": _AFTER_MEMBERS},
            },
            FilterExpression=filter_expression,
        )

    async def _put(self, topic: str, shard: int, row: ConnectionRow, *, has_presence: bool) -> None:
        values: dict[str, dict[str, Any]] = {":user": {"S": row.user_id}}
        if has_presence:
            values[":presence"] = {"BOOL": True}
        for name, seconds in ((":end", row.expires_at), (":tokenEnd", row.token_expires_at)):
            if seconds < math.inf:
                values[name] = {"N": str(int(seconds))}
        sets = {":user": "memberUserId", ":end": "expiresAt", ":tokenEnd": "tokenExpiresAt", ":presence": "presence"}
        await self._dynamodb.call(
            "UpdateItem",
            TableName=self._table_name,
            Key=_key(topic, shard, _MEMBER + row.connection_id),
            UpdateExpression=f"SET {', '.join(f'{sets[name]} = {name}' for name in values)}",
            ExpressionAttributeValues=values,
        )

    async def _remove(self, member: TopicMember) -> None:
        key = _key(member.topic, member.shard, _MEMBER + member.connection_id)
        await self._dynamodb.call("DeleteItem", TableName=self._table_name, Key=key)

    async def _shards(self, topic: str, *, is_consistent: bool = False) -> int:
        found = await self._get(topic, 0, _SHARDS, is_consistent=is_consistent)
        return _count_in(found[0]) if found else 1

    async def _get(self, topic: str, shard: int, sort_key: str, *, is_consistent: bool) -> list[Item]:
        # A query, for which all functions have the right.
        page = await self._dynamodb.call(
            "Query",
            TableName=self._table_name,
            ConsistentRead=is_consistent,
            KeyConditionExpression="userId = :shard AND connectionId = :key",
            ExpressionAttributeValues={":shard": {"S": _partition(topic, shard)}, ":key": {"S": sort_key}},
        )
        found: list[Item] = page.get("Items", [])
        return found

    async def _grow_if_full(self, topic: str, shards: int) -> None:
        """Double the number of shards if the newest one is full; nobody else may have done it."""
        page = await self._dynamodb.call(
            "Query",
            TableName=self._table_name,
            Select="COUNT",
            Limit=TOPIC_SHARD_MEMBERS,
            KeyConditionExpression="userId = :shard",
            ExpressionAttributeValues={":shard": {"S": _partition(topic, shards - 1)}},
        )
        if page["Count"] >= TOPIC_SHARD_MEMBERS:
            await self._set_shards(topic, 2 * shards)

    async def _set_shards(self, topic: str, shards: int) -> None:
        await self._dynamodb.succeeds(
            "UpdateItem",
            TableName=self._table_name,
            Key=_key(topic, 0, _SHARDS),
            UpdateExpression="SET shardCount = :shards",
            ConditionExpression="attribute_not_exists(shardCount) OR shardCount < :shards",
            ExpressionAttributeValues={":shards": {"N": str(shards)}},
        )

    def _live(self, items: list[Item]) -> list[TopicMember]:
        now = self._clock.now()
        members = (TopicMember.read(item) for item in items if "memberUserId" in item)
        return [member for member in members if now < member.expires_at]


def _partition(topic: str, shard: int) -> str:
    return f"{_TOPIC}{shard}#{topic}"


def _key(topic: str, shard: int, sort_key: str) -> dict[str, Any]:
    return {"userId": {"S": _partition(topic, shard)}, "connectionId": {"S": sort_key}}


def _counts_up_to(shards: int) -> Iterator[int]:
    """Yield the numbers of shards that a topic has had, the newest first."""
    while shards:
        yield shards
        shards //= 2


def _hash(connection_id: str) -> int:
    return crc32(connection_id.encode())


def _count_in(item: Item) -> int:
    return int(item["shardCount"]["N"])


def _seconds(item: Item, name: str) -> float:
    return float(item[name]["N"]) if name in item else math.inf
