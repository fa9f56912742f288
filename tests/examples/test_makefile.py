"""The file of `make demo FILE=…`: any name arrives as it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

NAMES = [
    "mine.csv",
    "my list.csv",
    "back`id`tick.csv",
    'quo"te.csv',
    "quo'te.csv",
    "cost$1.csv",
    "cost$(HOME)$$x.csv",
    "$(shell id).csv",
    "-x.csv",
    "a;b&c|d>e.csv",
    "two\nlines.csv",
    "glob*?[a].csv",
    "Größe 部品.csv",
    "hash#.csv",
    "back\\slash.csv",
]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a folder whose `python` prints its arguments."""
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    python.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("target", ["demo", "demo-aws"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_s_name_may_have_any_characters(programs: Path, target: str, name: str) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make")
    # `=` after the name of a variable: the rest is its value, as the shell would pass it.
    command = [
        make,
        "-s",
        "--no-print-directory",
        target,
        "ONCE=1",
        f"BIN={programs}",
        "STAMP=Makefile",
        f"FILE={name}",
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout)[-2:] == ["--once", f"--file={name}"]
