"""Nothing lost, nothing twice, nothing out of order, nothing stale, whatever happens to devices and to the gateway.

The same play, longer and with more of everything, is `python -m bench.recovery`.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bench.lossless import Scene, Sight, Verdict, play
from bench.recovery import Gateway, measure
from tellwire.client import ClientOptions, ReceivedMessage
from tests.conftest import Gateway as InProcess
from tests.conftest import StartGateway

SHORT = Scene(seconds=3, users=6, devices_per_user=3, producers=6, longest_trouble_seconds=0.8, settle_seconds=30)
HASTY = ClientOptions(backoff_first_seconds=0.05, backoff_max_seconds=0.5)


async def test_whatever_happens_to_devices(start_gateway: StartGateway) -> None:
    gateway: InProcess = await start_gateway()
    outcome = await play(SHORT, gateway.url, gateway.token, gateway.node.broadcaster, options=HASTY)
    assert outcome.said > 100
    assert (outcome.verdict, outcome.not_recovered) == (Verdict(), 0)


async def test_whatever_happens_to_devices_that_are_all_far_behind(start_gateway: StartGateway) -> None:
    # An outbox this small closes whoever lags with 1013; they come back and are told.
    gateway: InProcess = await start_gateway(outbox_max_messages=4, outbox_max_bytes=20_000)
    scene = replace(SHORT, pause_seconds=0.01, seed=2)
    outcome = await play(scene, gateway.url, gateway.token, gateway.node.broadcaster, options=HASTY)
    assert (outcome.verdict, outcome.not_recovered) == (Verdict(), 0)


async def test_a_gateway_that_is_killed_meanwhile(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    await asyncio.to_thread(gateway.start)
    try:
        outcome, recovered = await measure(gateway, replace(SHORT, seconds=6), kills=2)
    finally:
        await asyncio.to_thread(gateway.stop)
    assert [len(seconds) for seconds in recovered] == [18, 18]
    assert (outcome.verdict, outcome.not_recovered) == (Verdict(), 0)


# --- and it is noticed if something is wrong --------------------------------------------------------------------------


def sight_of(*messages: tuple[str, int]) -> Sight:
    sight = Sight()
    for what, number in messages:
        if what == "row":
            sight.see(ReceivedMessage("upload_progress", {"uploadId": "u1", "currentRow": number}))
        else:
            sight.see(ReceivedMessage("said", {}, id=f"{what}-{number}"))
    return sight


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        ([("a", 1), ("b", 1), ("a", 2), ("row", 1), ("row", 3)], Verdict()),
        ([("b", 1), ("a", 1), ("a", 2), ("row", 3)], Verdict()),
        ([("a", 1), ("b", 1), ("row", 3)], Verdict(lost=1)),
        ([("a", 1), ("b", 1), ("a", 2), ("a", 2), ("row", 3)], Verdict(duplicated=1)),
        ([("a", 2), ("b", 1), ("a", 1), ("row", 3)], Verdict(out_of_order=1)),
        ([("a", 1), ("b", 1), ("a", 2), ("row", 3), ("row", 2)], Verdict(stale=2)),
        ([("a", 1), ("b", 1), ("a", 2), ("row", 2)], Verdict(stale=1)),
    ],
)
def test_a_fault_is_counted(seen: list[tuple[str, int]], verdict: Verdict) -> None:
    assert sight_of(*seen).judge(["a-1", "b-1", "a-2"], {"u1": 3}) == verdict
    assert verdict.is_flawless == (verdict == Verdict())
