"""Leases of a gateway whose process is stopped for a while, and of one whose clock is set."""

import asyncio
import contextlib
import os
import re
import signal
import sys

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tellwire import Broadcaster, track_upload
from tellwire.auth import mint_token
from tellwire.carriers.http import HttpCarrier
from tellwire.ports import SystemClock
from tests.conftest import API_KEY, SECRET, StartGateway, read
from tests.integration.gateway.test_uploads import begin, until

COMMAND = (sys.executable, "-c", "from tellwire.cli import main; main()", "serve", "--port", "0")
DAY = 24 * 3600.0


async def statuses_for(device: ClientConnection, seconds: float) -> list[str]:
    """Receive for some time, and return the statuses of uploads."""
    statuses: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                statuses += [(await read(device))["data"].get("status", "")]
    return statuses


@pytest.mark.long
async def test_a_gateway_that_was_stopped_for_three_leases_declares_no_living_upload_lost() -> None:
    settings = {"TELLWIRE_ENGINE": "memory", "TELLWIRE_JWT_SECRET": SECRET, "TELLWIRE_API_KEY": API_KEY}
    gateway = await asyncio.create_subprocess_exec(*COMMAND, env=os.environ | settings, stdout=-1, stderr=-1)
    assert gateway.stdout is not None
    try:
        found = re.search(r"ws://(127\.0\.0\.1:\d+)", (await asyncio.wait_for(gateway.stdout.readline(), 45)).decode())
        assert found
        broadcaster = Broadcaster(HttpCarrier(f"http://{found[1]}", API_KEY))
        uri = f"ws://{found[1]}?token={mint_token(SECRET, 'user-1', 3600)}"
        async with connect(uri, proxy=None) as device:
            async with track_upload("user-1", "u1", "f.csv", 100, broadcaster=broadcaster, lease_seconds=1):
                assert (await until(device, "running"))["progress"] == 0
                gateway.send_signal(signal.SIGSTOP)
                await asyncio.sleep(3.5)
                gateway.send_signal(signal.SIGCONT)
                assert set(await statuses_for(device, 1.8)) == {"running"}
            assert (await until(device, "complete"))["progress"] == 100
    finally:
        gateway.kill()
        await gateway.communicate()


class SetClock(SystemClock):
    """A clock that an administrator sets."""

    ahead_seconds = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_seconds


@pytest.mark.long
@pytest.mark.parametrize("step_seconds", [DAY, -DAY])
async def test_after_a_clock_that_was_wrong_for_a_moment_a_silent_worker_is_noticed(
    start_gateway: StartGateway, step_seconds: float
) -> None:
    clock = SetClock()
    gateway = await start_gateway(clock)
    clock.ahead_seconds = step_seconds
    await asyncio.sleep(1.2)
    clock.ahead_seconds = 0.0
    async with gateway.device() as device:
        await begin(gateway.node.broadcaster, lease_seconds=1)
        for status in ("running", "stalled", "failed"):
            async with asyncio.timeout(60):
                await until(device, status)


async def test_while_the_clock_is_a_day_behind_a_silent_worker_is_noticed(start_gateway: StartGateway) -> None:
    clock = SetClock()
    gateway = await start_gateway(clock)
    async with gateway.device() as device:
        await begin(gateway.node.broadcaster, lease_seconds=1)
        await until(device, "running")
        clock.ahead_seconds = -DAY
        for status in ("stalled", "failed"):
            async with asyncio.timeout(60):
                await until(device, status)
