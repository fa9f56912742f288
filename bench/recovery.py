"""Nothing lost, nothing twice, nothing stale: `python -m bench.recovery [--seconds 30]`.

200 devices are cut off, reloaded, put to sleep and slowed down at random while 20 producers publish to a real `tellwire
serve` on SQLite, which is killed (`kill -9`) and started again meanwhile. Ends with 1 unless nothing went wrong.
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

from bench.lossless import Device, Outcome, Scene, play
from tellwire.auth import mint_token
from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier

API_KEY = "bench-api-key"
SECRET = "bench-secret-of-thirty-two-bytes-or-more"
_START_SECONDS = 20.0


class Gateway:
    """`tellwire serve` in a process of its own, on one port and one file, however often it is killed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: it does not.
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
        """Kill it with -9: nothing is said, written or closed any more."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it end of itself."""
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


async def measure(gateway: Gateway, scene: Scene, kills: int) -> tuple[Outcome, list[list[float]]]:
    """Play the scene with so many kills in it; return what came of it, and the seconds to be whole again after each."""
    recovered: list[list[float]] = []

    async def kill(devices: list[Device]) -> None:
        for _ in range(kills):
            await asyncio.sleep(scene.seconds / (kills + 1))
            recovered.append(await seconds_to_recover(gateway, scene, devices))

    carrier = HttpCarrier(gateway.url, API_KEY)
    outcome = await play(
        scene, gateway.url, lambda user_id: mint_token(SECRET, user_id, 3600), Broadcaster(carrier), meanwhile=kill
    )
    await carrier.close()
    return outcome, recovered


async def seconds_to_recover(gateway: Gateway, scene: Scene, devices: list[Device]) -> list[float]:
    """Kill the gateway and start it again; return how long after its start each device was whole again.

    Their own troubles rest meanwhile, or it would be those that are measured.
    """
    for device in devices:
        device.is_spared = True
    await asyncio.sleep(scene.longest_trouble_seconds)
    await asyncio.to_thread(gateway.kill)
    waiting = {device: device.welcomes for device in devices}
    await asyncio.to_thread(gateway.start)
    began = monotonic()
    seconds: list[float] = []
    while waiting and monotonic() - began < scene.settle_seconds:
        back = [device for device, count in waiting.items() if device.welcomes > count]
        seconds += [monotonic() - began] * len(back)
        for device in back:
            del waiting[device]
        await asyncio.sleep(0.02)
    for device in devices:
        device.is_spared = False
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Play, say what was seen, and end with 0 if nothing was wrong. `arguments` are the command line's if None."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description="Look for what is lost or stale.")
    parser.add_argument("--seconds", type=float, default=30, help="how long producers publish (30)")
    parser.add_argument("--devices", type=int, default=200, help="four of each user (200)")
    parser.add_argument("--producers", type=int, default=20, help="how many publish (20)")
    parser.add_argument("--kills", type=int, default=2, help="how often the gateway is killed meanwhile (2)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (1)")
    wanted = parser.parse_args(arguments)
    if wanted.seconds <= 0 or wanted.devices < 4 or wanted.producers < 1 or wanted.kills < 0:
        parser.error("allowed: --seconds above 0, --devices from 4, --producers from 1, --kills from 0")
    scene = Scene(seconds=wanted.seconds, users=wanted.devices // 4, producers=wanted.producers, seed=wanted.seed)
    with running_gateway() as gateway:
        outcome, recovered = asyncio.run(measure(gateway, scene, wanted.kills))
    print(f"{outcome.said:,} messages said, seen {outcome.seen:,} times; said again {outcome.retries} times")
    print(f"told that something may be missing: {outcome.not_recovered} times")
    for seconds in recovered:
        print(
            f"after kill -9 and the start, half of them were whole again in {median(seconds):.1f} s, "
            f"{len(seconds)} of {wanted.devices // 4 * 4} in {max(seconds):.1f} s"
        )
    print(f"after the last word, everybody had everything within {outcome.settled_seconds:.1f} s")
    print(outcome.verdict)
    sys.exit(0 if outcome.verdict.is_flawless and outcome.not_recovered == 0 else 1)


if __name__ == "__main__":
    main()
