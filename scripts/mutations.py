"""Mutations of the clients: each trace of `spec/client` is seen to fail under one of the mutations that it names.

    python -m scripts.mutations              both languages (some minutes)
    python -m scripts.mutations python

`spec/client/mutations.json` has the mutations: in one file of a client, a text to find and another to put in its place.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CLIENT: Final = ROOT / "spec" / "client"
TIMEOUT_SECONDS: Final = 600

Results = dict[str, bool]
"""Of each trace that a client can run, True if it passes."""


def mutations() -> dict[str, dict[str, dict[str, str]]]:
    """Return the mutations by name, and each one's halves by language."""
    return json.loads((CLIENT / "mutations.json").read_text())  # type: ignore[no-any-return]


def mutations_of_traces() -> dict[str, list[str]]:
    """Return the mutations that each trace names."""
    files = [file for file in CLIENT.glob("*.json") if file.name not in ("mutations.json", "prologues.json")]
    return {trace["name"]: trace["mutations"] for file in files for trace in json.loads(file.read_text())["traces"]}


def mutated(language: str, half: dict[str, str] | None, names: Iterable[str] = ()) -> Results:
    """Run the traces with these names, or all, in a copy of a client with one half of a mutation applied, or none.

    Raises:
        ValueError: the text to find is not there exactly once.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _COPY[language](copy)
        if half is not None:
            _apply(copy / half["file"], half)
        return _RUN[language](copy, sorted(names))


def _apply(file: Path, half: dict[str, str]) -> None:
    text = file.read_text()
    if (count := text.count(half["find"])) != 1:
        raise ValueError(f"{half['file']}: {half['find']!r} is there {count} times; allowed: once")
    file.write_text(text.replace(half["find"], half["replace"]))


def _copy_python(copy: Path) -> None:
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))


def _run_python(copy: Path, names: list[str]) -> Results:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.client.traces", *names],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return {result["name"]: result["passes"] for result in results}


def _copy_typescript(copy: Path) -> None:
    leave = shutil.ignore_patterns("node_modules", "dist")
    shutil.copytree(ROOT / "clients", copy / "clients", ignore=leave)
    for name in ("spec", "clients/node_modules"):
        (copy / name).symlink_to(ROOT / name)


def _run_typescript(copy: Path, names: list[str]) -> Results:
    report = copy / "report.json"
    chosen = ["--testNamePattern", "|".join(map(re.escape, names))] if names else []
    command = ["npx", "vitest", "run", "core/test/traces.test.ts", "--reporter=json", f"--outputFile={report}", *chosen]
    process = subprocess.Popen(
        command,
        cwd=copy / "clients",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(TIMEOUT_SECONDS)
    finally:
        # A mutation may keep it from ending, in a process that npx has started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    tests = [test for file in json.loads(report.read_text())["testResults"] for test in file["assertionResults"]]
    return {test["title"]: test["status"] == "passed" for test in tests if test["status"] in ("passed", "failed")}


_COPY: Final[dict[str, Callable[[Path], None]]] = {"python": _copy_python, "typescript": _copy_typescript}
_RUN: Final[dict[str, Callable[[Path, list[str]], Results]]] = {"python": _run_python, "typescript": _run_typescript}


def problems(language: str) -> Iterable[str]:
    """Yield a line for each trace that does not pass, or that no mutation of its own makes fail."""
    as_it_is = mutated(language, None)
    yield from (f"{language}: fails without any mutation: {name}" for name, passes in as_it_is.items() if not passes)
    traces = {name: named for name, named in mutations_of_traces().items() if name in as_it_is}
    users = defaultdict(set)
    for trace, names in traces.items():
        for name in names:
            users[name].add(trace)
    failing: set[str] = set()
    known = mutations()
    for name in sorted(users):
        if (half := known[name].get(language)) is None:
            continue
        results = mutated(language, half, users[name])
        fails = {trace for trace in users[name] if not results.get(trace, False)}
        failing |= fails
        print(f"{language}: {name}: {len(fails)} of {len(users[name])} fail", flush=True)
    yield from (f"{language}: passes under all its mutations: {name}" for name in sorted(traces.keys() - failing))


def main(languages: list[str]) -> int:
    """Check the languages. Return the exit code."""
    found = [problem for language in languages or list(_RUN) for problem in problems(language)]
    found += [
        f"{trace}: there is no mutation {name}"
        for trace, names in mutations_of_traces().items()
        for name in names
        if name not in mutations()
    ]
    unused = mutations().keys() - {name for names in mutations_of_traces().values() for name in names}
    found += [f"no trace names the mutation {name}" for name in sorted(unused)]
    print(*found, sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
