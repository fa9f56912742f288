"""The streams of a node: messages that pub/sub loses, repeats or delays reach the devices once and in order.

The history is one in memory, so that a test decides what Redis publishes of it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from tellwire.carriers.hub import Sent
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.redis.node.parts import NodeParts
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable, UserShutOut
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.model import NO_STAMP, ConnectionInfo, Target, TokenStamp
from tellwire.publication import Publication, user_stream
from tellwire.shut_out import ShutOut
from tellwire.testing import FakeClock
from tests.redis_nodes import running_node
from tests.redis_server import RedisServer
from tests.tools import until

STREAM = user_stream("user-1")


@dataclass(eq=False)
class Device:
    """A connection that keeps its messages."""

    connection_id: str
    user_id: str = "user-1"
    frames: list[bytes] = field(default_factory=list)
    stamp: TokenStamp = NO_STAMP
    is_open: bool = True

    def send(self, frames: bytes, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        self.frames.append(frames)
        return Sent.DELIVERED

    def close(self, code: int, reason: str) -> None:
        self.is_open = False

    def info(self) -> ConnectionInfo:
        return ConnectionInfo(self.connection_id, self.user_id, "", "", "")

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(each[each.index(b"{") :]) for each in self.frames]

    @property
    def data(self) -> list[Any]:
        """The data of the messages of the log."""
        return [each["data"] for each in self.messages if each["type"] == "n"]

    @property
    def progress(self) -> list[Any]:
        return [each["data"]["progress"] for each in self.messages if each["type"] == "upload_progress"]

    @property
    def ends(self) -> list[Any]:
        """The ends of the stream that it was told."""
        return [each["data"] for each in self.messages if each["type"] == "pong"]


class Scene:
    """A node, a device on it, and a producer whose messages pub/sub may lose."""

    def __init__(self, parts: NodeParts, store: RedisStore, names: Names, clock: FakeClock) -> None:
        self.parts = parts
        self.store = store
        self.names = names
        self.clock = clock
        self.history = MemoryHistory(clock)
        parts.subscriptions.history = self.history
        self.device = Device(parts.own.new_connection_id())

    async def comes(self) -> None:
        assert await self.parts.presence.enter(self.device, 100)
        self.parts.hub.attach(self.device)

    def goes(self) -> None:
        self.parts.hub.detach(self.device.connection_id)
        self.parts.presence.leave(self.device)

    async def keep(self, publication: Publication) -> Entry:
        """Keep it, as far as Redis is concerned, and publish nothing."""
        entry = await self.history.append(publication)
        stream = self.history._stream(STREAM)
        meta = self.names.of_stream("meta", STREAM)
        fields: list[str | int] = ["e", stream.epoch, "o", stream.offset, "v", stream.version, "s", stream.version]
        await self.store.command("HSET", meta, *fields, key=meta)
        assert entry is not None
        return entry

    async def publish(self, entry: Entry) -> None:
        epoch = self.history._stream(STREAM).epoch
        header: list[Any] = ["m", epoch, entry.number]
        if entry.key is not None:
            header = ["s", epoch, entry.number, entry.is_final, entry.key]
        channel = self.names.channel(STREAM)
        await self.store.command("SPUBLISH", channel, json.dumps(header).encode() + b"\n" + entry.payload, key=channel)

    async def say(self, number: int, *, is_lost: bool = False) -> Entry:
        entry = await self.keep(Publication.of(Target(user="user-1"), create_message("n", number)))
        if not is_lost:
            await self.publish(entry)
        return entry

    async def upload(self, progress: int, *, is_lost: bool = False, upload_id: str = "u1") -> Entry:
        message = create_upload_progress_message(upload_id, "f.csv", progress, "")
        entry = await self.keep(Publication.of(Target(user="user-1"), message))
        if not is_lost:
            await self.publish(entry)
        return entry

    async def compares(self) -> None:
        """Advance the clock to the node's next comparison of its streams."""
        await self.clock.advance(0.2)

    async def comparing(self, condition: Callable[[], bool]) -> None:
        """Compare until something is so: one comparison leaves a message alone that is still on its way."""

        async def is_so() -> bool:
            await self.compares()
            return condition()

        await until(is_so)


