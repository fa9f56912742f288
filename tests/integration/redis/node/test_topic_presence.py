"""The presence of topics on nodes of one Redis: whatever Redis and nodes do, watchers come to know who is there."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.scripts import Script
from tellwire.engines.redis.link.store import Call, RedisStore
from tellwire.engines.redis.node.channel_link import ChannelLink
from tellwire.engines.redis.node.member_store import MemberStore
from tellwire.engines.redis.node.parts import NodeParts
from tellwire.engines.redis.node.subscriptions import Subscriptions, Watched
from tellwire.errors import HistoryUnavailable
from tellwire.limits import (
    MAX_PRESENCE_MEMBERS,
    NODE_HEARTBEAT_SECONDS,
    NODE_LEASE_SECONDS,
    PRESENCE_COUNT_SECONDS,
    PRESENCE_GRACE_SECONDS,
    REDIS_COMPARE_SECONDS,
    REDIS_MEMBERS_AT_ONCE,
    REDIS_REGISTRATION_SECONDS,
)
from tellwire.publication import topic_stream
from tellwire.testing import FakeClock
from tellwire.topic_members import Members
from tests.integration.redis.node.test_subscriptions import Device
from tests.redis_nodes import running_parts
from tests.redis_server import RedisServer, running
from tests.tools import until

TOPIC = "moc:1"
STREAM = topic_stream(TOPIC)
ANN = b'{"name":"Ann"}'
NOBODY = Members(0, [])


class Visitor(Device):
    """A connection that understands presence as a client does. It is behind, so it gets each message by `send`."""

    is_ready = False

    def told(self) -> list[dict[str, Any]]:
        messages = [json.loads(each[each.index(b'{"type"') :]) for each in self.frames]
        return [each for each in messages if each["type"] in ("presence", "join", "leave")]

    @property
    def kinds(self) -> list[str]:
        return [each["type"] for each in self.told()]

    @property
    def here(self) -> dict[str, Any]:
        """The users that it knows to be here, with their infos."""
        known: dict[str, Any] = {}
        for each in self.told():
            data = each["data"]
            if each["type"] == "presence":
                known = {one["userId"]: one.get("info") for one in data.get("members", ())}
            elif each["type"] == "join":
                known[data["userId"]] = data.get("info")
            else:
                known.pop(data["userId"], None)
        return known

    @property
    def count(self) -> int | None:
        found = self.told()
        return found[-1]["data"]["count"] if found else None


class Side:
    """A node."""

    def __init__(self, parts: NodeParts) -> None:
        self.parts = parts
        self.presence = parts.topic_presence

    async def come(self, user_id: str, info: bytes | None = None, *, watches: bool = False) -> Visitor:
        visitor = Visitor(self.parts.own.new_connection_id(), user_id)
        assert await self.parts.presence.enter(visitor, 10**6)
        self.parts.hub.attach(visitor)
        await self.parts.topics.subscribe(visitor, STREAM)
        self.presence.subscribed(visitor, STREAM, info)
        if watches:
            await self.presence.watch(visitor, STREAM)
        return visitor

    def go(self, visitor: Visitor) -> None:
        self.parts.hub.detach(visitor.connection_id)
        self.parts.presence.leave(visitor)
        self.presence.unsubscribed(visitor, STREAM)

    async def crowd(self, names: Sequence[str], info: bytes | None = None) -> list[Visitor]:
        """So many users come, without the wait for each."""
        visitors = [Visitor(self.parts.own.new_connection_id(), each) for each in names]
        for each in visitors:
            self.parts.hub.attach(each)
        await asyncio.gather(*(self.parts.topics.subscribe(each, STREAM) for each in visitors))
        for each in visitors:
            self.presence.subscribed(each, STREAM, info)
        return visitors

    async def count(self) -> int:
        return (await self.presence.members(STREAM)).count

    async def members(self) -> set[str]:
        return {each.user_id for each in (await self.presence.members(STREAM)).members}


class Scene:
    """Nodes on one Redis."""

    def __init__(self, store: RedisStore, server: RedisServer, names: Names, clock: FakeClock) -> None:
        self.store = store
        self.server = server
        self.names = names
        self.clock = clock
        self.stack = AsyncExitStack()

    async def node(self) -> Side:
        return await self.stack.enter_async_context(self.leaving())

    @asynccontextmanager
    async def leaving(self) -> AsyncIterator[Side]:
        """Run a node that stops in order."""
        parts = NodeParts(self.store, self.names, self.clock)
        await parts.open()
        async with running_parts(parts):
            yield Side(parts)

    @asynccontextmanager
    async def dying(self) -> AsyncIterator[Side]:
        """Run a node that ends as with `kill -9`."""
        parts = NodeParts(self.store, self.names, self.clock)
        await parts.open()
        running = asyncio.create_task(parts.run())
        try:
            yield Side(parts)
        finally:
            running.cancel()
            await asyncio.wait([running])
            await parts.subscriptions.close()
            await parts.channels.close()

    async def until(self, condition: Callable[[], object], step: float = 0.2) -> None:
        """Advance the clock a little, again and again, until something is so."""

        async def is_so() -> object:
            await self.clock.advance(step)
            found = condition()
            return await found if asyncio.iscoroutine(found) else found

        await until(is_so)

    async def settled(self, seconds: float) -> None:
        """Wait so long that everything has happened that would."""
        for _ in range(int(seconds / 0.5)):
            await self.clock.advance(0.5)
            await asyncio.sleep(0.02)


class PubSub:
    """The messages about members, of which a test may lose some. Ask for it before the nodes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loses: Callable[[Subscriptions, bytes], bool] = lambda node, data: False
        self.lost: list[tuple[Subscriptions, Watched, bytes]] = []
        self._received = Subscriptions._received
        monkeypatch.setattr(Subscriptions, "_received", lambda *given: self._take(*given))

    def _take(self, node: Subscriptions, watched: Watched, data: bytes) -> None:
        if data.startswith(b'["p"') and self.loses(node, data):
            self.lost.append((node, watched, data))
        else:
            self._received(node, watched, data)

    def say_again(self, times: int) -> None:
        """Hand over all that was lost, so many times."""
        for each in self.lost * times:
            self._received(*each)


