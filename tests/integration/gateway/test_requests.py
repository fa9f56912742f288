"""The bound on the requests of one connection that are in flight: the client is told, and at last closed with 4429."""

import asyncio
import contextlib
import json
import sys
from collections import Counter
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError

from tellwire.limits import MAX_REQUESTS_IN_FLIGHT, MAX_REQUESTS_REFUSED
from tellwire.model import Sender
from tests.conftest import Gateway, read

CANCEL = json.dumps({"type": "cancel", "uploadId": "u1"})


@pytest.fixture
def release(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Hold back the history until this is set."""
    released = asyncio.Event()
    history = gateway.node.engine.history
    assert history is not None
    state = history.state

    async def slow(*arguments: Any) -> Any:
        await released.wait()
        return await state(*arguments)

    monkeypatch.setattr(history, "state", slow)
    return released


def requests_in_flight() -> int:
    return sum("SocketPeer._handle" in repr(task) for task in asyncio.all_tasks())


async def test_requests_above_the_bound_are_refused_and_the_others_are_answered(
    gateway: Gateway, release: asyncio.Event
) -> None:
    async with gateway.device() as device:
        for _ in range(MAX_REQUESTS_IN_FLIGHT + 5):
            await device.send(CANCEL)
        refused = [(await read(device))["data"] for _ in range(5)]
        assert {error["code"] for error in refused} == {"TOO_MANY_REQUESTS"}
        assert str(MAX_REQUESTS_IN_FLIGHT) in refused[0]["message"]
        assert requests_in_flight() == MAX_REQUESTS_IN_FLIGHT
        # A ping needs no task, so it is answered all the while.
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"
        release.set()
        answers = Counter([(await read(device))["data"]["code"] for _ in range(MAX_REQUESTS_IN_FLIGHT)])
        assert answers == {"UPLOAD_UNKNOWN": MAX_REQUESTS_IN_FLIGHT}
        await device.send(CANCEL)
        assert (await read(device))["data"]["code"] == "UPLOAD_UNKNOWN"


@pytest.mark.usefixtures("release")
async def test_a_client_that_goes_on_is_closed_with_4429(gateway: Gateway) -> None:
    async with gateway.device() as device:
        for _ in range(MAX_REQUESTS_IN_FLIGHT + MAX_REQUESTS_REFUSED + 1):
            await device.send(CANCEL)
        codes: list[str] = []
        with contextlib.suppress(ConnectionClosedError):
            async for text in device:
                codes += [json.loads(text)["data"]["code"]]
        assert (device.close_code, device.close_reason) == (4429, "TOO_MANY_REQUESTS")
        assert set(codes) == {"TOO_MANY_REQUESTS"}
        assert len(codes) == MAX_REQUESTS_REFUSED + 1
        assert requests_in_flight() == MAX_REQUESTS_IN_FLIGHT


async def test_a_request_is_finished_although_its_client_goes_away(gateway: Gateway, release: asyncio.Event) -> None:
    async with gateway.device() as device:
        await device.send(CANCEL)
        await device.send('{"type": "ping"}')
        await read(device)
    release.set()
    async with asyncio.timeout(60):
        while requests_in_flight():
            await asyncio.sleep(0)


def wants_to_end_the_process(data: Any, sender: Sender) -> None:
    raise SystemExit(3)


async def wants_to_end_the_process_as_well(data: Any, sender: Sender) -> None:
    sys.exit("usage: …")


def runs_out_of_items(data: Any, sender: Sender) -> Any:
    return next(iter([]))


async def waits_for_something_cancelled(data: Any, sender: Sender) -> None:
    other = asyncio.create_task(asyncio.sleep(9))
    other.cancel()
    await other


@pytest.mark.parametrize(
    "handler",
    [
        wants_to_end_the_process,
        wants_to_end_the_process_as_well,
        runs_out_of_items,
        waits_for_something_cancelled,
    ],
)
async def test_whatever_a_handler_raises_ends_its_message_alone(
    gateway: Gateway, handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.node.on_message("thing", handler)
    async with gateway.device() as device:
        await device.send('{"type": "thing"}')
        assert (await read(device))["data"]["code"] == "INTERNAL_ERROR"
        assert "a request failed" in caplog.text
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"
    assert requests_in_flight() == 0
