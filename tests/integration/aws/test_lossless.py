"""The scenario of `tests/integration/test_lossless.py` on the local API Gateway and DynamoDB Local."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench.ledger import Faults
from bench.lossless import Scenario, run_scenario
from tellwire.broadcast import Broadcaster
from tellwire.client import Client, ClientOptions
from tellwire.messages import create_message
from tests.aws_stack import Stack, running_stack
from tests.faults import Proxy

pytestmark = pytest.mark.long

SCENARIO = Scenario(
    seconds=4, users=4, devices_per_user=2, producers=4, pause_seconds=0.1, longest_disturbance_seconds=1, at_least=31
)
FAST_RETRY = ClientOptions(backoff_first_seconds=0.05, backoff_max_seconds=0.5)


@pytest.fixture
def topics(dynamodb_proxy: Proxy) -> Iterator[Stack]:
    """The API with a history, and a rule that lets anyone subscribe to the topics of a play."""
    rules = json.dumps([{"pattern": "play:*", "subscribe": "anyone"}])
    with running_stack(dynamodb_proxy.url, {"TELLWIRE_TOPICS": rules}, has_history=True) as running:
        yield running


@pytest.fixture(autouse=True)
def hellos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow as many hellos as devices want: the clock of the tables stands still, so no bucket fills again."""
    monkeypatch.setattr("tellwire.engines.aws.connections.HELLO_BURST", 10_000)


async def test_faults_of_devices(keeping_stack: Stack) -> None:
    outcome = await run_scenario(
        SCENARIO,
        keeping_stack.api.url,
        keeping_stack.token,
        Broadcaster(keeping_stack.keeping_carrier()),
        options=FAST_RETRY,
    )
    assert outcome.published > 30
    assert (outcome.faults, outcome.not_recovered) == (Faults(), 0)


async def test_concurrent_workers(keeping_stack: Stack) -> None:
    # Each has its own history object, as functions have.
    broadcasters = [Broadcaster(keeping_stack.keeping_carrier()) for _ in range(3)]
    scenario = replace(SCENARIO, users=1, devices_per_user=3, pause_seconds=0.03)
    outcome = await run_scenario(
        scenario, keeping_stack.api.url, keeping_stack.token, *broadcasters, options=FAST_RETRY
    )
    assert outcome.published > 30
    assert (outcome.faults, outcome.not_recovered) == (Faults(), 0)


@pytest.mark.parametrize("topic_count", [1, 4])
async def test_devices_that_follow_topics_beside_their_users_stream(topics: Stack, topic_count: int) -> None:
    broadcasters = [Broadcaster(topics.keeping_carrier()) for _ in range(3)]
    scenario = replace(SCENARIO, devices_per_user=3, topics=topic_count, seed=3, at_least=61)
    outcome = await run_scenario(scenario, topics.api.url, topics.token, *broadcasters, options=FAST_RETRY)
    assert (outcome.faults, outcome.not_recovered, outcome.incomplete) == (Faults(), 0, [])


async def test_messages_that_are_published_while_a_device_connects(keeping_stack: Stack) -> None:
    # The race of `$connect`: the connection is in the table before it is open, and posts to it are answered with 410.
    broadcaster = Broadcaster(keeping_stack.keeping_carrier())
    async with Client(keeping_stack.api.url, lambda why: keeping_stack.token(), options=FAST_RETRY) as first:
        while first.state.recovered is None:
            await asyncio.sleep(0.01)
        cursors = first.cursors
    heard: list[int] = []

    async def talk() -> None:
        for number in range(20):
            await broadcaster.broadcast_to_user("user-1", create_message("note", number))

    async with (
        asyncio.timeout(100),
        Client(keeping_stack.api.url, lambda why: keeping_stack.token(), options=FAST_RETRY, cursors=cursors) as client,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(talk())
        async for message in client:
            heard.append(message.data)
            if len(heard) == 20:
                break
    assert heard == list(range(20))
