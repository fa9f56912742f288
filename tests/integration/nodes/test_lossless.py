"""The promise to users and topics on three nodes and one Redis: no lost, duplicated, unordered or stale message.

`python -m bench.recovery --nodes 3 --topics 4` plays with more devices and producers, and with longer troubles.
"""

from collections.abc import AsyncIterator

import pytest

from bench.cluster import Cluster, running_cluster
from bench.ledger import Faults
from bench.lossless import Scenario
from bench.matrix import play
from bench.troubles import Times
from tellwire.client import ClientOptions
from tests.tools import require

pytestmark = pytest.mark.long

SHORT = Scenario(
    seconds=3,
    at_least=51,
    users=6,
    devices_per_user=3,
    producers=6,
    longest_disturbance_seconds=0.8,
    settle_seconds=30,
    topics=4,
)
QUICK = Times(dead=0.5, between=0.7, node_silent=3.0, redis_silent=2.5, random=6.0)
FAST_RETRY = ClientOptions(backoff_first_seconds=0.05, backoff_max_seconds=0.5)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    require("redis-server")
    async with running_cluster(3) as cluster:
        yield cluster


@pytest.mark.parametrize("trouble", ["node-killed", "redis-killed", "redis-connections-killed", "everything"])
async def test_nothing_is_lost_during(cluster: Cluster, trouble: str) -> None:
    outcome = await play(cluster, trouble, SHORT, QUICK, FAST_RETRY)
    assert outcome.published > 50
    assert (outcome.faults, outcome.not_recovered) == (Faults(), 0), outcome.incomplete
