"""The delivery promise under disturbances of devices and gateway: no lost, duplicated, unordered or stale message.

`python -m bench.recovery` runs a longer scenario with more devices and producers.
"""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from bench.device import Device
from bench.ledger import MESSAGE_TYPE, Faults, Received
from bench.lossless import Scenario, run_scenario, until
from bench.processes import Gateway
from bench.recovery import measure
from tellwire.client import ClientOptions, ReceivedMessage
from tellwire.messages import create_message
from tests.conftest import Gateway as InProcess
from tests.conftest import StartGateway

SHORT = Scenario(
    seconds=3,
    users=6,
    devices_per_user=3,
    producers=6,
    longest_disturbance_seconds=0.8,
    settle_seconds=30,
    at_least=101,
)
FAST_RETRY = ClientOptions(backoff_first_seconds=0.05, backoff_max_seconds=0.5)


@pytest.mark.long
async def test_faults_of_devices(start_gateway: StartGateway) -> None:
    gateway: InProcess = await start_gateway()
    outcome = await run_scenario(SHORT, gateway.url, gateway.token, gateway.node.broadcaster, options=FAST_RETRY)
    assert outcome.published > 100
    assert (outcome.faults, outcome.not_recovered) == (Faults(), 0)


@pytest.mark.long
async def test_devices_that_follow_topics_beside_their_users_stream(start_gateway: StartGateway) -> None:
    gateway: InProcess = await start_gateway(topics=[{"pattern": "play:*", "subscribe": "anyone"}])
    scenario = replace(SHORT, topics=4, seed=3, at_least=301)
    outcome = await run_scenario(scenario, gateway.url, gateway.token, gateway.node.broadcaster, options=FAST_RETRY)
    assert (outcome.faults, outcome.not_recovered, outcome.incomplete) == (Faults(), 0, [])


@pytest.mark.long
async def test_whatever_happens_to_devices_that_are_all_far_behind(start_gateway: StartGateway) -> None:
    # An outbox this small closes slow consumers with 1013; they reconnect and get a welcome.
    gateway: InProcess = await start_gateway(outbox_max_messages=4, outbox_max_bytes=20_000)
    scenario = replace(SHORT, pause_seconds=0.01, seed=2)
    outcome = await run_scenario(scenario, gateway.url, gateway.token, gateway.node.broadcaster, options=FAST_RETRY)
    assert (outcome.faults, outcome.not_recovered) == (Faults(), 0)


@pytest.mark.long
@pytest.mark.parametrize("topics", [0, 4])
async def test_a_gateway_that_is_killed_meanwhile(tmp_path: Path, topics: int) -> None:
    gateway = Gateway(tmp_path)
    await asyncio.to_thread(gateway.start)
    try:
        outcome, recovered = await measure(gateway, replace(SHORT, seconds=6, topics=topics), kills=2)
    finally:
        await asyncio.to_thread(gateway.stop)
    assert [len(seconds) for seconds in recovered] == [18, 18]
    assert (outcome.faults, outcome.not_recovered) == (Faults(), 0)


# --- devices ----------------------------------------------------------------------------------------------------------


async def test_a_device_that_is_left_before_its_first_message_comes_back_to_its_welcome(gateway: InProcess) -> None:
    device = Device("user-1", gateway.url, gateway.token, random.Random(1), FAST_RETRY)
    await device.open()
    await until(lambda: device.is_up_to_date, 10)
    await device.close()
    await gateway.node.broadcaster.broadcast_to_user("user-1", create_message(MESSAGE_TYPE, {}))
    await device.open()
    await until(lambda: bool(device.received.ids), 10)
    await device.close()
    assert len(device.received.ids) == 1


# --- faults are found -------------------------------------------------------------------------------------------------


def received(*messages: tuple[str, int]) -> Received:
    device = Received()
    for kind, number in messages:
        if kind == "row":
            device.add(ReceivedMessage("upload_progress", {"uploadId": "u1", "currentRow": number}))
        else:
            device.add(ReceivedMessage(MESSAGE_TYPE, {}, id=f"{kind}-{number}"))
    return device


@pytest.mark.parametrize(
    ("seen", "faults"),
    [
        ([("a", 1), ("b", 1), ("a", 2), ("row", 1), ("row", 3)], Faults()),
        ([("b", 1), ("a", 1), ("a", 2), ("row", 3)], Faults()),
        ([("a", 1), ("b", 1), ("row", 3)], Faults(lost=1)),
        ([("a", 1), ("b", 1), ("a", 2), ("a", 2), ("row", 3)], Faults(duplicated=1)),
        ([("a", 2), ("b", 1), ("a", 1), ("row", 3)], Faults(out_of_order=1)),
        ([("a", 1), ("b", 1), ("a", 2), ("row", 3), ("row", 2)], Faults(stale=2)),
        ([("a", 1), ("b", 1), ("a", 2), ("row", 2)], Faults(stale=1)),
    ],
)
def test_a_fault_is_counted(seen: list[tuple[str, int]], faults: Faults) -> None:
    assert received(*seen).compare(["a-1", "b-1", "a-2"], {"u1": 3}) == faults
    assert faults.is_none == (faults == Faults())
