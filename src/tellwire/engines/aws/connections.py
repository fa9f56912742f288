"""The table of connections, by user.

    partition key   userId          "the connections of a user" is one strongly consistent query
    sort key        connectionId
    index           byConnection    connectionId → the whole item; eventually consistent
    attributes      connectedAt     milliseconds, as in API Gateway's events
                    expiresAt       epoch seconds, two hours after connecting; DynamoDB deletes the item later
                    tokenExpiresAt  epoch seconds; `auth` changes it

An item after its `expiresAt` is ignored, although DynamoDB still returns it: API Gateway ends every connection after
two hours.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tellwire.aws_api.dynamodb import DynamoDb, Item
from tellwire.limits import CONNECTION_SETTLES_SECONDS, MAX_CONNECTION_SECONDS
from tellwire.ports import Clock, SystemClock

BY_CONNECTION: Final = "byConnection"
"""The index by connection id: events of `$disconnect` and of messages do not have the user."""


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

    def is_settled(self, now: float) -> bool:
        """Return True if the connection has either opened or failed, so that a 410 means that it is gone.

        Until `$connect` has answered, API Gateway answers 410 for a connection that is opening.
        """
        return now - self.connected_at >= CONNECTION_SETTLES_SECONDS

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
        )


class ConnectionsTable:
    """The connections of one API, in one table."""

    def __init__(self, dynamodb: DynamoDb, table_name: str, clock: Clock | None = None) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name
        self._clock = clock or SystemClock()

    async def add(self, user_id: str, connection_id: str, connected_at: float, token_expires_at: float) -> None:
        """Store a connection. It replaces an item with the same key."""
        item = {
            **_key(user_id, connection_id),
            "connectedAt": {"N": str(round(connected_at * 1000))},
            "expiresAt": {"N": str(int(connected_at + MAX_CONNECTION_SECONDS))},
            "tokenExpiresAt": {"N": str(int(token_expires_at))},
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

    async def everyone(self) -> AsyncIterator[list[ConnectionRow]]:
        """Yield all connections in pages. It reads the whole table."""
        async for page in self._dynamodb.pages("Scan", TableName=self._table_name, ConsistentRead=True):
            yield self._live(page)

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

    async def renew(self, row: ConnectionRow, token_expires_at: float) -> bool:
        """Store the new expiry of the token. False: the connection is not stored any more."""
        return await self._dynamodb.succeeds(
            "UpdateItem",
            TableName=self._table_name,
            Key=_key(row.user_id, row.connection_id),
            UpdateExpression="SET tokenExpiresAt = :then",
            ConditionExpression="attribute_exists(connectionId)",
            ExpressionAttributeValues={":then": {"N": str(int(token_expires_at))}},
        )

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._dynamodb.close()

    def _live(self, items: list[Item]) -> list[ConnectionRow]:
        now = self._clock.now()
        return [row for row in map(ConnectionRow.read, items) if now < row.expires_at]


def _key(user_id: str, connection_id: str) -> dict[str, Any]:
    return {"userId": {"S": user_id}, "connectionId": {"S": connection_id}}


def _if_still(row: ConnectionRow) -> dict[str, Any]:
    if row.version is None:
        return {"ConditionExpression": "attribute_not_exists(connectedAt)"}
    return {"ConditionExpression": "connectedAt = :seen", "ExpressionAttributeValues": {":seen": row.version}}


def _number(item: Item, name: str, default: float) -> float:
    try:
        return float(item[name]["N"])
    except (KeyError, ValueError, TypeError):
        return default
