"""The broker in Redis: its outcomes are those of every other, and its channel has all that was kept, once, in order."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from tellwire.broker import ComposedBroker
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.redis.broker import RedisBroker
from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.store import RedisStore
from tellwire.errors import GatewayUnreachable, HistoryUnavailable
from tellwire.limits import REDIS_READS_AT_ONCE
from tellwire.messages import UploadProgress, UploadProgressMessage, create_message
from tellwire.model import Delivery, Target
from tellwire.ports import Published
from tellwire.position import START
from tellwire.publication import Publication, user_stream
from tellwire.testing import FakeClock, MemoryCarrier
from tests.publications import for_user, publication
from tests.redis_server import RedisServer
from tests.tools import until

ALL = Target(all=True)
STREAM = user_stream("anna")


def note(number: int, user_id: str = "anna") -> Publication:
    return for_user(user_id, create_message("note", number))


def upload(
    progress: float, status: str = "running", second: int = 0, run: str | None = None, **more: str
) -> Publication:
    data = UploadProgress(
        upload_id=more.get("upload_id", "ü\"1"), file_name="f", progress=progress, message="", status=status, run=run  # type: ignore[arg-type]
    )  # fmt: skip
    return for_user("anna", UploadProgressMessage(data, f"2026-11-28T10:00:{second:02}.000Z"))


class Channel:
    """The messages of anna's channel."""

    def __init__(self, client: "Redis", name: bytes) -> None:
        self._pubsub = client.pubsub()
        self._name = name

    async def subscribe(self) -> None:
        await self._pubsub.ssubscribe(self._name)
        assert (await self._pubsub.get_message(timeout=5)) is not None

    async def messages(self, count: int) -> list[tuple[list[object], bytes]]:
        found: list[tuple[list[object], bytes]] = []
        while len(found) < count:
            header, _, payload = (await self._next()).partition(b"\n")
            found.append((json.loads(header), payload))
        return found

    async def _next(self) -> bytes:
        message = await self._pubsub.get_message(timeout=5)
        assert message is not None, "nothing came"
        data = message["data"]
        assert isinstance(data, bytes)
        return data

    async def close(self) -> None:
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]


@pytest.fixture
def history(redis_store: RedisStore, names: Names) -> RedisHistory:
    return RedisHistory(redis_store, names, FakeClock())


@pytest.fixture
def carrier() -> MemoryCarrier:
    return MemoryCarrier()


@pytest.fixture
def broker(history: RedisHistory, carrier: MemoryCarrier) -> RedisBroker:
    return RedisBroker(history, carrier, lambda ids: sum(each.startswith(b"live") for each in ids))


@pytest.fixture
async def channel(redis_server: RedisServer, names: Names) -> AsyncIterator[Channel]:
    client = Redis(port=redis_server.port)
    channel = Channel(client, names.channel(STREAM))
    await channel.subscribe()
    yield channel
    await channel.close()
    await client.aclose()


def as_told(outcomes: Sequence[Published | Exception]) -> list[object]:
    return [(each.entry is not None, each.delivery) if isinstance(each, Published) else type(each) for each in outcomes]


async def all_soon(broker: RedisBroker, publications: Sequence[Publication]) -> list[Published | Exception]:
    """Publish all in one turn, without waiting, and return the outcomes in the order in which they came."""
    outcomes: list[Published | Exception] = []
    for each in publications:
        broker.publish_soon(each, outcomes.append)
    await until(lambda: len(outcomes) == len(publications))
    return outcomes


async def test_the_channel_has_the_bytes_that_the_history_has(
    broker: RedisBroker, channel: Channel, history: RedisHistory
) -> None:
    published = [
        await broker.publish(each)
        for each in (note(1), upload(1, run="r"), note(2), upload(100, "complete", 1, run="r"))
    ]
    got = await channel.messages(4)
    entries = [each.entry for each in published if each.entry]
    replay = await history.read(STREAM, START)
    epoch = replay.cursor.rpartition(":")[0]
    versions = [entries[1].number, entries[3].number]
    key = 'upload:ü"1'
    assert [header for header, _ in got] == [
        ["m", epoch, 1],
        ["s", epoch, versions[0], False, key],
        ["m", epoch, 2],
        ["s", epoch, versions[1], True, key],
    ]
    assert versions[1] == versions[0] + 1
    assert [payload for _, payload in got] == [entry.payload for entry in entries]
    assert [got[0][1], got[2][1]] == replay.messages
    assert replay.snapshot == [entries[3]]


