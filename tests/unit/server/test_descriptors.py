"""File descriptors: their limit, and a process that has none left."""

import os
import subprocess
import sys

import pytest

from tellwire.server import descriptors

resource = pytest.importorskip("resource")


def test_the_room_for_connections_leaves_some_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, room in ((1024, 924), (64, 32), (1, 1), (None, None)):
        monkeypatch.setattr(descriptors, "limit", lambda limit=limit: limit)
        assert descriptors.room_for_connections() == room


def test_the_limit_is_raised_as_far_as_it_may_be_and_running_out_is_noticed() -> None:
    program = """
import os, resource
from tellwire.server import descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 60))
assert descriptors.limit() == 40
assert descriptors.raise_limit() == 60
assert not descriptors.is_exhausted()
opened = []
while True:
    try:
        opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        break
assert descriptors.is_exhausted()
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ, timeout=60)
