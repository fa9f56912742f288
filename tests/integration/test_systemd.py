"""The unit of systemd, and a gateway under a service manager, whose place the test takes: real processes and signals.

systemd itself runs in no container, so it only verifies the unit here.
"""

import asyncio
import configparser
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from bench.processes import free_port
from tellwire import limits
from tellwire.auth import mint_token
from tellwire.config import Settings
from tests.conftest import API_KEY, SECRET, read
from tests.integration.test_cli import COMMAND, own_state
from tests.redis_server import RedisServer
from tests.service_manager import Manager, manager
from tests.tools import require

__all__ = ["own_state"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = FOLDER / "tellwire.service"


class _Repeated(dict[str, Any]):
    """The options of a unit: one that comes again is appended, a line each."""

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, list) and name in self:
            value = [*self[name], *value]
        super().__setitem__(name, value)


def service() -> dict[str, list[str]]:
    """Return the options of the unit's service."""
    parser = configparser.RawConfigParser(dict_type=_Repeated, strict=False)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(UNIT)
    return {name: value.splitlines() for name, value in parser.items("Service")}


def environment_of_unit(directory: Path) -> dict[str, str]:
    """Return the variables as systemd makes them of the unit and its file, with the directories of the test."""
    lines = [line for line in (FOLDER / "tellwire.env").read_text().splitlines() if line and not line.startswith("#")]
    variables = dict(line.split("=", 1) for line in [*lines, *service()["Environment"]])
    places = {"%d": str(directory / "credentials"), "%S": str(directory / "state")}
    return {name: re.sub("%[dS]", lambda found: places[found[0]], value) for name, value in variables.items()}


@pytest.fixture
def listening(tmp_path: Path) -> Any:
    with manager(tmp_path) as found:
        yield found


