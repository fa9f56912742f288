"""The cost of presence: a storm of users who join one topic, on one node, with real sockets.

    python -m bench.presence [--quick]

10,000 users connect, then all of them subscribe to the topic at once; then all leave at once. Of the node's process:
CPU time, also per second of the storm, and memory per user. It runs three times: the topic has no presence; it has, and
nobody asks; it has, and everybody asks. After each storm the number of members must be exactly that of the users.
"""

import argparse
import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final, Self

import uvloop

from bench import machine
from bench.compression import Reader
from bench.native import Sockets, _client_frame, open_sockets
from bench.traffic import SECRET, handshake
from tellwire.auth import mint_token
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.limits import PRESENCE_GRACE_SECONDS
from tellwire.messages import create_message
from tellwire.publication import topic_stream

WAYS: Final = ("no presence", "nobody asks", "everybody asks")
USERS: Final = 10_000
QUICK_USERS: Final = 1_000
TOPIC: Final = "moc:1:comments"
INFO: Final = {"name": "Ann Example", "avatar": "/avatars/0123456789abcdef.png"}
_PATIENCE_SECONDS: Final = 180.0
_PUBLISHES: Final = 20
_LOOK_SECONDS: Final = 0.01


# --- the node ---------------------------------------------------------------------------------------------------------


def _node(way: str, commands: Any) -> None:
    """Run a node in this process, and obey the commands."""
    uvloop.run(_serve(way, commands))


async def _serve(way: str, commands: Any) -> None:
    rule = {"pattern": "*", "subscribe": "anyone", "presence": way != WAYS[0]}
    many: dict[str, Any] = dict.fromkeys(("connections_per_address", "max_connections"), 10**6)
    node = Node(
        Settings(port=0, engine="memory", jwt_secret=SECRET, topics=json.dumps([rule]), ping_after_seconds=0, **many)
    )
    loop = asyncio.get_running_loop()
    async with node.running():
        commands.send(node.address[1])
        while (command := await loop.run_in_executor(None, commands.recv)) is not None:
            kind, *rest = command
            commands.send(await _CALLS[kind](node, *rest))


async def _connected(node: Node, count: int) -> None:
    await _until(lambda: len(node.hub) == count)


async def _subscribed(node: Node, count: int) -> float:
    """Wait until so many are subscribed. Return the longest CPU time between two turns of others."""
    longest, last = 0.0, time.process_time()

    def has_all() -> bool:
        nonlocal longest, last
        now = time.process_time()
        longest, last = max(longest, now - last), now
        return node.hub.size(topic_stream(TOPIC)) == count

    await _until(has_all)
    return longest


async def _members(node: Node) -> int:
    presence = node.engine.topic_presence
    return 0 if presence is None else (await presence.members(topic_stream(TOPIC))).count


async def _emptied(node: Node) -> float:
    while await _members(node):  # noqa: ASYNC110 - a node tells nobody
        await asyncio.sleep(0.05)
    return time.process_time()


async def _cpu(node: Node) -> float:
    return time.process_time()


async def _publish(node: Node) -> float:
    """Return the CPU time of a message to all subscribers."""
    began = time.process_time()
    for _ in range(_PUBLISHES):
        await node.broadcaster.broadcast_to_topic(TOPIC, create_message("note", {"text": "x" * 100}))
        await asyncio.sleep(0)
    return (time.process_time() - began) / _PUBLISHES


async def _told(node: Node) -> tuple[int, int]:
    presence: Any = node.engine.topic_presence
    return presence.told, presence.untold


async def _memory(node: Node) -> int:
    return machine.rss_bytes(multiprocessing.current_process().pid or 0)


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not is_so():  # noqa: ASYNC110 - a node tells nobody
            await asyncio.sleep(_LOOK_SECONDS)


_CALLS: Final[Mapping[str, Callable[..., Any]]] = {
    "connected": _connected,
    "subscribed": _subscribed,
    "members": _members,
    "emptied": _emptied,
    "cpu": _cpu,
    "publish": _publish,
    "told": _told,
    "memory": _memory,
}


class RunningNode:
    """A node in a process of its own."""

    def __init__(self, way: str) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._commands, theirs = spawning.Pipe()
        self._process = spawning.Process(target=_node, args=(way, theirs))

    def __enter__(self) -> Self:
        self._process.start()
        self.port = self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._commands.send(None)
        self._process.join(30)

    def call(self, *command: Any) -> Any:
        self._commands.send(command)
        return self._answer()

    def _answer(self) -> Any:
        if not self._commands.poll(_PATIENCE_SECONDS + 20):
            raise TimeoutError("the node does not answer")
        return self._commands.recv()

    def connect(self, users: int) -> Sockets:
        tokens = [mint_token(SECRET, f"user-{number}", info=INFO) for number in range(users)]
        return open_sockets(self.port, list(map(handshake, tokens)))


# --- the storm --------------------------------------------------------------------------------------------------------


def storm(way: str, users: int) -> None:
    """Run it in one way, and print its line.

    Raises:
        AssertionError: the number of members is not that of the users.
    """
    with ExitStack() as stack:
        node = stack.enter_context(RunningNode(way))
        reader = Reader()
        stack.callback(reader.close)
        sockets = node.connect(users)
        descriptors = list(sockets.fds)
        reader.add(sockets)
        node.call("connected", users)
        time.sleep(1)
        memory, cpu, read = node.call("memory"), node.call("cpu"), reader.bytes
        began = time.monotonic()
        requests = _client_frame(json.dumps({"type": "subscribe", "topic": TOPIC}).encode())
        if way == WAYS[2]:
            requests += _client_frame(json.dumps({"type": "presence", "topic": TOPIC}).encode())
        for each in descriptors:
            reader.sockets[each].sendall(requests)
        longest = node.call("subscribed", users)
        time.sleep(2)
        reader.settled()
        seconds = time.monotonic() - began - 2
        used, grown = node.call("cpu") - cpu, node.call("memory") - memory
        members = node.call("members")
        assert members == (users if way != WAYS[0] else 0), f"{members:,} members, of {users:,} users"
        heard = (reader.bytes - read) / users
        told, untold = node.call("told")
        publish = node.call("publish")
        cpu = node.call("cpu")
        for each in descriptors:
            reader.hang_up(each)
        node.call("connected", 0)
        time.sleep(PRESENCE_GRACE_SECONDS)
        left = node.call("emptied") - cpu
    print(
        f"| {way} | {used:.2f} | {seconds:.1f} | {1000 * longest:.0f} | {heard:,.0f} | {grown / users:,.0f} | "
        f"{told:,} / {untold:,} | {1e6 * publish:,.0f} | {left:.2f} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.presence", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the users: a first look")
    users = QUICK_USERS if parser.parse_args().quick else USERS
    machine.allow_many_sockets()
    print(f"{users:,} users join one topic, and leave it\n")
    print(
        "| presence | CPU of the storm, s | its length, s | longest turn, ms of CPU | bytes to each | "
        "memory of each, bytes | changes told by name / not | CPU of a publish to all, µs | CPU of the leave, s |"
    )
    print("|---|" + "---:|" * 8)
    for way in WAYS:
        storm(way, users)


if __name__ == "__main__":
    main()