async def test_delivered_are_the_registered_connections_of_nodes_that_live(
    broker: RedisBroker, names: Names, redis_server: RedisServer
) -> None:
    client = Redis(port=redis_server.port)
    await client.hset(names.of_stream("conns", STREAM), mapping={"live1": "", "dead1": "", "live2": ""})
    await client.aclose()
    assert (await broker.publish(note(1))).delivery == Delivery(delivered=2)
    assert (await broker.publish(note(1, "ben"))).delivery == Delivery()


OUTCOMES = {
    "a cancelled upload": [upload(40), upload(40, "cancelled", 1), upload(41, second=2)],
    "a superseded run": [
        upload(40, run="first"),
        upload(0, run="second"),
        upload(100, "complete", 1, "first"),
        upload(0, "cancelled", 1, "second"),
        upload(0, run="third"),
        upload(50, second=2, run="second"),
    ],
    "a duplicate": [note(1), *[msgspec.structs.replace(note(2), id="x")] * 2, *[upload(3, run="r")] * 2],
    "an older state": [upload(50, second=5), upload(40, second=4)],
    "a state that is there no more": [msgspec.structs.replace(upload(1), replaces=7), note(1)],
}


@pytest.mark.parametrize("publications", OUTCOMES.values(), ids=OUTCOMES)
@pytest.mark.parametrize("how", ["one by one", "together", "soon"])
async def test_outcomes_are_those_of_a_composed_broker(
    broker: RedisBroker, publications: list[Publication], how: str
) -> None:
    composed = ComposedBroker(MemoryHistory(FakeClock()), MemoryCarrier(Delivery()))
    if how == "together":
        told, expected = await broker.publish_all(publications), await composed.publish_all(publications)
    elif how == "soon":
        told, expected = await all_soon(broker, publications), await composed.publish_all(publications)
    else:
        told = [await broker.publish(each) for each in publications]
        expected = [await composed.publish(each) for each in publications]
    assert as_told(told) == as_told(expected)


async def test_a_user_with_too_many_running_uploads_is_told_once(
    broker: RedisBroker, channel: Channel, monkeypatch: pytest.MonkeyPatch, names: Names, redis_store: RedisStore
) -> None:
    monkeypatch.setattr("tellwire.limits.MAX_RUNNING_UPLOADS", 2)
    broker = RedisBroker(RedisHistory(redis_store, names, FakeClock()), MemoryCarrier(), lambda ids: 0)
    for number in range(2):
        assert (await broker.publish(upload(1, upload_id=f"u{number}"))).entry is not None
    for second in range(2):
        told = await broker.publish(upload(1, second=second, upload_id="one-more"))
        assert told == Published(None, Delivery())
    await broker.publish(note(1))
    *_, error, last = await channel.messages(4)
    assert json.loads(error[1])["data"]["code"] == "TOO_MANY_UPLOADS"
    assert json.loads(last[1])["data"] == 1
    await broker.publish(upload(100, "complete", 1, upload_id="u0"))
    assert (await broker.publish(upload(2, second=4, upload_id="one-more"))).entry is not None


async def test_a_producer_that_does_not_wait_hears_the_same_and_every_way_to_publish_keeps_one_order(
    broker: RedisBroker, channel: Channel, carrier: MemoryCarrier
) -> None:
    outcomes: list[Published | Exception] = []
    broker.publish_soon(note(0), outcomes.append)
    one = asyncio.create_task(broker.publish(note(1)))
    await asyncio.sleep(0)
    broker.publish_soon(note(2), outcomes.append)
    many = asyncio.create_task(broker.publish_all([note(3), note(4)]))
    await asyncio.sleep(0)
    broker.publish_soon(note(5), outcomes.append)
    await asyncio.gather(one, many)
    assert [json.loads(payload)["data"] for _, payload in await channel.messages(6)] == list(range(6))
    assert [each.entry.number for each in outcomes if isinstance(each, Published) and each.entry] == [1, 3, 6]
    everybody = publication(ALL, create_message("note", 6))
    assert as_told(await all_soon(broker, [everybody])) == [(False, Delivery(delivered=1))]
    assert carrier.sent[-1][1]["data"] == 6


