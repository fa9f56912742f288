"""One client floods the gateway, and another measures its own latencies.

    python -m bench.floods [flood …] [--seconds 6]     all floods if none is named

A row for each flood: p99 and the longest `ping` → `pong` and publish → device of other clients, before and during, in
milliseconds, and the gateway's largest resident memory. It fails if a p99 is over 50 ms.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, Final

from websockets.asyncio.client import connect

from bench import machine
from bench.flood_kinds import FLOODS, Flood
from bench.flooder import Flooder
from bench.server import API_KEY, Server
from bench.traffic import SECRET, handshake, publish_request
from tellwire.auth import mint_token
from tellwire.messages import create_message

GOAL_MS: Final = 50.0
_QUIET_SECONDS: Final = 2.0
_EVERY_SECONDS: Final = 0.06
_TIMEOUT_SECONDS: Final = 60.0
_HISTORY_MESSAGES: Final = 300
_HISTORY_TEXT: Final = "x" * 3000


@dataclass
class Times:
    """Latencies in milliseconds, by their path."""

    ping: list[float] = field(default_factory=list)
    publish: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)


class Bystander:
    """Three clients that do nothing wrong: a device that pings, a producer with a device, and a health check."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.times = Times()

    async def measure(self, seconds: float) -> Times:
        """Measure for some seconds. An answer that is late is waited for, also beyond them."""
        self.times = Times()
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for each in (self._pings(until), self._publishes(until), self._checks(until)):
                group.create_task(_limited(each, seconds))
        return self.times

    def _device(self, user: str) -> connect:
        return connect(f"ws://127.0.0.1:{self._port}/?token={mint_token(SECRET, user)}", proxy=None, ping_interval=None)

    async def _pings(self, until: float) -> None:
        async with self._device("bystander-1") as device:
            while time.monotonic() < until:
                began = time.perf_counter()
                await device.send('{"type":"ping"}')
                await device.recv()
                self.times.ping.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(_EVERY_SECONDS)

    async def _publishes(self, until: float) -> None:
        request = publish_request({"user": "bystander-2"})
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        async with self._device("bystander-2") as device:
            while time.monotonic() < until:
                began = time.perf_counter()
                writer.write(request)
                await device.recv()
                self.times.publish.append((time.perf_counter() - began) * 1000)
                await reader.readuntil(b"}")
                await asyncio.sleep(_EVERY_SECONDS)
        writer.close()

    async def _checks(self, until: float) -> None:
        while time.monotonic() < until:
            began = time.perf_counter()
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await reader.read()
            writer.close()
            self.times.health.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(_EVERY_SECONDS)


async def _limited(measuring: Coroutine[Any, Any, None], seconds: float) -> None:
    async with asyncio.timeout(seconds + _TIMEOUT_SECONDS):
        await measuring


def p99(values: list[float]) -> float:
    """Return the 99th percentile; with few values the largest."""
    return quantiles(values, n=100)[98] if len(values) >= 100 else max(values)


def _flood(kind: Flood, port: int, seconds: float, results: Any) -> None:
    request = handshake(mint_token(SECRET, "flooder"))
    if kind.is_compressed:
        request = request.removesuffix(b"\r\n") + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    flooder = Flooder(kind, port, request)
    flooder.run(seconds)
    results.put((flooder.sent_bytes, flooder.closed))


def _fill_history(server: Server) -> None:
    """Give the flooder's own user a history of about a megabyte, for the answers to its hellos."""

    async def publish() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for number in range(_HISTORY_MESSAGES):
            message = create_message("said", {"number": number, "text": _HISTORY_TEXT})
            writer.write(publish_request({"user": "flooder"}, message))
            answer = await reader.readuntil(b"}")
            if b" 200 " not in answer:
                raise RuntimeError(f"a message was not published: {answer!r}")
        writer.close()

    asyncio.run(publish())


async def _during(kind: Flood, server: Server, seconds: float) -> tuple[Times, Times, int]:
    """Return the latencies before and during a flood, and the gateway's largest resident memory."""
    before = await Bystander(server.port).measure(_QUIET_SECONDS)
    results: Any = multiprocessing.get_context("spawn").Queue()
    flooder = multiprocessing.get_context("spawn").Process(target=_flood, args=(kind, server.port, seconds, results))
    flooder.start()
    largest = server.rss_bytes

    async def watch() -> None:
        nonlocal largest
        while True:
            largest = max(largest, server.rss_bytes)
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    during = await Bystander(server.port).measure(seconds + 0.5)
    watching.cancel()
    sent, closed = await asyncio.to_thread(results.get, True, _TIMEOUT_SECONDS)
    flooder.join()
    print(f"  ({kind.name}: {sent / 1e6:,.1f} MB sent, {closed} times closed)", file=sys.stderr)
    return before, during, largest


def _row(kind: Flood, cores: machine.Cores, seconds: float) -> bool:
    """Measure one flood on a fresh gateway, print its row, and return True if the goal is met."""
    compression = "true" if kind.is_compressed else "false"
    with Server(cores, JWT_SECRET=SECRET, API_KEY=API_KEY, COMPRESSION=compression) as server:
        _fill_history(server)
        before, during, largest = asyncio.run(_during(kind, server, seconds))
    cells = [
        f"{p99(quiet):.1f} → {p99(flooded):.1f} / {max(flooded):.0f}"
        for quiet, flooded in (
            (before.ping, during.ping),
            (before.publish, during.publish),
            (before.health, during.health),
        )
    ]
    worst = max(p99(during.ping), p99(during.publish), p99(during.health))
    cells += [f"{largest / 1e6:.0f}", "yes" if worst <= GOAL_MS else "no"]
    print(f"| {kind.name} | {' | '.join(cells)} |", flush=True)
    return worst <= GOAL_MS


def main() -> None:
    """Run the floods that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench.floods", description="Flood the gateway; see bench/README.")
    parser.add_argument("names", nargs="*", metavar="flood", help=f"{', '.join(FLOODS)}; all if none")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each flood lasts")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(FLOODS))
    if unknown:
        parser.error(f"got {', '.join(unknown)}; allowed: {', '.join(FLOODS)}")
    cores = machine.Cores.of_this_process()
    machine.allow_many_sockets()
    machine.pin(0, cores.load)
    print("| flood | `ping` p99 before → during / max (ms) | publish → device | `/healthz` | RSS (MB) | p99 ≤ 50 ms |")
    print("|---|---|---|---|---|---|", flush=True)
    with machine.highest_priority():
        met = [_row(FLOODS[name], cores, options.seconds) for name in options.names or FLOODS]
    if not all(met):
        sys.exit(json.dumps({"missed": len(met) - sum(met)}))


if __name__ == "__main__":
    main()
