"""`tellwire local` with functions in JavaScript, from outside: the example, a newcomer's mistakes, and its end."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.integration.apigateway.test_local_command import Running, clean_environment
from tests.tools import require, require_module

TELLWIRE = str(Path(sys.executable).with_name("tellwire"))
EXAMPLE = Path(__file__).parents[3] / "examples" / "aws_chat_node"
CLIENTS = Path(__file__).parent / "clients"

Start = Callable[..., Running]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the example, with the packages that `npm install` puts there."""
    require("node")
    require_module(CLIENTS, "@aws-sdk/lib-dynamodb")
    directory = tmp_path / "project"
    shutil.copytree(EXAMPLE, directory, ignore=shutil.ignore_patterns("node_modules"))
    (directory / "node_modules").symlink_to(CLIENTS / "node_modules")
    return directory


@pytest.fixture
def start(project: Path, tmp_path: Path) -> Iterator[Start]:
    """Start `tellwire local` on the project; it ends with the test."""
    with ExitStack() as stack:

        def begin(*arguments: str) -> Running:
            log = tmp_path / "log"
            stderr = stack.enter_context(log.open("w"))
            process = stack.enter_context(
                subprocess.Popen(
                    [TELLWIRE, "local", "--port", "0", "--template", ".", *arguments],
                    cwd=project,
                    env=clean_environment(),
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                )
            )
            stack.callback(process.terminate)
            assert process.stdout is not None
            return Running(process, log, [process.stdout.readline()])

        yield begin


def named(running: Running, name: str) -> ClientConnection:
    return connect(f"ws://{running.address}/prod?name={name}", proxy=None)


def children_of(running: Running) -> list[int]:
    listed = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    if not listed.exists():
        pytest.skip("this system does not list a process's children")
    return [int(pid) for pid in listed.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 45
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_chat_in_javascript_runs_unmodified_and_loads_saved_files(start: Start, project: Path) -> None:
    running = start()
    with named(running, "Ada") as ada, named(running, "Grace") as grace:
        ada.send("what is this?")
        help_text = json.loads(ada.recv(45))
        assert help_text["usage"] == {"action": "sendmessage", "message": "..."}
        assert help_text["connectedAt"]
        ada.send('{"action": "sendmessage", "message": "Hello"}')
        assert json.loads(grace.recv(45)) == {"from": "Ada", "message": "Hello"}
        code = project / "src" / "send_message.mjs"
        code.write_text(code.read_text().replace("from: sender", "sender: sender"))
        running.wait_for("send_message.mjs changed")
        heard: dict[str, str] = {}
        while "sender" not in heard:
            ada.send('{"action": "sendmessage", "message": "Again"}')
            heard = json.loads(grace.recv(45))
        assert heard == {"sender": "Ada", "message": "Again"}
    workers = children_of(running)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(45) == 0
    wait_until(lambda: not any(map(is_alive, workers)))
    log = running.log.read_text()
    assert "ERROR" not in log
    assert re.search(r"nodejs22\.x is the runtime on AWS; here it is nodejs\d+\.x", log)


def test_a_killed_command_leaves_no_process(start: Start) -> None:
    running = start()
    workers = children_of(running)
    assert len(workers) == 5  # four functions, and the shell that ends them
    running.process.kill()
    running.process.wait(45)
    wait_until(lambda: not any(map(is_alive, workers)))


def test_mistakes_of_one_function_are_told_and_leave_the_others(start: Start, project: Path) -> None:
    template = (project / "template.yaml").read_text()
    template = template.replace("Handler: default.handler", "Handler: defaults.handler")
    (project / "template.yaml").write_text(
        template.replace("Handler: disconnect.handler", "Handler: disconnect.handlr")
    )
    (project / "src" / "send_message.mjs").write_text("export const handler = async () => {")
    (project / "node_modules").unlink()
    (project / "src" / "connect.mjs").write_text("export const handler = async () => ({ statusCode: 200 });\n")
    running = start()
    with named(running, "Ada") as ada:
        ada.send("hello")
        assert json.loads(ada.recv(45))["message"] == "Internal server error"
        ada.send('{"action": "sendmessage"}')
        assert json.loads(ada.recv(45))["message"] == "Internal server error"
    log = running.log.read_text()
    assert "Cannot find module 'defaults' in " in log
    assert "npm install --save-dev @aws-sdk/client-dynamodb" in log
    assert "Unexpected end of input" in log
    assert "Traceback" not in log


def test_a_runtime_that_is_not_here_is_one_line_and_the_others_run(start: Start, project: Path) -> None:
    template = (project / "template.yaml").read_text()
    template = template.replace("Handler: default.handler", "Handler: default.handler\n      Runtime: java21")
    (project / "template.yaml").write_text(template)
    running = start()
    with named(running, "Ada") as ada, named(running, "Grace") as grace:
        ada.send("hello")
        assert json.loads(ada.recv(45))["message"] == "Internal server error"
        ada.send('{"action": "sendmessage", "message": "Hello"}')
        assert json.loads(grace.recv(45))["message"] == "Hello"
    lines = [line for line in running.log.read_text().splitlines() if "java21" in line and "left out" in line]
    assert len(lines) == 1
