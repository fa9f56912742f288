"""Redis servers for tests, as a pytest plugin: one of each test process, and others with options of the test's own.

A test that uses the one of its process takes a prefix of its own (`redis_prefix`), and flushes nothing.
"""

import contextlib
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest
from redis.crc import key_slot

from bench import processes
from bench.processes import free_port
from tellwire.engines.redis.link.address import RedisAddress
from tellwire.engines.redis.link.store import RedisStore
from tests.tools import require

SENTINEL = """
sentinel monitor main 127.0.0.1 {port} 2
sentinel down-after-milliseconds main 500
sentinel failover-timeout main 3000
"""

START_SECONDS = 100.0
"""The timeout of a start, which takes some 20 ms."""


class RedisServer(processes.RedisServer):
    """A redis-server of this machine, or a Sentinel. A cluster's node talks with the others on the port `bus`."""

    start_seconds = START_SECONDS

    def __init__(self, directory: Path, *options: str, bus: int | None = None, program: str = "redis-server") -> None:
        super().__init__(directory, *options)
        self.bus = bus
        self.program = program

    def command(self, *words: str) -> str:
        """Run a command with redis-cli, and return its answer as text."""
        command = [require("redis-cli"), "-p", str(self.port), *words]
        for _ in range(5):
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
            if done.returncode == 0:
                return done.stdout.strip()
            # A Redis that is promoted closes the connections of all clients.
            time.sleep(0.05)
        raise AssertionError(done.stderr)

    def stop(self) -> None:
        """End it in order."""
        process = self._process
        super().stop()
        assert process is None or process.returncode == 0, self.log_lines()

    def _program(self) -> Sequence[str]:
        if self.program == "redis-sentinel":
            return (require(self.program), "sentinel.conf")
        bus = () if self.bus is None else ("--cluster-port", str(self.bus))
        return (require(self.program), "--save", "", *bus)


@contextlib.contextmanager
def running(directory: Path, *options: str) -> Iterator[RedisServer]:
    """Run a redis-server with options of the test's own."""
    server = RedisServer(directory, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The Redis of this test process."""
    with tempfile.TemporaryDirectory(prefix=f"redis-{os.getpid()}-") as directory, running(Path(directory)) as server:
        yield server


@pytest.fixture
def redis_prefix() -> str:
    """A prefix of keys that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def redis_store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    """A store on the Redis of this test process."""
    store = RedisStore(RedisAddress.parse(redis_server.url))
    yield store
    await store.close()


class RedisCluster:
    """Three masters, or more, of a Redis Cluster on this machine, with so many replicas each."""

    def __init__(self, directory: Path, masters: int = 3, replicas: int = 0, options: Sequence[str] = ()) -> None:
        self.masters = masters
        self.replicas = replicas
        fixed = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no")
        self.servers = [
            RedisServer(directory / str(index), *fixed, *options, bus=free_port())
            for index in range(masters * (1 + replicas))
        ]

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:2])
        return f"redis+cluster://{places}"

    def start(self) -> None:
        """Start all, divide the slots among the masters, and wait until every node knows it."""
        for server in self.servers:
            server.start()
        first = self.servers[0]
        for server in self.servers[1:]:
            first.command("CLUSTER", "MEET", "127.0.0.1", str(server.port), str(server.bus))
        for index, server in enumerate(self.servers[: self.masters]):
            begin, end = (16384 * each // self.masters for each in (index, index + 1))
            server.command("CLUSTER", "ADDSLOTSRANGE", str(begin), str(end - 1))
        self._until(lambda server: f"cluster_known_nodes:{len(self.servers)}" in server.command("CLUSTER", "INFO"))
        for index, server in enumerate(self.servers[self.masters :]):
            server.command("CLUSTER", "REPLICATE", self.servers[index % self.masters].command("CLUSTER", "MYID"))
        self._until(lambda server: "cluster_slots_ok:16384" in server.command("CLUSTER", "INFO"))
        self._until(lambda server: "cluster_state:ok" in server.command("CLUSTER", "INFO"))

    def server_of(self, key: bytes) -> RedisServer:
        """Return the master that has a key."""
        slot = key_slot(key)
        for line in self.servers[0].command("CLUSTER", "NODES").splitlines():
            _, place, _, _, _, _, _, _, *ranges = line.split()
            for each in ranges:
                first, _, last = each.partition("-")
                if first.isdecimal() and int(first) <= slot <= int(last or first):
                    port = int(place.partition("@")[0].rpartition(":")[2])
                    return next(server for server in self.servers if server.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    def move_slot(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move a slot as `redis-cli --cluster reshard` does."""
        ids = {server: server.command("CLUSTER", "MYID") for server in (source, target)}
        target.command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", ids[source])
        source.command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", ids[target])
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", str(slot), "20").splitlines():
            source.command("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
        for server in (target, source):
            server.command("CLUSTER", "SETSLOT", str(slot), "NODE", ids[target])

    def kill(self) -> None:
        """End all, as `kill -9` does."""
        for server in self.servers:
            server.kill()

    def _until(self, is_so: Callable[[RedisServer], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while not all(is_so(server) for server in self.servers):
            assert time.monotonic() < end, "the cluster does not become whole"
            time.sleep(0.05)


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """The Redis Cluster of this test process, with three masters."""
    with tempfile.TemporaryDirectory(prefix=f"redis-cluster-{os.getpid()}-") as directory:
        cluster = RedisCluster(Path(directory))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.kill()


class Sentinels:
    """One master, one replica, and three Sentinels that watch them."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.servers = [RedisServer(directory / str(index), *options) for index in range(2)]
        self.sentinels = [RedisServer(directory / f"sentinel{index}", program="redis-sentinel") for index in range(3)]

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{places}/main"

    def start(self) -> None:
        """Start all, and wait until the Sentinels know each other and the replica."""
        master, replica = self.servers
        master.start()
        replica.start("--replicaof", "127.0.0.1", str(master.port))
        for each in self.sentinels:
            each.directory.mkdir(parents=True, exist_ok=True)
            (each.directory / "sentinel.conf").write_text(SENTINEL.format(port=master.port))
            each.start()
        end = time.monotonic() + START_SECONDS
        while not all(self._is_ready(each) for each in self.sentinels):
            assert time.monotonic() < end, self.sentinels[0].log_lines()
            time.sleep(0.05)

    def kill(self) -> None:
        """End all, as `kill -9` does."""
        for each in [*self.servers, *self.sentinels]:
            each.kill()

    def _is_ready(self, sentinel: RedisServer) -> bool:
        words = sentinel.command("SENTINEL", "MASTER", "main").splitlines()
        facts = dict(zip(words[::2], words[1::2], strict=False))
        return facts.get("num-slaves") == "1" and facts.get("num-other-sentinels") == "2"
