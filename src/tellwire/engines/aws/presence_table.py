"""The calls to the table of connections about presence, one method each. `presence_items` has the items.

Only the function that holds a topic changes its head and its members, but for connections that are added to a member.
"""

import os
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from msgspec import Struct

from tellwire.aws_api.dynamodb import CONDITION_FAILED, DynamoDb, Item
from tellwire.engines.aws import presence_items as items
from tellwire.engines.aws.presence_items import Head, Key, MemberItem, Pending
from tellwire.errors import AwsRefused
from tellwire.limits import AWS_PRESENCE_CHECK_SECONDS, AWS_PRESENCE_HOLD_SECONDS

_YES: Final[dict[str, Any]] = {"BOOL": True}


class Joined(Struct, frozen=True):
    """A member with these connections, in place of the `known` one. None: the user was no member."""

    user_id: str
    info: str | None
    connections: frozenset[str]
    known: MemberItem | None


class Left(Struct, frozen=True):
    """A member who is none any more."""

    known: MemberItem


class Listed(Struct, frozen=True):
    """The head of a topic, and some of its members."""

    head: Head
    members: Sequence[MemberItem]


class PresenceTable:
    """The presence of all topics of one API."""

    def __init__(self, dynamodb: DynamoDb, table_name: str) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name

    # --- pending users ------------------------------------------------------------------------------------------------

    async def put_coming(self, topic: str, user_id: str, connection_id: str, info: str | None, due_at: float) -> None:
        """Note that a user may have come, or has another info: it is looked at at this time."""
        values = {":due": _seconds(due_at), **({} if info is None else {":info": {"S": info}})}
        sets = ["dueAt = :due", *([] if info is None else ["info = :info"])]
        await self._put_pending(topic, user_id, connection_id, sets, "leavesAt", values)

    async def put_going(self, topic: str, user_id: str, connection_id: str, leaves_at: float) -> None:
        """Note that a user may have gone: it is looked at when the time of grace is over."""
        values = {":leaves": _seconds(leaves_at)}
        sets = ["leavesAt = :leaves", "dueAt = if_not_exists(dueAt, :leaves)"]
        await self._put_pending(topic, user_id, connection_id, sets, "", values)

    async def _put_pending(
        self, topic: str, user_id: str, connection_id: str, sets: list[str], removed: str, values: dict[str, Any]
    ) -> None:
        expression = f"SET {', '.join(sets)}, memberUserId = :user, #stamp = :stamp ADD connections :connection"
        await self._dynamodb.call(
            "UpdateItem",
            TableName=self._table_name,
            Key=items.pending_key(topic, user_id),
            UpdateExpression=expression + (f" REMOVE {removed}" if removed else ""),
            ExpressionAttributeNames={"#stamp": "stamp"},
            ExpressionAttributeValues={
                **values,
                ":user": {"S": user_id},
                ":stamp": {"S": _random()},
                ":connection": {"SS": [connection_id]},
            },
        )

    async def pending(self, topic: str) -> AsyncIterator[list[Pending]]:
        """Yield the pending users of a topic in pages, with every one that was put before this call."""
        pages = self._query(
            items.pending_partition(items.number_of(topic)),
            "begins_with(connectionId, :first)",
            {":first": {"S": items.pending_prefix(topic)}},
        )
        async for page in pages:
            yield [items.read_pending(item) for item in page]

    async def all_pending(self, number: int) -> AsyncIterator[list[Pending]]:
        """Yield the pending users in a partition, in pages."""
        first = {":first": {"S": items.PENDING_MARK}}
        async for page in self._query(items.pending_partition(number), "begins_with(connectionId, :first)", first):
            yield [items.read_pending(item) for item in page]

    async def postpone(self, pending: Pending) -> None:
        """Look at a user when the time of grace is over, unless the item has changed."""
        await self._dynamodb.succeeds(
            "UpdateItem",
            TableName=self._table_name,
            Key=pending.key,
            UpdateExpression="SET dueAt = leavesAt",
            ConditionExpression="#stamp = :seen",
            ExpressionAttributeNames={"#stamp": "stamp"},
            ExpressionAttributeValues={":seen": {"S": pending.stamp}},
        )

    async def drop(self, pending: Pending) -> None:
        """Remove a pending user, unless the item has changed."""
        await self._dynamodb.succeeds(
            "DeleteItem",
            TableName=self._table_name,
            Key=pending.key,
            ConditionExpression="#stamp = :seen",
            ExpressionAttributeNames={"#stamp": "stamp"},
            ExpressionAttributeValues={":seen": {"S": pending.stamp}},
        )

    # --- members ------------------------------------------------------------------------------------------------------

    async def member(self, topic: str, user_id: str) -> MemberItem | None:
        """Return a member; None: the user is none."""
        key = items.member_key(topic, user_id)
        pages = self._query(key["userId"]["S"], "connectionId = :key", {":key": key["connectionId"]})
        found = [items.read_member(item) async for page in pages for item in page]
        return found[0] if found else None

    async def touch(self, topic: str, user_id: str, connection_id: str) -> bool:
        """Add a connection to a member. False: the user is none."""
        return await self._dynamodb.succeeds(
            "UpdateItem",
            TableName=self._table_name,
            Key=items.member_key(topic, user_id),
            UpdateExpression="ADD touches :one, connections :connection",
            ConditionExpression="attribute_exists(memberUserId)",
            ExpressionAttributeValues={":one": {"N": "1"}, ":connection": {"SS": [connection_id]}},
        )

    async def listed(self, topic: str, limit: int) -> Listed:
        """Return the head of a topic and at most so many members."""
        page = await self._dynamodb.call(
            "Query",
            TableName=self._table_name,
            ConsistentRead=True,
            KeyConditionExpression="userId = :partition AND connectionId BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":partition": {"S": items.members_partition(topic)},
                ":first": {"S": "#!"},
                ":last": {"S": items.MEMBERS_TO},
            },
            Limit=limit + 1,
        )
        found: list[Item] = page.get("Items", [])
        head = items.read_head(found[0] if found and "memberUserId" not in found[0] else {})
        return Listed(head, [items.read_member(item) for item in found if "memberUserId" in item][:limit])

    async def all_members(self, topic: str) -> AsyncIterator[list[MemberItem]]:
        """Yield the members of a topic, in pages."""
        between = "connectionId BETWEEN :first AND :last"
        bounds = {":first": {"S": items.MEMBERS_FROM}, ":last": {"S": items.MEMBERS_TO}}
        async for page in self._query(items.members_partition(topic), between, bounds):
            yield [items.read_member(item) for item in page]

    # --- the head -----------------------------------------------------------------------------------------------------

    async def hold(self, topic: str, holder: str, now: float) -> Head | None:
        """Take a topic, and return its head. None: another function has it."""
        try:
            answer = await self._dynamodb.call(
                "UpdateItem",
                TableName=self._table_name,
                Key=items.head_key(topic),
                UpdateExpression="SET heldBy = :me, heldUntil = :until",
                ConditionExpression="attribute_not_exists(heldUntil) OR heldUntil < :now OR heldBy = :me",
                ExpressionAttributeValues={
                    ":me": {"S": holder},
                    ":now": _seconds(now),
                    ":until": _seconds(now + AWS_PRESENCE_HOLD_SECONDS),
                },
                ReturnValues="ALL_NEW",
            )
        except AwsRefused as error:
            if error.error_type == CONDITION_FAILED:
                return None
            raise
        return items.read_head(answer["Attributes"])

    async def fold(self, topic: str, holder: str, head: Head, changes: Sequence[Joined | Left]) -> bool:
        """Write the head and the members after these changes. False: the holder, or a member, has changed."""
        written = await self._dynamodb.transact(
            [
                {
                    "Update": self._in_table(
                        Key=items.head_key(topic),
                        UpdateExpression=(
                            "SET memberCount = :count, changeNumber = :number, isUntold = :yes, isChecked = :yes"
                        ),
                        ConditionExpression="heldBy = :me",
                        ExpressionAttributeValues={
                            ":me": {"S": holder},
                            ":count": {"N": str(head.count)},
                            ":number": {"N": str(head.number)},
                            ":yes": _YES,
                        },
                    )
                },
                *(self._change(topic, each) for each in changes),
            ],
            _random(),
        )
        return written is None

    async def release(self, topic: str, holder: str, head: Head) -> None:
        """Give a topic up, with the head as watchers know it."""
        is_set = {"isUntold": head.is_untold, "isMany": head.is_many}
        sets = ["toldAt = :told", *(f"{name} = :yes" for name, value in is_set.items() if value)]
        removed = ["heldBy", "heldUntil", *(name for name, value in is_set.items() if not value)]
        values = {":me": {"S": holder}, ":told": _seconds(head.told_at), **({":yes": _YES} if len(sets) > 1 else {})}
        await self._dynamodb.succeeds(
            "UpdateItem",
            TableName=self._table_name,
            Key=items.head_key(topic),
            UpdateExpression=f"SET {', '.join(sets)} REMOVE {', '.join(removed)}",
            ConditionExpression="heldBy = :me",
            ExpressionAttributeValues=values,
        )

    async def forget(self, topic: str, head: Head) -> bool:
        """Remove the head of a topic without members, unless it has changed. False: it has."""
        return await self._dynamodb.succeeds(
            "DeleteItem",
            TableName=self._table_name,
            Key=items.head_key(topic),
            ConditionExpression="changeNumber = :seen AND attribute_not_exists(heldBy)",
            ExpressionAttributeValues={":seen": {"N": str(head.number)}},
        )

    # --- checks -------------------------------------------------------------------------------------------------------

    async def put_check(self, topic: str, now: float) -> None:
        """Look at the connections of a topic's members after a while."""
        await self._dynamodb.call(
            "UpdateItem",
            TableName=self._table_name,
            Key=items.check_key(topic),
            UpdateExpression="SET dueAt = :due",
            ExpressionAttributeValues={":due": _seconds(now + AWS_PRESENCE_CHECK_SECONDS)},
        )

    async def remove_check(self, topic: str) -> None:
        """Look at a topic no more."""
        await self._dynamodb.call("DeleteItem", TableName=self._table_name, Key=items.check_key(topic))

    async def all_checks(self, number: int) -> AsyncIterator[list[tuple[str, float]]]:
        """Yield the topics in a partition of checks, and when they are due, in pages."""
        first = {":first": {"S": items.CHECK_MARK}}
        async for page in self._query(items.checks_partition(number), "begins_with(connectionId, :first)", first):
            yield [items.read_check(item) for item in page]

    def _change(self, topic: str, change: Joined | Left) -> dict[str, Any]:
        if isinstance(change, Left):
            return {
                "Delete": self._in_table(
                    Key=items.member_key(topic, change.known.user_id),
                    ConditionExpression="touches = :seen",
                    ExpressionAttributeValues={":seen": {"N": str(change.known.touches)}},
                )
            }
        known, info = change.known, change.info
        values = {
            ":user": {"S": change.user_id},
            ":connections": {"SS": sorted(change.connections)},
            ":touches": {"N": str(1 if known is None else known.touches + 1)},
            **({} if info is None else {":info": {"S": info}}),
            **({} if known is None else {":seen": {"N": str(known.touches)}}),
        }
        sets = "memberUserId = :user, connections = :connections, touches = :touches"
        return {
            "Update": self._in_table(
                Key=items.member_key(topic, change.user_id),
                UpdateExpression=f"SET {sets}" + ("" if info is None else ", info = :info"),
                ConditionExpression="attribute_not_exists(memberUserId)" if known is None else "touches = :seen",
                ExpressionAttributeValues=values,
            )
        }

    def _in_table(self, *, Key: Key, **parameters: Any) -> dict[str, Any]:  # noqa: N803 - DynamoDB's name
        return {"TableName": self._table_name, "Key": Key, **parameters}

    def _query(self, partition: str, condition: str, values: dict[str, Any]) -> AsyncIterator[list[Item]]:
        return self._dynamodb.pages(
            "Query",
            TableName=self._table_name,
            ConsistentRead=True,
            KeyConditionExpression=f"userId = :partition AND {condition}",
            ExpressionAttributeValues={":partition": {"S": partition}, **values},
        )


def _random() -> str:
    return os.urandom(16).hex()


def _seconds(seconds: float) -> dict[str, str]:
    return {"N": repr(float(seconds))}
