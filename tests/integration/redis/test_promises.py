"""The promises of Redis's settings: each line of the table in docs/how-to/nodes.md, with a Redis killed or replaced.

A writer publishes without a pause, and repeats what was refused. Afterwards a device with the cursor of the first
message comes back: it gets all that was acknowledged since, or it is told that messages may be missing. In any case no
cursor names two messages.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from redis.crc import key_slot

from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.store import RedisStore
from tellwire.errors import HistoryUnavailable
from tellwire.messages import create_message
from tellwire.publication import user_stream
from tellwire.retention import Retention
from tests.publications import for_user
from tests.redis_server import RedisCluster, RedisServer, Sentinels, running
from tests.tools import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

STREAM = user_stream("anna")
NAMES = Names("tellwire")
EVERYTHING = Retention(max_messages=100_000, max_bytes=256 * 1024 * 1024)
AT_ONCE_SECONDS = 2.5
"""Longest time of an answer: below that of each trouble, and enough for a timeout of 0.4 s on a busy machine."""

EACH_WRITE = ("--appendonly", "yes", "--appendfsync", "always")
EACH_SECOND = ("--appendonly", "yes", "--appendfsync", "everysec")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut of 30 seconds, and its timeouts, on another scale."""
    for module in ("lane", "pipeline", "dial", "cluster"):
        monkeypatch.setattr(f"tellwire.engines.redis.link.{module}.REDIS_TIMEOUT_SECONDS", 0.4)
    for module in ("lane", "cluster"):
        monkeypatch.setattr(f"tellwire.engines.redis.link.{module}.REDIS_PROBE_SECONDS", 0.1)


@dataclass(frozen=True)
class Found:
    """The replay of a device: was it told that messages may be missing, and which ones are?"""

    is_recovered: bool
    lost: set[int]


class Writer:
    """A producer that publishes numbers, and knows which were acknowledged, with their cursors."""

    def __init__(self, url: str, wait_replicas: int = 0) -> None:
        self.store = RedisStore(RedisAddress.parse(url), wait_replicas=wait_replicas)
        self.history = RedisHistory(self.store, NAMES, retention=EVERYTHING, trusts_restart=self.store.keeps_all)
        self.cursors: dict[int, str | None] = {}
        self.refusals: list[str] = []
        self.longest_seconds = 0.0

    async def write(self) -> None:
        number = 0
        while True:
            number += 1
            message = msgspec.structs.replace(create_message("note", number), id=f"note-{number}")
            while not await self._publish(number, message):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.001)

    async def _publish(self, number: int, message: object) -> bool:
        began_at = time.monotonic()
        try:
            entry = await self.history.append(for_user("anna", message))  # type: ignore[arg-type]
        except HistoryUnavailable as error:
            self.refusals.append(error.reason)
            return False
        finally:
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began_at)
        # None: it was kept already, by an attempt whose answer was lost.
        self.cursors[number] = None if entry is None else json.loads(entry.payload)["cursor"]
        return True

    async def goes_on(self, count: int = 30) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.cursors) + count
        await until(lambda: len(self.cursors) >= wanted)

    async def is_refused(self) -> None:
        """Wait until something is refused that begins from now on."""
        wanted = len(self.refusals) + 2
        await until(lambda: len(self.refusals) >= wanted)

    async def found(self) -> Found:
        """Come back with the cursor of the first message."""
        replay = await self.history.read(STREAM, self.cursors[1])
        messages = [json.loads(payload) for payload in replay.messages]
        numbers = [message["data"] for message in messages]
        assert numbers == sorted(set(numbers))
        by_cursor = {cursor: number for number, cursor in self.cursors.items() if cursor is not None}
        assert len(by_cursor) == len([each for each in self.cursors.values() if each is not None])
        for message in messages:
            assert by_cursor.get(message["cursor"], message["data"]) == message["data"]
        found = Found(replay.recovered, self.cursors.keys() - {1} - set(numbers))
        assert not (found.is_recovered and found.lost)
        return found


@asynccontextmanager
async def writing(url: str, wait_replicas: int = 0) -> AsyncIterator[Writer]:
    """Publish all the time."""
    writer = Writer(url, wait_replicas)
    task = asyncio.create_task(writer.write())
    try:
        await writer.goes_on()
        yield writer
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await writer.store.close()


