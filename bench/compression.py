"""The cost of compression (permessage-deflate): CPU time and bytes of messages, and memory of connections.

    python -m bench.compression [--quick]

A node runs in a process of its own, in three ways: without compression; with it, and no device that wants it; with it,
and devices that want it. The devices are sockets of this process, which reads and drops what comes. CPU time is the
node's own, in user and system mode (`process_time`), the publish within the process included. The three run in turns,
and a figure is the lowest of the rounds: other programs of the machine only add to it.
"""

import argparse
import asyncio
import multiprocessing
import random
import select
import socket
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import uvloop

from bench import machine
from bench.native import Sockets, open_sockets
from bench.traffic import SECRET, handshake
from tellwire.auth import mint_token
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.messages import Message, create_message
from tellwire.server.deflate import Deflater, Inflation

OFFER: Final = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
WAYS: Final = ("off", "on, not asked for", "on, asked for")
SIZES: Final = (200, 1000, 4000, 30_000)
DEVICES: Final = 1000
MEMORY_CONNECTIONS: Final = 4000
_IN_BUFFERS_BYTES: Final = 600_000
_TEXT: Final = "the inspection of section three found no deviation from the drawing and all rows are valid"


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds, and publishes of each to one device, and to all."""

    rounds: int
    alone: int
    to_all: int


FULL: Final = Plan(rounds=12, alone=500, to_all=20)
QUICK: Final = Plan(rounds=3, alone=200, to_all=10)


def message(size: int) -> Message:
    """Return a message whose data has about this many bytes: rows of a report, as applications send them."""
    source = random.Random(size)
    rows: list[dict[str, Any]] = []
    left = size - 100
    while left > 0:
        words = source.sample(_TEXT.split(), 9)
        rows.append(
            {"id": f"{source.getrandbits(48):012x}", "row": len(rows), "isValid": True, "text": " ".join(words)}
        )
        left -= len(rows[-1]["text"]) + 60
    return create_message("report", {"rows": rows})


# --- the node ---------------------------------------------------------------------------------------------------------


def _node(way: str, commands: Any) -> None:
    """Run a node in this process, and obey the commands."""
    uvloop.run(_serve(way, commands))


async def _serve(way: str, commands: Any) -> None:
    settings: dict[str, Any] = {"connections_per_user": 10**6, "max_connections": 10**6, "ping_after_seconds": 0}
    if way != WAYS[0]:
        settings["compression"] = True
    node = Node(Settings(port=0, engine="memory", jwt_secret=SECRET, **settings))
    loop = asyncio.get_running_loop()
    async with node.running():
        commands.send(node.address[1])
        while (command := await loop.run_in_executor(None, commands.recv)) is not None:
            kind, *rest = command
            commands.send(await _CALLS[kind](node, *rest))


async def _wait_for(node: Node, count: int) -> int:
    while len(node.hub) != count:  # noqa: ASYNC110 - a node tells nobody
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    return machine.rss_bytes(multiprocessing.current_process().pid or 0)


async def _publish(node: Node, user: str, size: int, count: int) -> float:
    """Return the CPU time of a publish, in seconds."""
    words = message(size)
    began = time.process_time()
    for _ in range(count):
        await node.broadcaster.broadcast_to_user(user, words)
        await asyncio.sleep(0)
    return (time.process_time() - began) / count


_CALLS: Final[Mapping[str, Callable[..., Awaitable[float]]]] = {"connections": _wait_for, "publish": _publish}


class RunningNode:
    """A node in a process of its own."""

    def __init__(self, way: str) -> None:
        self.way = way
        spawning = multiprocessing.get_context("spawn")
        self._commands, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_node, args=(way, theirs))

    def __enter__(self) -> Self:
        self._process.start()
        self.port = self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._commands.send(None)
        self._process.join(20)

    def call(self, *command: Any) -> Any:
        self._commands.send(command)
        return self._answer()

    def _answer(self) -> Any:
        if not self._commands.poll(60):
            raise TimeoutError("the node does not answer")
        return self._commands.recv()

    def connect(self, users: Sequence[str]) -> Sockets:
        requests = [handshake(mint_token(SECRET, user)) for user in users]
        if self.way == WAYS[2]:
            requests = [each.removesuffix(b"\r\n") + OFFER for each in requests]
        return open_sockets(self.port, requests)


class Reader:
    """A thread that reads from sockets, and counts the bytes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self._is_ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, sockets: Sockets) -> None:
        for descriptor in sockets.fds:
            each = socket.socket(fileno=descriptor)
            each.setblocking(False)
            self.sockets[descriptor] = each
            self._poll.register(descriptor, select.EPOLLIN)
        del sockets.fds[:]

    def settled(self) -> int:
        """Return the bytes so far, when no more have come for a while."""
        last = -1
        while self.bytes != last:
            last = self.bytes
            time.sleep(0.1)
        return last

    def hang_up(self, descriptor: int) -> None:
        """End a connection."""
        self.sockets[descriptor].shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._is_ended = True
        self._thread.join(10)
        for each in self.sockets.values():
            each.close()

    def _run(self) -> None:
        while not self._is_ended:
            for descriptor, _ in self._poll.poll(0.1):
                data = self.sockets[descriptor].recv(1 << 18)
                self.bytes += len(data)
                if not data:
                    self._poll.unregister(descriptor)


