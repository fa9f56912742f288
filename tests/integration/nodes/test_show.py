"""`make cluster`: the play that is told line by line, as a process of its own."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import require

ROOT = Path(__file__).parent.parent.parent.parent
COMMAND = [sys.executable, "-u", "-m", "bench.show"]
PORT = re.compile(r"(?:port|node . on) (\d+)|http://127\.0\.0\.1:(\d+)")


def is_open(port: int) -> bool:
    listening = (Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()).splitlines()
    return any(f":{port:04X} " in line and " 0A " in line for line in listening)


def answer_of(told: str) -> str:
    """Return the answer to the command that the play has told."""
    command = re.search("metrics of a node: (curl .*)", told)
    assert command is not None
    require("curl")
    return subprocess.run(["sh", "-c", command[1]], capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.long
def test_a_play_in_which_a_node_and_redis_are_killed_loses_nothing() -> None:
    require("redis-server")
    # A proxy that does not exist: the play has to reach its own processes without it.
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(COMMAND, cwd=ROOT, env=os.environ | proxy, capture_output=True, text=True, timeout=110)
    assert "lost 0, duplicated 0, out of order 0, stale 0" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"time to whole +[\d.]+ s after the death of a node, [\d.]+ s after Redis was back", done.stdout)


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_early_ends_everything_that_it_has_started(number: signal.Signals) -> None:
    require("redis-server")
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as play:
        assert play.stdout is not None
        assert play.stderr is not None
        told = ""
        while "producers publish" not in told:
            told += play.stdout.readline()
        ports = {int(one or other) for one, other in PORT.findall(told)}
        assert len(ports) == 5
        assert all(map(is_open, ports))
        assert "\ntellwire_publishes_total" in f"\n{answer_of(told)}"
        play.send_signal(number)
        assert play.wait(30) == 130
        assert "everything that was started has ended" in play.stdout.read()
        assert play.stderr.read() == ""
    assert not any(map(is_open, ports))


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_the_test_of_recovery_ends_its_nodes(number: signal.Signals) -> None:
    require("redis-server")
    command = [sys.executable, "-u", "-m", "bench.recovery", "--nodes", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as test:
        assert test.stdout is not None
        assert "2 nodes" in test.stdout.readline()
        children = [
            child for each in Path(f"/proc/{test.pid}/task").glob("*/children") for child in each.read_text().split()
        ]
        test.send_signal(number)
        assert test.wait(30) != 0
    assert len(children) >= 2
    assert not any(Path("/proc", child).exists() for child in children)


def test_without_redis_it_tells_how_to_install_it(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "")
    assert "sudo apt-get install redis-server" in done.stdout
