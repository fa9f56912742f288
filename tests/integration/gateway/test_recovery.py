"""`hello` and `welcome`: the replay for a client that comes back, without gaps."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.messages import Message, create_message, create_upload_progress_message
from tellwire.server.socket import Connection
from tellwire.welcome_room import WelcomeRoom
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, read


async def publish(gateway: Gateway, *messages: Message, user_id: str = "user-1") -> None:
    for message in messages:
        await gateway.node.broadcaster.broadcast_to_user(user_id, message)


async def hello(device: ClientConnection, cursor: str | None = None) -> dict[str, Any]:
    """Send a hello, and return all pages of the welcome as one, with the messages that were sent between pages."""
    await device.send(json.dumps({"type": "hello"} if cursor is None else {"type": "hello", "cursor": cursor}))
    messages, state = [], []
    while True:
        frame = await read(device)
        if frame["type"] != "welcome":
            messages.append(frame)
            continue
        page = frame["data"]
        messages += page["messages"]
        state += page["state"]
        if page["last"]:
            return {**page, "messages": messages, "state": state}


def note(number: int, filling: str = "") -> Message:
    return create_message("note", {"number": number, "filling": filling})


def numbers(welcome: dict[str, Any]) -> list[int]:
    return [message["data"]["number"] for message in welcome["messages"]]


async def test_a_first_welcome_has_the_user_and_the_newest_states(gateway: Gateway) -> None:
    await publish(gateway, note(0), create_upload_progress_message("u1", "f.csv", 40, "Row 40"))
    async with gateway.device() as device:
        welcome = await hello(device)
    (info,) = [welcome["connectionId"]]
    assert len(info) == 16
    assert (welcome["userId"], welcome["recovered"], welcome["messages"]) == ("user-1", True, [])
    assert [state["data"]["progress"] for state in welcome["state"]] == [40]
    assert (welcome["state"][0]["key"], welcome["state"][0]["version"]) == ("upload:u1", 1)
    assert welcome["cursor"].endswith(":1")
    assert (welcome["heartbeatSeconds"], welcome["rotateAfterSeconds"]) == (25, 6600)
    assert welcome["expiresAt"].endswith("Z")


async def test_a_device_that_was_away_gets_all_missed_messages_once_and_in_order(gateway: Gateway) -> None:
    async with gateway.device() as device:
        cursor = (await hello(device))["cursor"]
    await publish(gateway, *map(note, range(5)))
    async with gateway.device() as device:
        welcome = await hello(device, cursor)
        assert (welcome["recovered"], numbers(welcome)) == (True, list(range(5)))
        await publish(gateway, note(5))
        live = await read(device)
        assert live["cursor"] == welcome["cursor"].replace(":5", ":6")


async def test_a_cursor_of_another_gateway_is_not_recovered(gateway: Gateway) -> None:
    await publish(gateway, note(0))
    async with gateway.device() as device:
        welcome = await hello(device, "elsewhere:7")
        assert (welcome["recovered"], numbers(welcome)) == (False, [0])
        await device.send('{"type": "hello", "cursor": 5}')
        assert (await read(device))["data"]["code"] == "INVALID_MESSAGE"


async def test_messages_that_are_published_during_a_welcome_arrive(gateway: Gateway) -> None:
    async with gateway.device() as device:
        cursor = (await hello(device))["cursor"]
    await publish(gateway, *(note(number, "x" * 3000) for number in range(300)))
    async with gateway.device(max_size=None) as device:
        talking = asyncio.create_task(publish(gateway, *map(note, range(300, 400))))
        await device.send(json.dumps({"type": "hello", "cursor": cursor}))
        seen: set[str] = set()
        async with asyncio.timeout(100):
            while len(seen) < 400:
                frame = await read(device)
                for message in frame["data"]["messages"] if frame["type"] == "welcome" else [frame]:
                    seen.add(message["cursor"])
        await talking
    assert len(seen) == 400


async def test_a_welcome_far_above_the_bounds_of_an_outbox_arrives_complete(gateway: Gateway) -> None:
    async with gateway.device() as device:
        cursor = (await hello(device))["cursor"]
    await publish(gateway, *(note(number, "x" * 20_000) for number in range(200)))
    async with gateway.device(max_size=None) as device:
        assert numbers(await hello(device, cursor)) == list(range(200))


@pytest.mark.parametrize("size", [90_000, 100_000, 130_000])
async def test_a_message_as_big_as_a_page_arrives_in_its_place(gateway: Gateway, size: int) -> None:
    async with gateway.device() as device:
        cursor = (await hello(device))["cursor"]
    await publish(gateway, note(0), note(1, "x" * size), note(2))
    async with gateway.device(max_size=None) as device:
        welcome = await hello(device, cursor)
        assert sorted(numbers(welcome)) == [0, 1, 2]


async def test_a_second_hello_takes_the_place_of_the_first(gateway: Gateway) -> None:
    await publish(gateway, *map(note, range(3)))
    async with gateway.device() as device:
        await device.send('{"type": "hello"}')
        assert numbers(await hello(device, "elsewhere:1"))[-3:] == [0, 1, 2]


async def test_a_message_published_twice_is_delivered_once(gateway: Gateway) -> None:
    message = note(0)
    once = msgspec.structs.replace(message, id="import-17")
    async with gateway.device() as device:
        await publish(gateway, once, once, message, message)
        assert [(await read(device))["id"] == "import-17" for _ in range(3)] == [True, False, False]


async def test_a_client_that_does_not_read_finds_only_the_newest_of_an_upload(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    async with gateway.device(max_queue=1) as device:
        device.transport.pause_reading()
        (connection,) = gateway.node.hub._by_id.values()
        assert isinstance(connection, Connection)
        while not connection._is_behind:
            await publish(gateway, note(0, "x" * 60_000))
            await asyncio.sleep(0)
        before = len(connection._outbox)
        for value in range(100):
            await publish(gateway, create_upload_progress_message("u1", "f.csv", value / 2, ""))
        await publish(gateway, create_upload_progress_message("u1", "f.csv", 100, "done"))
        assert len(connection._outbox) - before == 1
        device.transport.resume_reading()
        async with asyncio.timeout(100):
            while (frame := await read(device))["type"] != "upload_progress":
                pass
        assert frame["data"]["progress"] == 100


async def test_everything_survives_a_restart_with_a_file(tmp_path: Path) -> None:
    settings = Settings(
        port=0, jwt_secret=SECRET, api_key=API_KEY, drain_seconds=1, database=str(tmp_path / "live.sqlite3")
    )
    node = Node(settings)
    async with node.running() as url:
        gateway = Gateway(node, url)
        async with gateway.device() as device:
            cursor = (await hello(device))["cursor"]
        await publish(gateway, note(0), create_upload_progress_message("u1", "f.csv", 40, ""))
    node = Node(settings)
    async with node.running() as url:
        gateway = Gateway(node, url)
        await publish(gateway, note(1))
        async with gateway.device() as device:
            welcome = await hello(device, cursor)
    assert (welcome["recovered"], numbers(welcome)) == (True, [0, 1])
    assert [state["data"]["progress"] for state in welcome["state"]] == [40]


async def test_a_client_that_takes_nothing_of_a_long_welcome_keeps_its_room_only_for_a_while(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.replays.WELCOME_PAGE_SECONDS", 0.5)
    room = WelcomeRoom(room_bytes=1_000_000)
    monkeypatch.setattr("tellwire.replays.WelcomeRoom", lambda: room)
    gateway = await start_gateway()
    for _ in range(100):
        await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("blob", "x" * 100_000))
    async with gateway.device(max_queue=None) as silent, gateway.device(max_size=None) as device:
        silent.transport.pause_reading()
        await silent.send('{"type": "hello", "cursor": "0"}')
        async with asyncio.timeout(60):
            while not room.taken_bytes:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            assert len((await hello(device, "0"))["messages"]) == 100
        silent.transport.resume_reading()
        assert await closed_with(silent) == (1013, "HISTORY_UNAVAILABLE")
    assert room.taken_bytes == 0


async def closed_with(device: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            await device.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason
