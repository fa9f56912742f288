"""Repeat tests beside busy loops, and name those that waver: `python -m scripts.flaky 20 [pytest's arguments]`.

Without arguments it repeats all that `make test` runs. It exits 1 if a test failed in any run.
"""

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUSY = "while True: pass"


@contextmanager
def load(loops: int) -> Iterator[None]:
    """Keep cores busy with so many processes while the block runs."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run(arguments: list[str]) -> tuple[int, list[str], str]:
    """Run the tests once; return pytest's exit code, the tests that failed, and the output."""
    command = [str(ROOT / "scripts" / "test"), "-q", "-rfE", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    # As far as the reason. Parameters may have spaces.
    failed = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return done.returncode, sorted(set(failed)), done.stdout


def main() -> int:
    """Print a line for each run, and in the end how often which test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int, help="how many times")
    parser.add_argument("--busy", type=int, default=2 * (os.cpu_count() or 1), help="busy loops beside it")
    parser.add_argument("--log", type=Path, help="a folder for the output of runs that failed")
    options, arguments = parser.parse_known_args()
    counts: Counter[str] = Counter()
    has_failed = False
    with load(options.busy):
        for number in range(1, options.runs + 1):
            code, failed, output = run(arguments)
            has_failed |= code != 0
            counts.update(failed)
            print(f"run {number} of {options.runs}: {len(failed)} failed, {output.splitlines()[-1]}", flush=True)
            if code and not failed:
                print(output)
            if code and options.log is not None:
                options.log.mkdir(parents=True, exist_ok=True)
                (options.log / f"run-{number}.log").write_text(output)
    for test, count in counts.most_common():
        print(f"{count} of {options.runs}: {test}")
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
