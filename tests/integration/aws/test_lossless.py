"""The play of `tests/integration/test_lossless.py` on AWS's parts: the local API Gateway and DynamoDB Local."""

import asyncio
from dataclasses import replace

from bench.lossless import Scene, Verdict, play
from tellwire.broadcast import Broadcaster
from tellwire.client import Client, ClientOptions
from tellwire.messages import create_message
from tests.aws_stack import Stack

SCENE = Scene(seconds=4, users=4, devices_per_user=2, producers=4, pause_seconds=0.1, longest_trouble_seconds=1)
HASTY = ClientOptions(backoff_first_seconds=0.05, backoff_max_seconds=0.5)


async def test_whatever_happens_to_devices(keeping_stack: Stack) -> None:
    outcome = await play(
        SCENE, keeping_stack.api.url, keeping_stack.token, Broadcaster(keeping_stack.keeping_carrier()), options=HASTY
    )
    assert outcome.said > 30
    assert (outcome.verdict, outcome.not_recovered) == (Verdict(), 0)


async def test_workers_that_know_nothing_of_each_other(keeping_stack: Stack) -> None:
    # Each with a history of its own, as functions have.
    broadcasters = [Broadcaster(keeping_stack.keeping_carrier()) for _ in range(3)]
    scene = replace(SCENE, users=1, devices_per_user=3, pause_seconds=0.03)
    outcome = await play(scene, keeping_stack.api.url, keeping_stack.token, *broadcasters, options=HASTY)
    assert outcome.said > 30
    assert (outcome.verdict, outcome.not_recovered) == (Verdict(), 0)


async def test_what_is_said_while_a_device_connects(keeping_stack: Stack) -> None:
    # The race of `$connect`: the connection is in the table before it is open, and posts to it are answered with 410.
    broadcaster = Broadcaster(keeping_stack.keeping_carrier())
    async with Client(keeping_stack.api.url, lambda why: keeping_stack.token(), options=HASTY) as first:
        while first.state.recovered is None:
            await asyncio.sleep(0.01)
        cursors = first.cursors
    heard: list[int] = []

    async def talk() -> None:
        for number in range(20):
            await broadcaster.broadcast_to_user("user-1", create_message("said", number))

    async with (
        asyncio.timeout(30),
        Client(keeping_stack.api.url, lambda why: keeping_stack.token(), options=HASTY, cursors=cursors) as client,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(talk())
        async for message in client:
            heard.append(message.data)
            if len(heard) == 20:
                break
    assert heard == list(range(20))
