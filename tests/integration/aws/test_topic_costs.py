"""Units of DynamoDB for topics, as docs/how-to/aws.md has them. On Amazon's DynamoDB Local."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tellwire.aws_api.dynamodb import DynamoDb
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.engines.aws.concurrently import each
from tellwire.engines.aws.connections import ConnectionRow, ConnectionsTable
from tellwire.engines.aws.environment import open_table
from tellwire.engines.aws.topic_presence import AwsTopicPresence
from tellwire.http_messages import HttpResponse
from tellwire.limits import PRESENCE_GRACE_SECONDS
from tellwire.model import new_connection_id
from tellwire.testing import FakeClock
from tests.dynamodb import create_connections_table, local_environment, new_table_name

TOPIC = "moc:1:comments"
MEMBERS = 1000


class Meter(DynamoDb):
    """A DynamoDB client that counts the units that each operation consumed."""

    reads = writes = 0.0

    async def _request(self, operation: str, parameters: Any) -> HttpResponse:
        answer = await super()._request(operation, {**parameters, "ReturnConsumedCapacity": "TOTAL"})
        consumed = json.loads(answer.body).get("ConsumedCapacity", [])
        # A transaction has those of each table.
        units = sum(one["CapacityUnits"] for one in (consumed if isinstance(consumed, list) else [consumed]))
        if operation in ("Query", "GetItem", "Scan"):
            self.reads += units
        else:
            self.writes += units
        return answer

    def taken(self) -> tuple[float, float]:
        """Return the write and read units since the last call."""
        units = (self.writes, self.reads)
        self.reads = self.writes = 0.0
        return units


@pytest.fixture
async def table(dynamodb_local: str) -> AsyncIterator[ConnectionsTable]:
    name = new_table_name("connections")
    create_connections_table(dynamodb_local, name)
    table = open_table(local_environment(dynamodb_local) | {"CONNECTIONS_TABLE_NAME": name}, FakeClock(time.time()))
    table._dynamodb = Meter(table._dynamodb._client)
    yield table
    await table.close()


def row(table: ConnectionsTable) -> ConnectionRow:
    now = table._clock.now()
    user_id = "4f2b8c1e-9f5d-4c55-9d57-0a52f0c0a001"  # as Cognito's are
    return ConnectionRow(user_id, new_connection_id(), now, now + 7200, now + 600, None)


def meter_of(table: ConnectionsTable) -> Meter:
    assert isinstance(table._dynamodb, Meter)
    return table._dynamodb


async def test_units_of_one_member(table: ConnectionsTable) -> None:
    meter, members, one = meter_of(table), table.members, row(table)
    # The index is half of the writes.
    await members.add(TOPIC, one)
    assert meter.taken()[0] == 2
    assert len(await members.of_connection(one.connection_id)) == 1
    assert meter.taken() == (0, 0.5)
    await members.remove_from(TOPIC, one.connection_id)
    assert meter.taken()[0] == 2
    # A connection without topics costs its end half a unit.
    assert await members.of_connection(one.connection_id) == []
    assert meter.taken() <= (0, 0.5)
    await table.add(one.user_id, one.connection_id, 0, 0, claims={"topics": {"subscribe": ["moc:*"]}})
    assert meter.taken() == (2, 0)


async def test_units_of_a_broadcast_to_a_thousand(table: ConnectionsTable) -> None:
    meter, members = meter_of(table), table.members
    await each([row(table) for _ in range(MEMBERS)], lambda one: members.add(TOPIC, one))
    writes, reads = meter.taken()
    assert 2 * MEMBERS <= writes <= 2 * MEMBERS + 4
    assert reads <= MEMBERS  # the number of shards, for each; and a few looks whether one is full
    found = [member async for page, _ in members.of_topic(TOPIC) for member in page]
    assert len(found) == MEMBERS
    assert 30 <= meter.taken()[1] <= 40


async def test_units_of_presence(table: ConnectionsTable) -> None:
    meter, presence = meter_of(table), presence_of(table)
    first, again = row(table), row(table)
    await come(table, presence, replace(first, user_id="watcher"))
    meter.taken()
    # The pending user, the hold, the transaction, and the end of both; each item is in the index, too.
    await come(table, presence, first)
    writes, reads = meter.taken()
    assert (writes, reads <= 4) == (UNITS_OF_A_JOIN, True)
    await come(table, presence, again)
    writes, reads = meter.taken()
    assert (writes, reads <= 3) == (UNITS_OF_A_SECOND_DEVICE, True)
    for one in (first, again):
        await presence.leaves(TOPIC, one.user_id, one.connection_id)
        await table.members.remove_from(TOPIC, one.connection_id)
    meter.taken()
    assert isinstance(table._clock, FakeClock)
    await table._clock.advance(PRESENCE_GRACE_SECONDS + 1)
    await presence.settle(TOPIC)
    writes, reads = meter.taken()
    assert (writes, reads <= 4) == (UNITS_OF_A_LEAVE, True)
    # A look at a topic in which nothing happens.
    await presence.settle(TOPIC)
    assert meter.taken() <= (0, 1)


UNITS_OF_A_JOIN = 18
UNITS_OF_A_SECOND_DEVICE = 4
UNITS_OF_A_LEAVE = 14


def presence_of(table: ConnectionsTable) -> AwsTopicPresence:
    management: Any = None  # nobody watches
    return AwsTopicPresence(table, AwsCarrier(table, management, table._clock), table._clock)


async def come(table: ConnectionsTable, presence: AwsTopicPresence, one: ConnectionRow) -> None:
    is_told = await presence.comes(TOPIC, one, None)
    await table.members.add(TOPIC, one, has_presence=True)
    await presence.has_come(TOPIC, one, None, is_told=is_told, at_most_seconds=5)


async def test_units_of_a_broadcast_to_all_in_a_table_with_topics(table: ConnectionsTable) -> None:
    # Each of these connections follows two topics, as a page does.
    meter = meter_of(table)
    rows = [row(table) for _ in range(MEMBERS)]
    await each(rows, lambda one: table.add(one.user_id, one.connection_id, one.connected_at, one.token_expires_at))
    await each(rows, lambda one: table.members.add(TOPIC, one, has_presence=True))
    await each(rows, lambda one: table.members.add("news", one))
    meter.taken()
    assert len([one async for page, _ in table.everyone() for one in page]) == MEMBERS
    _, reads = meter.taken()
    assert 60 <= reads <= UNITS_OF_A_SCAN


UNITS_OF_A_SCAN = 110
"""For 1,000 connections with two topics each."""
