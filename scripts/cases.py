"""Run the tests of the cases that failed once in the real world, or print their table.

    python -m scripts.cases            every row has a test or a reason, and the tests pass
    python -m scripts.cases --table    the table, as Markdown
    python -m scripts.cases --list     the tests, one a line

The rows are in tests/cases/*.toml: `id`, `title`, and either `tests` with the `rule` that they hold, or the `reason`
for which there are none. A test is a pytest id without parameters; one of the clients is its file and its title.
"""

import argparse
import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

ROOT: Final = Path(__file__).resolve().parents[1]
TABLES: Final = ROOT / "tests" / "cases"
PROCESSES: Final = "4"


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """A row: a case, and the rule and the tests that hold its right value now."""

    id: str
    title: str
    rule: str = ""
    tests: tuple[str, ...] = ()
    reason: str = ""

    @property
    def python_tests(self) -> list[str]:
        """The tests that pytest runs."""
        return [test for test in self.tests if not test.startswith("clients/")]

    @property
    def client_tests(self) -> list[str]:
        """The tests that vitest runs."""
        return [test for test in self.tests if test.startswith("clients/")]


def load(tables: Path = TABLES) -> list[Case]:
    """Load all rows, in the order of the files' names."""
    rows = [row for path in sorted(tables.glob("*.toml")) for row in tomllib.loads(path.read_text())["case"]]
    return [msgspec.convert(row, Case) for row in rows]


def faults(cases: list[Case]) -> Iterator[str]:
    """Yield a line for each row that is not right."""
    ids = [case.id for case in cases]
    yield from (f"{each}: it is there twice" for each in sorted({each for each in ids if ids.count(each) > 1}))
    for case in cases:
        if bool(case.tests) == bool(case.reason):
            yield f"{case.id}: it needs tests or a reason, and not both"
        if case.tests and not case.rule:
            yield f"{case.id}: it has no rule"
        yield from (f"{case.id}: there is no test {test}" for test in case.tests if not _exists(test))


def table(cases: list[Case]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| case | | mended by which rule, or why not |", "|---|---|---|"]
    lines += [f"| {case.id} | {case.title} | {case.rule or case.reason} |" for case in cases]
    return "\n".join(lines)


def _exists(test: str) -> bool:
    name, *parts = test.split("::")
    path = ROOT / name
    if not path.is_file() or not parts:
        return False
    text = path.read_text()
    if path.suffix != ".py":
        return parts[0] in text
    body: list[ast.stmt] = ast.parse(text).body
    for part in parts:
        found = [
            each
            for each in body
            if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and each.name == part
        ]
        if not found:
            return False
        body = found[0].body
    return True


def _run(cases: list[Case]) -> int:
    python = sorted({test for case in cases for test in case.python_tests})
    clients = sorted({test.partition("::")[0] for case in cases for test in case.client_tests})
    pytest = ROOT / ".venv" / "bin" / "pytest"
    codes = [subprocess.run([pytest, "-n", PROCESSES, *python], cwd=ROOT, check=False).returncode]
    if clients:
        files = [str(ROOT / each) for each in clients]
        codes.append(subprocess.run(["npx", "vitest", "run", *files], cwd=ROOT / "clients", check=False).returncode)
    return max(codes)


def main(arguments: list[str]) -> int:
    """Check the rows, then run their tests, or print them."""
    parser = argparse.ArgumentParser(prog="python -m scripts.cases", description="The cases of the real world.")
    parser.add_argument("--table", action="store_true", help="print the table as Markdown")
    parser.add_argument("--list", action="store_true", help="print the tests")
    options = parser.parse_args(arguments)
    cases = load()
    if options.table:
        print(table(cases))
        return 0
    if options.list:
        print("\n".join(sorted({test for case in cases for test in case.tests})))
        return 0
    if found := list(faults(cases)):
        print("\n".join(found), file=sys.stderr)
        return 1
    print(f"cases: {len(cases)}, {sum(1 for case in cases if case.tests)} with tests", flush=True)
    return _run(cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
