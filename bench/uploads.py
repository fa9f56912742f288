"""A worker process with many uploads, which measures its own CPU time: `python -m bench.uploads asyncio|threads`.

It prints a JSON line for each round: the share of a core that it took, the updates that it sent, and those that failed.
The gateway is the environment's.
"""

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress

from tellwire import progress, sync, track_upload

_STEP_SECONDS = 0.05
_WARM_UP_SECONDS = 1.0
_NEVER = 10**9
_ROWS_PER_STEP = 20

Uploads = Sequence[progress.Upload | sync.Upload]


def main() -> None:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.uploads", description=__doc__)
    parser.add_argument("code", choices=["asyncio", "threads"])
    parser.add_argument("--uploads", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    if options.code == "asyncio":
        asyncio.run(_asynchronous(options.uploads, options.rounds, options.seconds))
    else:
        _in_threads(options.uploads, options.rounds, options.seconds)


def _user(number: int) -> tuple[str, str, str, int]:
    return f"user-{number}", f"upload-{number}", "parts-list.csv", _NEVER


async def _asynchronous(count: int, rounds: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        uploads = [await stack.enter_async_context(track_upload(*_user(number))) for number in range(count)]
        working = asyncio.create_task(_work(uploads))
        await asyncio.sleep(_WARM_UP_SECONDS)
        for _ in range(rounds):
            report = _round(uploads)
            await asyncio.sleep(seconds)
            print(report(), flush=True)
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def _work(uploads: Sequence[progress.Upload]) -> None:
    # One task for all jobs: what they do themselves is not the measurement's.
    while True:
        await asyncio.sleep(_STEP_SECONDS)
        for upload in uploads:
            upload.update(rows=upload.rows + _ROWS_PER_STEP)


def _in_threads(count: int, rounds: int, seconds: float) -> None:
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(_STEP_SECONDS):
            for upload in uploads:
                upload.update(rows=upload.rows + _ROWS_PER_STEP)

    with ExitStack() as stack:
        uploads = [stack.enter_context(sync.track_upload(*_user(number))) for number in range(count)]
        stack.callback(is_over.set)
        threading.Thread(target=work).start()
        time.sleep(_WARM_UP_SECONDS)
        for _ in range(rounds):
            report = _round(uploads)
            time.sleep(seconds)
            print(report(), flush=True)


def _round(uploads: Uploads) -> Callable[[], str]:
    """Begin a round. The result ends it, and returns its line."""

    def counts() -> tuple[float, float, int, int]:
        sent, failures = sum(each.sent for each in uploads), sum(each.failures for each in uploads)
        return time.perf_counter(), time.process_time(), sent, failures

    before = counts()

    def report() -> str:
        seconds, cpu_seconds, sent, failures = (b - a for a, b in zip(before, counts(), strict=True))
        return json.dumps({"percent": 100 * cpu_seconds / seconds, "rate": sent / seconds, "failures": failures})

    return report


if __name__ == "__main__":
    main()
