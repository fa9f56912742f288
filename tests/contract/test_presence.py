"""The contract of every `Presence`, used as a gateway does: a connection enters, then the hub has it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from tellwire.carriers.hub import Hub, Sent
from tellwire.carriers.hub_presence import HubPresence
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.store import RedisStore
from tellwire.model import NO_STAMP, ConnectionInfo, PresenceCounts, TokenStamp, new_connection_id, timestamp
from tellwire.ports import Presence
from tellwire.server.framing import text_frames
from tellwire.testing import FakeClock
from tests.redis_nodes import running_node
from tests.tools import until

AT_MOST = 100


@dataclass(eq=False)
class Device:
    connection_id: str
    user_id: str
    connected_at: float = 0.0
    stamp: TokenStamp = NO_STAMP
    is_open: bool = True

    def send(self, frames: bytes, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        return Sent.DELIVERED

    def close(self, code: int, reason: str) -> None:
        self.is_open = False

    def info(self) -> ConnectionInfo:
        at = timestamp(self.connected_at)
        return ConnectionInfo(self.connection_id, self.user_id, at, at, timestamp(self.connected_at + 3600))


class Side:
    """One node: its hub, and its presence."""

    def __init__(
        self,
        hub: Hub,
        presence: Presence,
        clock: FakeClock,
        new_id: Callable[[], str] = new_connection_id,
    ) -> None:
        self.hub = hub
        self.presence = presence
        self.clock = clock
        self.new_id = new_id

    async def comes(self, user_id: str = "user-1", at_most: int = AT_MOST) -> Device | None:
        """A device connects. None: it may not."""
        device = Device(self.new_id(), user_id, self.clock.now())
        if not await self.presence.enter(device, at_most):
            self.presence.leave(device)
            return None
        self.hub.attach(device)
        return device

    async def has_come(self, user_id: str = "user-1") -> Device:
        device = await self.comes(user_id)
        assert device is not None
        return device

    def goes(self, device: Device) -> None:
        self.hub.detach(device.connection_id)
        self.presence.leave(device)


@pytest.fixture(params=["hub", "redis", "two nodes on redis"])
async def sides(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[list[Side]]:
    if request.param == "hub":
        hub = Hub(clock, text_frames)
        yield [Side(hub, HubPresence(hub), clock)]
        return
    store = RedisStore(RedisAddress.parse(request.getfixturevalue("redis_server").url))
    names = Names(request.getfixturevalue("redis_prefix"))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        count = 1 if request.param == "redis" else 2
        parts = [await stack.enter_async_context(running_node(store, names, clock)) for _ in range(count)]
        yield [Side(each.hub, each.presence, clock, each.own.new_connection_id) for each in parts]


@pytest.fixture
def side(sides: list[Side]) -> Side:
    return sides[0]


@pytest.fixture
def other_side(sides: list[Side]) -> Side:
    """Another node, where there is one; otherwise the same."""
    return sides[-1]


async def ids(side: Side, user_id: str = "user-1") -> list[str]:
    return [info.connection_id for info in await side.presence.connections(user_id)]


async def test_whoever_has_come_is_online_and_whoever_has_gone_is_not(side: Side, other_side: Side) -> None:
    assert await side.presence.count("user-1") == 0
    first, second = await side.has_come(), await other_side.has_come()
    await side.has_come("user-2")
    for each in (side, other_side):
        assert await each.presence.count("user-1") == 2
        assert await each.presence.count("user-2") == 1
        assert await each.presence.count("user-3") == 0
    side.goes(first)
    other_side.goes(second)

    async def is_gone() -> bool:
        return not await side.presence.count("user-1") and not await other_side.presence.count("user-1")

    await until(is_gone)
    assert await side.presence.count("user-2") == 1


async def test_connections_are_listed_oldest_first_with_their_times(side: Side, other_side: Side) -> None:
    assert await side.presence.connections("user-1") == []
    devices = []
    for each in (other_side, side, other_side):
        devices.append(await each.has_come())
        await side.clock.advance(1)
    for each in (side, other_side):
        assert await each.presence.connections("user-1") == [device.info() for device in devices]


async def test_a_user_has_so_many_connections_and_another_one_when_one_has_gone(side: Side, other_side: Side) -> None:
    first = await side.comes(at_most=2)
    assert first is not None
    assert await other_side.comes(at_most=2) is not None
    assert await side.comes(at_most=2) is None
    assert await other_side.comes(at_most=2) is None
    assert await side.comes("user-2", at_most=2) is not None
    assert await side.presence.count("user-1") == 2
    side.goes(first)

    async def has_place() -> bool:
        return await other_side.comes(at_most=2) is not None

    await until(has_place)


async def test_to_leave_twice_or_without_having_come_is_no_error(side: Side) -> None:
    device = await side.has_come()
    side.goes(device)
    side.goes(device)
    side.presence.leave(Device(new_connection_id(), "nobody"))
    await side.presence.renewed(Device(new_connection_id(), "nobody"))
    await side.has_come()

    async def is_one() -> bool:
        return await side.presence.count("user-1") == 1

    await until(is_one)


async def test_a_renewed_token_is_in_the_list(side: Side, other_side: Side) -> None:
    device = await side.has_come()
    device.connected_at += 100
    await side.presence.renewed(device)
    assert await other_side.presence.connections("user-1") == [device.info()]


@pytest.mark.parametrize("user_id", ["a{b}c", "}{", "line\nend", "ü ñ", "a b:c", "{0}", "%2F", "x" * 2043])
async def test_user_ids_may_hold_anything(side: Side, other_side: Side, user_id: str) -> None:
    device = await side.has_come(user_id)
    assert await ids(other_side, user_id) == [device.connection_id]
    assert await other_side.presence.count(user_id) == 1


async def test_all_connections_are_counted(side: Side, other_side: Side) -> None:
    nodes = 1 if other_side is side else 2
    assert await side.presence.counts() == PresenceCounts(nodes, 0)
    for user in ("user-1", "user-1", "user-2"):
        await side.has_come(user)
    await other_side.has_come("user-3")

    async def is_counted() -> bool:
        return await other_side.presence.counts() == PresenceCounts(nodes, 4)

    await until(is_counted)
