"""The table of connections, by user.

    partition key   userId          "the connections of a user" is one strongly consistent query
    sort key        connectionId
    index           byConnection    connectionId → the whole item; eventually consistent
    attributes      connectedAt     milliseconds, as in API Gateway's events
                    helloAt         epoch seconds: when the bucket of the connection's `hello`s is full again
                    expiresAt       epoch seconds, two hours after connecting; DynamoDB deletes the item later
                    tokenExpiresAt  epoch seconds; `auth` changes it
                    tokenId         the token's `jti`, if it has one
                    issuedAt        the token's `iat`, if it has one
                    claims          JSON: the token's claim of topics, if it has one

Items whose `connectionId` begins with `#`, as no id of a connection does, are no rows: the user's shut-outs (see
`shut_outs`), members of topics (see `topic_members`), and those of their presence (see `presence_items`).

An item after its `expiresAt` is ignored, although DynamoDB still returns it: API Gateway ends every connection after
two hours.
"""

import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from tellwire.aws_api.dynamodb import DynamoDb, Item
from tellwire.limits import (
    CONNECTION_SETTLES_SECONDS,
    HELLO_BURST,
    HELLO_INTERVAL_SECONDS,
    MAX_CONNECTION_SECONDS,
    MAX_TOKEN_ID_BYTES,
    PRESENCE_GRACE_SECONDS,
)
from tellwire.model import NO_STAMP, Identity, TokenStamp
from tellwire.ports import Clock, SystemClock
from tellwire.shut_out import ShutOut

if TYPE_CHECKING:
    from tellwire.engines.aws.presence_table import PresenceTable
    from tellwire.engines.aws.topic_members import TopicMember, TopicMembers

Position: TypeAlias = tuple[str, str]
"""The key of an item, in two parts. The items after it are read next."""

BEGIN: Final[Position] = ("", "")
"""The position before the first item."""

BY_CONNECTION: Final = "byConnection"
"""The index by connection id: events of `$disconnect` and of messages do not have the user."""

_NO_ROW: Final = "#"
_SHUT_OUT_MARK: Final = "#"
# Their names begin with small letters, the marks of other items do not.
_FIRST_SHUT_OUT: Final = "#a"
_LAST_SHUT_OUT: Final = "#{"
# Longer than any that can be shut out, so that an overlong one costs little.
_TOKEN_ID_CHARACTERS: Final = MAX_TOKEN_ID_BYTES + 1


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """An item of the table. Times are epoch seconds; `token_expires_at` infinity if the item has none.

    `version` is `connectedAt` as it is stored: it distinguishes connections with the same id.
    """

    user_id: str
    connection_id: str
    connected_at: float
    expires_at: float
    token_expires_at: float
    version: Mapping[str, Any] | None
    stamp: TokenStamp = NO_STAMP
    claims: str = ""

    @property
    def identity(self) -> Identity:
        """The user in the connection's token, with the claims that are stored."""
        claims = msgspec.json.decode(self.claims) if self.claims else {}
        return Identity(self.user_id, self.token_expires_at, claims, self.stamp)

    def is_settled(self, now: float) -> bool:
        """Return True if the connection has either opened or failed, so that a 410 means that it is gone.

        Until `$connect` has answered, API Gateway answers 410 for a connection that is opening.
        """
        return now - self.connected_at >= CONNECTION_SETTLES_SECONDS

    @property
    def position(self) -> Position:
        """The key of the item."""
        return self.user_id, self.connection_id

    @classmethod
    def of(cls, identity: Identity, connection_id: str, connected_at: float) -> "ConnectionRow":
        """Return the row that `ConnectionsTable.add` stores."""
        return cls(
            identity.user_id,
            connection_id,
            connected_at,
            connected_at + MAX_CONNECTION_SECONDS,
            identity.expires_at,
            {"N": str(round(connected_at * 1000))},
            identity.stamp,
        )

    @classmethod
    def read(cls, item: Item) -> "ConnectionRow":
        """Read an item, also one of another program: missing attributes get harmless defaults."""
        connected_at = _number(item, "connectedAt", 0.0) / 1000
        return cls(
            user_id=str(item.get("userId", {}).get("S", "")),
            connection_id=str(item.get("connectionId", {}).get("S", "")),
            connected_at=connected_at,
            expires_at=_number(item, "expiresAt", float("inf")),
            token_expires_at=_number(item, "tokenExpiresAt", float("inf")),
            version=item.get("connectedAt"),
            stamp=TokenStamp("", item.get("tokenId", {}).get("S"), _optional_number(item, "issuedAt")),
            claims=str(item.get("claims", {}).get("S", "")),
        )


