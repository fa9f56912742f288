"""CPU time of a worker with 50 uploads, each of which shows four updates a second, over HTTP to a real gateway."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from bench.figures import Figure, Target, figure
from bench.machine import Cores
from bench.native import LoadError
from bench.server import API_KEY, Server
from bench.traffic import SECRET
from tellwire.limits import PROGRESS_INTERVAL_SECONDS

UPLOADS = 50
TARGET = Target(2, at_most=True)
_WORKER = [sys.executable, "-m", "bench.uploads"]
_LEAST_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Plan:
    """Amounts: rounds, and the seconds of each."""

    rounds: int
    seconds: float


FULL = Plan(rounds=9, seconds=5)
QUICK = Plan(rounds=3, seconds=2)


def measure(cores: Cores, quick: bool) -> Iterator[Figure]:
    """Yield the share of a core, for jobs on one event loop and for jobs in threads."""
    plan = QUICK if quick else FULL
    for code, target in (("asyncio", TARGET), ("threads", None)):
        with Server(cores, JWT_SECRET=SECRET) as server:
            rounds = _rounds(code, plan, server)
        yield figure(
            f"{UPLOADS} uploads, {1 / PROGRESS_INTERVAL_SECONDS:.0f} updates a second each, {code}",
            "% of a core",
            [percent for percent, _ in rounds],
            target,
            updates_per_second=round(min(rate for _, rate in rounds)),
        )


def _rounds(code: str, plan: Plan, server: Server) -> list[tuple[float, float]]:
    """Run the worker, and return the share of a core and the updates per second of each round.

    Raises:
        LoadError: updates failed, or there were too few of them.
    """
    environment = os.environ | {"TELLWIRE_URL": f"http://127.0.0.1:{server.port}", "TELLWIRE_API_KEY": API_KEY}
    amounts = ["--uploads", str(UPLOADS), "--rounds", str(plan.rounds), "--seconds", str(plan.seconds)]
    done = subprocess.run(
        [*_WORKER, code, *amounts], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    least = _LEAST_SHARE * UPLOADS / PROGRESS_INTERVAL_SECONDS
    if any(each["failures"] or each["rate"] < least for each in rounds):
        raise LoadError(f"{code}: an update failed, or there were below {least:.0f} a second: {rounds}")
    return [(each["percent"], each["rate"]) for each in rounds]
