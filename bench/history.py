"""Cost of the history: publishing with each engine, welcomes with missed messages, and slow consumers."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
from websockets.asyncio.client import connect

from bench.figures import Figure, Target, figure, ratios
from bench.machine import Cores
from bench.measured_redis import measured_redis
from bench.native import Fleet
from bench.publisher import Publisher, Run, busy
from bench.server import Server
from bench.traffic import (
    SCOUT,
    SECRET,
    batch_requests,
    connect_clients,
    connect_users,
    message_on_the_wire,
    publish_request,
)
from tellwire.auth import mint_token
from tellwire.messages import create_upload_progress_message

USERS = 1_000
CLIENTS = 4
BATCH = 100
FILE_TARGET = Target(0.5)

MISSED = 1_000

SLOW_DEVICES = 1_000
UPLOADS = 10
# Loopback buffers a few MB before a device falls behind.
STATE_BYTES = 20_000
TO_FILL = 300
MEMORY_TARGET = Target(1.1, at_most=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds, messages per user in a round, welcomes, and updates while 1,000 devices do not read."""

    rounds: int
    each: int
    welcomes: int
    updates: int


FULL = Plan(rounds=9, each=20, welcomes=30, updates=600)
QUICK = Plan(rounds=3, each=5, welcomes=5, updates=100)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield rates of publishing on each engine, the time of a welcome, and memory with slow consumers."""
    plan = QUICK if quick else FULL
    yield from _kept(cores, plan)
    yield from _missed(cores, plan)
    yield from _slow(cores, plan)


# --- publishing -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Rounds:
    batch: list[Run] = field(default_factory=list)
    single: list[Run] = field(default_factory=list)


def _kept(cores: Cores, plan: Plan) -> Iterator[Figure]:
    users = [f"user-{n}" for n in range(USERS)]
    memory, file, remote = _Rounds(), _Rounds(), _Rounds()
    with (
        measured_redis(cores) as redis,
        Server(cores, JWT_SECRET=SECRET, ENGINE="memory") as in_memory,
        Server(cores, JWT_SECRET=SECRET, ENGINE="sqlite") as in_file,
        Server(cores, JWT_SECRET=SECRET, ENGINE="redis", REDIS_URL=redis.url) as in_redis,
        connect_users(in_memory, users) as memory_fleet,
        connect_users(in_file, users) as file_fleet,
        connect_users(in_redis, users) as redis_fleet,
    ):
        sides = [(in_memory, memory_fleet, memory), (in_file, file_fleet, file), (in_redis, redis_fleet, remote)]
        publishers = [(_publisher(server, fleet), rounds) for server, fleet, rounds in sides]
        for _ in range(plan.rounds + 1):
            for publisher, rounds in publishers:
                with connect_clients(publisher.server, CLIENTS) as clients:
                    batches = batch_requests(users * plan.each, BATCH)
                    rounds.batch.append(publisher.run(clients, batches, lines=BATCH, receivers=1))
                    singles = [publish_request({"user": user}) for user in users]
                    rounds.single.append(publisher.run(clients, singles, receivers=1))
    for name in ("batch", "single"):
        # The first round warmed up.
        engines = {"memory": memory, "SQLite": file, "Redis": remote}
        kept = {engine: getattr(rounds, name)[1:] for engine, rounds in engines.items()}
        title = f"batches of {BATCH}" if name == "batch" else f"one request each, {CLIENTS} at a time"
        for engine, runs in kept.items():
            yield figure(f"{title}, {engine}", "messages/s", _rates(runs), users=USERS, lost=0, **busy(runs))
        yield figure(
            f"{title}, SQLite ÷ memory", "×", ratios(_rates(kept["SQLite"]), _rates(kept["memory"])), FILE_TARGET
        )
        yield figure(f"{title}, Redis ÷ SQLite", "×", ratios(_rates(kept["Redis"]), _rates(kept["SQLite"])))


def _publisher(server: Server, fleet: Fleet) -> Publisher:
    return Publisher(server, fleet, len(message_on_the_wire(server, SCOUT)), is_kept=True)


def _rates(runs: Sequence[Run]) -> list[float]:
    return [run.rate for run in runs]


# --- a welcome --------------------------------------------------------------------------------------------------------


def _missed(cores: Cores, plan: Plan) -> Iterator[Figure]:
    for engine in ("memory", "sqlite"):
        with Server(cores, JWT_SECRET=SECRET, ENGINE=engine) as server:
            seconds = asyncio.run(_welcomes(server, plan.welcomes))
        name = f"welcome for {MISSED:,} missed messages, {'SQLite' if engine == 'sqlite' else engine}"
        yield figure(name, "ms", [1000 * each for each in seconds])


async def _welcomes(server: Server, count: int) -> list[float]:
    uri = f"ws://127.0.0.1:{server.port}/?token={mint_token(SECRET, 'scout')}"
    async with connect(uri, proxy=None, max_size=None, compression=None) as device:
        cursor = (await _welcome(device, None))["cursor"]
        with connect_clients(server, CLIENTS) as clients, Fleet(connect_clients(server, 0)) as nobody:
            nobody.publish(clients, [publish_request(SCOUT) for _ in range(MISSED)], 0)
    seconds = []
    for _ in range(count):
        async with connect(uri, proxy=None, max_size=None, compression=None) as device:
            began = time.perf_counter()
            welcome = await _welcome(device, cursor)
            seconds.append(time.perf_counter() - began)
            if (welcome["recovered"], welcome["count"]) != (True, MISSED):
                raise RuntimeError(f"a welcome had {welcome['count']} messages, not {MISSED}")
    return seconds


async def _welcome(device, cursor: str | None) -> dict:  # type: ignore[no-untyped-def,type-arg]
    await device.send(json.dumps({"type": "hello", "cursor": cursor}))
    count = 0
    while True:
        message = msgspec.json.decode(await device.recv(decode=False))
        if message["type"] != "welcome":
            continue
        count += len(message["data"]["messages"])
        if message["data"]["last"]:
            return {"count": count, **message["data"]}


# --- slow consumers ---------------------------------------------------------------------------------------------------


def _slow(cores: Cores, plan: Plan) -> Iterator[Figure]:
    with (
        Server(cores, JWT_SECRET=SECRET) as server,
        connect_users(server, ["slow"] * SLOW_DEVICES),
        connect_clients(server, 1) as client,
        Fleet(connect_clients(server, 0)) as nobody,
    ):
        server.wait_for_connections(SLOW_DEVICES)
        memory = [server.rss_bytes]
        for updates in (TO_FILL, plan.updates, plan.updates):
            nobody.publish(client, _updates(updates), 0)
            memory.append(server.rss_bytes)
        server.wait_for_connections(SLOW_DEVICES)
    before, full, once, twice = memory
    yield figure(
        f"{UPLOADS} uploads to {SLOW_DEVICES:,} devices that do not read, for each",
        "bytes",
        [(full - before) / SLOW_DEVICES],
        updates=TO_FILL,
        state_bytes=STATE_BYTES,
        still_connected=SLOW_DEVICES,
    )
    yield figure(f"after {plan.updates:,} updates more ÷ before", "×", [twice / once], MEMORY_TARGET, rss_bytes=memory)


def _updates(count: int) -> list[bytes]:
    return [
        publish_request(
            {"user": "slow"},
            create_upload_progress_message(f"u{n % UPLOADS}", "f.csv", n / count * 99, "." * STATE_BYTES),
        )
        for n in range(count)
    ]