class ConnectionsTable:
    """The connections of one API, in one table."""

    def __init__(self, dynamodb: DynamoDb, table_name: str, clock: Clock | None = None) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name
        self._clock = clock or SystemClock()

    async def add(
        self,
        user_id: str,
        connection_id: str,
        connected_at: float,
        token_expires_at: float,
        stamp: TokenStamp = NO_STAMP,
        claims: Mapping[str, Any] | None = None,
    ) -> None:
        """Store a connection, with the claims of its token that are needed later. It replaces an item with its key."""
        item = {
            **_key(user_id, connection_id),
            "connectedAt": {"N": str(round(connected_at * 1000))},
            "expiresAt": {"N": str(int(connected_at + MAX_CONNECTION_SECONDS))},
            "tokenExpiresAt": {"N": str(int(token_expires_at))},
            **_traits(stamp, claims),
        }
        await self._dynamodb.call("PutItem", TableName=self._table_name, Item=item)

    async def of_user(self, user_id: str) -> AsyncIterator[list[ConnectionRow]]:
        """Yield the connections of a user in pages, with every one that was stored before this call."""
        pages = self._dynamodb.pages(
            "Query",
            TableName=self._table_name,
            ConsistentRead=True,
            KeyConditionExpression="userId = :user",
            ExpressionAttributeValues={":user": {"S": user_id}},
        )
        async for page in pages:
            yield self._live(page)

    async def everyone(self, after: Position = BEGIN) -> AsyncIterator[tuple[list[ConnectionRow], Position]]:
        """Yield all connections after a position, in pages, each with the position of its end. It reads the whole
        table.
        """
        start: dict[str, Any] | None = None if after == BEGIN else _key(*after)
        while True:
            page = await self._dynamodb.call(
                "Scan",
                TableName=self._table_name,
                ConsistentRead=True,
                FilterExpression="attribute_not_exists(memberUserId) AND NOT begins_with(connectionId, :mark)",
                ExpressionAttributeValues={":mark": {"S": _NO_ROW}},
                ExclusiveStartKey=start,
            )
            start = page.get("LastEvaluatedKey")
            yield self._live(page.get("Items", [])), _position(start) if start else BEGIN
            if not start:
                return

    async def at(self, user_id: str, connection_id: str) -> ConnectionRow | None:
        """Return the row with this key; None: there is none any more."""
        pages = self._dynamodb.pages(
            "Query",
            TableName=self._table_name,
            ConsistentRead=True,
            KeyConditionExpression="userId = :user AND connectionId = :connection",
            ExpressionAttributeValues={":user": {"S": user_id}, ":connection": {"S": connection_id}},
        )
        rows = [row async for page in pages for row in self._live(page)]
        return rows[0] if rows else None

    @cached_property
    def members(self) -> "TopicMembers":
        """The members of topics, which are in the same table."""
        from tellwire.engines.aws.topic_members import TopicMembers  # $connect needs none of it

        return TopicMembers(self._dynamodb, self._table_name, self._clock)

    @cached_property
    def presence(self) -> "PresenceTable":
        """The presence of topics, which is in the same table."""
        from tellwire.engines.aws.presence_table import PresenceTable  # functions without presence need none of it

        return PresenceTable(self._dynamodb, self._table_name)

    async def lose(self, member: "TopicMember") -> None:
        """Remove a member whose connection has ended, and note that its user may have left the topic."""
        if member.has_presence:
            leaves_at = self._clock.now() + PRESENCE_GRACE_SECONDS
            await self.presence.put_going(member.topic, member.user_id, member.connection_id, leaves_at)
        await self.members.remove([member])

    async def find(self, connection_id: str) -> ConnectionRow | None:
        """Return a connection by its id alone. A new one may be missing: the index is eventually consistent."""
        pages = self._dynamodb.pages(
            "Query",
            TableName=self._table_name,
            IndexName=BY_CONNECTION,
            KeyConditionExpression="connectionId = :connection",
            ExpressionAttributeValues={":connection": {"S": connection_id}},
        )
        async for page in pages:
            for row in self._live(page):
                return row
        return None

    async def remove(self, row: ConnectionRow) -> None:
        """Remove a row, unless its item was replaced by another connection's."""
        await self._dynamodb.succeeds(
            "DeleteItem", TableName=self._table_name, Key=_key(row.user_id, row.connection_id), **_if_still(row)
        )

    async def admit_hello(self, row: ConnectionRow) -> bool:
        """Take a `hello` out of the connection's bucket, which the row has: one in each interval, and some at once.

        False: it is empty, or the connection is not stored any more.
        """
        now = self._clock.now()
        values = {
            ":now": {"N": repr(now)},
            ":interval": {"N": str(HELLO_INTERVAL_SECONDS)},
            ":next": {"N": repr(now + HELLO_INTERVAL_SECONDS)},
            ":latest": {"N": repr(now + HELLO_INTERVAL_SECONDS * (HELLO_BURST - 1))},
        }
        is_full = "attribute_exists(connectionId) AND (attribute_not_exists(helloAt) OR helloAt <= :now)"
        return await self._take_hello(row, "SET helloAt = :next", is_full, values) or await self._take_hello(
            row, "SET helloAt = helloAt + :interval", "helloAt > :now AND helloAt <= :latest", values
        )

    async def _take_hello(self, row: ConnectionRow, expression: str, condition: str, values: Mapping[str, Any]) -> bool:
        used = {name: value for name, value in values.items() if name in expression + condition}
        return await self._dynamodb.succeeds(
            "UpdateItem",
            TableName=self._table_name,
            Key=_key(row.user_id, row.connection_id),
            UpdateExpression=expression,
            ConditionExpression=condition,
            ExpressionAttributeValues=used,
        )

    async def renew(
        self,
        row: ConnectionRow,
        token_expires_at: float,
        stamp: TokenStamp = NO_STAMP,
        claims: Mapping[str, Any] | None = None,
    ) -> bool:
        """Store the new token's expiry, traits and claims. False: the connection is not stored any more."""
        values = {"tokenExpiresAt": {"N": str(int(token_expires_at))}, **_traits(stamp, claims)}
        gone = [name for name in ("tokenId", "issuedAt", "claims") if name not in values]
        removals = f" REMOVE {', '.join(gone)}" if gone else ""
        return await self._dynamodb.succeeds(
            "UpdateItem",
            TableName=self._table_name,
            Key=_key(row.user_id, row.connection_id),
            UpdateExpression=f"SET {', '.join(f'{name} = :{name}' for name in values)}{removals}",
            ConditionExpression="attribute_exists(connectionId)",
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
        )

    async def put_shut_out(self, entry: ShutOut) -> None:
        """Store a shut-out, in place of an earlier one of its kind."""
        item = {
            **_key(entry.user_id, _shut_out_id(entry)),
            "expiresAt": {"N": str(math.ceil(entry.until))},
            "until": {"N": repr(entry.until)},
            "reason": {"S": entry.reason},
            **({} if entry.token_id is None else {"token": {"S": entry.token_id}}),
            **({} if entry.issued_before is None else {"issuedBefore": {"N": repr(entry.issued_before)}}),
        }
        await self._dynamodb.call("PutItem", TableName=self._table_name, Item=item)

    async def shut_outs_of(self, user_id: str) -> list[ShutOut]:
        """Return all shut-outs of a user that were stored before this call, also those that have ended."""
        pages = self._dynamodb.pages(
            "Query",
            TableName=self._table_name,
            ConsistentRead=True,
            KeyConditionExpression="userId = :user AND connectionId BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":user": {"S": user_id},
                ":first": {"S": _FIRST_SHUT_OUT},
                ":last": {"S": _LAST_SHUT_OUT},
            },
        )
        return [_read_shut_out(user_id, item) async for page in pages for item in page]

    async def remove_shut_out(self, entry: ShutOut) -> None:
        """Remove a shut-out. It need not be there."""
        key = _key(entry.user_id, _shut_out_id(entry))
        await self._dynamodb.call("DeleteItem", TableName=self._table_name, Key=key)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._dynamodb.close()

    def _live(self, items: list[Item]) -> list[ConnectionRow]:
        now = self._clock.now()
        rows = map(ConnectionRow.read, items)
        return [row for row in rows if now < row.expires_at and not row.connection_id.startswith(_NO_ROW)]