async def restarted(writer: Writer, server: RedisServer, *, killed: bool = True) -> Found:
    """Kill Redis, and start it again a moment later."""
    await asyncio.to_thread(server.kill if killed else server.stop)
    await writer.is_refused()
    await asyncio.to_thread(server.start)
    await writer.goes_on()
    return await writer.found()


# --- one Redis --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("killed", [True, False])
async def test_with_appendfsync_always_a_restart_loses_nothing_and_cursors_go_on(tmp_path: Path, killed: bool) -> None:
    with running(tmp_path, *EACH_WRITE) as server:
        async with writing(server.url) as writer:
            for _ in range(3):
                assert await restarted(writer, server, killed=killed) == Found(True, set())


async def test_a_producer_that_publishes_once_does_not_end_the_trust_in_a_restart(tmp_path: Path) -> None:
    with running(tmp_path, *EACH_WRITE) as server:
        async with writing(server.url) as writer:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            for number in range(3):
                short = Writer(server.url)
                message = create_message("other", number)
                await short.history.append(for_user("anna", message))
                await short.store.close()
            await writer.goes_on()
            replay = await writer.history.read(STREAM, writer.cursors[1])
            assert replay.recovered


async def test_with_appendfsync_everysec_a_killed_redis_has_everything_and_clients_hear_that_it_may_not(
    tmp_path: Path,
) -> None:
    with running(tmp_path, *EACH_SECOND) as server:
        async with writing(server.url) as writer:
            assert await restarted(writer, server) == Found(False, set())


async def test_to_be_set_to_always_after_the_restart_proves_nothing(tmp_path: Path) -> None:
    with running(tmp_path, *EACH_SECOND) as server:
        async with writing(server.url) as writer:
            server.options = EACH_WRITE
            assert await restarted(writer, server) == Found(False, set())


