"""A node inside a program: its broadcaster from other threads, loops and processes, and the program's loggers."""

import asyncio
import json
import logging
import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tellwire import CannotRunHere, GatewayUnreachable, create_message, sync, use_broadcaster
from tests.conftest import Gateway, StartGateway

ENGINES = pytest.mark.parametrize("engine", ["memory", "sqlite"])


@pytest.fixture
def settings(engine: str, tmp_path: Path) -> dict[str, Any]:
    return {"engine": engine, "database": str(tmp_path / "tellwire.sqlite3")}


@ENGINES
async def test_threads_and_the_nodes_own_loop_publish_at_once(
    start_gateway: StartGateway, settings: dict[str, Any]
) -> None:
    gateway: Gateway = await start_gateway(**settings)

    def work(name: int) -> None:
        with use_broadcaster(gateway.node.broadcaster, other_threads=False):
            for number in range(50):
                sync.broadcast_to_user("user-1", create_message("note", [name, number]))
            with sync.track_upload("user-1", f"moc-{name}", "parts.csv", 5) as upload:
                for _ in upload.count(range(5)):
                    pass
            assert upload.failures == 0

    async with gateway.device() as device:
        threads = [asyncio.to_thread(work, name) for name in range(3)]
        own = [gateway.node.broadcaster.broadcast_to_user("user-1", create_message("own", n)) for n in range(50)]
        async with asyncio.timeout(100):
            await asyncio.gather(*threads, *own)
            notes: list[list[int]] = []
            while len(notes) < 150:
                message = json.loads(await device.recv())
                if message["type"] == "note":
                    notes.append(message["data"])
    for name in range(3):
        assert [number for thread, number in notes if thread == name] == list(range(50))


@ENGINES
@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
async def test_another_event_loop_publishes(
    start_gateway: StartGateway, settings: dict[str, Any], make_loop: Any
) -> None:
    gateway: Gateway = await start_gateway(**settings)
    broadcaster = gateway.node.broadcaster

    async def work() -> None:
        messages = [create_message("note", number) for number in range(20)]
        await asyncio.gather(*[broadcaster.broadcast_to_user("user-1", message) for message in messages])

    def run() -> None:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(work())

    async with gateway.device() as device:
        await asyncio.to_thread(run)
        async with asyncio.timeout(100):
            got = [json.loads(await device.recv())["data"] for _ in range(20)]
    assert sorted(got) == list(range(20))


async def test_synchronous_code_on_the_nodes_own_loop_is_refused_at_once(gateway: Gateway) -> None:
    with use_broadcaster(gateway.node.broadcaster), pytest.raises(CannotRunHere, match="the node's own event loop"):
        sync.broadcast_to_user("user-1", create_message("note", 1))


async def test_a_call_that_waits_for_a_node_that_stops_is_ended(start_gateway: StartGateway) -> None:
    gateway: Gateway = await start_gateway()
    node = gateway.node
    begun = asyncio.Event()

    async def endless(publication: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    node.engine.broker.publish = endless  # type: ignore[method-assign]
    broadcaster = node.broadcaster
    home = node._now.home

    def work() -> None:
        with use_broadcaster(broadcaster, other_threads=False):
            sync.broadcast_to_user("user-1", create_message("note", 1))

    waiting = asyncio.create_task(asyncio.to_thread(work))
    await begun.wait()
    home.close()
    with pytest.raises(GatewayUnreachable, match="the node has stopped"):
        await asyncio.wait_for(waiting, 45)


async def test_a_node_whose_loop_stands_still_is_unreachable(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellwire.gateway.node_carrier.PUBLISH_TIMEOUT_SECONDS", 0.2)
    failures: list[Exception] = []

    def work() -> None:
        try:
            with use_broadcaster(gateway.node.broadcaster, other_threads=False):
                sync.broadcast_to_user("user-1", create_message("note", 1))
        except GatewayUnreachable as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not failures and thread.is_alive():
        time.sleep(0.01)  # noqa: ASYNC251 - the loop stands still
    assert "has not answered within 0.2 s" in str(failures[0])


def _in_child(broadcaster: Any, words: Any) -> None:
    try:
        with use_broadcaster(broadcaster):
            sync.broadcast_to_user("user-1", create_message("note", 1))
    except CannotRunHere as error:
        words.send(str(error))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_forked_child_is_told_that_the_node_is_not_there(gateway: Gateway) -> None:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(gateway.node.broadcaster, theirs))
    child.start()
    assert await asyncio.to_thread(ours.poll, 45)
    assert "the node runs in the parent of this process" in ours.recv()
    await asyncio.to_thread(child.join)


async def test_a_node_changes_no_logger_of_its_program(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("uvicorn", "uvicorn.access", "uvicorn.error", "uvicorn.asgi", "websockets")
    handler = logging.NullHandler()
    logging.getLogger("uvicorn.access").addHandler(handler)

    def all_settings() -> list[Any]:
        loggers = [logging.getLogger(name) for name in names]
        return [(each.level, each.disabled, each.propagate, list(each.handlers)) for each in loggers]

    before = all_settings()
    try:
        with caplog.at_level(logging.INFO):
            await start_gateway()
        assert all_settings() == before
    finally:
        logging.getLogger("uvicorn.access").removeHandler(handler)
    assert not [record for record in caplog.records if record.name.startswith("uvicorn")]
