"""Several workers at one address: real processes, real signals. The workers keep a history each, in memory."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tellwire.auth import mint_token
from tests.conftest import API_KEY, SECRET, Gateway
from tests.integration.gateway.test_http_api import call
from tests.integration.test_cli import own_state, tellwire

__all__ = ["own_state"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections over sockets")

WORKER = """
import asyncio, os, sys
from tellwire import Settings
from tellwire.cli.common import configure_logging
from tellwire.gateway import Node
from tellwire.gateway.hangup import hold_hangup
from tellwire.gateway.worker import Worker

hold_hangup()
this = Worker.of(sys.argv[-1])
configure_logging("info", this.name)
print(this.name, os.getpid(), file=sys.stderr, flush=True)
BODY
secret, key, seconds = sys.argv[1:4]
node = Node(Settings(engine="memory", jwt_secret=secret, api_key=key, drain_seconds=float(seconds)))
asyncio.run(node.serve(worker=this))
"""

SUPERVISOR = """
import asyncio, sys
from tellwire import limits
from tellwire.cli.common import configure_logging
from tellwire.gateway.hangup import hold_hangup
from tellwire.gateway.supervisor import Supervisor

limits.WORKER_ASK_SECONDS = SECONDS_BETWEEN
hold_hangup()
configure_logging("info", "supervisor")
port, count, seconds = sys.argv[1:4]

async def run():
    supervisor = Supervisor(
        [sys.executable, *sys.argv[4:], seconds], "127.0.0.1", int(port), count=int(count), drain_seconds=float(seconds)
    )
    return await supervisor.run(lambda each: print(each.authority, flush=True))

sys.exit(asyncio.run(run()))
"""


@dataclass
class Workers:
    """A supervisor, and the log of it and its workers."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def gateway(self) -> Gateway:
        return Gateway(cast("Any", None), f"http://127.0.0.1:{self.port}")

    @property
    def pids(self) -> dict[str, int]:
        """The processes that were started last, by name."""
        return {found[1]: int(found[2]) for line in self.lines if (found := re.fullmatch(r"(worker-\d+) (\d+)", line))}

    def count(self, words: str) -> int:
        return sum(words in line for line in self.lines)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(100):
            while not condition():
                await asyncio.sleep(0.02)

    async def device(self) -> ClientConnection:
        token = mint_token(SECRET, "user-1")
        return await connect(f"ws://127.0.0.1:{self.port}?token={token}", proxy=None)

    async def ends(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 45)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            count: int = 2, body: str = "", drain_seconds: float = 10, port: int = 0, ask_seconds: float = 5
        ) -> Workers:
            return await stack.enter_async_context(_running(tmp_path, count, body, drain_seconds, port, ask_seconds))

        yield start


@asynccontextmanager
async def _running(
    tmp_path: Path, count: int, body: str, drain_seconds: float, port: int, ask_seconds: float
) -> AsyncIterator[Workers]:
    supervisor, worker = tmp_path / "supervisor.py", tmp_path / "worker.py"
    supervisor.write_text(SUPERVISOR.replace("SECONDS_BETWEEN", str(ask_seconds)))
    worker.write_text(WORKER.replace("BODY", body))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(supervisor), str(port), str(count), str(drain_seconds), str(worker), SECRET, API_KEY),
        env=os.environ,
        stdout=-1,
        stderr=-1,
    )
    workers = Workers(process)
    assert process.stderr is not None
    reading = asyncio.create_task(_read(process.stderr, workers.lines))
    try:
        yield workers
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        for pid in workers.pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()
        await reading


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode().rstrip("\n"))


async def ready(workers: Workers) -> Workers:
    """Wait until all workers listen."""
    assert workers.process.stdout is not None
    authority = (await asyncio.wait_for(workers.process.stdout.readline(), 45)).decode()
    assert authority, workers.lines
    workers.port = int(authority.rpartition(":")[2])
    return workers


