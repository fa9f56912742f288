"""The members of topics in the table of connections, with both DynamoDBs."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tellwire.engines.aws import topic_members
from tellwire.engines.aws.connections import ConnectionRow, ConnectionsTable
from tellwire.engines.aws.environment import open_table
from tellwire.model import TokenStamp, new_connection_id
from tellwire.shut_out import ShutOut
from tellwire.testing import FakeClock
from tests.dynamodb import create_connections_table, local_environment, new_table_name

TOPIC = "moc:1:comments"


@pytest.fixture
async def table(dynamodb: str) -> AsyncIterator[ConnectionsTable]:
    name = new_table_name("connections")
    create_connections_table(dynamodb, name)
    table = open_table(local_environment(dynamodb) | {"CONNECTIONS_TABLE_NAME": name}, FakeClock(time.time()))
    yield table
    await table.close()


def row(table: ConnectionsTable, user_id: str = "user-1", connection_id: str | None = None) -> ConnectionRow:
    now = table._clock.now()
    return ConnectionRow(user_id, connection_id or new_connection_id(), now, now + 7200, now + 600, None)


async def members(table: ConnectionsTable, topic: str = TOPIC) -> list[str]:
    return sorted([each.connection_id async for page, _ in table.members.of_topic(topic) for each in page])


async def test_a_member_is_found_by_its_topic_and_by_its_connection(table: ConnectionsTable) -> None:
    first, second = row(table), row(table, "user-2")
    for topic, each in ((TOPIC, first), (TOPIC, second), ("other#1#", first)):
        await table.members.add(topic, each)
    assert await members(table) == sorted([first.connection_id, second.connection_id])
    assert await members(table, "other#1#") == [first.connection_id]
    assert await members(table, "nobody's") == []
    found = await table.members.of_connection(first.connection_id)
    assert {each.topic for each in found} == {TOPIC, "other#1#"}
    assert {(each.user_id, each.expires_at, each.token_expires_at) for each in found} == {
        ("user-1", int(first.expires_at), int(first.token_expires_at))
    }
    assert await table.members.find(TOPIC, second.connection_id) is not None
    assert await table.members.find("other#1#", second.connection_id) is None


async def test_a_member_is_neither_a_row_nor_a_shut_out(table: ConnectionsTable) -> None:
    # A user whose id looks like the key of a topic.
    hostile = row(table, f"topic#0#{TOPIC}")
    await table.add(hostile.user_id, hostile.connection_id, hostile.connected_at, hostile.token_expires_at)
    member = row(table)
    await table.members.add(TOPIC, member)
    assert [each.connection_id async for page in table.of_user(hostile.user_id) for each in page] == [
        hostile.connection_id
    ]
    assert [each.connection_id async for page, _ in table.everyone() for each in page] == [hostile.connection_id]
    assert await members(table) == [member.connection_id]
    assert await table.shut_outs_of(hostile.user_id) == []
    entry = ShutOut.of(hostile.user_id, hostile.expires_at, token_id="x")
    await table.put_shut_out(entry)
    assert await table.shut_outs_of(hostile.user_id) == [entry]
    assert await table.find(member.connection_id) is None


async def test_a_member_that_subscribes_again_is_one_member_and_may_leave(table: ConnectionsTable) -> None:
    one = row(table)
    await table.members.add(TOPIC, one)
    await table.members.add(TOPIC, one)
    assert await members(table) == [one.connection_id]
    await table.members.remove_from(TOPIC, one.connection_id)
    await table.members.remove_from(TOPIC, one.connection_id)
    assert await members(table) == []
    await table.members.add(TOPIC, one)
    await table.members.remove(await table.members.of_connection(one.connection_id))
    assert await members(table) == []


async def test_a_new_token_makes_nobody_a_member_again(table: ConnectionsTable) -> None:
    one = row(table)
    await table.members.add(TOPIC, one)
    (member,) = await table.members.of_connection(one.connection_id)
    await table.members.renew([member], 5_000_000_000)
    (renewed,) = await table.members.of_connection(one.connection_id)
    assert renewed.token_expires_at == 5_000_000_000
    await table.members.remove([member])
    await table.members.renew([member], 5_000_000_000)
    assert await members(table) == []


async def test_a_member_is_ignored_after_its_time(table: ConnectionsTable) -> None:
    one = row(table)
    await table.members.add(TOPIC, replace(one, expires_at=table._clock.now() - 1))
    assert (await members(table), await table.members.of_connection(one.connection_id)) == ([], [])


async def test_a_position_has_all_that_follow_it(table: ConnectionsTable) -> None:
    ids = sorted(f"{number:03}" for number in range(25))
    for connection_id in ids:
        await table.members.add(TOPIC, row(table, connection_id=connection_id))
    everyone = [each async for page, _ in table.members.of_topic(TOPIC) for each in page]
    assert [each.connection_id for each in everyone] == ids
    for member in (everyone[0], everyone[7], everyone[-1]):
        await table.members.remove([member])  # its key is a position all the same
        rest = [each async for page, _ in table.members.of_topic(TOPIC, member.position) for each in page]
        assert rest == everyone[everyone.index(member) + 1 :]


async def test_all_rows_after_a_position(table: ConnectionsTable) -> None:
    for number in range(20):
        one = row(table, f"user-{number % 7}")
        await table.add(one.user_id, one.connection_id, one.connected_at, one.token_expires_at, TokenStamp())
        await table.members.add(TOPIC, one)
    everyone = [each async for page, _ in table.everyone() for each in page]
    assert len(everyone) == 20
    for each in (everyone[0], everyone[7], everyone[-1]):
        rest = [row async for page, _ in table.everyone(each.position) for row in page]
        assert rest == everyone[everyone.index(each) + 1 :]


async def test_a_full_topic_gets_more_shards_and_nobody_is_lost(
    table: ConnectionsTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_members, "TOPIC_SHARD_MEMBERS", 5)
    monkeypatch.setattr(topic_members, "TOPIC_SHARD_SAMPLES", 1)
    monkeypatch.setattr(topic_members, "MAX_TOPIC_SHARDS", 8)
    ids: list[str] = []
    for turn in range(8):
        several = [row(table, connection_id=f"connection-{turn}-{number}") for number in range(10)]
        await asyncio.gather(*(table.members.add(TOPIC, each) for each in several))
        ids += [each.connection_id for each in several]
        assert await members(table) == sorted(ids)
    assert await table.members._shards(TOPIC) == 8
    found = [each async for page, _ in table.members.of_topic(TOPIC) for each in page]
    assert len({each.shard for each in found}) > 4
    # From a member of any shard on, there are all that follow.
    for place in (0, 30, 79):
        rest = [each async for page, _ in table.members.of_topic(TOPIC, found[place].position) for each in page]
        assert rest == found[place + 1 :]