async def test_snapshots_lose_what_came_after_the_last_one_and_clients_hear_of_it(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with writing(server.url) as writer:
            server.command("SAVE")
            kept = len(writer.cursors)
            await writer.goes_on(100)
            found = await restarted(writer, server)
            assert not found.is_recovered
            assert len(found.lost) >= 90
            assert min(found.lost) >= kept


async def test_without_persistence_everything_is_lost_and_clients_hear_of_it(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with writing(server.url) as writer:
            before = set(writer.cursors)
            found = await restarted(writer, server)
            assert not found.is_recovered
            assert found.lost >= before - {1}


async def test_a_flushed_redis_begins_another_epoch_and_clients_hear_of_it(tmp_path: Path) -> None:
    with running(tmp_path, *EACH_WRITE) as server:
        async with writing(server.url) as writer:
            before = set(writer.cursors)
            server.command("FLUSHALL")
            await writer.goes_on()
            found = await writer.found()
            assert not found.is_recovered
            assert found.lost >= before - {1}
            assert writer.refusals == []


async def test_a_killed_connection_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with writing(server.url) as writer:
            for _ in range(20):
                server.command("CLIENT", "KILL", "TYPE", "normal")
                await writer.goes_on(3)
            assert await writer.found() == Found(True, set())
            assert writer.longest_seconds < AT_ONCE_SECONDS


async def test_a_pause_is_answered_at_once_and_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with writing(server.url) as writer:
            server.command("CLIENT", "PAUSE", "3000", "ALL")
            await writer.is_refused()
            await writer.goes_on()
            assert await writer.found() == Found(True, set())
            assert any("did not answer" in each for each in writer.refusals)
            assert writer.longest_seconds < AT_ONCE_SECONDS


async def test_a_cut_is_answered_at_once_and_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with writing(server.url) as writer:
            server.freeze()
            await asyncio.sleep(3)
            server.thaw()
            assert len(writer.refusals) > 20
            await writer.goes_on()
            assert await writer.found() == Found(True, set())
            assert writer.longest_seconds < AT_ONCE_SECONDS


async def test_a_full_memory_refuses_and_deletes_nothing(tmp_path: Path) -> None:
    with running(tmp_path, "--maxmemory-policy", "noeviction") as server:
        async with writing(server.url) as writer:
            server.command("CONFIG", "SET", "maxmemory", "100kb")
            await writer.is_refused()
            assert (await writer.found()).is_recovered
            server.command("CONFIG", "SET", "maxmemory", "0")
            await writer.goes_on()
            assert await writer.found() == Found(True, set())
            assert "the memory of Redis is full (maxmemory)" in writer.refusals


# --- replicas ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def sentinels(tmp_path: Path) -> AsyncIterator[Sentinels]:
    sentinels = Sentinels(tmp_path, "--repl-diskless-sync-delay", "0", "--appendonly", "yes", "--appendfsync", "always")
    try:
        await asyncio.to_thread(sentinels.start)
        yield sentinels
    finally:
        sentinels.kill()


async def fail_over(sentinels: Sentinels, writer: Writer) -> None:
    """Kill the master when its replica has not heard of the last messages."""
    master, replica = sentinels.servers
    replica.freeze()
    master.command("CLIENT", "KILL", "TYPE", "replica")
    await writer.goes_on()
    await asyncio.to_thread(master.kill)
    replica.thaw()
    await until(lambda: "role:master" in replica.command("INFO", "replication"))
    await writer.goes_on()


async def test_a_fail_over_may_lose_acknowledged_messages_and_clients_hear_of_it(sentinels: Sentinels) -> None:
    async with writing(sentinels.url) as writer:
        await fail_over(sentinels, writer)
        found = await writer.found()
        assert not found.is_recovered
        assert found.lost


async def test_a_fail_over_loses_nothing_that_replicas_had_to_have(sentinels: Sentinels) -> None:
    async with writing(sentinels.url, wait_replicas=1) as writer:
        await fail_over_with_wait(sentinels, writer)
        assert await writer.found() == Found(False, set())


async def fail_over_with_wait(sentinels: Sentinels, writer: Writer) -> None:
    """The same, and then a replica for the new master, since without one nothing is acknowledged."""
    master, replica = sentinels.servers
    replica.freeze()
    await writer.is_refused()
    assert any("0 replicas have it" in each for each in writer.refusals)
    await asyncio.to_thread(master.kill)
    replica.thaw()
    await until(lambda: "role:master" in replica.command("INFO", "replication"))
    await asyncio.to_thread(master.start, "--replicaof", "127.0.0.1", str(replica.port))
    await writer.goes_on()


async def test_min_replicas_to_write_refuses_on_a_master_that_is_alone(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        async with writing(server.url) as writer:
            server.command("CONFIG", "SET", "min-replicas-to-write", "1")
            await writer.is_refused()
            server.command("CONFIG", "SET", "min-replicas-to-write", "0")
            await writer.goes_on()
            assert "Redis has too few replicas (min-replicas-to-write)" in writer.refusals
            assert await writer.found() == Found(True, set())


# --- a cluster --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), EACH_WRITE])
async def test_the_move_of_a_slot_loses_nothing_and_cursors_go_on_if_the_nodes_keep_all(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    cluster = RedisCluster(tmp_path, options=options)
    key = NAMES.channel(STREAM)
    try:
        await asyncio.to_thread(cluster.start)
        async with writing(cluster.url) as writer:
            source = cluster.server_of(key)
            target = next(each for each in cluster.servers if each is not source)
            await asyncio.to_thread(cluster.move_slot, key_slot(key), source, target)
            await writer.goes_on()
            assert await writer.found() == Found(bool(options), set())
            assert writer.refusals == []
    finally:
        cluster.kill()


async def test_a_master_of_a_cluster_is_replaced_by_its_replica(tmp_path: Path) -> None:
    cluster = RedisCluster(tmp_path, replicas=1, options=("--repl-diskless-sync-delay", "0"))
    try:
        await asyncio.to_thread(cluster.start)
        async with writing(cluster.url) as writer:
            await asyncio.to_thread(cluster.server_of(NAMES.channel(STREAM)).kill)
            await writer.is_refused()
            await writer.goes_on()
            assert not (await writer.found()).is_recovered
            assert writer.longest_seconds < AT_ONCE_SECONDS
    finally:
        cluster.kill()
