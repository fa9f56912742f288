"""Publications per second of one process through its broker, kept in SQLite and in Redis: alone, many at once, batches.

Redis has an append-only file that is synced every second: as with SQLite, `kill -9` loses nothing, and a power cut may.
"Redis, synced" syncs it before each answer, for whatever came during the last one.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.figures import Figure, figure, ratios
from bench.machine import Cores, pin
from bench.processes import RedisServer
from tellwire.broker import ComposedBroker
from tellwire.engines.redis.broker import RedisBroker
from tellwire.engines.redis.history import RedisHistory
from tellwire.engines.redis.keys import Names
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.store import RedisStore
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.messages import create_message
from tellwire.model import Delivery
from tellwire.model import Target as Receivers
from tellwire.ports import Broker
from tellwire.publication import Publication
from tellwire.testing import MemoryCarrier

USERS = 1000
BATCH = 1000
AT_ONCE = 64
SYNCS_ARE_SLOW = 5
"""By so many times fewer are published where each answer waits for a disk."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds, and publications alone and otherwise in each."""

    rounds: int
    alone: int
    many: int


FULL = Plan(rounds=5, alone=2000, many=30_000)
QUICK = Plan(rounds=1, alone=500, many=5000)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield publications per second for each store and way, and Redis beside SQLite."""
    plan = QUICK if quick else FULL
    for name, count, at_once in (
        ("one at a time", plan.alone, 1),
        (f"{AT_ONCE} at once", plan.many, AT_ONCE),
        (f"batches of {BATCH:,}", plan.many, 0),
    ):
        rates: dict[str, list[float]] = {"SQLite": [], "Redis": [], "Redis, synced": []}
        for _ in range(plan.rounds):
            for store, measured in rates.items():
                few = count if store != "Redis, synced" or at_once == 0 else count // SYNCS_ARE_SLOW
                measured.append(uvloop.run(_rate(store, few, at_once, cores)))
        for store, measured in rates.items():
            yield figure(f"publications kept in {store}, {name}", "/s", measured)
        yield figure(f"Redis ÷ SQLite, {name}", "×", ratios(rates["Redis"], rates["SQLite"]))


async def _rate(store: str, count: int, at_once: int, cores: Cores) -> float:
    publications = [
        Publication.of(Receivers(user=f"user-{number % USERS}"), create_message("note", "x" * 200))
        for number in range(USERS + count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        opened = _sqlite(Path(folder)) if store == "SQLite" else _redis(Path(folder), cores, store)
        async with opened as broker:
            await broker.publish_all(publications[:USERS])  # every stream has begun
            began = time.perf_counter()
            await _publish(broker, publications[USERS:], at_once)
            return count / (time.perf_counter() - began)


async def _publish(broker: Broker, publications: Sequence[Publication], at_once: int) -> None:
    if at_once == 0:
        for first in range(0, len(publications), BATCH):
            await broker.publish_all(publications[first : first + BATCH])
        return
    waiting = iter(publications)

    async def publish() -> None:
        for each in waiting:
            await broker.publish(each)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(publish())


@asynccontextmanager
async def _sqlite(folder: Path) -> AsyncIterator[Broker]:
    history = SqliteHistory(folder / "history.sqlite3")
    yield ComposedBroker(history, MemoryCarrier(Delivery()))
    await history.close()


@asynccontextmanager
async def _redis(folder: Path, cores: Cores, kind: str) -> AsyncIterator[Broker]:
    server = RedisServer(folder, "--appendonly", "yes", "--appendfsync", "everysec" if kind == "Redis" else "always")
    server.start()
    assert server.pid is not None
    pin(server.pid, cores.server)
    store = RedisStore(RedisAddress.parse(server.url))
    try:
        yield RedisBroker(RedisHistory(store, Names("bench")), MemoryCarrier(Delivery()), lambda connections: 0)
    finally:
        await store.close()
        server.kill()