@pytest.fixture
async def scene(redis_store: RedisStore, redis_prefix: str, clock: FakeClock) -> AsyncIterator[Scene]:
    names = Names(redis_prefix)
    async with running_node(redis_store, names, clock) as parts:
        yield Scene(parts, redis_store, names, clock)


async def test_a_message_of_the_channel_is_delivered_once(scene: Scene) -> None:
    await scene.comes()
    entries = [await scene.say(number) for number in range(5)]
    for entry in reversed(entries):
        await scene.publish(entry)
    await scene.say(5)
    await until(lambda: scene.device.data == list(range(6)))
    known = scene.parts.subscriptions.known_end(STREAM)
    assert known == await scene.history.end(STREAM)
    assert scene.parts.subscriptions.known_end(user_stream("nobody")) is None


async def test_a_gap_is_read_from_the_history_before_the_messages_after_it(scene: Scene) -> None:
    await scene.comes()
    await scene.say(0)
    for number in range(1, 300):
        await scene.say(number, is_lost=number % 7 in (2, 3))
    await scene.comparing(lambda: scene.device.data == list(range(300)))


async def test_a_lost_last_message_is_found_by_a_comparison(scene: Scene) -> None:
    await scene.comes()
    await scene.say(0)
    await scene.say(1, is_lost=True)
    await scene.upload(10, is_lost=True)
    await scene.comparing(lambda: (scene.device.data, scene.device.progress) == ([0, 1], [10]))
    await scene.say(2)
    await scene.upload(20)
    await until(lambda: (scene.device.data, scene.device.progress) == ([0, 1, 2], [10, 20]))


async def test_the_first_messages_of_a_stream_may_be_lost_too(scene: Scene) -> None:
    await scene.comes()
    await scene.say(0, is_lost=True)
    await scene.upload(5, is_lost=True)
    await scene.say(1)
    await until(lambda: (scene.device.data, scene.device.progress) == ([0, 1], [5]))


async def test_an_older_state_never_follows_a_newer_one(scene: Scene) -> None:
    await scene.comes()
    await scene.upload(0)
    for progress in range(1, 100):
        entry = await scene.upload(progress, is_lost=progress % 3 == 0)
        if progress % 5 == 0:
            await scene.publish(entry)
    await scene.comparing(lambda: scene.device.progress[-1:] == [99])
    assert scene.device.progress == sorted(set(scene.device.progress))


async def test_lost_states_of_other_uploads_come_with_the_next(scene: Scene) -> None:
    await scene.comes()
    await scene.upload(1)
    await scene.upload(7, is_lost=True, upload_id="u2")
    await scene.upload(2)
    await until(lambda: sorted(scene.device.progress) == [1, 2, 7])


