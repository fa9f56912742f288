"""The watch of leases over an index in Redis: its time is a fake one, which the scripts work with, too."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tellwire.broker import ComposedBroker
from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names, bucket_of
from tellwire.engines.redis.lease_watch import LeaseWatch
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.store import RedisStore
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable
from tellwire.lease_expiry import LeaseExpiry
from tellwire.limits import LEASE_WATCH_SECONDS, LEASES_AT_ONCE
from tellwire.messages import UploadProgress, UploadProgressMessage
from tellwire.model import Target, timestamp
from tellwire.ports import Published
from tellwire.position import START
from tellwire.publication import Publication, topic_stream, upload_key, user_stream
from tellwire.testing import FakeClock, MemoryCarrier
from tests.redis_server import RedisServer, running
from tests.tools import until

LEASE = 30


class World(ComposedBroker):
    """Uploads of some users in Redis, and the nodes that watch their leases."""

    def __init__(self, store: RedisStore, names: Names, clock: FakeClock) -> None:
        self.history = RedisHistory(store, names, clock)
        super().__init__(self.history, MemoryCarrier())
        self.store = store
        self.names = names
        self.clock = clock
        self.live = ["a"]
        self.verdicts: list[str] = []

    async def publish_linked(self, publications: Sequence[Publication]) -> list[Published]:
        published = await super().publish_linked(publications)
        for each in published:
            if each.entry is not None and each.entry.key is not None:
                self.verdicts.append(each.entry.status or "")
        return published

    async def update(self, upload_id: str = "u1", *, user: str = "anna", lease_seconds: float = LEASE) -> None:
        """Publish an upload's progress, as its worker does."""
        data = UploadProgress(
            upload_id=upload_id, file_name="f.csv", progress=10, message="", run="r", lease_seconds=lease_seconds
        )
        message = UploadProgressMessage(data, timestamp(self.clock.now()))
        published = await self.publish(Publication.of(Target(user=user), message))
        assert published.entry is not None

    async def status(self, upload_id: str = "u1", user: str = "anna") -> str | None:
        entry = await self.history.state(user_stream(user), upload_key(upload_id))
        return None if entry is None else entry.status

    def node(self, name: str = "a") -> LeaseWatch:
        expire = LeaseExpiry(self, self.clock).expire
        return LeaseWatch(self.store, self.names, self.history, self.clock, expire, name, lambda: self.live)

    async def waits(self, seconds: float, *nodes: LeaseWatch) -> None:
        """Advance the time, while nodes check as they do."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            await self.clock.advance(min(LEASE_WATCH_SECONDS, end - self.clock.monotonic()))
            for node in nodes:
                while await node.check():
                    pass

    async def leases(self) -> int:
        keys = [self.names.of_bucket("leases", bucket) for bucket in range(1024)]
        counts = await asyncio.gather(*[self.store.command("ZCARD", each, key=each, writes=False) for each in keys])
        return sum(counts)


@pytest.fixture
def world(redis_store: RedisStore, redis_prefix: str) -> World:
    return World(redis_store, Names(redis_prefix), FakeClock())


@asynccontextmanager
async def watching(node: LeaseWatch) -> AsyncIterator[None]:
    task = asyncio.create_task(node.watch())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_silent_worker_is_noticed_in_two_steps(world: World) -> None:
    node = world.node()
    await world.waits(2, node)
    await world.update()
    await world.waits(LEASE - 2, node)
    assert await world.status() == "running"
    await world.waits(4, node)
    assert await world.status() == "stalled"
    await world.waits(LEASE - 4, node)
    assert await world.status() == "stalled"
    await world.waits(6, node)
    assert await world.status() == "failed"
    assert world.verdicts == ["stalled", "failed"]
    assert await world.leases() == 0


async def test_a_silent_worker_of_a_topic_s_upload_is_told_to_the_topic(world: World) -> None:
    node, stream = world.node(), topic_stream("moc:1")
    await world.waits(2, node)
    data = UploadProgress(upload_id="u1", file_name="f.csv", progress=10, message="", lease_seconds=LEASE)
    await world.publish(
        Publication.of(Target(topic="moc:1"), UploadProgressMessage(data, timestamp(world.clock.now())))
    )
    await world.waits(2 * LEASE + 4, node)
    assert world.verdicts == ["stalled", "failed"]
    replay = await world.history.read(stream, START)
    (error,) = [json.loads(each) for each in replay.messages]
    (state,) = [json.loads(each.payload) for each in replay.snapshot]
    assert (error["type"], error["topic"]) == ("error", "moc:1")
    assert (state["data"]["status"], state["topic"]) == ("failed", "moc:1")
    assert await world.leases() == 0


async def test_the_names_of_users_and_uploads_have_any_characters(world: World) -> None:
    node = world.node()
    uploads = [("\0", "\0"), ("an\0na", "u\n1"), ("an", "\0na"), (":", "}{"), ("😀", "é" * 100)]
    await world.waits(2, node)
    for user, upload_id in uploads:
        await world.update(upload_id, user=user)
    await world.waits(LEASE + 2, node)
    assert [await world.status(upload_id, user) for user, upload_id in uploads] == ["stalled"] * 5
    found = [(each.target.user, each.key) async for each in world.history.leased_uploads()]
    assert sorted(found) == sorted((user, upload_key(upload_id)) for user, upload_id in uploads)


async def test_a_worker_that_renews_its_lease_is_left_alone(world: World) -> None:
    node = world.node()
    for _ in range(20):
        await world.update()
        await world.waits(LEASE * 0.9, node)
    assert await world.status() == "running"
    assert world.verdicts == []


async def test_a_node_that_has_just_begun_gives_every_lease_a_whole_time(world: World) -> None:
    await world.update()
    await world.update("short", lease_seconds=1)
    await world.clock.advance(1000)
    node = world.node()
    await node.check()
    await world.waits(LEASE - 4, node)
    assert await world.status() == "running"
    # A short one beside it has not waited for it.
    assert await world.status("short") == "failed"
    await world.waits(6, node)
    assert await world.status() == "stalled"


async def test_the_death_of_a_worker_is_noticed_although_the_node_that_heard_it_last_died_too(world: World) -> None:
    first, second = world.node("a"), world.node("b")
    world.live = ["a", "b"]
    await world.waits(4, first, second)
    for number in range(10):
        await world.update(user=f"user-{number}")
    await world.waits(10, first, second)
    # Node a dies, and with it all workers, which published there.
    await world.waits(10, second)
    world.live = ["b"]
    await world.waits(LEASE + 2, second)
    assert {await world.status(user=f"user-{number}") for number in range(10)} == {"stalled"}
    await world.waits(LEASE + 2, second)
    assert {await world.status(user=f"user-{number}") for number in range(10)} == {"failed"}


async def test_after_the_death_of_a_node_its_workers_have_a_whole_lease_to_find_another_one(world: World) -> None:
    node = world.node("b")
    world.live = ["a", "b"]
    await world.waits(4, node)
    # One of b's users, so that only the death can delay it.
    user = next(each for each in map(str, range(99)) if bucket_of(user_stream(each)) % 2)
    await world.update(user=user)
    await world.waits(LEASE - 6, node)
    world.live = ["b"]
    await world.waits(LEASE - 4, node)
    assert await world.status(user=user) == "running"
    await world.waits(6, node)
    assert await world.status(user=user) == "stalled"


async def test_two_nodes_that_check_at_once_make_one_verdict(world: World) -> None:
    # Neither has heard of the other yet.
    nodes = [world.node("a"), world.node("a")]
    await world.waits(2, *nodes)
    for number in range(20):
        await world.update(f"u{number}")
    await world.waits(LEASE - 1, *nodes)
    await world.clock.advance(2)
    await asyncio.gather(*[node.check() for node in nodes])
    assert world.verdicts == ["stalled"] * 20


async def test_live_nodes_share_the_buckets(world: World) -> None:
    world.live = ["a", "b", "c"]
    checked: list[int] = []
    for name in world.live:
        node = world.node(name)
        rank, count = node._place()
        checked += [bucket for bucket in range(1024) if bucket % count == rank]
    assert sorted(checked) == [*range(1024)]


@pytest.mark.parametrize("pause_seconds", [5, LEASE, 3600])
async def test_a_process_that_was_stopped_declares_nobody_silent(world: World, pause_seconds: float) -> None:
    node = world.node()
    await world.waits(2, node)
    await world.update()
    await world.waits(LEASE - 4, node)
    async with watching(node):
        await world.clock.advance(1)
        world.clock.skip(pause_seconds)
        await world.clock.advance(1)
    await world.waits(LEASE - 6, node)
    assert await world.status() == "running"
    await world.waits(8, node)
    assert await world.status() == "stalled"


async def test_the_watch_of_a_node_checks_by_itself(world: World) -> None:
    node = world.node()
    await world.update(lease_seconds=1)
    async with watching(node):
        while await world.status() != "failed":
            # Redis answers in real time.
            await world.clock.advance(0.25)
            await asyncio.sleep(0.002)
    assert world.verdicts == ["stalled", "failed"]


async def test_while_redis_is_away_nobody_is_declared_silent(tmp_path: Path) -> None:
    with running(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        store = RedisStore(RedisAddress.parse(server.url))
        world = World(store, Names("t"), FakeClock())
        node = world.node()
        await world.waits(2, node)
        await world.update()
        server.kill()
        await world.waits(4, node)
        with pytest.raises(HistoryUnavailable):
            await world.leases()
        await world.clock.advance(1000)
        server.start()
        await until(lambda: store.trouble() is None)
        await world.waits(LEASE - 4, node)
        assert await world.status() == "running"
        await world.waits(6, node)
        assert await world.status() == "stalled"
        await store.close()


async def test_a_connection_that_was_lost_for_a_moment_is_a_time_in_which_nobody_was_heard(
    world: World, redis_server: RedisServer
) -> None:
    node = world.node()
    await world.waits(2, node)
    await world.update()
    await world.waits(LEASE - 1, node)
    redis_server.command("CLIENT", "KILL", "TYPE", "normal")
    with suppress(HistoryUnavailable):
        await world.leases()
    await until(lambda: world.store.trouble() is None)
    await world.waits(LEASE - 4, node)
    assert await world.status() == "running"
    await world.waits(8, node)
    assert await world.status() == "stalled"


async def test_thousands_of_expired_leases_do_not_hold_up_the_others(world: World) -> None:
    node = world.node()
    await world.waits(2, node)
    for number in range(LEASES_AT_ONCE * 3):
        await world.update(f"u{number}", user="busy", lease_seconds=2)
    bucket = bucket_of(user_stream("busy"))
    others = [each for each in map(str, range(20_000)) if bucket_of(user_stream(each)) == bucket][:3]
    for user in others:
        await world.update(user=user, lease_seconds=3)
    await world.update(user="elsewhere", lease_seconds=3)
    await world.clock.advance(5)
    assert await node.check()
    # One check: the oldest of this bucket, and all of the others.
    assert world.verdicts == ["stalled"] * (LEASES_AT_ONCE + 1)
    assert await world.status(user="elsewhere") == "stalled"
    while await node.check():
        pass
    assert [await world.status(user=user) for user in others] == ["stalled"] * 3


async def test_leases_that_begin_anew_do_not_hold_up_the_others(world: World) -> None:
    for number in range(LEASES_AT_ONCE * 2):
        await world.update(f"u{number}", user="busy", lease_seconds=3600)
    await world.update("short", user="busy", lease_seconds=1)
    await world.clock.advance(4000)
    node = world.node()
    while await node.check():
        pass
    await world.clock.advance(2)
    assert not await node.check()
    assert await world.status("short", "busy") == "stalled"
    assert world.verdicts == ["stalled"]


async def test_an_upload_that_cannot_be_judged_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    node = world.node()
    await world.waits(2, node)
    bucket = world.names.of_bucket("leases", bucket_of(user_stream("anna")))
    await world.update("bad")
    await world.update("good")
    expire = node._expire

    async def fails(entry: Entry, silent_seconds: float) -> bool:
        if entry.key == upload_key("bad"):
            raise ValueError("its state is no JSON")
        return await expire(entry, silent_seconds)

    node._expire = fails
    await world.waits(LEASE + 2, node)
    assert await world.status("good") == "stalled"
    assert "trying again" in caplog.text
    await world.waits(10, node)
    assert caplog.text.count("trying again") <= 3
    assert await world.store.command("ZCARD", bucket, key=bucket, writes=False) == 2


async def test_while_redis_takes_nothing_nobody_is_declared_silent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = world.node()
    await world.waits(2, node)
    await world.update()

    async def refuses(publications: Sequence[Publication]) -> list[Published]:
        raise HistoryUnavailable("the memory of Redis is full")

    with monkeypatch.context() as full:
        full.setattr(world, "publish_linked", refuses)
        await world.waits(LEASE + 10, node)
    await world.waits(LEASE - 14, node)
    assert await world.status() == "running"
    await world.waits(10, node)
    assert await world.status() == "stalled"


async def test_the_leases_of_a_user_who_is_forgotten_end(world: World) -> None:
    node = world.node()
    await world.waits(2, node)
    await world.update("u1")
    await world.update("u2")
    await world.update(user="ben")
    await world.history.forget(user_stream("anna"))
    assert await world.leases() == 1
    await world.waits(LEASE + 2, node)
    assert world.verdicts == ["stalled"]
    assert await world.status(user="ben") == "stalled"


async def test_a_lease_of_an_upload_that_is_gone_is_removed(world: World) -> None:
    node = world.node()
    await world.waits(2, node)
    await world.update()
    for kind in ("heads", "states"):
        key = world.names.of_stream(kind, user_stream("anna"))
        await world.store.command("DEL", key, key=key)
    await world.waits(LEASE + 2, node)
    assert await world.leases() == 0
    assert world.verdicts == []
