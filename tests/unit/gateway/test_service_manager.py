import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tellwire.gateway.service_manager import ServiceManager
from tests.service_manager import Manager, manager


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Manager]:
    with manager(tmp_path) as found:
        yield found


async def test_without_a_socket_nothing_is_told_and_nothing_runs() -> None:
    nobody = ServiceManager.take({})
    nobody.ready("serving")
    nobody.stopping()
    before = asyncio.all_tasks()
    async with nobody.watching(lambda: pytest.fail("nobody asks for the status")):
        assert asyncio.all_tasks() == before


async def test_the_variables_are_taken_so_that_children_do_not_speak_for_this_process(listening: Manager) -> None:
    environment = {**listening.environment(watchdog_seconds=30), "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
    ServiceManager.take(environment).ready("serving 0 connections")
    assert environment == {"HOME": "/"}
    assert await listening.told() == {"READY": "1", "STATUS": "serving 0 connections"}


async def test_a_reload_is_told_with_its_time_and_is_over_also_when_it_fails(listening: Manager) -> None:
    this = ServiceManager(listening.address)

    async def fail() -> None:
        raise ValueError("a file is missing")

    with suppress(ValueError):
        await this.reloads(fail)()
    reloading = await listening.told()
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert await listening.told() == {"READY": "1"}


async def test_signs_of_life_come_with_the_status_when_it_has_changed(listening: Manager) -> None:
    states = iter(["opening", "serving", "serving"])
    async with ServiceManager(listening.address, watchdog_seconds=0.002).watching(lambda: next(states, "serving")):
        told = [await listening.told() for _ in range(4)]
    assert told == [
        {"STATUS": "opening", "WATCHDOG": "1"},
        {"STATUS": "serving", "WATCHDOG": "1"},
        {"WATCHDOG": "1"},
        {"WATCHDOG": "1"},
    ]


async def test_without_a_watchdog_only_the_status_is_told(listening: Manager) -> None:
    async with ServiceManager(listening.address).watching(lambda: "serving 3 connections"):
        assert await listening.told() == {"STATUS": "serving 3 connections"}


@pytest.mark.parametrize(
    "variables",
    [{"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}],
    ids=["zero", "no number", "of another process"],
)
async def test_a_watchdog_that_is_not_meant_gets_no_signs_of_life(
    listening: Manager, variables: dict[str, str]
) -> None:
    this = ServiceManager.take(listening.environment() | variables)
    async with this.watching(lambda: "serving"):
        assert await listening.told() == {"STATUS": "serving"}


async def test_the_name_of_an_abstract_socket_is_understood(tmp_path: Path) -> None:
    with manager(tmp_path / ("long" * 30)) as listening:
        assert listening.address.startswith("@")
        ServiceManager(listening.address).stopping()
        assert await listening.told() == {"STOPPING": "1", "STATUS": "draining"}


def test_a_manager_that_has_gone_or_cannot_be_reached_disturbs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ServiceManager(str(tmp_path / "nobody")).ready("serving")
    ServiceManager.take({"NOTIFY_SOCKET": "vsock:2:1234"}).ready("serving")
    assert caplog.messages == [
        "NOTIFY_SOCKET: got 'vsock:2:1234'; allowed: a path, or @ and a name. systemd is told nothing"
    ]