async def test_who_waits_for_a_state_goes_on_when_devices_have_it(scene: Scene) -> None:
    await scene.comes()
    handed_on = scene.parts.subscriptions.handed_on
    known = await scene.upload(1)
    await handed_on(STREAM, known.number)
    await handed_on(user_stream("nobody"), 1)
    late, later = await scene.upload(2, is_lost=True), await scene.upload(3, is_lost=True)
    waiting = [asyncio.create_task(handed_on(STREAM, entry.number)) for entry in (late, later)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    await scene.publish(late)
    await waiting[0]
    assert (scene.device.progress, waiting[1].done()) == ([1, 2], False)
    await scene.publish(later)
    await waiting[1]
    assert scene.device.progress == [1, 2, 3]


async def test_who_waits_for_a_state_that_is_lost_goes_on_and_devices_get_it_soon(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.engines.redis.node.subscriptions.REDIS_HANDED_ON_SECONDS", 0.05)
    await scene.comes()
    await scene.upload(1)
    lost = await scene.upload(2, is_lost=True)
    await scene.parts.subscriptions.handed_on(STREAM, lost.number)
    await until(lambda: scene.device.progress == [1, 2])


async def test_a_killed_connection_loses_nothing(scene: Scene, redis_server: RedisServer) -> None:
    await scene.comes()
    await scene.say(0)
    for number in range(1, 60):
        if number % 20 == 5:
            redis_server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await scene.say(number)
    await until(lambda: scene.device.data == list(range(60)))


async def test_a_history_that_is_away_delays_and_loses_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.comes()
    await scene.say(0)
    reads = 0
    read = scene.history.read

    async def away(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads < 4:
            raise HistoryUnavailable("away")
        return await read(*arguments)

    monkeypatch.setattr(scene.history, "read", away)
    await scene.say(1, is_lost=True)
    for number in range(2, 10):
        await scene.say(number)
    await scene.comparing(lambda: scene.device.data == list(range(10)))


async def test_a_new_epoch_is_told_to_each_device(scene: Scene) -> None:
    await scene.comes()
    await scene.say(0)
    await until(lambda: scene.device.data == [0])
    await scene.history.forget(STREAM)
    await scene.say(1, is_lost=True)
    await scene.comparing(lambda: len(scene.device.ends) == 1)
    end = await scene.history.end(STREAM)
    assert end is not None
    assert scene.device.ends == [{"cursor": str(end.position)}]
    await scene.say(2)
    await until(lambda: scene.device.data == [0, 2])


async def test_nobody_is_sent_to_a_store_that_is_in_trouble(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.comes()
    await scene.say(0)
    await until(lambda: scene.device.data == [0])
    await scene.history.forget(STREAM)
    with monkeypatch.context() as patch:
        patch.setattr(RedisStore, "trouble", lambda store, key=None: "away")
        entry = await scene.say(1)
        heard: list[bytes] = []
        channel = scene.parts.channels.subscribe(scene.names.channel(user_stream("other")), heard.append)
        await channel.ready()
        name = scene.names.channel(user_stream("other"))
        await scene.store.command("SPUBLISH", name, "after it", key=name)
        await until(lambda: heard)
    assert scene.device.ends == []
    await scene.comparing(lambda: len(scene.device.ends) == 1)
    await scene.publish(entry)
    await scene.say(2)
    await until(lambda: scene.device.data == [0, 2])


async def test_a_message_of_a_new_epoch_is_delivered(scene: Scene) -> None:
    await scene.comes()
    await scene.say(0)
    await scene.history.forget(STREAM)
    await scene.say(1)
    await until(lambda: (scene.device.data, len(scene.device.ends)) == ([0, 1], 1))
    await scene.upload(1)
    await scene.history.forget(STREAM)
    await scene.upload(2)
    await until(lambda: scene.device.progress == [1, 2])
    await until(lambda: len(scene.device.ends) == 2)


async def test_a_store_that_has_less_than_this_node_has_seen_is_told_to_renew(scene: Scene) -> None:
    renewed: list[Any] = []

    async def renew(stream: str, known: Any) -> None:
        renewed.append((stream, known.offset))
        scene.history._stream(STREAM).epoch = "renewed"
        meta = scene.names.of_stream("meta", STREAM)
        await scene.store.command("HSET", meta, "e", "renewed", "o", known.offset, key=meta)

    scene.parts.subscriptions.renew = renew
    await scene.comes()
    for number in range(3):
        await scene.say(number)
    await until(lambda: scene.device.data == [0, 1, 2])
    meta = scene.names.of_stream("meta", STREAM)
    await scene.store.command("HSET", meta, "o", 1, key=meta)
    await scene.comparing(lambda: renewed == [(STREAM, 3)])
    await until(lambda: scene.device.ends == [{"cursor": "renewed:3"}])


async def test_the_channel_is_left_with_the_last_connection(scene: Scene) -> None:
    second = Device(scene.parts.own.new_connection_id())
    await scene.comes()
    assert await scene.parts.presence.enter(second, 100)
    channel = scene.names.channel(STREAM)

    async def ears() -> int:
        return int((await scene.store.command("PUBSUB", "SHARDNUMSUB", channel, key=channel))[1])

    assert await ears() == 1
    scene.goes()
    assert await ears() == 1
    scene.parts.presence.leave(second)

    async def is_left() -> bool:
        return await ears() == 0

    await until(is_left)
    assert len(scene.parts.subscriptions) == 0


async def test_handshakes_at_once_share_a_channel_and_some_of_them_may_go_away(scene: Scene) -> None:
    devices = [Device(scene.parts.own.new_connection_id()) for _ in range(6)]
    entering = [asyncio.create_task(scene.parts.presence.enter(each, 100)) for each in devices]
    await asyncio.sleep(0)
    for number in (0, 3):
        entering[number].cancel()
    await asyncio.wait(entering)
    for number in (0, 3):
        scene.parts.presence.leave(devices[number])
    stay = [1, 2, 4, 5]
    for number in stay:
        assert entering[number].result() is True
        scene.parts.hub.attach(devices[number])
    await scene.say(0)
    await until(lambda: all(devices[number].data == [0] for number in stay))
    key = scene.names.of_stream("conns", STREAM)

    async def is_counted() -> bool:
        return bool(await scene.store.command("HLEN", key, key=key) == len(stay))

    await until(is_counted)


async def test_a_first_connection_hears_nothing_from_before_its_handshake(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        await scene.say(number)
    register = scene.parts.presence._register
    is_waiting, may_go_on = asyncio.Event(), asyncio.Event()

    async def slowly(connection: Any, at_most: int) -> Any:
        is_waiting.set()
        await may_go_on.wait()
        return await register(connection, at_most)

    monkeypatch.setattr(scene.parts.presence, "_register", slowly)
    coming = asyncio.create_task(scene.comes())
    await is_waiting.wait()
    watched = scene.parts.subscriptions.of_user("user-1")
    assert watched is not None
    await scene.say(50)
    await scene.upload(1)
    await until(lambda: len(watched.buffer or ()) == 2)
    may_go_on.set()
    await coming
    await scene.say(51)
    await scene.upload(2)
    await until(lambda: (scene.device.data, scene.device.progress) == ([51], [2]))


async def test_a_message_that_comes_after_the_registration_is_for_the_new_connection(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.say(0)
    register = scene.parts.presence._register
    watched: Any = None

    async def slowly(connection: Any, at_most: int) -> Any:
        nonlocal watched
        registered = await register(connection, at_most)
        watched = scene.parts.subscriptions.of_user("user-1")
        await scene.say(1)
        await until(lambda: len(watched.buffer) == 1)
        return registered

    monkeypatch.setattr(scene.parts.presence, "_register", slowly)
    await scene.comes()
    await until(lambda: scene.device.data == [1])


async def shut_out(scene: Scene, *, is_told: bool) -> None:
    entry = msgspec.json.encode(ShutOut("user-1", scene.clock.now() + 60))
    key = scene.names.of_stream("shut", STREAM)
    await scene.store.command("HSET", key, "user", entry, key=key)
    if is_told:
        channel = scene.names.channel(STREAM)
        await scene.store.command("SPUBLISH", channel, b'["x"]\n' + entry, key=channel)


async def test_who_is_shut_out_after_the_token_was_checked_does_not_enter(scene: Scene) -> None:
    await shut_out(scene, is_told=False)
    with pytest.raises(UserShutOut):
        await scene.comes()
    scene.goes()
    key = scene.names.of_stream("conns", STREAM)

    async def is_gone() -> bool:
        return bool(await scene.store.command("HLEN", key, key=key) == 0)

    await until(is_gone)


async def test_who_is_shut_out_in_the_moment_of_the_registration_does_not_enter(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = scene.parts.presence._register
    calls = 0

    async def slowly(connection: Any, at_most: int) -> Any:
        nonlocal calls
        registered = await register(connection, at_most)
        calls += 1
        if calls == 1:
            watched = scene.parts.subscriptions.of_user("user-1")
            assert watched is not None
            await shut_out(scene, is_told=True)
            await until(lambda: watched.expels == 1)
        return registered

    monkeypatch.setattr(scene.parts.presence, "_register", slowly)
    with pytest.raises(UserShutOut):
        await scene.comes()