@pytest.fixture
def pub_sub(monkeypatch: pytest.MonkeyPatch) -> PubSub:
    return PubSub(monkeypatch)


@pytest.fixture
async def scene(
    redis_store: RedisStore, redis_server: RedisServer, names: Names, clock: FakeClock
) -> AsyncIterator[Scene]:
    scene = Scene(redis_store, redis_server, names, clock)
    async with scene.stack:
        yield scene


def users(count: int, first: int = 0) -> list[str]:
    return [f"user-{number}" for number in range(first, first + count)]


# --- who is there -----------------------------------------------------------------------------------------------------


async def test_watchers_on_all_nodes_are_told_who_comes_and_goes(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", ANN, watches=True)
    assert ann.here == {"ann": {"name": "Ann"}}
    ben = await two.come("ben", watches=True)
    assert ben.here == {"ann": {"name": "Ann"}, "ben": None}
    await until(lambda: ann.here == {"ann": {"name": "Ann"}, "ben": None})
    assert (ann.kinds, ann.count) == (["presence", "join"], 2)
    two.go(ben)
    await scene.until(lambda: ann.count == 1)
    assert ann.kinds == ["presence", "join", "leave"]
    assert await two.presence.members(STREAM) == await one.presence.members(STREAM)
    assert (await one.count(), await two.members()) == (1, {"ann"})


async def test_a_user_on_two_nodes_is_one_member_until_the_last_connection(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    first, second = await one.come("ben"), await two.come("ben")
    await until(lambda: ann.count == 2)
    await until(lambda: is_told(one, two))
    one.go(first)
    await scene.settled(2 * PRESENCE_GRACE_SECONDS)
    assert (ann.kinds, await two.count()) == (["presence", "join"], 2)
    two.go(second)
    await scene.until(lambda: ann.count == 1)
    assert ann.kinds == ["presence", "join", "leave"]


async def test_a_reload_that_leads_to_another_node_says_nothing(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    ben = await one.come("ben", ANN)
    await until(lambda: ann.count == 2)
    one.go(ben)
    await scene.settled(PRESENCE_GRACE_SECONDS - 1)
    await two.come("ben", ANN)
    await until(lambda: is_told(one, two))
    await scene.settled(2 * PRESENCE_GRACE_SECONDS)
    assert (ann.kinds, await one.count()) == (["presence", "join"], 2)


async def test_a_reload_on_the_same_node_reports_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await scene.node()
    ann = await one.come("ann", watches=True)
    ben = await one.come("ben")
    await until(lambda: ann.count == 2 and is_told(one))
    report = MemberStore.report
    reports: list[Any] = []

    async def noted(self: MemberStore, *given: Any) -> Any:
        reports.append(given)
        return await report(self, *given)

    monkeypatch.setattr(MemberStore, "report", noted)
    one.go(ben)
    await scene.settled(PRESENCE_GRACE_SECONDS - 1)
    await one.come("ben")
    await scene.settled(2 * PRESENCE_GRACE_SECONDS)
    assert (ann.kinds, reports) == (["presence", "join"], [])


async def test_another_info_is_another_join_and_none_keeps_the_one_that_is_known(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", ANN, watches=True)
    other = await two.come("ann")
    await until(lambda: is_told(one, two))
    assert await two.presence.members(STREAM) == await one.presence.members(STREAM)
    assert (await two.presence.members(STREAM)).members[0].info == ANN
    two.presence.subscribed(other, STREAM, b'{"name":"Anna"}')
    await until(lambda: ann.here == {"ann": {"name": "Anna"}})
    assert (ann.kinds, ann.count) == (["presence", "join"], 1)


async def test_who_asks_again_gets_another_presence_and_who_is_gone_gets_nothing(scene: Scene) -> None:
    one = await scene.node()
    ann = await one.come("ann", watches=True)
    await one.presence.watch(ann, STREAM)
    assert ann.kinds == ["presence", "presence"]
    ben = await one.come("ben")
    watching = asyncio.create_task(one.presence.watch(ben, STREAM))
    one.parts.topics.unsubscribe(ben, STREAM)
    one.presence.unsubscribed(ben, STREAM)
    await watching
    await one.come("eva")
    await until(lambda: ann.count == 3)
    assert ben.kinds == []


async def test_a_topic_without_members_leaves_nothing_at_its_node(scene: Scene) -> None:
    one = await scene.node()
    ann = await one.come("ann", watches=True)
    one.go(ann)
    await scene.until(lambda: list(one.presence.reports) == [])
    assert one.presence._watched == {}
    key = scene.names.of_stream("members", STREAM)
    assert await scene.store.command("EXISTS", key, key=key) == 0
    assert await one.presence.members(STREAM) == NOBODY
    assert await one.presence.members(topic_stream("never")) == NOBODY


# --- many members -----------------------------------------------------------------------------------------------------


async def test_of_many_members_only_the_number_is_told_and_all_when_they_are_few_again(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    crowd = await two.crowd(users(MAX_PRESENCE_MEMBERS + 50))
    await scene.until(lambda: ann.count == MAX_PRESENCE_MEMBERS + 51)
    before = len(ann.told())
    late = await two.come("late", watches=True)
    snapshot = late.told()[0]["data"]
    assert (snapshot["count"], len(snapshot["members"])) == (MAX_PRESENCE_MEMBERS + 52, MAX_PRESENCE_MEMBERS)
    await scene.until(lambda: ann.count == MAX_PRESENCE_MEMBERS + 52)
    assert [("members" in each["data"], each["type"]) for each in ann.told()[before:]] == [(False, "presence")]
    for each in crowd[20:]:
        two.go(each)
    await scene.until(lambda: len(ann.here) == 22)
    assert ann.here.keys() == late.here.keys() == {"ann", "late", *users(20)}
    two.go(crowd[0])
    await scene.until(lambda: ann.count == 21)
    assert ann.kinds[-1] == "leave"


async def test_a_number_that_changes_all_the_time_is_told_once_a_second(scene: Scene) -> None:
    one = await scene.node()
    crowd = await one.crowd(users(MAX_PRESENCE_MEMBERS + 1))
    await until(lambda: is_told(one))
    ann = await one.come("ann", watches=True)
    seconds = 5
    for number in range(10 * seconds):
        await one.crowd([f"new-{number}"])
        await until(lambda: is_told(one))
        await scene.clock.advance(0.1)
    await scene.until(lambda: ann.count == len(crowd) + 1 + 10 * seconds)
    assert len(ann.told()) <= 1 + seconds / PRESENCE_COUNT_SECONDS + 2
    assert set(ann.kinds) == {"presence"}


async def test_a_storm_of_joins_costs_few_calls(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    call_all, call = RedisStore.call_all, RedisStore.call

    async def counted(self: RedisStore, given: Sequence[Call]) -> list[Any]:
        calls.extend(each.script.name for each in given)
        return await call_all(self, given)

    async def counted_one(self: RedisStore, script: Script, *more: Any) -> Any:
        calls.append(script.name)
        return await call(self, script, *more)

    monkeypatch.setattr(RedisStore, "call_all", counted)
    monkeypatch.setattr(RedisStore, "call", counted_one)
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    each_node = 5 * REDIS_MEMBERS_AT_ONCE
    await asyncio.gather(one.crowd(users(each_node)), two.crowd(users(each_node, first=each_node)))
    await scene.until(lambda: ann.count == 1 + 2 * each_node)
    assert calls.count("report_members") <= 2 * (each_node / REDIS_MEMBERS_AT_ONCE + 2) + 1
    assert len(ann.told()) <= MAX_PRESENCE_MEMBERS + 20


# --- nodes that end ---------------------------------------------------------------------------------------------------


async def test_the_members_by_a_node_that_dies_leave_within_its_lease(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    async with scene.dying() as three:
        await three.come("ann")
        await three.come("ben")
        await two.come("cat")
        await three.come("cat")
        await until(lambda: ann.count == 3)
        await until(lambda: is_told(one, two, three))
        await scene.settled(NODE_LEASE_SECONDS + NODE_HEARTBEAT_SECONDS)
        died_at = scene.clock.monotonic()
    assert await two.count() == 3
    await scene.until(lambda: ann.count == 2, step=0.1)
    assert scene.clock.monotonic() - died_at <= NODE_LEASE_SECONDS + 1
    assert (set(ann.here), ann.kinds[-1]) == ({"ann", "cat"}, "leave")
    assert (await one.count(), await two.members()) == (2, {"ann", "cat"})


async def test_nobody_counts_the_members_by_dead_nodes_where_no_other_is_subscribed(scene: Scene) -> None:
    one = await scene.node()
    async with scene.dying() as two:
        await two.crowd(users(3))
        await until(lambda: is_told(two))
    assert await one.count() == 3
    await scene.settled(NODE_LEASE_SECONDS + NODE_HEARTBEAT_SECONDS)
    assert await one.presence.members(STREAM) == NOBODY


async def test_the_users_of_a_node_that_stops_come_back_elsewhere_and_never_leave(scene: Scene) -> None:
    one = await scene.node()
    ann = await one.come("ann", watches=True)
    async with scene.leaving() as two:
        ben, cat = await two.come("ben", ANN), await two.come("cat")
        await until(lambda: ann.count == 3)
        two.go(cat)
    assert ben.is_open
    await scene.settled(PRESENCE_GRACE_SECONDS - 2)
    assert await one.count() == 3
    back = await one.come("ben")
    await until(lambda: is_told(one))
    await scene.until(lambda: ann.count == 2)
    assert (ann.kinds, ann.here) == (["presence", "join", "join", "leave"], {"ann": None, "ben": {"name": "Ann"}})
    one.go(back)
    await scene.until(lambda: ann.count == 1)


async def test_who_does_not_come_back_from_a_node_that_stops_leaves_after_the_grace(scene: Scene) -> None:
    async with scene.leaving() as two:
        await two.crowd(users(2 * REDIS_MEMBERS_AT_ONCE + 1))
        await until(lambda: is_told(two))
    one = await scene.node()
    assert await one.count() == 2 * REDIS_MEMBERS_AT_ONCE + 1
    await scene.settled(PRESENCE_GRACE_SECONDS + 1)
    assert await one.count() == 0


async def test_a_node_that_was_taken_for_dead_reports_its_members_again(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    await two.come("ben")
    await until(lambda: ann.count == 2)
    await MemberStore(scene.store, scene.names, lambda: "").drop(STREAM, [two.parts.own.name])
    await until(lambda: ann.count == 1)
    await scene.until(lambda: ann.count == 2)
    assert ann.kinds == ["presence", "join", "leave", "join"]


# --- Redis in trouble -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["join", "leave", "both"])
async def test_a_message_that_pub_sub_loses_is_made_good(pub_sub: PubSub, scene: Scene, lost: str) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    ben = await two.come("ben")
    await until(lambda: ann.count == 2)
    pub_sub.loses = lambda node, data: lost == "both" or (b'["j"' in data) == (lost == "join")
    await two.come("cat")
    two.go(ben)
    await scene.until(lambda: ann.here == {"ann": None, "cat": None})
    assert pub_sub.lost
    assert ann.count == 2
    assert "presence" in ann.kinds[2:]


async def test_a_gap_is_noticed_by_the_next_message(pub_sub: PubSub, scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    pub_sub.loses = lambda node, data: b'"ben"' in data and node is one.parts.subscriptions
    await two.come("ben")
    await until(lambda: pub_sub.lost)
    await two.come("cat")
    await until(lambda: ann.here.keys() == {"ann", "ben", "cat"})
    assert ann.kinds == ["presence", "presence"]


async def test_messages_that_are_late_or_come_twice_change_nothing(pub_sub: PubSub, scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    pub_sub.loses = lambda node, data: node is one.parts.subscriptions
    ben = await two.come("ben")
    await scene.until(lambda: ann.count == 2)  # by a comparison
    two.go(ben)
    await scene.until(lambda: ann.count == 1)
    assert len(pub_sub.lost) == 2
    pub_sub.say_again(2)
    assert (ann.kinds, ann.here, ann.count) == (["presence"] * 3, {"ann": None}, 1)


async def test_a_snapshot_is_older_than_no_change_that_follows_it(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    coming = True

    async def come_and_go() -> None:
        number = 0
        while coming:
            number += 1
            await two.come(f"user-{number % 40}", b'{"n":%d}' % number)

    task = asyncio.create_task(come_and_go())
    watchers = []
    for number in range(20):
        watchers.append(await one.come(f"watcher-{number}", watches=True))
        await asyncio.sleep(0.005)
    coming = False
    await task
    await until(lambda: is_told(one, two))
    wanted = {each.user_id: each.info for each in (await one.presence.members(STREAM)).members}
    for each in watchers:
        await until(partial(knows, each, len(wanted)))
        assert each.kinds.count("presence") == 1
        assert {user: None if info is None else json.dumps(info).encode() for user, info in each.here.items()} == {
            user: None if info is None else json.dumps(json.loads(info)).encode() for user, info in wanted.items()
        }


async def test_changes_that_come_during_a_read_are_told_after_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann")
    read = MemberStore.read

    async def slowly(self: MemberStore, *given: Any) -> Any:
        found = await read(self, *given)
        await two.come("ben")
        await until(lambda: one.presence._watched[STREAM].buffer)
        return found

    monkeypatch.setattr(MemberStore, "read", slowly)
    await one.presence.watch(ann, STREAM)
    assert (ann.kinds, ann.here) == (["presence"], {"ann": None, "ben": None})


async def test_a_redis_that_was_emptied_is_filled_again_and_nobody_is_told_to_have_left(
    tmp_path: Any, names: Names, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = MemberStore.report
    slow: list[str] = []

    async def slowly(self: MemberStore, node: str, reports: Any) -> Any:
        await asyncio.sleep(0.3 if node in slow else 0)
        return await report(self, node, reports)

    monkeypatch.setattr(MemberStore, "report", slowly)
    with running(tmp_path) as server:
        store = RedisStore(RedisAddress.parse(server.url))
        scene = Scene(store, server, names, clock)
        async with scene.stack:
            one, two = await scene.node(), await scene.node()
            ann = await one.come("ann", watches=True)
            await two.come("ben", ANN)
            await two.come("ann")
            await until(lambda: ann.count == 2)
            await until(lambda: is_told(one, two))
            slow.append(two.parts.own.name)
            server.command("FLUSHALL")
            assert await one.count() == 0
            await scene.until(lambda: has_members(one, {"ann", "ben"}))
            await scene.settled(2 * REDIS_COMPARE_SECONDS)
            await asyncio.sleep(1.2)
            assert (ann.kinds, ann.here) == (["presence", "join"], {"ann": None, "ben": {"name": "Ann"}})
            await two.come("cat")
            await until(lambda: ann.here.keys() == {"ann", "ben", "cat"})
        await store.close()


async def test_while_redis_is_away_nothing_is_told_and_all_when_it_is_back(
    tmp_path: Any, names: Names, clock: FakeClock
) -> None:
    with running(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        store = RedisStore(RedisAddress.parse(server.url))
        scene = Scene(store, server, names, clock)
        async with scene.stack:
            one, two = await scene.node(), await scene.node()
            ann = await one.come("ann", watches=True)
            ben, cat = await two.come("ben"), await two.come("cat")
            await until(lambda: ann.count == 3)
            server.kill()
            two.go(ben)
            two.presence.subscribed(cat, STREAM, ANN)
            with pytest.raises(HistoryUnavailable):
                await one.presence.members(STREAM)
            with pytest.raises(HistoryUnavailable):
                await two.presence.watch(cat, STREAM)
            await scene.settled(2 * PRESENCE_GRACE_SECONDS)
            assert (ann.is_open, ann.count, set(ann.here)) == (True, 3, {"ann", "ben", "cat"})
            server.start()
            await scene.until(lambda: ann.here == {"ann": None, "cat": {"name": "Ann"}})
            assert ann.count == 2
        await store.close()


async def test_nobody_leaves_because_one_node_has_redis_again_before_another(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    await two.come("ben")
    await until(lambda: ann.count == 2)
    await scene.settled(NODE_LEASE_SECONDS + NODE_HEARTBEAT_SECONDS)
    # Redis was away for as long as the lease of one of them, which has not noticed its return yet.
    one.parts.own._beat_soon()
    live = scene.names.of_nodes("live")
    await scene.store.command("ZADD", live, f"{scene.clock.now() - 1:.6f}", two.parts.own.name, key=live)
    await one.parts.own._beat()
    one.presence.check_all()
    await asyncio.sleep(0.2)  # the clock stands still, and nobody else does anything
    for each in (two, one):
        await each.parts.own._beat()
    await scene.settled(2 * REDIS_COMPARE_SECONDS)
    assert ann.kinds == ["presence", "join"]
    assert await one.count() == 2


async def test_a_comparison_that_fails_is_made_later(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await scene.node()
    await one.come("ann")
    await until(lambda: is_told(one))
    of_node = MemberStore.of_node
    failed: list[Any] = []

    async def failing(self: MemberStore, *given: Any) -> set[str]:
        if not failed:
            failed.append(given)
            raise HistoryUnavailable("away")
        return await of_node(self, *given)

    monkeypatch.setattr(MemberStore, "of_node", failing)
    for kind in ("members", "presence"):
        key = scene.names.of_stream(kind, STREAM)
        await scene.store.command("DEL", key, key=key)
    await one.come("ben")  # whose report shows that Redis has forgotten the one before
    await until(lambda: failed)
    await scene.until(lambda: has_members(one, {"ann", "ben"}))


async def test_a_report_whose_answer_is_lost_is_repeated_and_told_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await scene.node()
    ann = await one.come("ann", watches=True)
    report = MemberStore.report
    failed: list[Any] = []

    async def failing(self: MemberStore, node: str, reports: Any) -> Any:
        answers = await report(self, node, reports)
        if not failed:
            failed.extend(answers)
            return [HistoryUnavailable("the answer was lost")] * len(answers)
        return answers

    monkeypatch.setattr(MemberStore, "report", failing)
    compared: list[Any] = []
    of_node = MemberStore.of_node

    async def noted(self: MemberStore, *given: Any) -> set[str]:
        compared.append(given)
        return await of_node(self, *given)

    monkeypatch.setattr(MemberStore, "of_node", noted)
    await one.come("ben")
    await until(lambda: failed)
    await until(lambda: is_told(one))
    await scene.settled(2 * REDIS_COMPARE_SECONDS)
    assert (ann.kinds, ann.count, compared) == (["presence", "join"], 2, [])


async def test_channels_that_are_cut_are_made_good(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    ben = await two.come("ben")
    await until(lambda: ann.count == 2)
    for link in list(one.parts.channels._links.values()):
        assert isinstance(link, ChannelLink)
        link.abort()
    two.go(ben)
    await two.come("cat")
    await scene.until(lambda: ann.here.keys() == {"ann", "cat"})


async def test_members_that_another_redis_has_not_forgotten_are_removed(scene: Scene) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    ben = await two.come("ben")
    await until(lambda: ann.count == 2)
    keys = scene.names.all_of_stream(("members", "presence"), STREAM)
    dumps = [await scene.store.command("DUMP", each, key=each) for each in keys]
    two.go(ben)
    await scene.until(lambda: list(two.presence.reports) == [])
    # As a replica that takes over, and has not heard of the last changes.
    for key, dump in zip(keys, dumps, strict=True):
        await scene.store.command("RESTORE", key, 0, dump, "REPLACE", key=key)
    for each in (one, two):
        each.presence._returned()
    await scene.until(lambda: has_members(one, {"ann"}))
    await until(lambda: (ann.count, ann.here) == (1, {"ann": None}))


async def test_members_expire_only_when_their_nodes_are_gone_for_long(scene: Scene) -> None:
    one = await scene.node()
    await one.come("ann")
    await until(lambda: is_told(one))
    keys = scene.names.all_of_stream(("members", "presence"), STREAM)
    for key in keys:
        assert await scene.store.command("EXPIRE", key, 1000, key=key) == 1

    async def is_renewed() -> bool:
        return all([await scene.store.command("TTL", each, key=each) > 1000 for each in keys])

    await scene.until(is_renewed, step=REDIS_REGISTRATION_SECONDS / 8)


# --- words of users ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_id", ["Zoë 👋", 'a"b\\c', "x y", "line\nbreak", "a/b", "-1"])
async def test_ids_and_infos_arrive_as_they_were_sent(scene: Scene, user_id: str) -> None:
    one, two = await scene.node(), await scene.node()
    ann = await one.come("ann", watches=True)
    info = {"name": f"{user_id} ]", "nested": [{"a": None}]}
    ben = await two.come(user_id, json.dumps(info, ensure_ascii=False).encode())
    await until(lambda: ann.here == {"ann": None, user_id: info})
    assert await one.members() == {"ann", user_id}
    two.go(ben)
    await scene.until(lambda: ann.here == {"ann": None})


# ----------------------------------------------------------------------------------------------------------------------


def is_told(*sides: Side) -> bool:
    """True if Redis has everything that these nodes know."""
    return all(each.presence.reports.last(STREAM) is not None for each in sides)


def knows(visitor: Visitor, count: int) -> bool:
    return len(visitor.here) == count


async def has_members(side: Side, wanted: set[str]) -> bool:
    return await side.members() == wanted