@pytest.fixture
def unit(tmp_path: Path) -> dict[str, str]:
    """The environment of the unit, whose credentials and directories are there."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "jwt-secret").write_text(SECRET)
    (tmp_path / "credentials" / "api-keys").write_text(f"ops:admin+publish:{API_KEY}")
    (tmp_path / "state" / "tellwire").mkdir(parents=True)
    return environment_of_unit(tmp_path) | {"TELLWIRE_PORT": "0", "TELLWIRE_METRICS_PORT": str(free_port())}


@asynccontextmanager
async def started(environment: dict[str, str], *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the unit's command, or another one."""
    assert service()["ExecStart"] == ["/opt/tellwire/bin/tellwire serve"]
    process = await asyncio.create_subprocess_exec(
        *(command or (*COMMAND, "serve")), env=os.environ | environment, stdout=-1, stderr=-1
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def ends(process: asyncio.subprocess.Process) -> int:
    return await asyncio.wait_for(process.wait(), 60)


async def test_the_service_is_ready_when_it_serves_reloads_and_tells_that_it_stops(
    listening: Manager, unit: dict[str, str]
) -> None:
    seconds = float(service()["WatchdogSec"][0])
    async with started(unit | listening.environment(seconds)) as process:
        ready = await listening.until("READY")
        assert ready["STATUS"] == "serving 0 connections"
        assert process.stdout is not None
        found = re.search(rb"ws://127\.0\.0\.1:(\d+)", await asyncio.wait_for(process.stdout.readline(), 60))
        assert found is not None
        async with connect(
            f"ws://127.0.0.1:{int(found[1])}/?token={mint_token(SECRET, 'user-1')}", proxy=None
        ) as device:
            await device.send('{"type": "ping"}')
            assert (await read(device))["type"] == "pong"

            process.send_signal(signal.SIGHUP)
            assert int((await listening.until("RELOADING"))["MONOTONIC_USEC"]) > 0
            await listening.until("READY")

            process.send_signal(signal.SIGTERM)
            assert (await listening.until("STOPPING"))["STATUS"] == "draining"
        assert await ends(process) == 0
        assert listening.senders == {process.pid}


async def test_it_is_not_ready_while_it_waits_for_its_redis(listening: Manager, unit: dict[str, str]) -> None:
    # The kernel takes its connection, and nobody answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        redis = {"TELLWIRE_ENGINE": "redis", "TELLWIRE_REDIS_URL": f"redis://127.0.0.1:{silent.getsockname()[1]}"}
        async with started(unit | redis | listening.environment(0.05)) as process:
            told = [await listening.told() for _ in range(3)]
            assert told == [{"STATUS": "not serving", "WATCHDOG": "1"}, {"WATCHDOG": "1"}, {"WATCHDOG": "1"}]
            process.send_signal(signal.SIGTERM)
            assert await ends(process) == 0


HANGING = """
import asyncio, os, pathlib, sys
from tellwire import Node, Settings
from tellwire.gateway.service_manager import ServiceManager

node = Node(Settings(engine="memory", port=0, jwt_secret=sys.argv[1]))

@node.on_message("hang")
async def hang(data, sender):
    pathlib.Path(sys.argv[2]).read_text()  # until somebody writes: the whole event loop waits

asyncio.run(node.serve(lambda each: print(each.authority, flush=True), manager=ServiceManager.take(os.environ)))
"""


async def test_a_gateway_whose_event_loop_hangs_gives_no_sign_of_life(listening: Manager, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    async with started(listening.environment(0.1), sys.executable, "-c", HANGING, SECRET, str(gate)) as process:
        await listening.until("READY")
        for _ in range(3):
            await listening.until("WATCHDOG")
        assert process.stdout is not None
        authority = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
        async with connect(f"ws://{authority}/?token={mint_token(SECRET, 'user-1')}", proxy=None) as device:
            await device.send('{"type": "hang"}')
            await listening.silence(2)
            await asyncio.to_thread(gate.write_text, "")
            await listening.until("WATCHDOG")
            # As systemd does when a sign of life is missing.
            process.send_signal(signal.SIGABRT)
            assert await ends(process) == -signal.SIGABRT


async def test_the_supervisor_of_workers_tells_for_all_of_them(
    listening: Manager, unit: dict[str, str], redis_server: RedisServer, redis_prefix: str
) -> None:
    redis = {
        "TELLWIRE_ENGINE": "redis",
        "TELLWIRE_REDIS_URL": redis_server.url,
        "TELLWIRE_REDIS_PREFIX": redis_prefix,
        "TELLWIRE_WORKERS": "2",
        "TELLWIRE_METRICS": "false",
    }
    async with started(unit | redis | listening.environment(1)) as process:
        assert await listening.until("READY") == {"READY": "1", "STATUS": "serving: 2 of 2 workers"}
        await listening.until("WATCHDOG")
        process.send_signal(signal.SIGHUP)
        await listening.until("RELOADING")
        await listening.until("READY")
        process.send_signal(signal.SIGTERM)
        await listening.until("STOPPING")
        assert await ends(process) == 0
        # systemd takes the words of the main process alone.
        assert listening.senders == {process.pid}


def test_the_times_of_the_unit_leave_room_for_the_drain_and_its_files_for_all_connections(tmp_path: Path) -> None:
    found = service()
    settings = environment_of_unit(tmp_path)
    longest = float(settings["TELLWIRE_DRAIN_SECONDS"]) + limits.WORKER_MARGIN_SECONDS + limits.WORKER_END_SECONDS
    assert float(found["TimeoutStopSec"][0]) > longest
    assert int(found["LimitNOFILE"][0]) > Settings().max_connections + 100
    names = {f"TELLWIRE_{name.upper()}" for name in Settings.__struct_fields__}
    assert settings.keys() <= names


def test_systemd_takes_the_unit_and_finds_it_well_shut_off(tmp_path: Path) -> None:
    analyze = require("systemd-analyze")
    # The program that it names must be there.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/tellwire/bin/tellwire", "/bin/true"))
    verified = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    security = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=15", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert security.returncode == 0, security.stdout
