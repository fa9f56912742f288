"""`make demo-django`: Django, Celery with its Redis, and a gateway, as processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import require

ROOT = Path(__file__).parents[2]
SECONDS = 180
"""A guard against a hang: the demo takes some ten seconds on a machine of its own."""


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "examples.django_celery.demo", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.long
def test_a_file_is_imported_with_live_progress_and_all_of_it_ends() -> None:
    require("redis-server")
    done = demo("--once")
    assert done.returncode == 0, done.stdout + done.stderr
    progress = [float(each) for each in re.findall(r"^ *([0-9.]+) %", done.stdout, re.MULTILINE)]
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (0, 100)
    assert len(progress) > 3
    assert "1,795 pieces" in done.stdout


def test_without_a_redis_server_there_is_one_clear_sentence() -> None:
    done = demo("--once", PATH="/nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("demo-django: there is no redis-server on this machine, and Celery needs one")