@contextmanager
def _reader() -> Iterator[Reader]:
    reader = Reader()
    try:
        yield reader
    finally:
        reader.close()


# --- measurements -----------------------------------------------------------------------------------------------------


def cpu(plan: Plan) -> None:
    """Print CPU time of publishes to one device and to 1,000, and their bytes."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(RunningNode(way)) for way in WAYS]
        readers = [stack.enter_context(_reader()) for _ in nodes]
        for node, reader in zip(nodes, readers, strict=True):
            reader.add(node.connect(["one"]))
            reader.add(node.connect(["many"] * DEVICES))
            node.call("connections", DEVICES + 1)
        print("| message | device | " + " | ".join(f"{way}: µs, bytes" for way in WAYS) + " |")
        print("|---|---|" + "---|" * len(WAYS))
        for size in SIZES:
            for user, count, devices in (("one", plan.alone, 1), ("many", plan.to_all, DEVICES)):
                cells = _in_turns(plan, nodes, readers, (user, size, count, devices))
                print(f"| {size:,} bytes | {devices:,} | " + " | ".join(cells) + " |", flush=True)


def _in_turns(
    plan: Plan, nodes: Sequence[RunningNode], readers: Sequence[Reader], what: tuple[str, int, int, int]
) -> list[str]:
    user, size, most, devices = what
    # So much fits into the buffers of a device: none is a slow consumer.
    count = min(most, _IN_BUFFERS_BYTES // size)
    lowest, received = [float("inf")] * len(nodes), [0] * len(nodes)
    for _ in range(plan.rounds):
        for index, (node, reader) in enumerate(zip(nodes, readers, strict=True)):
            before = reader.settled()
            seconds = node.call("publish", user, size, count)
            received[index] = (reader.settled() - before) // (count * devices)
            lowest[index] = min(lowest[index], seconds)
    return [f"{1e6 * seconds:,.0f}, {each:,}" for seconds, each in zip(lowest, received, strict=True)]


def memory(count: int) -> None:
    """Print the memory of an idle connection, and of one that has had messages."""
    print("\n| memory of a connection, bytes | " + " | ".join(WAYS) + " |")
    print("|---|" + "---|" * len(WAYS))
    idle, used = [], []
    for way in WAYS:
        with RunningNode(way) as node, _reader() as reader:
            reader.add(node.connect(["warm"] * 50))
            node.call("publish", "warm", 4000, 20)
            before = node.call("connections", 50)
            reader.add(node.connect([f"user-{number}" for number in range(count)]))
            idle.append((node.call("connections", 50 + count) - before) / count)
            for number in range(count):
                node.call("publish", f"user-{number}", 1000, 1)
            used.append((node.call("connections", 50 + count) - before) / count)
    print("| idle | " + " | ".join(f"{each:,.0f}" for each in idle) + " |")
    print("| after a message of 1,000 bytes, which is kept | " + " | ".join(f"{each:,.0f}" for each in used) + " |")


def alone(rounds: int) -> None:
    """Print the CPU time of compressing a message, and of inflating it."""
    print("\n| message | compressed to | compress, µs | inflate, µs |\n|---|---|---|---|")
    for size in SIZES:
        payload = b'{"type":"report","data":' + repr(message(size)).encode() + b"}"
        deflater = Deflater()
        compressed = deflater.compressed(payload, 15)
        count = max(20, 2_000_000 // size)
        there = min(_seconds(lambda: deflater.compressed(payload, 15), count) for _ in range(rounds))  # noqa: B023
        back = min(_seconds(lambda: _inflate(compressed), count) for _ in range(rounds))  # noqa: B023
        print(f"| {len(payload):,} | {len(compressed):,} | {1e6 * there:.1f} | {1e6 * back:.1f} |")
    bomb = zlib.compressobj(9, wbits=-15)
    limit = bomb.compress(bytes(128 * 1024)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    print(f"\nA message of 128 KiB in {len(limit):,} bytes: {1e6 * _seconds(lambda: _inflate(limit), 50):,.0f} µs.")


def _inflate(compressed: bytes) -> None:
    inflation = Inflation(compressed, 128 * 1024)
    while not inflation.is_done:
        inflation.step()


def _seconds(work: Any, count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        work()
    return (time.process_time() - began) / count


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.compression", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first look")
    options = parser.parse_args()
    machine.allow_many_sockets()
    cpu(QUICK if options.quick else FULL)
    alone(QUICK.rounds)
    memory(MEMORY_CONNECTIONS // 4 if options.quick else MEMORY_CONNECTIONS)


if __name__ == "__main__":
    main()