async def test_a_user_hears_of_too_many_uploads_before_a_producer_that_does_not_wait(
    channel: Channel, monkeypatch: pytest.MonkeyPatch, names: Names, redis_store: RedisStore
) -> None:
    monkeypatch.setattr("tellwire.limits.MAX_RUNNING_UPLOADS", 1)
    broker = RedisBroker(RedisHistory(redis_store, names, FakeClock()), MemoryCarrier(), lambda ids: 0)
    await broker.publish(upload(1, upload_id="u"))
    assert await all_soon(broker, [upload(1, upload_id="one-more")]) == [Published(None, Delivery())]
    await broker.publish(note(1))
    *_, error, last = await channel.messages(3)
    assert json.loads(error[1])["data"]["code"] == "TOO_MANY_UPLOADS"
    assert json.loads(last[1])["data"] == 1


async def test_linked_publications_are_sent_together_or_not_at_all(broker: RedisBroker, channel: Channel) -> None:
    first = (await broker.publish(upload(10))).entry
    assert first is not None
    failed = msgspec.structs.replace(upload(10, "failed", 1), replaces=first.number)
    again = msgspec.structs.replace(upload(10, "failed", 2), replaces=first.number)
    assert [each.entry is not None for each in await broker.publish_linked([failed, note(1)])] == [True, True]
    assert await broker.publish_linked([again, note(2)]) == [Published(None, Delivery())] * 2
    await broker.publish(note(3))
    kinds = [header[0] for header, _ in await channel.messages(4)]
    assert kinds == ["s", "s", "m", "m"]


async def test_many_are_published_in_order_those_for_everybody_among_them(
    broker: RedisBroker, carrier: MemoryCarrier, channel: Channel
) -> None:
    everybody = publication(ALL, create_message("note", 2))
    told = await broker.publish_all([note(0), note(1), everybody, note(3)])
    assert as_told(told) == [(True, Delivery()), (True, Delivery()), (False, Delivery(delivered=1)), (True, Delivery())]
    assert [json.loads(payload)["data"] for _, payload in await channel.messages(3)] == [0, 1, 3]
    carrier.error = GatewayUnreachable("http://gateway", "away")
    assert as_told(await broker.publish_all([note(4), everybody, note(5)])) == [
        (True, Delivery()),
        GatewayUnreachable,
        (True, Delivery()),
    ]


async def test_publishes_begun_together_are_on_the_channel_in_that_order(broker: RedisBroker, channel: Channel) -> None:
    await asyncio.gather(*(broker.publish(note(number)) for number in range(200)))
    got = await channel.messages(200)
    assert [json.loads(payload)["data"] for _, payload in got] == list(range(200))
    assert [header[2] for header, _ in got] == list(range(1, 201))


async def test_nothing_is_published_while_redis_is_away(history: RedisHistory, redis_store: RedisStore) -> None:
    broker = RedisBroker(history, MemoryCarrier(), lambda ids: 0)
    await redis_store.close()
    with pytest.raises(HistoryUnavailable):
        await broker.publish(note(1))
    told = await broker.publish_all([note(1), publication(ALL, create_message("note", 2))])
    assert as_told(told) == [HistoryUnavailable, (False, Delivery(delivered=1))]
    assert as_told(await all_soon(broker, [note(1)])) == [HistoryUnavailable]


async def test_few_histories_are_read_at_once(
    history: RedisHistory, redis_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = most = 0
    call = redis_store.call

    async def counted(*arguments: Any) -> Any:
        nonlocal reads, most
        reads += 1
        most = max(most, reads)
        try:
            return await call(*arguments)
        finally:
            reads -= 1

    monkeypatch.setattr(redis_store, "call", counted)
    replays = await asyncio.gather(*(history.read(user_stream(f"user-{each}"), START) for each in range(100)))
    assert all(each.recovered for each in replays)
    assert most == REDIS_READS_AT_ONCE
