"""The calls to the table of what was said, one method each. `history_items` says what is in it.

Whether what they find is late, missing or old is judged by whoever calls them: `tellwire.engines.aws.history`.
"""

import os
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct

from tellwire.aws_api.dynamodb import DynamoDb, Item
from tellwire.engines.aws import history_items as items
from tellwire.engines.aws.history_items import Head, Row, number, text
from tellwire.errors import GatewayError, HistoryUnavailable
from tellwire.limits import HISTORY_HEAD_SECONDS, HISTORY_MAX_AGE_SECONDS
from tellwire.stream import Entry

Values = Mapping[str, Mapping[str, Any]]
T = TypeVar("T")

_NAME: Final = re.compile(r"#(\w+)")


class Condition(Struct, frozen=True):
    """What must hold for a write. Names of attributes begin with `#`, values with `:`."""

    expression: str
    values: Values = {}


NOTHING_THERE: Final = Condition("attribute_not_exists(#place)")


class HistoryTable:
    """The streams of all users, in one table. Every call may be repeated without harm.

    Every method raises `HistoryUnavailable` if DynamoDB does not answer, or says no.
    """

    def __init__(self, dynamodb: DynamoDb, table_name: str) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name

    # --- where the log ends -------------------------------------------------------------------------------------------

    async def head(self, user_id: str) -> Head | None:
        """Return where a user's log ends. None: it has not begun."""
        item = await self._get(user_id, items.HEAD)
        return None if item is None else items.read_head(item)

    async def begin(self, user_id: str, epoch: str, now: float) -> Head:
        """Let a user's log begin in this epoch, unless it has begun; return where it ends."""
        expression = "SET #epoch = if_not_exists(#epoch, :epoch), #expiresAt = if_not_exists(#expiresAt, :expiresAt)"
        return items.read_head(await self._update_head(user_id, expression, _first(epoch, now), "ALL_NEW"))

    async def next_place(self, user_id: str, epoch: str, now: float) -> tuple[Head, float]:
        """Give out the next offset, in this epoch if the log begins with it; return when the one before it was, too.

        A call that is made again gives out another one, and leaves a hole.
        """
        expression = "ADD #offset :one SET #epoch = if_not_exists(#epoch, :epoch), #at = :at, #expiresAt = :expiresAt"
        values = _first(epoch, now) | {":one": number(1), ":at": number(now)}
        before = items.read_head(
            {"epoch": text(epoch), **await self._update_head(user_id, expression, values, "ALL_OLD")}
        )
        return Head(before.epoch, before.offset + 1, now), before.at

    # --- the log ------------------------------------------------------------------------------------------------------

    async def put_message(self, user_id: str, entry: Entry, before: float) -> bool:
        """Put a message in its place. False: something else is there."""
        item = _key(user_id, items.log_place(entry.number)) | items.write_message(entry, before)
        return await self._put(item, entry.at, NOTHING_THERE) is None

    async def put_hole(self, user_id: str, offset: int, now: float, before: float) -> Row:
        """Let a place be a hole, unless something is there; return what is there now."""
        item = _key(user_id, items.log_place(offset)) | {"at": number(now), "before": number(before)}
        return items.read_row(await self._put(item, now, NOTHING_THERE) or item)

    async def log(self, user_id: str, first: int, last: int) -> list[Row]:
        """Return what is in these places, in their order."""
        found = await self._between(user_id, items.log_place(first), items.log_place(last))
        return [items.read_row(item) for item in found]

    async def since(self, user_id: str, first: int) -> tuple[list[Row], list[Entry]]:
        """Return what is in the log from this place on, in order, and all states."""
        found = await self._between(user_id, items.log_place(first), items.AFTER_STATES)
        log = [items.read_row(item) for item in found if items.is_log(item)]
        return log, [items.read_state(item) for item in found if not items.is_log(item)]

    # --- ids that producers chose -------------------------------------------------------------------------------------

    async def offset_of(self, user_id: str, message_id: str, oldest: float) -> int | None:
        """Return the offset that was given to this id since `oldest`, in epoch seconds."""
        return _offset_since(oldest, await self._get(user_id, items.id_place(message_id)))

    async def put_offset(
        self, user_id: str, message_id: str, offset: int, now: float, *, known: int | None, oldest: float
    ) -> tuple[bool, int | None]:
        """Give an offset to an id, if it has the `known` one. Otherwise: False, and the one it has."""
        item = _key(user_id, items.id_place(message_id)) | {"offset": number(offset), "at": number(now)}
        if known is None:
            condition = Condition("attribute_not_exists(#place) OR #at < :oldest", {":oldest": number(oldest)})
        else:
            condition = Condition("#offset = :known", {":known": number(known)})
        there = await self._put(item, now, condition)
        return there is None, _offset_since(oldest, there)

    # --- states -------------------------------------------------------------------------------------------------------

    async def state(self, user_id: str, key: str) -> Entry | None:
        """Return the state of a key, however old."""
        item = await self._get(user_id, items.state_place(key))
        return None if item is None else items.read_state(item)

    async def put_state(self, user_id: str, entry: Entry, condition: Condition) -> tuple[bool, Entry | None]:
        """Put a state in the place of its key. If the condition does not hold: False, and the state that is there."""
        item = _key(user_id, items.state_place(entry.key or "")) | items.write_state(entry)
        there = await self._put(item, entry.at, condition)
        return there is None, items.read_state(there) if there else None

    async def running(self) -> AsyncIterator[tuple[str, Entry]]:
        """Yield the user and the state of every upload that may lapse. One that began just now may be left out."""
        start: Any = None
        while True:
            page = await self._call(
                "Query",
                IndexName=items.RUNNING,
                KeyConditionExpression=f"{items.RUNNING} = :yes",
                ExpressionAttributeValues={":yes": text("yes")},
                ExclusiveStartKey=start,
            )
            for key in page.get("Items", []):
                item = await self._get(key["userId"]["S"], key["place"]["S"])
                if item is not None:
                    yield item["userId"]["S"], items.read_state(item)
            start = page.get("LastEvaluatedKey")
            if not start:
                return

    async def close(self) -> None:
        """Let the pooled connections go."""
        await self._dynamodb.close()

    # --- DynamoDB -----------------------------------------------------------------------------------------------------

    async def _get(self, user_id: str, place: str) -> Item | None:
        answer = await self._call("GetItem", Key=_key(user_id, place), ConsistentRead=True)
        return answer.get("Item")

    async def _between(self, user_id: str, first: str, last: str) -> list[Item]:
        found: list[Item] = []
        start: Any = None
        while True:
            page = await self._call(
                "Query",
                ConsistentRead=True,
                KeyConditionExpression="userId = :user AND place BETWEEN :first AND :last",
                ExpressionAttributeValues={":user": text(user_id), ":first": text(first), ":last": text(last)},
                ExclusiveStartKey=start,
            )
            found += page.get("Items", [])
            start = page.get("LastEvaluatedKey")
            if not start:
                return found

    async def _update_head(self, user_id: str, expression: str, values: Values, returns: str) -> Item:
        answer = await self._call(
            "UpdateItem",
            Key=_key(user_id, items.HEAD),
            UpdateExpression=expression,
            ExpressionAttributeNames=_names_in(expression),
            ExpressionAttributeValues=values,
            ReturnValues=returns,
        )
        item: Item = answer.get("Attributes", {})
        return item

    async def _put(self, item: dict[str, Any], now: float, condition: Condition) -> Item | None:
        """Write an item if a condition holds. Otherwise return the one that is there, which may be none: `{}`."""
        by = text(os.urandom(6).hex())
        there = await _available(
            self._dynamodb.conflict(
                "PutItem",
                TableName=self._table_name,
                Item=item | {"by": by, "expiresAt": number(int(now + HISTORY_MAX_AGE_SECONDS))},
                ConditionExpression=condition.expression,
                ExpressionAttributeNames=_names_in(condition.expression),
                ExpressionAttributeValues=condition.values or None,
            )
        )
        # The same write may have been made before, by a request whose answer was lost.
        return None if there is None or there.get("by") == by else there

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return await _available(self._dynamodb.call(operation, TableName=self._table_name, **parameters))


async def _available(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except GatewayError as error:
        raise HistoryUnavailable(str(error)) from error


def _key(user_id: str, place: str) -> dict[str, Any]:
    return {"userId": text(user_id), "place": text(place)}


def _first(epoch: str, now: float) -> dict[str, Any]:
    return {":epoch": text(epoch), ":expiresAt": number(int(now + HISTORY_HEAD_SECONDS))}


def _offset_since(oldest: float, item: Item | None) -> int | None:
    return int(item["offset"]["N"]) if item and float(item["at"]["N"]) >= oldest else None


def _names_in(expression: str) -> dict[str, str]:
    # Many of our names are words of DynamoDB's own.
    return {f"#{name}": name for name in _NAME.findall(expression)}