def _key(user_id: str, connection_id: str) -> dict[str, Any]:
    return {"userId": {"S": user_id}, "connectionId": {"S": connection_id}}


def _position(key: Item) -> Position:
    return str(key["userId"]["S"]), str(key["connectionId"]["S"])


def _traits(stamp: TokenStamp, claims: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        **({"claims": {"S": msgspec.json.encode(claims).decode()}} if claims else {}),
        **({} if stamp.token_id is None else {"tokenId": {"S": stamp.token_id[:_TOKEN_ID_CHARACTERS]}}),
        **({} if stamp.issued_at is None else {"issuedAt": {"N": repr(stamp.issued_at)}}),
    }


def _shut_out_id(entry: ShutOut) -> str:
    return f"{_SHUT_OUT_MARK}{entry.key}"


def _read_shut_out(user_id: str, item: Item) -> ShutOut:
    return ShutOut(
        user_id,
        _number(item, "until", 0.0),
        str(item.get("reason", {}).get("S", "")),
        item.get("token", {}).get("S"),
        _optional_number(item, "issuedBefore"),
    )


def _if_still(row: ConnectionRow) -> dict[str, Any]:
    if row.version is None:
        return {"ConditionExpression": "attribute_not_exists(connectedAt)"}
    return {"ConditionExpression": "connectedAt = :seen", "ExpressionAttributeValues": {":seen": row.version}}


def _number(item: Item, name: str, default: float) -> float:
    try:
        return float(item[name]["N"])
    except (KeyError, ValueError, TypeError):
        return default


def _optional_number(item: Item, name: str) -> float | None:
    return _number(item, name, 0.0) if name in item else None
