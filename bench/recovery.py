"""Recovery test: `python -m bench.recovery [--seconds 30]` looks for lost, duplicated, unordered and stale messages.

200 devices are cut off, reloaded, suspended and slowed down at random while 20 producers publish to a real `tellwire
serve` on SQLite, which is killed (`kill -9`) and started again meanwhile. The exit code is 1 if there was any fault.
"""

import argparse
import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import monotonic

from bench.lossless import Device, Outcome, Scenario, run_scenario
from tellwire.auth import mint_token
from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier

API_KEY = "bench-api-key"
SECRET = "bench-secret-of-thirty-two-bytes-or-more"
_START_SECONDS = 20.0


class Gateway:
    """A `tellwire serve` process that can be killed and started again with the same port and database."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process, and wait until it listens.

        Raises:
            RuntimeError: it did not start.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TELLWIRE_")}
        settings = {"TELLWIRE_API_KEY": API_KEY, "TELLWIRE_JWT_SECRET": SECRET}
        command = "from tellwire.cli import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", command, "serve", "--port", str(self.port), "--log-level", "error"],
            cwd=self._directory,
            env=inherited | settings,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        found = re.search(r"ws://127\.0\.0\.1:(\d+)", self._process.stdout.readline())
        if found is None:
            raise RuntimeError("tellwire serve did not start")
        self.port = int(found[1])

    def kill(self) -> None:
        """Kill the process with SIGKILL, without any cleanup."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the process with SIGTERM."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def running_gateway() -> Iterator[Gateway]:
    """Run a gateway in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway(Path(directory))
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.stop()


async def measure(gateway: Gateway, scenario: Scenario, kills: int) -> tuple[Outcome, list[list[float]]]:
    """Run the scenario with kills; return its outcome, and for each kill the devices' seconds until recovery."""
    recovered: list[list[float]] = []

    async def kill(devices: list[Device]) -> None:
        for _ in range(kills):
            await asyncio.sleep(scenario.seconds / (kills + 1))
            recovered.append(await seconds_to_recover(gateway, scenario, devices))

    carrier = HttpCarrier(gateway.url, API_KEY)
    outcome = await run_scenario(
        scenario, gateway.url, lambda user_id: mint_token(SECRET, user_id, 3600), Broadcaster(carrier), meanwhile=kill
    )
    await carrier.close()
    return outcome, recovered


async def seconds_to_recover(gateway: Gateway, scenario: Scenario, devices: list[Device]) -> list[float]:
    """Kill the gateway and start it again; return for each device the seconds from the start until its recovery.

    Devices are not disturbed meanwhile, as that would be measured, too.
    """
    for device in devices:
        device.is_undisturbed = True
    await asyncio.sleep(scenario.longest_disturbance_seconds)
    await asyncio.to_thread(gateway.kill)
    waiting = {device: device.welcomes for device in devices}
    await asyncio.to_thread(gateway.start)
    began = monotonic()
    seconds: list[float] = []
    while waiting and monotonic() - began < scenario.settle_seconds:
        back = [device for device, count in waiting.items() if device.welcomes > count]
        seconds += [monotonic() - began] * len(back)
        for device in back:
            del waiting[device]
        await asyncio.sleep(0.02)
    for device in devices:
        device.is_undisturbed = False
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the test, print the result, and exit with 0 if there was no fault. `arguments` None: the command line's."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description="Look for lost and stale messages.")
    parser.add_argument("--seconds", type=float, default=30, help="seconds for which producers publish (30)")
    parser.add_argument("--devices", type=int, default=200, help="four of each user (200)")
    parser.add_argument("--producers", type=int, default=20, help="number of producers (20)")
    parser.add_argument("--kills", type=int, default=2, help="number of times the gateway is killed (2)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or options.devices < 4 or options.producers < 1 or options.kills < 0:
        parser.error("allowed: --seconds above 0, --devices from 4, --producers from 1, --kills from 0")
    scenario = Scenario(
        seconds=options.seconds, users=options.devices // 4, producers=options.producers, seed=options.seed
    )
    with running_gateway() as gateway:
        outcome, recovered = asyncio.run(measure(gateway, scenario, options.kills))
    print(f"{outcome.published:,} messages published, received {outcome.received:,} times; {outcome.retries} retries")
    print(f"welcomes with recovered: false: {outcome.not_recovered}")
    for seconds in recovered:
        print(
            f"after kill -9 and the start, half of the devices had recovered in {median(seconds):.1f} s, "
            f"{len(seconds)} of {options.devices // 4 * 4} in {max(seconds):.1f} s"
        )
    print(f"after the last message, all devices had all messages within {outcome.settled_seconds:.1f} s")
    print(outcome.faults)
    sys.exit(0 if outcome.faults.is_none and outcome.not_recovered == 0 else 1)


if __name__ == "__main__":
    main()
