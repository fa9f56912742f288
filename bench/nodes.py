"""CPU time of two and three nodes beside that of one: `python -m bench.nodes [--quick]`.

Every node has the same load: so many publishes a second over HTTP, to users whose devices are at any node. The load is
far below the limit of the machine, so that no node gains by gathering what has waited. Figures are the CPU time of all
nodes beyond that with the same connections and no publishes, divided by publishes and deliveries; each is counted.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench.cluster import Cluster, running_cluster
from bench.figures import Figure, Target, figure
from bench.machine import precise_cpu_seconds
from bench.processes import API_KEY, MissingProgram
from bench.report import line
from bench.traffic import notification
from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier

TARGET = Target(1.15, at_most=True)
_COUNTS = (1, 2, 3)
_SETTLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds of each number of nodes, and the seconds of each load."""

    rounds: int
    seconds: float


FULL = Plan(rounds=3, seconds=4.0)
QUICK = Plan(rounds=1, seconds=2.0)


@dataclass(frozen=True, slots=True)
class Load:
    """The load of each node: `users` with one device each, if they are connected. In a crowd, users have `devices` at
    every node, and the publishes are those of all nodes together, so that each delivers as much.
    """

    name: str
    users: int
    devices: int
    publishes_per_second: float
    is_crowd: bool = False


ABSENT = Load("absent", users=200, devices=0, publishes_per_second=150)
SINGLE = Load("single", users=200, devices=1, publishes_per_second=150)
CROWD = Load("crowd", users=5, devices=30, publishes_per_second=24, is_crowd=True)


@dataclass(frozen=True, slots=True)
class Cost:
    """The CPU time of all nodes for a load, that of a second without publishes, and its counts."""

    cpu_seconds: float
    idle: float
    publishes: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds of a round."""

    publish: float
    single: float
    delivery: float
    idle_per_second: float

    @classmethod
    def of(cls, absent: Cost, single: Cost, crowd: Cost) -> "Costs":
        """Compute them. A delivery's is without that of its publish."""
        publish = absent.cpu_seconds / absent.publishes
        return cls(
            publish=1e6 * publish,
            single=1e6 * single.cpu_seconds / single.publishes,
            delivery=1e6 * (crowd.cpu_seconds - crowd.publishes * publish) / crowd.deliveries,
            idle_per_second=1e6 * single.idle,
        )


async def measure(plan: Plan) -> list[Figure]:
    """Measure each number of nodes, in turns, and return the figures.

    Raises:
        RuntimeError: a message was lost.
    """
    costs: dict[int, list[Costs]] = {count: [] for count in _COUNTS}
    for _ in range(plan.rounds):
        for count in _COUNTS:
            async with running_cluster(count) as cluster:
                costs[count].append(await _round(cluster, plan.seconds))
    return list(_figures(costs))


async def _round(cluster: Cluster, seconds: float) -> Costs:
    await _cost(cluster, SINGLE, min(2.0, seconds))  # the first publishes load scripts and fill caches
    absent, single, crowd = [await _cost(cluster, load, seconds) for load in (ABSENT, SINGLE, CROWD)]
    return Costs.of(absent, single, crowd)


async def _cost(cluster: Cluster, load: Load, seconds: float) -> Cost:
    users = [f"{load.name}-{number}" for number in range(load.users * len(cluster.nodes))]
    urls = [node.url for node in cluster.nodes]
    homes = [
        (user, load.devices * (urls if load.is_crowd else [urls[number % len(urls)]]))
        for number, user in enumerate(users)
    ]
    each = int(load.publishes_per_second * seconds / (len(urls) if load.is_crowd else 1))
    async with _devices(cluster, homes) as devices, _producers(urls) as producers:
        before = _cpu_seconds(cluster)
        await asyncio.sleep(seconds / 2)
        idle = (_cpu_seconds(cluster) - before) / (seconds / 2)
        before, began = _cpu_seconds(cluster), time.monotonic()
        await asyncio.gather(
            *(_publish(producer, users[n:] + users[:n], each, seconds) for n, producer in enumerate(producers))
        )
        publishes = each * len(producers)
        deliveries = publishes * sum(len(places) for _, places in homes[:1])
        await devices.settle(deliveries)
        beyond = _cpu_seconds(cluster) - before - idle * (time.monotonic() - began)
        return Cost(beyond, idle / len(urls), publishes, deliveries)


async def _publish(producer: Broadcaster, users: Sequence[str], count: int, seconds: float) -> None:
    """Publish so many messages, at equal distances, to one user after the other."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(began + number * seconds / count - loop.time())
            group.create_task(producer.broadcast_to_user(users[number % len(users)], notification()))


@asynccontextmanager
async def _producers(urls: Sequence[str]) -> AsyncIterator[list[Broadcaster]]:
    carriers = [HttpCarrier(url, API_KEY) for url in urls]
    try:
        yield [Broadcaster(carrier) for carrier in carriers]
    finally:
        for carrier in carriers:
            await carrier.close()


class _Devices:
    def __init__(self) -> None:
        self.received = 0

    async def read(self, device: ClientConnection) -> None:
        async for _ in device:
            self.received += 1

    async def settle(self, expected: int) -> None:
        """Wait until all messages have arrived.

        Raises:
            RuntimeError: they have not, or more have.
        """
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + _SETTLE_SECONDS
        while self.received < expected and loop.time() < give_up_at:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        if self.received != expected:
            raise RuntimeError(f"{self.received} messages arrived, not {expected}")


@asynccontextmanager
async def _devices(cluster: Cluster, homes: Sequence[tuple[str, Sequence[str]]]) -> AsyncIterator[_Devices]:
    devices = _Devices()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        reading = []
        for user_id, urls in homes:
            subprotocols = [Subprotocol("tellwire.v1"), Subprotocol(f"token.{cluster.token(user_id)}")]
            for url in urls:
                socket = connect(url.replace("http", "ws"), subprotocols=subprotocols, compression=None)
                reading.append(group.create_task(devices.read(await stack.enter_async_context(socket))))
        yield devices
        for task in reading:
            task.cancel()


def _cpu_seconds(cluster: Cluster) -> float:
    """Return the CPU time of all nodes so far, all their threads."""
    return sum(precise_cpu_seconds(node.pid) for node in cluster.nodes if node.pid is not None)


def _figures(costs: dict[int, list[Costs]]) -> Iterator[Figure]:
    for title, name in (
        ("a publish to an absent user", "publish"),
        ("a publish to one device", "single"),
        ("a delivery to one of many devices", "delivery"),
    ):
        values = {count: [getattr(each, name) for each in rounds] for count, rounds in costs.items()}
        for count in _COUNTS:
            yield figure(f"{title}, {count} node{'s' if count > 1 else ''}", "µs CPU", values[count])
        for count in _COUNTS[1:]:
            pairs = zip(values[count], values[1], strict=True)
            yield figure(f"{title}, {count} ÷ 1", "×", [some / one for some, one in pairs], TARGET)
    for count in _COUNTS:
        idle = [each.idle_per_second / 1000 for each in costs[count]]
        yield figure(f"a node with 200 idle users, {count} in all", "ms CPU/s", idle)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print each figure. `arguments` None: the command line's."""
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description="CPU time of one, two and three nodes.")
    parser.add_argument("--quick", action="store_true", help="one short round: a first look, not a result")
    options = parser.parse_args(arguments)
    try:
        figures = asyncio.run(measure(QUICK if options.quick else FULL))
    except MissingProgram as error:
        print(error)
        sys.exit(2)
    for each in figures:
        print(f"  {line(each)}")


if __name__ == "__main__":
    main()
