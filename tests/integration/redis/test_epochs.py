"""A stream in a Redis that is another one than before, or that has lost some of it.

Another master, or one that was started again, is known by its replication id. A test fakes one by writing another id
into the bucket's `life`.
"""

import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names, bucket_of
from tellwire.engines.redis.link.store import RedisStore
from tellwire.messages import UploadProgress, UploadProgressMessage, create_message
from tellwire.position import Position, StreamEnd
from tellwire.publication import Publication, user_stream
from tellwire.testing import FakeClock
from tests.publications import for_user
from tests.redis_server import RedisServer

STREAM = user_stream("anna")


def note(number: int) -> Publication:
    return for_user("anna", create_message("note", number))


def upload(progress: float, second: int = 0) -> Publication:
    data = UploadProgress(upload_id="u1", file_name="f", progress=progress, message="", status="running")
    return for_user("anna", UploadProgressMessage(data, f"2026-11-28T10:00:{second:02}.000Z"))


class Disturbed:
    """The Redis of a history, and its accidents."""

    def __init__(self, client: "Redis", names: Names) -> None:
        self.client = client
        self.names = names
        self.trusts_restart = False

    async def change_master(self) -> None:
        """Fake another replication id: that of the Redis which wrote last is another one now."""
        await self.client.hset(self.names.of_bucket("life", bucket_of(STREAM)), "r", "0" * 40)

    async def lose_since(self, end: StreamEnd) -> None:
        """Lose all that was kept after this end, as a replica that did not get it yet."""
        meta, log = (self.names.of_stream(kind, STREAM) for kind in ("meta", "log"))
        lost = int(await self.client.hget(meta, "o") or 0) - end.position.offset
        for _ in range(lost):
            await self.client.rpop(log)
        await self.client.hset(meta, mapping={"o": end.position.offset, "v": end.version, "s": end.version})

    async def flush(self) -> None:
        keys = [key async for key in self.client.scan_iter(f"{self.names.prefix}:*")]
        await self.client.delete(*keys)


@pytest.fixture
async def redis(redis_server: RedisServer, redis_prefix: str) -> AsyncIterator[Disturbed]:
    client = Redis(port=redis_server.port)
    yield Disturbed(client, Names(redis_prefix))
    await client.aclose()


@pytest.fixture
def history(redis_store: RedisStore, redis: Disturbed, clock: FakeClock) -> RedisHistory:
    return RedisHistory(redis_store, redis.names, clock, trusts_restart=lambda: redis.trusts_restart)


async def end_of(history: RedisHistory) -> StreamEnd:
    end = await history.end(STREAM)
    assert end is not None
    return end


async def test_a_stream_has_the_same_epoch_as_long_as_its_redis_is_the_same(history: RedisHistory) -> None:
    before = (await history.read(STREAM, None)).cursor
    await history.append(note(1))
    await history.append(upload(1))
    replay = await history.read(STREAM, before)
    assert (replay.recovered, len(replay.messages)) == (True, 1)
    assert Position.parse(replay.cursor) == (await end_of(history)).position


@pytest.mark.parametrize("first", ["a read", "a message", "a state"])
async def test_under_another_master_a_stream_goes_on_in_a_new_epoch(
    history: RedisHistory, redis: Disturbed, first: str
) -> None:
    for number in range(3):
        await history.append(note(number))
    state = await history.append(upload(1))
    before = await end_of(history)
    await redis.change_master()
    if first == "a message":
        await history.append(note(3))
    elif first == "a state":
        await history.append(upload(2, 1))
    replay = await history.read(STREAM, str(before.position))
    assert not replay.recovered
    cursors = [json.loads(message)["cursor"] for message in replay.messages]
    epoch = replay.cursor.rpartition(":")[0]
    assert epoch != before.position.epoch
    assert cursors == [f"{epoch}:{number}" for number in range(1, 5 if first == "a message" else 4)]
    # Whatever the lost master gave out: no number of it comes again.
    following = await history.append(upload(3, 2))
    assert state is not None
    assert following is not None
    assert following.number > state.number + 100_000
    # Once only.
    again = await history.read(STREAM, replay.cursor)
    assert (again.recovered, again.messages) == (True, [])


async def test_a_whole_redis_that_was_started_again_is_trusted_if_it_says_that_it_keeps_everything(
    history: RedisHistory, redis: Disturbed
) -> None:
    redis.trusts_restart = True
    await history.append(note(1))
    before = await end_of(history)
    await redis.change_master()
    await history.append(note(2))
    replay = await history.read(STREAM, str(before.position))
    assert (replay.recovered, len(replay.messages)) == (True, 1)
    # It may be read from a disk that is trusted no more.
    redis.trusts_restart = False
    assert (await history.read(STREAM, str(before.position))).recovered


async def test_each_stream_of_a_bucket_gets_a_new_epoch_when_it_is_used(
    history: RedisHistory, redis: Disturbed
) -> None:
    other = next(f"u{n}" for n in range(100_000) if bucket_of(user_stream(f"u{n}")) == bucket_of(STREAM))
    cursors = {user: (await history.read(user_stream(user), None)).cursor for user in ("anna", other)}
    await redis.change_master()
    for user in ("anna", other):
        assert not (await history.read(user_stream(user), cursors[user])).recovered


