"""The presence of topics of one process, without sockets: turns, memory, and slow consumers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tellwire.carriers.hub import Hub, Sent
from tellwire.engines.local_topic_presence import LocalTopicPresence
from tellwire.limits import MAX_PRESENCE_MEMBERS, PRESENCE_COUNT_SECONDS, PRESENCE_GRACE_SECONDS
from tellwire.model import NO_STAMP, ConnectionInfo, TokenStamp
from tellwire.publication import topic_stream
from tellwire.testing import FakeClock

STREAM = topic_stream("moc:1")


@dataclass(eq=False)
class Device:
    connection_id: str
    user_id: str
    heard: list[dict[str, Any]] = field(default_factory=list)
    stamp: TokenStamp = NO_STAMP
    is_open: bool = True

    def send(self, frames: bytes, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        self.heard.append(json.loads(frames))
        return Sent.DELIVERED

    def close(self, code: int, reason: str) -> None:
        self.is_open = False

    def info(self) -> ConnectionInfo:
        raise NotImplementedError


class Topic:
    """One topic of a process."""

    def __init__(self, clock: FakeClock) -> None:
        self.hub = Hub(clock, lambda payload: payload)
        self.presence = LocalTopicPresence(self.hub, clock)

    def comes(self, user_id: str, name: str = "") -> Device:
        device = Device(name or user_id, user_id)
        self.hub.attach(device)
        self.hub.join(STREAM, device.connection_id)
        self.presence.subscribed(device, STREAM, None)
        return device

    def goes(self, device: Device) -> None:
        self.presence.unsubscribed(device, STREAM)
        self.hub.detach(device.connection_id)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def topic(clock: FakeClock) -> AsyncIterator[Topic]:
    topic = Topic(clock)
    watching = asyncio.create_task(topic.presence.watch_time())
    yield topic
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


async def test_others_have_their_turn_while_many_ask_at_once(topic: Topic) -> None:
    devices = [topic.comes(f"user-{number}") for number in range(500)]
    asking = asyncio.gather(*(topic.presence.watch(each, STREAM) for each in devices))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= len(devices)
    assert all(each.heard[0]["type"] == "presence" for each in devices)


async def test_in_a_storm_each_hears_little(topic: Topic, clock: FakeClock) -> None:
    ann = topic.comes("ann")
    await topic.presence.watch(ann, STREAM)
    for number in range(10_000):
        topic.comes(f"user-{number}")
    await clock.advance(PRESENCE_COUNT_SECONDS)
    assert ann.heard[-1]["data"] == {"topic": "moc:1", "count": 10_001}
    assert len(ann.heard) <= MAX_PRESENCE_MEMBERS + 3
    assert (topic.presence.told, topic.presence.untold) == (MAX_PRESENCE_MEMBERS - 1, 10_001 - MAX_PRESENCE_MEMBERS)
    found = await topic.presence.members(STREAM)
    assert (found.count, len(found.members)) == (10_001, MAX_PRESENCE_MEMBERS)


async def test_nothing_is_kept_of_a_topic_that_all_have_left(topic: Topic, clock: FakeClock) -> None:
    devices = [topic.comes(f"user-{number}") for number in range(300)]
    for each in devices:
        await topic.presence.watch(each, STREAM)
    for each in devices:
        topic.goes(each)
    await clock.advance(PRESENCE_GRACE_SECONDS + 1)
    kept = topic.presence
    assert (kept._topics, kept._leaves, kept._in_heap, len(kept.watchers), kept.watchers._due) == ({}, [], set(), 0, {})


async def test_a_user_who_comes_and_goes_all_the_time_takes_no_memory(topic: Topic, clock: FakeClock) -> None:
    topic.goes(topic.comes("ben"))
    for number in range(1000):
        topic.goes(topic.comes("ann", f"tab-{number}"))
        await clock.advance(0.1)
    assert len(topic.presence._leaves) == 1
    assert [each.user_id for each in (await topic.presence.members(STREAM)).members] == ["ann"]
    await clock.advance(PRESENCE_GRACE_SECONDS + 1)
    assert not topic.presence._topics


async def test_a_connection_that_has_ended_watches_nothing(topic: Topic) -> None:
    ann = topic.comes("ann")
    topic.goes(ann)
    await topic.presence.watch(ann, STREAM)
    assert (ann.heard, len(topic.presence.watchers)) == ([], 0)
