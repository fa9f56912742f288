"""Gateways on one Redis behind one address, each a process: `async with running_cluster(3) as cluster`."""

import asyncio
import json
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from bench.processes import API_KEY, EACH_WRITE, SECRET, ForwarderProcess, Gateway, RedisServer, in_thread
from tellwire.auth import mint_token
from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.engines.redis.producer import RedisProducer
from tellwire.producer import carrier_from_environment

_READY_SECONDS = 20.0
_ANSWER_SECONDS = 5.0
_NAMES = "ABCDEFGHI"


class Cluster:
    """The processes: `redis`, `nodes`, and the forwarder at `url`. `more` are further settings of the nodes."""

    def __init__(self, directory: Path, count: int, more: Mapping[str, str] | None = None) -> None:
        self.redis = RedisServer(directory, *EACH_WRITE)
        settings = {
            "ENGINE": "redis",
            "REDIS_URL": self.redis.url,
            "DRAIN_SECONDS": "5",
            "DRAIN_SPREAD_SECONDS": "1",
        } | dict(more or {})
        self.nodes = [Gateway(directory, f"node {name}", settings) for name in _NAMES[:count]]
        self._directory = directory
        self._forwarder: ForwarderProcess | None = None

    @property
    def url(self) -> str:
        """The one address, for devices and producers."""
        assert self._forwarder is not None
        return self._forwarder.url

    def token(self, user_id: str) -> str:
        """Return a token for a device, which may follow any topic."""
        return mint_token(SECRET, user_id, 3600, topics=["*"])

    async def start(self) -> None:
        """Start everything, and wait until every node is ready.

        Raises:
            RuntimeError: a process did not start.
        """
        await in_thread(self.redis.start)
        await self.start_nodes(self.nodes)
        self._forwarder = ForwarderProcess(self._directory, [node.port for node in self.nodes])
        await in_thread(self._forwarder.start)

    async def start_nodes(self, nodes: Sequence[Gateway]) -> None:
        """Start these nodes at once, again and again as a supervisor does, and wait until they are ready.

        Raises:
            RuntimeError: a node is not ready in time.
        """
        # All of them, also if one fails: none may be started after `stop`.
        starts = (in_thread(partial(_start, node)) for node in nodes)
        for outcome in await asyncio.gather(*starts, return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def start_all_again(self) -> None:
        """Start or wake whatever does not run."""
        self.redis.thaw()
        if self.redis.pid is None:
            await in_thread(self.redis.start)
        for node in self.nodes:
            node.thaw()
        await self.start_nodes(self.nodes)

    async def connections(self) -> dict[str, int]:
        """Return the number of connections of each node, as it counts them."""
        counts = await asyncio.gather(*(asyncio.to_thread(_connections, node) for node in self.nodes))
        return {node.name: count for node, count in zip(self.nodes, counts, strict=True)}

    def stop(self) -> None:
        """End every process, by its process id."""
        for process in (self._forwarder, *self.nodes, self.redis):
            if process is not None:
                process.kill()

    def log_lines(self) -> list[str]:
        """Return the last lines that the nodes have written to their logs."""
        return [f"{node.name}: {line}" for node in self.nodes for line in node.log_lines()[-5:]]


@asynccontextmanager
async def running_cluster(count: int, more: Mapping[str, str] | None = None) -> AsyncIterator[Cluster]:
    """Run so many nodes on one Redis, in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(Path(directory), count, more)
        try:
            await cluster.start()
            yield cluster
        finally:
            cluster.stop()


@asynccontextmanager
async def broadcasters_of(cluster: Cluster) -> AsyncIterator[list[Broadcaster]]:
    """Open producers: over HTTP at every node and at the one address, and one without HTTP, through Redis."""
    urls = [cluster.url, *(node.url for node in cluster.nodes)]
    environments = [{"TELLWIRE_URL": url, "TELLWIRE_API_KEY": API_KEY} for url in urls]
    environments.append({"TELLWIRE_REDIS_URL": cluster.redis.url})
    carriers = [carrier_from_environment(environment) for environment in environments]
    try:
        yield [Broadcaster(carrier) for carrier in carriers]
    finally:
        for carrier in carriers:
            if isinstance(carrier, HttpCarrier | RedisProducer):
                await carrier.close()


def _start(node: Gateway) -> None:
    give_up_at = time.monotonic() + _READY_SECONDS
    while True:
        try:
            if node.pid is None:
                node.start()
            _get(node, "/readyz")
        except (OSError, RuntimeError) as error:
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"{node.name} is not ready: {error}") from error
            time.sleep(0.05)
        else:
            return


def _connections(node: Gateway) -> int:
    return int(json.loads(_get(node, "/v1/stats"))["connections"])


def _get(node: Gateway, path: str) -> bytes:
    request = urllib.request.Request(node.url + path, headers={"Authorization": f"Bearer {API_KEY}"})
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
        return bytes(answer.read())
