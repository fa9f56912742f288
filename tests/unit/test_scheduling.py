"""The distribution of tests over processes: a process that ends takes one test with it, and the run ends."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FILE = """
import os
import pytest

@pytest.mark.parametrize("number", range(4))
def test_it(number):
    if number == {crashing}:
        os._exit(1)
"""


@pytest.mark.parametrize("crashing", [2, 3])
def test_a_process_that_ends_fails_one_test_and_the_others_are_run(tmp_path: Path, crashing: int) -> None:
    for number in range(12):
        (tmp_path / f"test_{number}.py").write_text(FILE.format(crashing=crashing if number == 9 else None))
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "tests.scheduling", "-n", "2", "-q", "."]
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "1 failed, 47 passed" in done.stdout, done.stdout
