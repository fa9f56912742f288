"""The play of `make cluster`: three nodes and one Redis behind one address; a node is killed, then Redis.

    python -m bench.show

It ends by itself after half a minute, with everything that it has started, and exits with 0 if no message was lost,
duplicated, out of order or stale; else with 1, or with 2 if something that it needs is missing. Ctrl-C ends it early.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

from bench.cluster import Cluster, broadcasters_of, running_cluster
from bench.ledger import Arrival
from bench.lossless import Outcome, Scenario, Stage, run_scenario
from bench.processes import API_KEY, MissingProgram, bypass_proxies, in_thread

NODES = 3
METRICS = {"METRICS": "true"}
SCENARIO = Scenario(
    seconds=0, users=20, devices_per_user=3, producers=10, pause_seconds=0.06, longest_disturbance_seconds=None
)
_CALM_SECONDS = 4.0
_REDIS_AWAY_SECONDS = 2.0
_AT_MOST_SECONDS = 60.0
_COUNT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Episode:
    """A time in which something was broken, and the seconds that it took until everything was well again."""

    began_at: float
    ended_at: float
    seconds_to_whole: float


@dataclass(slots=True)
class Show:
    """The play, told line by line."""

    cluster: Cluster
    began_at: float = field(default_factory=monotonic)
    episodes: list[Episode] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Print a line, with the seconds since the beginning."""
        print(f"{monotonic() - self.began_at:6.1f} s  {text}", flush=True)

    async def run(self) -> Outcome:
        """Run the play, and return its outcome."""
        cluster = self.cluster
        ports = ", ".join(f"{node.name} on {node.port}" for node in cluster.nodes)
        self.say(f"Redis {cluster.redis.version} on port {cluster.redis.port}, which syncs every write to its file")
        self.say(f"{ports}; one address for all: {cluster.url}")
        self.say(f"metrics of a node: {metrics_command(cluster.nodes[0].url)}")
        async with broadcasters_of(cluster) as broadcasters:
            return await run_scenario(SCENARIO, cluster.url, cluster.token, *broadcasters, meanwhile=self._troubles)

    async def _troubles(self, stage: Stage) -> None:
        self.say(f"{len(stage.devices)} devices of {SCENARIO.users} users are connected: {await self._spread()}")
        self.say(f"{SCENARIO.producers} producers publish: over HTTP at any node, and without HTTP through Redis")
        counting = asyncio.create_task(self._count(stage))
        await asyncio.sleep(_CALM_SECONDS)
        await self._kill_node(stage)
        await asyncio.sleep(_CALM_SECONDS)
        await self._kill_redis(stage)
        await asyncio.sleep(_CALM_SECONDS)
        counting.cancel()

    async def _kill_node(self, stage: Stage) -> None:
        node = self.cluster.nodes[1]
        count = (await self.cluster.connections())[node.name]
        self.say(f"✗ {node.name} is killed (kill -9), with its {count} connections")
        began_at = monotonic()
        await in_thread(node.kill)
        whole_at = await self._whole(stage, began_at, began_at)
        self.say(f"✓ whole {whole_at - began_at:.1f} s after its death: its devices are elsewhere, and miss nothing")
        await self.cluster.start_nodes([node])
        self.say(f"  {node.name} is started again")

    async def _kill_redis(self, stage: Stage) -> None:
        redis = self.cluster.redis
        self.say("✗ Redis is killed (kill -9): nobody can publish")
        began_at = monotonic()
        await in_thread(redis.kill)
        await asyncio.sleep(_REDIS_AWAY_SECONDS)
        connected = sum(device.is_up_to_date for device in stage.devices)
        self.say(f"  {connected} of {len(stage.devices)} devices are connected still; Redis is started again")
        back_at = monotonic()
        await in_thread(redis.start)
        whole_at = await self._whole(stage, began_at, back_at)
        self.say(f"✓ whole {whole_at - back_at:.1f} s after that: everything goes on, and nothing is missing")

    async def _whole(self, stage: Stage, began_at: float, mended_at: float) -> float:
        seconds = await stage.seconds_to_whole(mended_at, _AT_MOST_SECONDS)
        self.episodes.append(Episode(began_at, mended_at + seconds, seconds))
        return mended_at + seconds

    async def _spread(self) -> str:
        return ", ".join(f"{name} has {count}" for name, count in (await self.cluster.connections()).items())

    async def _count(self, stage: Stage) -> None:
        while True:
            await asyncio.sleep(_COUNT_SECONDS)
            received = sum(len(device.received.ids) for device in stage.devices)
            missing = sum(device.misses_any(monotonic()) for device in stage.devices)
            waiting = f", {missing} devices wait for something" if missing else ""
            self.say(f"  {len(stage.ledger):,} messages published, received {received:,} times{waiting}")


def report(outcome: Outcome, episodes: Sequence[Episode]) -> list[str]:
    """Return the lines at the end."""
    calm = [each for each in outcome.arrivals if not any(e.began_at <= each.sent_at <= e.ended_at for e in episodes)]
    node, redis = (episode.seconds_to_whole for episode in episodes)
    return [
        f"{outcome.published:,} messages, each to {SCENARIO.devices_per_user} devices: "
        f"{len(outcome.arrivals):,} deliveries, all compared",
        f"time to whole   {node:.1f} s after the death of a node, {redis:.1f} s after Redis was back",
        f"delivery p99    {_p99(calm):,.0f} ms from publish to device while all was well, "
        f"{_p99(outcome.arrivals):,.0f} ms with the troubles; the slowest {_slowest(outcome.arrivals):.1f} s",
        "recovered       by every client, each time"
        if not outcome.not_recovered
        else f"not recovered   {outcome.not_recovered} times: clients were told that something may be missing",
        str(outcome.faults),
    ]


def _p99(arrivals: Sequence[Arrival]) -> float:
    """Return milliseconds that 99 % of these deliveries did not exceed."""
    seconds = sorted(each.seconds for each in arrivals)
    return 1000 * seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))] if seconds else 0.0


def _slowest(arrivals: Sequence[Arrival]) -> float:
    return max((each.seconds for each in arrivals), default=0.0)


def metrics_command(url: str) -> str:
    """Return the command that reads the metrics of a node."""
    return f"curl -s -H 'Authorization: Bearer {API_KEY}' {url}/metrics | grep tellwire_publish"


async def _main() -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    print("tellwire on three nodes: it takes half a minute, and Ctrl-C ends it with everything it has started\n")
    async with running_cluster(NODES, METRICS) as cluster:
        show = Show(cluster)
        outcome = await show.run()
        logged = cluster.log_lines()
    print("\n".join(["", *logged, *outcome.incomplete, *report(outcome, show.episodes)]))
    expected = outcome.published * SCENARIO.devices_per_user
    return 0 if outcome.is_flawless and len(outcome.arrivals) == expected else 1


def main() -> None:
    """Run the play, and exit."""
    # The producer without HTTP tells that Redis is away; so does the play.
    logging.getLogger("tellwire").setLevel(logging.ERROR)
    bypass_proxies()
    try:
        sys.exit(asyncio.run(_main()))
    except MissingProgram as error:
        print(error)
        sys.exit(2)
    except (KeyboardInterrupt, asyncio.CancelledError):
        with suppress(BrokenPipeError):
            print("\nstopped; everything that was started has ended")
        sys.exit(130)


if __name__ == "__main__":
    main()
