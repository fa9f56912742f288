"""Recovery test: `python -m bench.recovery [--seconds 30]` looks for lost, duplicated, unordered and stale messages.

200 devices are cut off, reloaded, suspended and slowed down at random while 20 producers publish to a real `tellwire
serve` on SQLite, which is killed (`kill -9`) and started again meanwhile. The exit code is 1 if there was any fault.

With `--nodes 3` it is so many nodes on one Redis, with one trouble after the other (`matrix`).
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import monotonic

from bench import matrix
from bench.device import Device
from bench.lossless import Outcome, Scenario, Stage, run_scenario
from bench.processes import API_KEY, SECRET, Gateway, bypass_proxies, in_thread
from bench.troubles import TROUBLES
from tellwire.auth import mint_token
from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier


@contextlib.contextmanager
def running_gateway() -> Iterator[Gateway]:
    """Run a gateway in a directory that is removed afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        gateway = Gateway(Path(directory))
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.stop()


async def measure(gateway: Gateway, scenario: Scenario, kills: int) -> tuple[Outcome, list[list[float]]]:
    """Run the scenario with kills; return its outcome, and for each kill the devices' seconds until recovery."""
    recovered: list[list[float]] = []

    async def kill(stage: Stage) -> None:
        for _ in range(kills):
            await asyncio.sleep(scenario.seconds / (kills + 1))
            recovered.append(await seconds_to_recover(gateway, scenario, stage.devices))

    carrier = HttpCarrier(gateway.url, API_KEY)
    topics = ["*"] if scenario.topics else []
    outcome = await run_scenario(
        scenario,
        gateway.url,
        lambda user_id: mint_token(SECRET, user_id, 3600, topics=topics),
        Broadcaster(carrier),
        meanwhile=kill,
    )
    await carrier.close()
    return outcome, recovered


async def seconds_to_recover(gateway: Gateway, scenario: Scenario, devices: list[Device]) -> list[float]:
    """Kill the gateway and start it again; return for each device the seconds from the start until its recovery.

    Devices are not disturbed meanwhile, as that would be measured, too.
    """
    for device in devices:
        device.is_undisturbed = True
    await asyncio.sleep(scenario.longest_disturbance_seconds or 0)
    await in_thread(gateway.kill)
    waiting = {device: device.welcomes for device in devices}
    await in_thread(gateway.start)
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
    options = _options(arguments)
    bypass_proxies()
    # On SIGTERM the context managers still stop the servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scenario = Scenario(
        seconds=options.seconds,
        users=options.devices // 4,
        producers=options.producers,
        seed=options.seed,
        topics=options.topics,
    )
    if options.nodes > 1:
        sys.exit(matrix.main(scenario, options.nodes, options.trouble or list(TROUBLES)))
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
    sys.exit(0 if outcome.is_flawless else 1)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description="Look for lost and stale messages.")
    parser.add_argument("--seconds", type=float, default=30, help="seconds for which producers publish (30)")
    parser.add_argument("--devices", type=int, default=200, help="four of each user (200)")
    parser.add_argument("--producers", type=int, default=20, help="number of producers (20)")
    parser.add_argument("--kills", type=int, default=2, help="number of times the gateway is killed (2)")
    parser.add_argument("--topics", type=int, default=0, help="topics; each device follows half of them (0)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    parser.add_argument("--nodes", type=int, default=1, help="number of nodes: 2 to 9 are on one Redis (1)")
    parser.add_argument(
        "--trouble",
        action="append",
        choices=list(TROUBLES),
        metavar="NAME",
        help=f"with --nodes, only this trouble; may be repeated: {', '.join(TROUBLES)}",
    )
    options = parser.parse_args(arguments)
    counts = (options.devices - 4, options.producers - 1, options.kills, options.topics)
    if options.seconds <= 0 or min(counts) < 0:
        parser.error("allowed: --seconds above 0, --devices from 4, --producers from 1, --kills and --topics from 0")
    if not 1 <= options.nodes <= 9 or (options.trouble and options.nodes == 1):
        parser.error("allowed: --nodes from 1 to 9, and --trouble with --nodes from 2")
    return options


if __name__ == "__main__":
    main()
