"""The calls to the history table, one method each. `history_items` has its attributes.

`history` decides if items are late, missing or too old.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from msgspec import Struct

from tellwire.aws_api.dynamodb import DynamoDb, Item
from tellwire.engines.aws import history_items as items
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.history_items import Head, Row, number, text
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable, PublishError
from tellwire.limits import AWS_FIRST_WAIT_SECONDS, HISTORY_HEAD_SECONDS
from tellwire.publication import StreamKey
from tellwire.retention import Retention
from tellwire.stream import max_age_seconds
from tellwire.topics import TopicRules

Values = Mapping[str, Mapping[str, Any]]
T = TypeVar("T")

_NAME: Final = re.compile(r"#(\w+)")
# Below and above all sort keys, which begin with a small letter.
_FIRST_SORT_KEY: Final = " "
_LAST_SORT_KEY: Final = "~"
_PAGE: Final = 1000
_SWEEP: Final = StreamKey("sweep")
_LEASES: Final = f"{items.PARTITION_KEY}, {items.SORT_KEY}, {items.LEASE_EXPIRES_AT}"
_TIMES: Final = "sk, storedAt, previousIssuedAt"


class Condition(Struct, frozen=True):
    """The condition of a write. Names of attributes begin with `#`, values with `:`."""

    expression: str
    values: Values = {}

    def or_else(self, other: "Condition") -> "Condition":
        """Return the condition that this one or another holds."""
        return Condition(f"({self.expression}) OR ({other.expression})", {**self.values, **other.values})


class StateKey(NamedTuple):
    """The key of an item of a state."""

    stream: StreamKey
    sort_key: str


class Write(Struct, frozen=True):
    """A write of a transaction, as DynamoDB takes it: `Put` or `Update`."""

    kind: str
    parameters: dict[str, Any]
    write_id: Item | Any = None


class Since(Struct, frozen=True):
    """The rows of a log from an offset on, and all states. `is_whole` is False if rows below `first` are left out."""

    rows: list[Row]
    states: list[Entry]
    first: int
    is_whole: bool = True


NOTHING_THERE: Final = Condition("attribute_not_exists(#sk)")

_BEGIN: Final = (
    "#epoch = if_not_exists(#epoch, :epoch), #beganAt = if_not_exists(#beganAt, :now), #expiresAt = :expiresAt"
)


class HistoryTable:
    """All streams, in one table. Every call may be repeated without harm.

    Every method raises `HistoryUnavailable` if DynamoDB does not respond, or refuses.
    """

    def __init__(self, dynamodb: DynamoDb, table_name: str, topics: TopicRules | None = None) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name
        self.topics = topics or TopicRules()

    def retention(self, stream: StreamKey) -> Retention:
        """Return the bounds of a stream. Of one whose rule keeps nothing any more, there may be items of before."""
        return self.topics.retention_of(stream) or self.topics.retention

    # --- the end of the log -----------------------------------------------------------------------------------------

    async def head(self, stream: StreamKey, *, is_consistent: bool = True) -> Head | None:
        """Return the end of a log. None: it has not begun. A read that is not consistent costs half."""
        item = await self._get(stream, items.HEAD, is_consistent=is_consistent)
        return None if item is None else items.read_head(item)

    async def begin(self, stream: StreamKey, epoch: str, now: float) -> Head:
        """Begin a log in this epoch, unless it has begun; return its end."""
        expression = f"SET {_BEGIN}"
        return items.read_head(await self._update_head(stream, expression, _first(epoch, now), "ALL_NEW"))

    async def issue_offset(self, stream: StreamKey, epoch: str, now: float) -> tuple[Head, float]:
        """Issue the next offset, in this epoch if the log begins with it. Also return the time of the one before it.

        A retry issues another offset, and leaves a hole.
        """
        expression = f"ADD #offset :one SET {_BEGIN}, #storedAt = :now"
        values = _first(epoch, now) | {":one": number(1)}
        before = items.read_head(
            {"epoch": text(epoch), **await self._update_head(stream, expression, values, "ALL_OLD")}
        )
        return Head(before.epoch, before.offset + 1, now, before.began_at or now), before.issued_at

    async def note_version(self, stream: StreamKey, epoch: str, version: int, now: float) -> None:
        """Note the version of a state in the head, unless a newer one is there. It also prolongs the epoch."""
        expression = f"SET {_BEGIN}, #version = :version"
        condition = "attribute_not_exists(#version) OR #version < :version"
        await _available(
            self._dynamodb.succeeds(
                "UpdateItem",
                TableName=self._table_name,
                Key=_key(stream, items.HEAD),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=_names_in(expression),
                ExpressionAttributeValues=_first(epoch, now) | {":version": number(version)},
            )
        )

    # --- the log ------------------------------------------------------------------------------------------------------

    async def put_message(self, stream: StreamKey, entry: Entry, previous_issued_at: float) -> bool:
        """Put a message at its offset. False: the offset has a row already."""
        item = _key(stream, items.log_key(entry.number)) | items.write_message(entry, previous_issued_at)
        return await self._put(stream, item, entry.stored_at, NOTHING_THERE) is None

    async def put_hole(self, stream: StreamKey, offset: int, now: float, previous_issued_at: float) -> Row:
        """Put a hole at an offset, unless it has a row already; return its row."""
        item = _key(stream, items.log_key(offset)) | {
            "storedAt": number(now),
            "previousIssuedAt": number(previous_issued_at),
        }
        return items.read_row(await self._put(stream, item, now, NOTHING_THERE) or item)

    async def log(self, stream: StreamKey, first: int, last: int) -> list[Row]:
        """Return the rows at these offsets, in order."""
        found = await self._between(stream, items.log_key(first), items.log_key(last))
        return [items.read_row(item) for item in found]

    async def row(self, stream: StreamKey, offset: int) -> Row | None:
        """Return the row at an offset; None if there is none."""
        item = await self._get(stream, items.log_key(offset))
        return None if item is None else items.read_row(item)

    async def times(self, stream: StreamKey, first: int, last: int) -> list[Row]:
        """Return the rows at these offsets without their messages."""
        rows: list[Row] = []
        async for page, _ in self._pages(stream, items.log_key(first), items.log_key(last), projection=_TIMES):
            rows += map(items.read_row, page)
        return rows

    async def backwards(self, stream: StreamKey, first: int, last: int, most: int) -> AsyncIterator[list[Row]]:
        """Yield the rows at these offsets in pages of so many at most, the newest first."""
        pages = self._pages(stream, items.log_key(first), items.log_key(last), is_forward=False, most=most)
        async for page, _ in pages:
            yield [items.read_row(item) for item in page]

    async def since(self, stream: StreamKey, first: int, last: int, most_bytes: int) -> Since:
        """Return the rows of the log from the offset `first` on, in order, and all states.

        If the messages have more than `most_bytes`, the oldest are left out. Those that come after the offset `last`
        may be in it, too.
        """
        rows: list[Row] = []
        states: list[Entry] = []
        async for page, has_more in self._pages(stream, items.log_key(first), items.AFTER_STATES):
            rows += [items.read_row(item) for item in page if items.is_log(item)]
            states += [items.read_state(item) for item in page if not items.is_log(item)]
            if has_more and not states and rows and rows[-1].offset < last:
                break
        else:
            return Since(rows, states, first)
        # The log has more than one page: the rest is read from its end, as far as there is room.
        size = sum(map(_size, rows))
        newest: list[Row] = []
        middle = items.log_key(rows[-1].offset + 1)
        async for page, _ in self._pages(stream, middle, items.log_key(last), is_forward=False):
            newest += map(items.read_row, page)
            if newest and size + sum(map(_size, newest)) > most_bytes:
                newest.reverse()
                return Since(newest, await self._states(stream), newest[0].offset, is_whole=False)
        return Since([*rows, *reversed(newest)], await self._states(stream), first)

    # --- several items at once ---------------------------------------------------------------------------------------

    def advance(self, stream: StreamKey, head: Head, now: float, by: int = 1, version: int | None = None) -> Write:
        """Return the write that issues the offsets after this head, if it still is the head."""
        expression = f"ADD #offset :by SET {_BEGIN}, #storedAt = :now"
        values = _first(head.epoch, now) | {":by": number(by), ":seen": number(head.offset)}
        condition = "#offset = :seen" if head.offset else "(attribute_not_exists(#offset) OR #offset = :seen)"
        if version is not None:
            expression += ", #version = :version"
            values[":version"] = number(version)
        return Write(
            "Update",
            {
                "Key": _key(stream, items.HEAD),
                "UpdateExpression": expression,
                "ConditionExpression": f"{condition} AND #epoch = :epoch",
                "ExpressionAttributeNames": _names_in(expression),
                "ExpressionAttributeValues": values,
            },
        )

    def write_message(self, stream: StreamKey, entry: Entry, previous_issued_at: float) -> Write:
        """Return the write of a message at its offset."""
        item = _key(stream, items.log_key(entry.number)) | items.write_message(entry, previous_issued_at)
        return _put_if(item, self._expiry(stream, entry.stored_at), NOTHING_THERE)

    def write_offset(
        self, stream: StreamKey, message_id: str, offset: int, now: float, known: int | None, oldest: float
    ) -> Write:
        """Return the write of the offset of an id, if it still is the `known` one."""
        item, condition = _offset_item(stream, message_id, offset, now, known, oldest)
        return _put_if(item, self._expiry(stream, now), condition)

    def write_state(self, stream: StreamKey, entry: Entry, condition: Condition) -> Write:
        """Return the write of a state, if a condition holds."""
        item = _key(stream, items.state_key(entry.key or "")) | items.write_state(entry)
        expires_at = entry.stored_at + max_age_seconds(entry, self.retention(stream))
        return _put_if(item, expires_at, condition)

    def count_waiting(self, stream: StreamKey, by: int, now: float, at_most: int | None = None) -> Write:
        """Return the write that counts escalations that wait, if they are fewer than `at_most`."""
        expression = "ADD #waiting :by SET #expiresAt = :expiresAt"
        expires_at = now + self.retention(stream).running_max_age_seconds
        values = {":by": number(by), ":expiresAt": number(int(expires_at))}
        write: dict[str, Any] = {
            "Key": _key(stream, items.WAITING),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": _names_in(expression),
            "ExpressionAttributeValues": values,
        }
        if at_most is not None:
            write["ConditionExpression"] = "attribute_not_exists(#waiting) OR #waiting < :atMost"
            values[":atMost"] = number(at_most)
        return Write("Update", write)

    async def waiting(self, stream: StreamKey) -> int:
        """Return the number of escalations that wait, as they are counted."""
        item = await self._get(stream, items.WAITING)
        return 0 if item is None else int(item["waiting"]["N"])

    async def write_all(self, *writes: Write) -> bool:
        """Write all of these, or none. False: a condition did not hold. A lost response is recognised."""
        transaction = [
            {
                each.kind: {
                    **each.parameters,
                    "TableName": self._table_name,
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            }
            for each in writes
        ]
        present = await _available(self._dynamodb.transact(transaction, os.urandom(16).hex()))
        return present is None or any(
            each.write_id is not None and item is not None and item.get("writeId") == each.write_id
            for each, item in zip(writes, present, strict=True)
        )

    # --- ids of producers ---------------------------------------------------------------------------------------------

    async def offset_of(self, stream: StreamKey, message_id: str, oldest: float) -> int | None:
        """Return the offset that this id has had since `oldest`, in epoch seconds; None if there is none."""
        return _offset_since(oldest, await self._get(stream, items.id_key(message_id)))

    async def put_offset(
        self, stream: StreamKey, message_id: str, offset: int, now: float, *, known: int | None, oldest: float
    ) -> bool:
        """Set the offset of an id, if it still is the `known` one."""
        item, condition = _offset_item(stream, message_id, offset, now, known, oldest)
        return await self._put(stream, item, now, condition) is None

    # --- requests of clients ------------------------------------------------------------------------------------------

    async def put_request(
        self, stream: StreamKey, request_id: str, now: float, keep_seconds: float
    ) -> tuple[bool, bytes | None]:
        """Put a request that begins now. If one is there that is not too old, return False and its answer, if any."""
        item = _key(stream, items.request_key(request_id)) | {"storedAt": number(now)}
        condition = Condition(
            "attribute_not_exists(#sk) OR #storedAt < :oldest", {":oldest": number(now - keep_seconds)}
        )
        present = await self._put(stream, item, now, condition, keep_seconds)
        if present is None:
            return True, None
        return False, present["answer"]["S"].encode() if "answer" in present else None

    async def put_answer(self, stream: StreamKey, request_id: str, answer: bytes) -> None:
        """Add its answer to a request, if it is there."""
        expression, condition = "SET #answer = :value", "attribute_exists(#sk)"
        await _available(
            self._dynamodb.succeeds(
                "UpdateItem",
                TableName=self._table_name,
                Key=_key(stream, items.request_key(request_id)),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=_names_in(expression + condition),
                ExpressionAttributeValues={":value": text(answer.decode())},
            )
        )

    async def requests(self, stream: StreamKey) -> AsyncIterator[list[StateKey]]:
        """Yield the keys of all requests in pages."""
        pages = self._pages(stream, items.BEFORE_REQUESTS, items.AFTER_REQUESTS, projection="sk")
        async for page, _ in pages:
            yield [StateKey(stream, str(item["sk"]["S"])) for item in page]

    async def delete_at(self, key: StateKey) -> None:
        """Delete the item with this key."""
        await self._delete(key.stream, key.sort_key)

    # --- states -------------------------------------------------------------------------------------------------------

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        """Return the state of a key, however old."""
        item = await self._get(stream, items.state_key(key))
        return None if item is None else items.read_state(item)

    async def _states(self, stream: StreamKey) -> list[Entry]:
        pages = self._pages(stream, items.BEFORE_STATES, items.AFTER_STATES)
        return [items.read_state(item) async for page, _ in pages for item in page]

    async def put_state(self, stream: StreamKey, entry: Entry, condition: Condition) -> tuple[bool, Entry | None]:
        """Put a state for its key. If the condition does not hold, return False and the present state."""
        item = _key(stream, items.state_key(entry.key or "")) | items.write_state(entry)
        keep_seconds = max_age_seconds(entry, self.retention(stream))
        present = await self._put(stream, item, entry.stored_at, condition, keep_seconds)
        return present is None, items.read_state(present) if present else None

    async def leased_uploads(self) -> AsyncIterator[Entry]:
        """Yield the state of every upload with a lease. A new one may be missing, as the index may lag."""
        start: StateKey | None = None
        while True:
            keys, start = await self.leased_page(start)
            for key in keys:
                if (entry := await self.state_at(key)) is not None:
                    yield entry
            if start is None:
                return

    async def forget(self, stream: StreamKey) -> None:
        """Delete all items of a stream; the head last, so that nobody begins it anew above items from before."""
        async for page, _ in self._pages(stream, _FIRST_SORT_KEY, _LAST_SORT_KEY, projection="sk"):
            keys = [key for item in page if (key := str(item["sk"]["S"])) != items.HEAD]
            await each(keys, lambda key: self._delete(stream, key))
        await self._delete(stream, items.HEAD)

    async def leased_page(self, start: StateKey | None) -> tuple[list[StateKey], StateKey | None]:
        """Return the keys of up to 1,000 uploads with a lease, and the key after which there are more, or None."""
        page = await self._call(
            "Query",
            IndexName=items.LEASED_UPLOADS,
            KeyConditionExpression=f"{items.LEASED_UPLOADS} = :yes",
            ExpressionAttributeValues={":yes": text("yes")},
            ExclusiveStartKey=None if start is None else _index_key(start),
            Limit=_PAGE,
        )
        last = page.get("LastEvaluatedKey")
        return [_state_key_of(item) for item in page.get("Items", [])], None if not last else _state_key_of(last)

    async def lease_expiries(self, keys: Sequence[StateKey]) -> list[tuple[StateKey, float]]:
        """Return the expiry of each of these leases, of up to 100. Those that have ended are left out."""
        asked: list[Any] = [_key(key.stream, key.sort_key) for key in keys]
        found: list[tuple[StateKey, float]] = []
        while asked:
            request = {self._table_name: {"Keys": asked, "ProjectionExpression": _LEASES}}
            page = await _available(self._dynamodb.call("BatchGetItem", RequestItems=request))
            found += [
                (_state_key_of(item), float(item[items.LEASE_EXPIRES_AT]["N"]))
                for item in page.get("Responses", {}).get(self._table_name, [])
                if items.LEASE_EXPIRES_AT in item
            ]
            asked = page.get("UnprocessedKeys", {}).get(self._table_name, {}).get("Keys", [])
            if asked and not found:
                await asyncio.sleep(AWS_FIRST_WAIT_SECONDS)
        return found

    async def state_at(self, key: StateKey) -> Entry | None:
        """Return the state with this key, however old."""
        item = await self._get(key.stream, key.sort_key)
        return None if item is None else items.read_state(item)

    async def sweep_position(self) -> StateKey | None:
        """Return the key after which the last sweep had no time to go on; None: it looked at all."""
        item = await self._get(_SWEEP, _SWEEP, is_consistent=False)  # a minute old, or nothing is lost
        return StateKey(StreamKey(item["at"]["S"]), item["atSk"]["S"]) if item and "at" in item else None

    async def put_sweep_position(self, position: StateKey | None, now: float) -> None:
        """Store the key after which the next sweep goes on; None: at the beginning."""
        at = {} if position is None else {"at": text(position.stream), "atSk": text(position.sort_key)}
        expires_at = number(int(self._expiry(_SWEEP, now)))
        await self._call("PutItem", Item=_key(_SWEEP, _SWEEP) | at | {"expiresAt": expires_at})

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._dynamodb.close()

    # --- DynamoDB -----------------------------------------------------------------------------------------------------

    async def _get(self, stream: StreamKey, sort_key: str, *, is_consistent: bool = True) -> Item | None:
        response = await self._call("GetItem", Key=_key(stream, sort_key), ConsistentRead=is_consistent)
        return response.get("Item")

    async def _between(self, stream: StreamKey, first: str, last: str) -> list[Item]:
        return [item async for page, _ in self._pages(stream, first, last) for item in page]

    async def _pages(
        self,
        stream: StreamKey,
        first: str,
        last: str,
        *,
        is_forward: bool = True,
        projection: str | None = None,
        most: int | None = None,
    ) -> AsyncIterator[tuple[list[Item], bool]]:
        """Yield the pages of items between two sort keys, each of up to 1 MB, and whether there are more.

        `most`: the most items of a page.
        """
        start: Any = None
        while first <= last:
            page = await self._call(
                "Query",
                ConsistentRead=True,
                KeyConditionExpression="streamKey = :stream AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues={
                    ":stream": text(items.partition_key(stream)),
                    ":first": text(first),
                    ":last": text(last),
                },
                ScanIndexForward=None if is_forward else False,
                ProjectionExpression=projection,
                ExclusiveStartKey=start,
                Limit=most,
            )
            start = page.get("LastEvaluatedKey")
            yield page.get("Items", []), bool(start)
            if not start:
                return

    async def _delete(self, stream: StreamKey, sort_key: str) -> None:
        await self._call("DeleteItem", Key=_key(stream, sort_key))

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

    async def _put(
        self,
        stream: StreamKey,
        item: dict[str, Any],
        now: float,
        condition: Condition,
        keep_seconds: float | None = None,
    ) -> Item | None:
        """Write an item if a condition holds. Otherwise return the present item, `{}` if there is none."""
        expires_at = self._expiry(stream, now) if keep_seconds is None else now + keep_seconds
        write = _put_if(item, expires_at, condition)
        present = await _available(self._dynamodb.conflict("PutItem", TableName=self._table_name, **write.parameters))
        # The present item may be ours, written by a request whose response was lost.
        return None if present is None or present.get("writeId") == write.write_id else present

    def _expiry(self, stream: StreamKey, now: float) -> float:
        return now + self.retention(stream).max_age_seconds

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return await _available(self._dynamodb.call(operation, TableName=self._table_name, **parameters))


async def _available(call: Awaitable[T]) -> T:
    try:
        return await call
    except PublishError as error:
        raise HistoryUnavailable(str(error)) from error


def _key(stream: StreamKey, sort_key: str) -> dict[str, Any]:
    return {"streamKey": text(items.partition_key(stream)), "sk": text(sort_key)}


def _put_if(item: dict[str, Any], expires_at: float, condition: Condition) -> Write:
    write_id = text(os.urandom(6).hex())
    parameters = {
        "Item": item | {"writeId": write_id, "expiresAt": number(int(expires_at))},
        "ConditionExpression": condition.expression,
        "ExpressionAttributeNames": _names_in(condition.expression),
    }
    if condition.values:
        parameters["ExpressionAttributeValues"] = condition.values
    return Write("Put", parameters, write_id)


def _offset_item(
    stream: StreamKey, message_id: str, offset: int, now: float, known: int | None, oldest: float
) -> tuple[dict[str, Any], Condition]:
    item = _key(stream, items.id_key(message_id)) | {"offset": number(offset), "storedAt": number(now)}
    if known is None:
        condition = Condition("attribute_not_exists(#sk) OR #storedAt < :oldest", {":oldest": number(oldest)})
    else:
        condition = Condition("#offset = :known", {":known": number(known)})
    return item, condition


def _state_key_of(item: Item) -> StateKey:
    return StateKey(StreamKey(item["streamKey"]["S"]), item["sk"]["S"])


def _index_key(key: StateKey) -> dict[str, Any]:
    return _key(key.stream, key.sort_key) | {items.LEASED_UPLOADS: text("yes")}


def _first(epoch: str, now: float) -> dict[str, Any]:
    return {":epoch": text(epoch), ":now": number(now), ":expiresAt": number(int(now + HISTORY_HEAD_SECONDS))}


def _size(row: Row) -> int:
    return 0 if row.entry is None else len(row.entry.payload)


def _offset_since(oldest: float, item: Item | None) -> int | None:
    return int(item["offset"]["N"]) if item and float(item["storedAt"]["N"]) >= oldest else None


def _names_in(expression: str) -> dict[str, str]:
    # Many attribute names are reserved words of DynamoDB.
    return {f"#{name}": name for name in _NAME.findall(expression)}