@pytest.mark.parametrize("is_flushed", [True, False])
async def test_a_store_that_has_lost_everything_begins_anew(
    history: RedisHistory, redis: Disturbed, clock: FakeClock, *, is_flushed: bool
) -> None:
    for number in range(3):
        await history.append(note(number))
    state = await history.append(upload(1))
    before = await end_of(history)
    await clock.advance(1)
    if is_flushed:
        await redis.flush()
    else:  # such as by an eviction
        await redis.client.delete(redis.names.of_bucket("life", bucket_of(STREAM)))
        await redis.client.hset(redis.names.of_stream("meta", STREAM), "g", "1")
    replay = await history.read(STREAM, str(before.position))
    assert not replay.recovered
    assert len(replay.messages) == (0 if is_flushed else 3)
    following = await history.append(upload(3, 2))
    assert state is not None
    assert following is not None
    assert following.number > state.number


async def test_less_than_was_seen_in_the_same_epoch_is_a_loss_and_begins_a_new_one(
    history: RedisHistory, redis: Disturbed
) -> None:
    await history.append(note(1))
    await history.append(upload(1))
    kept = await end_of(history)
    for number in range(2, 5):
        await history.append(note(number))
    await history.append(upload(2, 1))
    seen = await end_of(history)
    await redis.lose_since(kept)
    renewed = await history.renew(STREAM, seen)
    assert renewed.position.epoch != seen.position.epoch
    assert renewed.position.offset == seen.position.offset
    assert renewed.version > seen.version
    lost = await history.read(STREAM, str(seen.position))
    assert (lost.recovered, len(lost.messages)) == (False, 1)
    # The next message has an offset that nobody has seen, and who has the new end misses nothing.
    cursor = str(renewed.position)
    entry = await history.append(note(5))
    assert entry is not None
    assert entry.number == seen.position.offset + 1
    replay = await history.read(STREAM, cursor)
    assert replay.recovered
    assert [json.loads(message)["data"] for message in replay.messages] == [5]
    # Several nodes may notice the same loss.
    assert (await history.renew(STREAM, seen)).position == (await end_of(history)).position


async def test_a_lost_version_of_a_state_alone_begins_a_new_epoch_too(history: RedisHistory, redis: Disturbed) -> None:
    await history.append(upload(1))
    kept = await end_of(history)
    await history.append(upload(2, 1))
    seen = await end_of(history)
    await redis.lose_since(kept)
    assert (await history.renew(STREAM, seen)).position.epoch != seen.position.epoch


async def test_nothing_changes_where_nothing_is_lost(history: RedisHistory) -> None:
    await history.append(note(1))
    end = await end_of(history)
    await history.append(note(2))
    assert (await history.renew(STREAM, end)).position == (await end_of(history)).position
    assert (await end_of(history)).position.epoch == end.position.epoch


async def test_keys_of_an_idle_stream_expire_by_themselves(history: RedisHistory, redis: Disturbed) -> None:
    for number in range(3):
        await history.append(note(number))
        await history.append(upload(number, number))
    kinds = ("meta", "log", "ids", "heads", "states", "running")
    left = {kind: await redis.client.ttl(redis.names.of_stream(kind, STREAM)) for kind in kinds}
    day = 24 * 3600
    assert day < left["log"] == left["ids"] < 1.2 * day
    assert 3 * day < left["heads"] == left["states"] == left["running"] < 3.2 * day
    assert 30 * day < left["meta"] < 30.2 * day


# --- pages ------------------------------------------------------------------------------------------------------------


async def pages(history: RedisHistory, before: int | None, limit: int = 2) -> list[list[tuple[int, int]]]:
    """Return the data and offset of all messages below an offset, page by page."""
    found: list[list[tuple[int, int]]] = []
    while True:
        page = await history.page(STREAM, before, limit, 100_000)
        messages = [json.loads(message) for message in page.messages]
        found.append([(each["data"], int(each["cursor"].rpartition(":")[2])) for each in messages])
        if not page.more:
            return found
        before = found[-1][-1][1]


async def test_under_another_master_a_page_has_cursors_of_the_new_epoch(
    history: RedisHistory, redis: Disturbed
) -> None:
    for number in range(3):
        await history.append(note(number))
    before = await end_of(history)
    await redis.change_master()
    page = await history.page(STREAM, None, 10, 100_000)
    epoch = (await end_of(history)).position.epoch
    assert epoch != before.position.epoch
    assert [json.loads(message)["cursor"] for message in page.messages] == [f"{epoch}:{number}" for number in (3, 2, 1)]


async def test_pages_go_back_over_offsets_that_were_lost(history: RedisHistory, redis: Disturbed) -> None:
    for number in range(1, 6):
        await history.append(note(number))
    early = await end_of(history)
    for number in range(6, 9):
        await history.append(note(number))
    seen = await end_of(history)
    await redis.lose_since(early)
    await history.renew(STREAM, seen)
    for number in (9, 10, 11):
        await history.append(note(number))
    assert await pages(history, None) == [[(11, 11), (10, 10)], [(9, 9), (5, 5)], [(4, 4), (3, 3)], [(2, 2), (1, 1)]]
    # From within the gap, and from both its ends.
    for before in (9, 8, 7, 6):
        assert (await pages(history, before))[0] == [(5, 5), (4, 4)]
    assert (await pages(history, 10))[0] == [(9, 9), (5, 5)]
    assert (await pages(history, 5))[0] == [(4, 4), (3, 3)]
