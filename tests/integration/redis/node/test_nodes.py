"""Nodes on a real Redis: their names, their leases, and the remains of a dead one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.nodes import LiveNodes, node_of
from tellwire.engines.redis.node.parts import NodeParts
from tellwire.engines.redis.node.registry import Registry
from tellwire.errors import HistoryUnavailable
from tellwire.limits import NODE_HEARTBEAT_SECONDS, NODE_LEASE_SECONDS, REDIS_REGISTRATION_SECONDS
from tellwire.model import PresenceCounts
from tellwire.publication import user_stream
from tellwire.testing import FakeClock
from tests.contract.test_presence import Device, Side
from tests.redis_nodes import crashed, running_node, running_parts
from tests.redis_server import RedisServer
from tests.tools import until


def keys(server: RedisServer, names: Names) -> list[str]:
    return [each for each in server.command("KEYS", f"{names.prefix}:*").splitlines() if each]


async def test_ids_name_their_node_and_have_the_form_of_api_gateways(
    redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    async with running_node(redis_store, names, clock) as one, running_node(redis_store, names, clock) as two:
        ids = {one.own.new_connection_id() for _ in range(1000)}
        assert len(ids) == 1000
        assert {node_of(each) for each in ids} == {one.own.name}
        assert all(len(each) == 16 and each.endswith("=") for each in ids)
        assert one.own.name != two.own.name
        assert await one.live.names() == sorted([one.own.name, two.own.name])


async def test_a_node_that_ends_in_order_leaves_nothing(
    redis_store: RedisStore, redis_server: RedisServer, names: Names, clock: FakeClock
) -> None:
    async with running_node(redis_store, names, clock) as parts:
        side = Side(parts.hub, parts.presence, clock, parts.own.new_connection_id)
        for number in range(5):
            await side.has_come(f"user-{number}")
        assert len(keys(redis_server, names)) == 7
    assert keys(redis_server, names) == []


async def is_away(registry: Registry, connections: object) -> None:
    raise HistoryUnavailable("away")


async def is_slow(registry: Registry, connections: object) -> None:
    await asyncio.sleep(60)


@pytest.mark.parametrize("remove", [is_away, is_slow])
async def test_a_node_that_cannot_remove_its_connections_leaves_that_to_another_one(
    redis_store: RedisStore,
    names: Names,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    remove: Callable[..., Awaitable[None]],
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.node.presence.REDIS_LEAVE_SECONDS", 0.1)
    async with running_node(redis_store, names, clock) as living:
        with monkeypatch.context() as patch:
            async with running_node(redis_store, names, clock) as parts:
                side = Side(parts.hub, parts.presence, clock, parts.own.new_connection_id)
                await side.has_come()
                patch.setattr(Registry, "remove", remove)
        registry = Registry(redis_store, names)
        assert len(await registry.ids_of_user("user-1")) == 1
        await clock.advance(NODE_LEASE_SECONDS)

        async def is_clean() -> bool:
            await clock.advance(1)
            return not await registry.ids_of_user("user-1") and not await registry.count_of(parts.own.name)

        await until(is_clean)
        assert await living.live.names() == [living.own.name]


async def test_a_node_that_was_away_lives_again_for_who_is_none(
    redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    live = LiveNodes(redis_store, names, clock)
    node = NodeParts(redis_store, names, clock)
    await node.open()  # as it does not run, it sends no heartbeats
    clock.step(NODE_LEASE_SECONDS + 1)
    assert live.is_live(node.own.name)  # nobody knows
    await until(lambda: not live.is_live(node.own.name))
    async with running_parts(node):

        async def is_back() -> bool:
            await clock.advance(1)
            return live.is_live(node.own.name)

        await until(is_back)
    await live.close()


async def test_the_connections_of_a_dead_node_are_gone_within_a_lease(
    redis_store: RedisStore, redis_server: RedisServer, names: Names, clock: FakeClock
) -> None:
    async with running_node(redis_store, names, clock) as living:
        here = Side(living.hub, living.presence, clock, living.own.new_connection_id)
        mine = await here.has_come()
        async with crashed(redis_store, names, clock) as dying:
            there = Side(dying.hub, dying.presence, clock, dying.own.new_connection_id)
            for number in range(600):
                await there.has_come(f"user-{number}")
        assert await living.presence.count("user-1") == 2
        assert await living.presence.counts() == PresenceCounts(2, 601)
        # A heartbeat waits for Redis, whose answers take real time.
        for _ in range(int(NODE_LEASE_SECONDS // NODE_HEARTBEAT_SECONDS) + 1):
            await clock.advance(NODE_HEARTBEAT_SECONDS)

        async def is_one() -> bool:
            await clock.advance(1)
            return await living.presence.count("user-1") == 1 and await living.presence.count("user-2") == 0

        await until(is_one)
        assert await living.presence.counts() == PresenceCounts(1, 1)
        registry = Registry(redis_store, names)

        async def is_clean() -> bool:
            await clock.advance(1)
            return not await registry.ids_of_user("user-599") and not await registry.count_of(dying.own.name)

        await until(is_clean)
        assert await registry.ids_of_user("user-1") == [mine.connection_id]


async def test_after_a_time_without_redis_nobody_takes_the_others_for_dead(
    redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    async with running_node(redis_store, names, clock) as one:
        two = NodeParts(redis_store, names, clock)
        await two.open()  # it does not run yet
        side = Side(two.hub, two.presence, clock, two.own.new_connection_id)
        device = await side.has_come()
        clock.step(NODE_LEASE_SECONDS + 60)  # for Redis, the leases of both have ended
        await clock.advance(NODE_HEARTBEAT_SECONDS)

        async def has_beaten() -> bool:
            await clock.advance(1)
            return await one.live.names() == [one.own.name]

        await until(has_beaten)
        await asyncio.sleep(0.05)
        assert await Registry(redis_store, names).ids_of_user("user-1") == [device.connection_id]
        async with running_parts(two):

            async def know_each_other() -> bool:
                await clock.advance(1)
                return {one.own.name, two.own.name} <= two.live.known

            await until(know_each_other)
            assert await Registry(redis_store, names).ids_of_user("user-1") == [device.connection_id]


async def test_a_comparison_gives_no_place_to_a_connection_that_is_about_to_enter(
    redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    async with running_node(redis_store, names, clock) as parts:
        side = Side(parts.hub, parts.presence, clock, parts.own.new_connection_id)
        await side.has_come()
        about_to_enter = Device(side.new_id(), "user-1")
        await parts.subscriptions.join(user_stream("user-1"), about_to_enter)
        for _ in range(5):
            await clock.advance(0.2)
        await asyncio.sleep(0.05)
        assert await parts.presence.enter(about_to_enter, 1) is False


async def test_what_is_left_of_a_dead_node_takes_no_place_of_a_user(
    redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    async with crashed(redis_store, names, clock) as dying:
        there = Side(dying.hub, dying.presence, clock, dying.own.new_connection_id)
        for _ in range(2):
            assert await there.comes(at_most=2) is not None
    await clock.advance(NODE_LEASE_SECONDS + 1)
    async with running_node(redis_store, names, clock) as parts:
        side = Side(parts.hub, parts.presence, clock, parts.own.new_connection_id)

        async def has_place() -> bool:
            return await side.comes(at_most=2) is not None

        await until(has_place)


async def test_a_node_that_was_away_registers_its_connections_again(
    redis_store: RedisStore, names: Names, clock: FakeClock
) -> None:
    async with running_node(redis_store, names, clock) as other:
        away = NodeParts(redis_store, names, clock)
        await away.open()  # as it does not run yet, it sends no heartbeats
        side = Side(away.hub, away.presence, clock, away.own.new_connection_id)
        device = await side.has_come()
        async with AsyncExitStack() as stack:
            for _ in range(5):
                await clock.advance(NODE_HEARTBEAT_SECONDS)

            async def is_gone() -> bool:
                await clock.advance(1)
                return not await Registry(redis_store, names).ids_of_user("user-1")

            await until(is_gone)
            await stack.enter_async_context(running_parts(away))
            await clock.advance(NODE_HEARTBEAT_SECONDS)

            async def is_back() -> bool:
                await clock.advance(1)
                return [each.connection_id for each in await other.presence.connections("user-1")] == [
                    device.connection_id
                ]

            await until(is_back)
            assert await other.live.names() == sorted([away.own.name, other.own.name])


async def test_what_a_flushed_redis_does_not_know_is_registered_again(
    redis_store: RedisStore, redis_server: RedisServer, names: Names, clock: FakeClock
) -> None:
    async with running_node(redis_store, names, clock) as parts, running_node(redis_store, names, clock) as other:
        side = Side(parts.hub, parts.presence, clock, parts.own.new_connection_id)
        devices = [await side.has_come(f"user-{number}") for number in range(5)]
        for each in keys(redis_server, names):
            redis_server.command("DEL", each)
        assert await other.presence.count("user-1") == 0
        await clock.advance(NODE_HEARTBEAT_SECONDS)

        async def are_back() -> bool:
            await clock.advance(1)
            return [await other.presence.count(each.user_id) for each in devices] == [1] * 5

        await until(are_back)
        assert await other.presence.counts() == PresenceCounts(2, 5)


async def test_registrations_are_renewed_long_before_they_expire(
    redis_store: RedisStore, redis_server: RedisServer, names: Names, clock: FakeClock
) -> None:
    async with running_node(redis_store, names, clock) as parts:
        side = Side(parts.hub, parts.presence, clock, parts.own.new_connection_id)
        await side.has_come()
        key = names.of_stream("conns", user_stream("user-1")).decode()
        redis_server.command("EXPIRE", key, "100")

        async def is_renewed() -> bool:
            await clock.advance(REDIS_REGISTRATION_SECONDS / 40)
            return int(redis_server.command("TTL", key)) > REDIS_REGISTRATION_SECONDS - 100

        began_at = clock.monotonic()
        await until(is_renewed)
        assert clock.monotonic() - began_at < REDIS_REGISTRATION_SECONDS / 2


async def test_a_registration_that_is_lost_alone_is_found_by_a_comparison(
    redis_store: RedisStore, redis_server: RedisServer, names: Names, clock: FakeClock
) -> None:
    async with running_node(redis_store, names, clock) as parts, running_node(redis_store, names, clock) as other:
        side = Side(parts.hub, parts.presence, clock, parts.own.new_connection_id)
        await side.has_come()
        (key,) = [each for each in keys(redis_server, names) if ":conns:user:" in each]
        redis_server.command("DEL", key)

        async def is_back() -> bool:
            await clock.advance(0.2)
            return await other.presence.count("user-1") == 1

        await until(is_back)