async def close_of(device: ClientConnection) -> int | None:
    with contextlib.suppress(ConnectionClosed):
        await device.recv()
    return device.close_code


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_workers_share_a_port_and_sigterm_drains_them_all(start: Start) -> None:
    workers = await ready(await start(3))
    devices = [await workers.device() for _ in range(60)]
    counts = [(await call(workers.gateway, "GET", "/v1/stats"))[1]["connections"] for _ in range(20)]
    # Whichever workers answer: all of them may have the same number.
    assert max(counts) < 60, "all connections are at one worker"
    # As a service manager does: to all processes at once. It is one signal, and no second one.
    for pid in workers.pids.values():
        os.kill(pid, signal.SIGTERM)
    workers.signal(signal.SIGTERM)
    assert [await close_of(device) for device in devices] == [1012] * 60
    assert await workers.ends() == 0
    assert not any(map(is_alive, workers.pids.values()))
    assert workers.count("worker-2 tellwire.gateway: stopping") == 1
    assert workers.count("has ended") == 0


@pytest.mark.long
async def test_a_worker_that_hangs_is_killed_and_started_again(start: Start) -> None:
    workers = await ready(await start(2, ask_seconds=0.5))
    before = workers.pids
    os.kill(before["worker-1"], signal.SIGSTOP)
    await workers.until(lambda: workers.pids["worker-1"] != before["worker-1"])
    assert workers.count("worker-1 hangs: it has not answered 6 times, and is killed") == 1
    assert workers.pids["worker-2"] == before["worker-2"]
    workers.signal(signal.SIGTERM)
    assert await workers.ends() == 0


@pytest.mark.long
async def test_a_worker_that_dies_is_started_again_at_once_and_its_connections_wait(start: Start) -> None:
    workers = await ready(await start(2))
    before = workers.pids
    os.kill(before["worker-1"], signal.SIGKILL)
    # Also those that the kernel gives to the dead worker's socket.
    answers = await asyncio.gather(*(call(workers.gateway, "GET", "/healthz") for _ in range(30)))
    assert {status for status, _, _ in answers} == {200}
    await workers.until(lambda: workers.pids["worker-1"] != before["worker-1"])
    assert workers.count("supervisor tellwire.gateway: worker-1 has ended (killed by SIGKILL), and is started") == 1
    assert workers.pids["worker-2"] == before["worker-2"]
    workers.signal(signal.SIGINT)
    assert await workers.ends() == 0


@pytest.mark.long
async def test_nobody_waits_for_a_worker_that_has_ended_before_the_others(start: Start) -> None:
    workers = await ready(await start(2))
    mute = await workers.device()
    mute.transport.pause_reading()
    workers.signal(signal.SIGTERM)
    # The worker without a client has ended; the other one waits for its client, and serves.
    await workers.until(lambda: workers.count("stopped"))
    async with asyncio.timeout(8):
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", workers.port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 503")
            writer.close()
    mute.transport.abort()
    assert await workers.ends() == 0


@pytest.mark.long
async def test_a_drain_asked_of_any_worker_drains_all(start: Start) -> None:
    workers = await ready(await start(2))
    devices = [await workers.device() for _ in range(20)]
    assert (await call(workers.gateway, "POST", "/v1/drain"))[0] == 202
    assert [await close_of(device) for device in devices] == [1012] * 20
    assert await workers.ends() == 0


@pytest.mark.long
async def test_a_sigterm_to_one_worker_drains_it_and_another_takes_its_place(start: Start) -> None:
    workers = await ready(await start(2))
    devices = [await workers.device() for _ in range(20)]
    before = workers.pids
    os.kill(before["worker-2"], signal.SIGTERM)
    await workers.until(lambda: workers.pids["worker-2"] != before["worker-2"])
    assert workers.count("worker-2 has ended (exit code 0), and is started again now") == 1
    ended = [device for device in devices if device.state.name == "CLOSED"]
    assert 0 < len(ended) < 20
    assert {device.close_code for device in ended} == {1012}
    assert workers.pids["worker-1"] == before["worker-1"]
    workers.signal(signal.SIGTERM)
    assert await workers.ends() == 0


