"""The observer of a node: it hears of connections, frames, publications, welcomes and leases where they happen."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tellwire import Identity, NullObserver, Publication, Published, Replay, Settings
from tellwire.gateway import Node
from tellwire.messages import UploadProgress, UploadProgressMessage, create_message, create_upload_progress_message
from tellwire.server.socket import Connection
from tellwire.testing import FakeClock
from tests.conftest import SECRET, Gateway, read


class Counting(NullObserver):
    """Counts all that it hears of."""

    def __init__(self) -> None:
        self.counts: Counter[Any] = Counter()
        self.seconds: list[float] = []

    def connection_opened(self) -> None:
        self.counts["opened"] += 1

    def connection_closed(self, code: int) -> None:
        self.counts["closed", code] += 1

    def connection_refused(self, code: str) -> None:
        self.counts["refused", code] += 1

    def frame_conflated(self) -> None:
        self.counts["conflated"] += 1

    def frame_dropped(self) -> None:
        self.counts["dropped"] += 1

    def published(self, publication: Publication, published: Published, seconds: float) -> None:
        self.counts["published", publication.type, published.delivery.delivered, published.entry is not None] += 1
        self.seconds.append(seconds)

    def welcomed(self, replay: Replay, seconds: float) -> None:
        self.counts["welcomed", len(replay.messages)] += 1
        self.seconds.append(seconds)

    def lease_expired(self, status: str) -> None:
        self.counts["expired", status] += 1


@pytest.fixture
def observer() -> Counting:
    return Counting()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def gateway(observer: Counting, clock: FakeClock) -> AsyncIterator[Gateway]:
    settings = Settings(port=0, jwt_secret=SECRET, engine="memory", drain_seconds=1, outbox_max_messages=4)
    node = Node(settings, clock, Anyone(clock), observer=observer)
    async with node.running() as url:
        yield Gateway(node, url)


class Anyone:
    """An authenticator that lets everybody in, by the fake clock."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    async def authenticate(self, token: str) -> Identity:
        return Identity("user-1", self._clock.now() + 1e6)


async def until(observer: Counting, what: Any) -> None:
    async with asyncio.timeout(60):
        while not observer.counts[what]:
            await asyncio.sleep(0.01)


async def test_connections_are_counted(gateway: Gateway, observer: Counting) -> None:
    async with gateway.device():
        assert observer.counts["opened"] == 1
    await until(observer, ("closed", 1000))
    with pytest.raises(InvalidStatus):
        async with connect(gateway.ws_url, proxy=None):
            pass
    assert observer.counts["refused", "TOKEN_MISSING"] == 1
    assert observer.counts["opened"] == 1


async def test_publications_and_welcomes_are_counted_and_timed(gateway: Gateway, observer: Counting) -> None:
    await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("note", 1))
    async with gateway.device() as device:
        await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("note", 2))
        await gateway.node.broadcaster.broadcast_to_all(create_message("note", 3))
        await device.send(json.dumps({"type": "hello", "cursor": "0"}))
        while (await read(device))["type"] != "welcome":
            pass
        await until(observer, ("welcomed", 2))
    assert observer.counts["published", "note", 0, True] == 1
    assert observer.counts["published", "note", 1, True] == 1
    assert observer.counts["published", "note", 1, False] == 1
    assert len(observer.seconds) == 4
    assert all(0 <= each < 60 for each in observer.seconds)


async def test_conflated_states_and_dropped_messages_are_counted(gateway: Gateway, observer: Counting) -> None:
    broadcast = gateway.node.broadcaster.broadcast_to_user
    async with gateway.device(max_queue=1) as device:
        device.transport.pause_reading()
        (connection,) = gateway.node.hub._by_id.values()
        assert isinstance(connection, Connection)
        while not connection._is_behind:
            await broadcast("user-1", create_message("note", "x" * 60_000))
            await asyncio.sleep(0)
        for value in (1, 2, 3):
            await broadcast("user-1", create_upload_progress_message("u1", "f.csv", value, ""))
        assert observer.counts["conflated"] == 2
        while not observer.counts["dropped"]:
            await broadcast("user-1", create_message("note", "x"))
        await broadcast("user-1", create_message("note", "the connection is closed"))
        assert observer.counts["dropped"] == 1
        device.transport.abort()


async def test_leases_that_expire_are_counted(gateway: Gateway, observer: Counting, clock: FakeClock) -> None:
    data = UploadProgress(upload_id="u1", file_name="f", progress=1, message="", status="running", lease_seconds=30)
    await gateway.node.broadcaster.broadcast_to_user("user-1", UploadProgressMessage(data))
    await clock.advance(31)
    await until(observer, ("expired", "stalled"))
    await clock.advance(31)
    await until(observer, ("expired", "failed"))
