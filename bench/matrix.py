"""The matrix of troubles: the play of `lossless` on several nodes and one Redis, once for each trouble.

    python -m bench.recovery --nodes 3 [--trouble node-killed] [--seconds 10]

Devices are disturbed meanwhile, as with one node; behind the one address, each of their connections is to another node.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from bench.cluster import Cluster, broadcasters_of, running_cluster
from bench.ledger import Faults
from bench.lossless import Outcome, Scenario, Stage, run_scenario
from bench.processes import MissingProgram
from bench.troubles import NODES_LIVE, TROUBLES, Scene, Times
from tellwire.client import ClientOptions

_TABLE = "{:<26}{:>10}{:>10}{:>9}  {:<48}{:>16}{:>14}"


async def play(
    cluster: Cluster,
    trouble: str,
    scenario: Scenario,
    times: Times | None = None,
    options: ClientOptions | None = None,
) -> Outcome:
    """Run the scenario during one trouble. At its end everything runs again.

    The clients send no pings while all nodes live: an answer would tell them that they miss something, and hide that
    their node has not noticed.
    """
    options = options or ClientOptions()
    if trouble in NODES_LIVE:
        options = replace(options, heartbeat_seconds=0)

    async def meanwhile(stage: Stage) -> None:
        await TROUBLES[trouble](Scene(cluster, stage, times or Times(), random.Random(scenario.seed)))

    async with broadcasters_of(cluster) as broadcasters:
        try:
            return await run_scenario(
                replace(scenario, name=f"{secrets.token_hex(2)}-"),
                cluster.url,
                cluster.token,
                *broadcasters,
                meanwhile=meanwhile,
                options=options,
            )
        finally:
            await cluster.start_all_again()


async def play_all(cluster: Cluster, troubles: Sequence[str], scenario: Scenario) -> AsyncIterator[tuple[str, Outcome]]:
    """Run the scenario with each of these troubles, one after the other."""
    for trouble in troubles:
        yield trouble, await play(cluster, trouble, scenario)


def main(scenario: Scenario, nodes: int, troubles: Sequence[str]) -> int:
    """Run it, print a line for each trouble, and return the exit code: 1 if there was any fault."""

    async def run() -> list[Outcome]:
        outcomes = []
        async with running_cluster(nodes) as cluster:
            print(f"{nodes} nodes, Redis {cluster.redis.version} (appendfsync always); devices: {_devices(scenario)}")
            print(_TABLE.format("", "published", "received", "retries", "", "not recovered", "all had all"))
            async for trouble, outcome in play_all(cluster, troubles, scenario):
                outcomes.append(outcome)
                print("\n  ".join([_line(trouble, outcome), *outcome.incomplete]), flush=True)
            for line in cluster.log_lines():
                print(f"  {line}")
        return outcomes

    logging.getLogger("tellwire").setLevel(logging.ERROR)
    try:
        outcomes = asyncio.run(run())
    except MissingProgram as error:
        print(error)
        return 2
    print(sum((outcome.faults for outcome in outcomes), Faults()))
    return 0 if all(outcome.is_flawless for outcome in outcomes) else 1


def _devices(scenario: Scenario) -> str:
    return f"{scenario.users * scenario.devices_per_user} of {scenario.users} users, but one of each disturbed"


def _line(trouble: str, outcome: Outcome) -> str:
    return _TABLE.format(
        trouble,
        f"{outcome.published:,}",
        f"{outcome.received:,}",
        f"{outcome.retries:,}",
        str(outcome.faults),
        f"{outcome.not_recovered:,}",
        f"{outcome.settled_seconds:.1f} s",
    )