@pytest.mark.long
async def test_workers_whose_supervisor_was_killed_drain(start: Start) -> None:
    workers = await ready(await start(2))
    devices = [await workers.device() for _ in range(10)]
    workers.signal(signal.SIGKILL)
    assert [await close_of(device) for device in devices] == [1012] * 10
    await workers.until(lambda: not any(map(is_alive, workers.pids.values())))
    assert workers.count("the supervisor has gone, so this worker drains") == 2


@pytest.mark.long
async def test_sighup_reaches_every_worker(start: Start) -> None:
    workers = await ready(await start(2))
    workers.signal(signal.SIGHUP)
    await workers.until(lambda: workers.count("are read again") == 2)
    assert workers.process.returncode is None


@pytest.mark.long
async def test_a_second_signal_ends_all_at_once(start: Start) -> None:
    workers = await ready(await start(2, drain_seconds=60))
    devices = [await workers.device() for _ in range(10)]
    for device in devices:
        device.transport.pause_reading()
    workers.signal(signal.SIGTERM)
    await workers.until(lambda: workers.count("stopping: ") == 3)
    await asyncio.sleep(0.2)
    assert workers.process.returncode is None
    async with asyncio.timeout(30):
        workers.signal(signal.SIGTERM)
        assert await workers.process.wait() == 0
    for device in devices:
        device.transport.abort()


@pytest.mark.long
async def test_settings_that_a_worker_refuses_end_all_with_2_and_one_line(start: Start) -> None:
    workers = await start(3, 'sys.exit("tellwire: wrong" and 2)')
    assert await workers.ends() == 2
    assert [line for line in workers.lines if "started again" in line] == []


@pytest.mark.long
async def test_a_worker_that_does_not_end_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); this.tell_ready(); __import__('time').sleep(99)"
    )
    workers = await start(1, body, drain_seconds=1)
    await workers.until(lambda: workers.pids)
    workers.signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    workers.signal(signal.SIGTERM)
    assert await workers.ends() == 1
    assert workers.count("worker-1 did not end, and is killed") == 1


@pytest.mark.long
async def test_a_crash_loop_is_one_line_and_exit_code_1(start: Start) -> None:
    workers = await start(2, "raise SystemExit(7)")
    assert await workers.ends() == 1
    told = [line for line in workers.lines if "giving up" in line]
    assert len(told) == 1
    assert "worker-1 has ended 5 times right after its start (exit code 7), and no other worker runs" in told[0]


@pytest.mark.long
async def test_a_crash_loop_of_one_worker_does_not_end_the_others(start: Start, tmp_path: Path) -> None:
    workers = await ready(await start(2))
    pids = workers.pids
    (tmp_path / "worker.py").write_text(WORKER.replace("BODY", "if this.number == 2: raise SystemExit(7)"))
    os.kill(pids["worker-2"], signal.SIGKILL)
    await workers.until(lambda: workers.count("the others go on"))
    for _ in range(30):
        assert (await call(workers.gateway, "GET", "/healthz"))[0] == 200
    (tmp_path / "worker.py").write_text(WORKER.replace("BODY", ""))
    workers.signal(signal.SIGTERM)
    assert await workers.ends() == 0
    assert workers.pids["worker-1"] == pids["worker-1"]


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (("--workers", "4"), {}, "workers: got 4 with the engine sqlite; allowed: 1, because only one process can use"),
        (
            ("--workers", "2"),
            {"TELLWIRE_ENGINE": "memory"},
            "workers: got 2 with the engine memory; allowed: 1, because",
        ),
        (("--dev",), {"TELLWIRE_WORKERS": "2"}, "workers: got 2 with --dev; allowed: 1, because development is one"),
        (("--workers", "0"), {}, "--workers: got 0; allowed: a whole number, at least 1"),
        (("--worker", "1:0:0"), {}, "--worker: got '1:0:0'; allowed: what a supervisor says"),
    ],
)
async def test_workers_that_cannot_be_are_refused_with_a_reason(
    arguments: tuple[str, ...], environment: dict[str, str], words: str
) -> None:
    result = await tellwire("serve", *arguments, TELLWIRE_JWT_SECRET=SECRET, **environment)
    assert (result.code, words in result.err) == (2, True), result.err
    assert result.err.count("\n") == 1
