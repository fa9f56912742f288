"""The calls to the history table, one method each. `history_items` has its attributes.

`history` decides if items are late, missing or too old.
"""

import os
import re
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct

from tellwire.aws_api.dynamodb import DynamoDb, Item
from tellwire.engines.aws import history_items as items
from tellwire.engines.aws.history_items import Head, Row, number, text
from tellwire.errors import HistoryUnavailable, PublishError
from tellwire.limits import HISTORY_HEAD_SECONDS, HISTORY_MAX_AGE_SECONDS
from tellwire.publication import StreamKey
from tellwire.stream import Entry

Values = Mapping[str, Mapping[str, Any]]
T = TypeVar("T")

_NAME: Final = re.compile(r"#(\w+)")


class Condition(Struct, frozen=True):
    """The condition of a write. Names of attributes begin with `#`, values with `:`."""

    expression: str
    values: Values = {}


NOTHING_THERE: Final = Condition("attribute_not_exists(#sk)")


class HistoryTable:
    """All streams, in one table. Every call may be repeated without harm.

    Every method raises `HistoryUnavailable` if DynamoDB does not respond, or refuses.
    """

    def __init__(self, dynamodb: DynamoDb, table_name: str) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name

    # --- the end of the log -----------------------------------------------------------------------------------------

    async def head(self, stream: StreamKey) -> Head | None:
        """Return the end of a log. None: it has not begun."""
        item = await self._get(stream, items.HEAD)
        return None if item is None else items.read_head(item)

    async def begin(self, stream: StreamKey, epoch: str, now: float) -> Head:
        """Begin a log in this epoch, unless it has begun; return its end."""
        expression = "SET #epoch = if_not_exists(#epoch, :epoch), #expiresAt = if_not_exists(#expiresAt, :expiresAt)"
        return items.read_head(await self._update_head(stream, expression, _first(epoch, now), "ALL_NEW"))

    async def issue_offset(self, stream: StreamKey, epoch: str, now: float) -> tuple[Head, float]:
        """Issue the next offset, in this epoch if the log begins with it. Also return the time of the one before it.

        A retry issues another offset, and leaves a hole.
        """
        expression = (
            "ADD #offset :one SET #epoch = if_not_exists(#epoch, :epoch), #storedAt = :now, #expiresAt = :expiresAt"
        )
        values = _first(epoch, now) | {":one": number(1), ":now": number(now)}
        before = items.read_head(
            {"epoch": text(epoch), **await self._update_head(stream, expression, values, "ALL_OLD")}
        )
        return Head(before.epoch, before.offset + 1, now), before.issued_at

    # --- the log ------------------------------------------------------------------------------------------------------

    async def put_message(self, stream: StreamKey, entry: Entry, previous_issued_at: float) -> bool:
        """Put a message at its offset. False: the offset has a row already."""
        item = _key(stream, items.log_key(entry.number)) | items.write_message(entry, previous_issued_at)
        return await self._put(item, entry.stored_at, NOTHING_THERE) is None

    async def put_hole(self, stream: StreamKey, offset: int, now: float, previous_issued_at: float) -> Row:
        """Put a hole at an offset, unless it has a row already; return its row."""
        item = _key(stream, items.log_key(offset)) | {
            "storedAt": number(now),
            "previousIssuedAt": number(previous_issued_at),
        }
        return items.read_row(await self._put(item, now, NOTHING_THERE) or item)

    async def log(self, stream: StreamKey, first: int, last: int) -> list[Row]:
        """Return the rows at these offsets, in order."""
        found = await self._between(stream, items.log_key(first), items.log_key(last))
        return [items.read_row(item) for item in found]

    async def since(self, stream: StreamKey, first: int) -> tuple[list[Row], list[Entry]]:
        """Return the rows of the log from this offset on, in order, and all states."""
        found = await self._between(stream, items.log_key(first), items.AFTER_STATES)
        log = [items.read_row(item) for item in found if items.is_log(item)]
        return log, [items.read_state(item) for item in found if not items.is_log(item)]

    # --- ids of producers ---------------------------------------------------------------------------------------------

    async def offset_of(self, stream: StreamKey, message_id: str, oldest: float) -> int | None:
        """Return the offset that this id has had since `oldest`, in epoch seconds; None if there is none."""
        return _offset_since(oldest, await self._get(stream, items.id_key(message_id)))

    async def put_offset(
        self, stream: StreamKey, message_id: str, offset: int, now: float, *, known: int | None, oldest: float
    ) -> tuple[bool, int | None]:
        """Set the offset of an id, if it still is the `known` one. Otherwise return False and its present offset."""
        item = _key(stream, items.id_key(message_id)) | {"offset": number(offset), "storedAt": number(now)}
        if known is None:
            condition = Condition("attribute_not_exists(#sk) OR #storedAt < :oldest", {":oldest": number(oldest)})
        else:
            condition = Condition("#offset = :known", {":known": number(known)})
        present = await self._put(item, now, condition)
        return present is None, _offset_since(oldest, present)

    # --- states -------------------------------------------------------------------------------------------------------

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        """Return the state of a key, however old."""
        item = await self._get(stream, items.state_key(key))
        return None if item is None else items.read_state(item)

    async def put_state(self, stream: StreamKey, entry: Entry, condition: Condition) -> tuple[bool, Entry | None]:
        """Put a state for its key. If the condition does not hold, return False and the present state."""
        item = _key(stream, items.state_key(entry.key or "")) | items.write_state(entry)
        present = await self._put(item, entry.stored_at, condition)
        return present is None, items.read_state(present) if present else None

    async def leased_uploads(self) -> AsyncIterator[Entry]:
        """Yield the state of every upload with a lease. A new one may be missing, as the index may lag."""
        start: Any = None
        while True:
            page = await self._call(
                "Query",
                IndexName=items.LEASED_UPLOADS,
                KeyConditionExpression=f"{items.LEASED_UPLOADS} = :yes",
                ExpressionAttributeValues={":yes": text("yes")},
                ExclusiveStartKey=start,
            )
            for key in page.get("Items", []):
                item = await self._get(StreamKey(key["streamKey"]["S"]), key["sk"]["S"])
                if item is not None:
                    yield items.read_state(item)
            start = page.get("LastEvaluatedKey")
            if not start:
                return

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._dynamodb.close()

    # --- DynamoDB -----------------------------------------------------------------------------------------------------

    async def _get(self, stream: StreamKey, sort_key: str) -> Item | None:
        response = await self._call("GetItem", Key=_key(stream, sort_key), ConsistentRead=True)
        return response.get("Item")

    async def _between(self, stream: StreamKey, first: str, last: str) -> list[Item]:
        found: list[Item] = []
        start: Any = None
        while True:
            page = await self._call(
                "Query",
                ConsistentRead=True,
                KeyConditionExpression="streamKey = :stream AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues={":stream": text(stream), ":first": text(first), ":last": text(last)},
                ExclusiveStartKey=start,
            )
            found += page.get("Items", [])
            start = page.get("LastEvaluatedKey")
            if not start:
                return found

    async def _update_head(self, stream: StreamKey, expression: str, values: Values, returns: str) -> Item:
        response = await self._call(
            "UpdateItem",
            Key=_key(stream, items.HEAD),
            UpdateExpression=expression,
            ExpressionAttributeNames=_names_in(expression),
            ExpressionAttributeValues=values,
            ReturnValues=returns,
        )
        item: Item = response.get("Attributes", {})
        return item

    async def _put(self, item: dict[str, Any], now: float, condition: Condition) -> Item | None:
        """Write an item if a condition holds. Otherwise return the present item, `{}` if there is none."""
        write_id = text(os.urandom(6).hex())
        present = await _available(
            self._dynamodb.conflict(
                "PutItem",
                TableName=self._table_name,
                Item=item | {"writeId": write_id, "expiresAt": number(int(now + HISTORY_MAX_AGE_SECONDS))},
                ConditionExpression=condition.expression,
                ExpressionAttributeNames=_names_in(condition.expression),
                ExpressionAttributeValues=condition.values or None,
            )
        )
        # The present item may be ours, written by a request whose response was lost.
        return None if present is None or present.get("writeId") == write_id else present

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return await _available(self._dynamodb.call(operation, TableName=self._table_name, **parameters))


async def _available(call: Awaitable[T]) -> T:
    try:
        return await call
    except PublishError as error:
        raise HistoryUnavailable(str(error)) from error


def _key(stream: StreamKey, sort_key: str) -> dict[str, Any]:
    return {"streamKey": text(stream), "sk": text(sort_key)}


def _first(epoch: str, now: float) -> dict[str, Any]:
    return {":epoch": text(epoch), ":expiresAt": number(int(now + HISTORY_HEAD_SECONDS))}


def _offset_since(oldest: float, item: Item | None) -> int | None:
    return int(item["offset"]["N"]) if item and float(item["storedAt"]["N"]) >= oldest else None


def _names_in(expression: str) -> dict[str, str]:
    # Many attribute names are reserved words of DynamoDB.
    return {f"#{name}": name for name in _NAME.findall(expression)}
