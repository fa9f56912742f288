"""The delivery promise under disturbances of devices and gateway: no lost, duplicated, unordered or stale message.

`python -m bench.recovery` runs a longer scenario with more devices and producers.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bench.lossless import MESSAGE_TYPE, Faults, Received, Scenario, run_scenario
from bench.recovery import Gateway, measure
from tellwire.client import ClientOptions, ReceivedMessage
from tests.conftest import Gateway as InProcess
from tests.conftest import StartGateway

SHORT = Scenario(
    seconds=3, users=6, devices_per_user=3, producers=6, longest_disturbance_seconds=0.8, settle_seconds=30
)
FAST_RETRY = ClientOptions(backoff_first_seconds=0.05, backoff_max_seconds=0.5)


@pytest.mark.long
async def test_faults_of_devices(start_gateway: StartGateway) -> None:
    gateway: InProcess = await start_gateway()
    outcome = await run_scenario(SHORT, gateway.url, gateway.token, gateway.node.broadcaster, options=FAST_RETRY)
    assert outcome.published > 100
    assert (outcome.faults, outcome.not_recovered) == (Faults(), 0)


@pytest.mark.long
async def test_whatever_happens_to_devices_that_are_all_far_behind(start_gateway: StartGateway) -> None:
    # An outbox this small closes slow consumers with 1013; they reconnect and get a welcome.
    gateway: InProcess = await start_gateway(outbox_max_messages=4, outbox_max_bytes=20_000)
    scenario = replace(SHORT, pause_seconds=0.01, seed=2)
    outcome = await run_scenario(scenario, gateway.url, gateway.token, gateway.node.broadcaster, options=FAST_RETRY)
    assert (outcome.faults, outcome.not_recovered) == (Faults(), 0)


@pytest.mark.long
async def test_a_gateway_that_is_killed_meanwhile(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    await asyncio.to_thread(gateway.start)
    try:
        outcome, recovered = await measure(gateway, replace(SHORT, seconds=6), kills=2)
    finally:
        await asyncio.to_thread(gateway.stop)
    assert [len(seconds) for seconds in recovered] == [18, 18]
    assert (outcome.faults, outcome.not_recovered) == (Faults(), 0)


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
