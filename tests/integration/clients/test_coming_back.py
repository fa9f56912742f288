"""Recovery of the TypeScript client in Node, which loses its connection to a real gateway."""

import asyncio
from pathlib import Path
from typing import Any

from tellwire import create_message, create_upload_progress_message
from tests.conftest import Gateway
from tests.integration.clients.conftest import Device, StartDevice

USER = "user-1"


async def say(gateway: Gateway, *numbers: int) -> None:
    for number in numbers:
        await gateway.node.broadcaster.broadcast_to_user(USER, create_message("number", number))


async def update(gateway: Gateway, progress: float) -> None:
    message = create_upload_progress_message("moc-1", "parts.csv", progress, "Parsing")
    await gateway.node.broadcaster.broadcast_to_user(USER, message)


async def loses_its_connection(gateway: Gateway, device: Device) -> None:
    """Close the only connection, and let the device wait for a token to come back with."""
    (connection_id,) = gateway.node.hub._by_id
    await gateway.node.hub.disconnect(connection_id)
    await device.becomes("waiting")
    await device.becomes("connecting")
    assert await device.next_line_of("asked") == "connect"


async def next_data(device: Device, count: int) -> list[Any]:
    """Return the data of the next messages."""
    return [(await device.next_line_of("message"))["data"] for _ in range(count)]


async def test_messages_that_were_published_meanwhile_arrive_once_and_in_order(
    gateway: Gateway, start_device: StartDevice
) -> None:
    device = await start_device(url=gateway.url)
    await device.connects(gateway.token())
    await say(gateway, 1)
    assert await next_data(device, 1) == [1]
    await loses_its_connection(gateway, device)
    await say(gateway, 2, 3)
    await update(gateway, 10)
    await update(gateway, 20)
    device.send_command(token=gateway.token())
    assert await device.recovers()
    *numbers, upload = await next_data(device, 3)
    assert (numbers, upload["progress"]) == ([2, 3], 20)
    await say(gateway, 4)
    assert await next_data(device, 1) == [4]


async def test_many_pages_and_messages_above_a_pages_size_arrive_in_order(
    gateway: Gateway, start_device: StartDevice
) -> None:
    device = await start_device(url=gateway.url)
    await device.connects(gateway.token())
    await say(gateway, 0)
    assert await next_data(device, 1) == [0]
    await loses_its_connection(gateway, device)
    texts = [f"{number:03}" * (35_000 if number in (100, 101, 250) else 500) for number in range(1, 300)]
    for text in texts:
        await gateway.node.broadcaster.broadcast_to_user(USER, create_message("text", text))
    device.send_command(token=gateway.token())
    await device.becomes("open")
    heard: list[str] = []
    while len(heard) < len(texts):
        said = await device.next_line()
        if "message" in said:
            heard.append(said["message"]["data"])
        else:
            assert said["state"]["recovered"] is True
    assert heard == texts


async def test_a_client_that_loses_its_connection_again_and_again_loses_nothing(
    gateway: Gateway, start_device: StartDevice
) -> None:
    device = await start_device(url=gateway.url, backoffFirstSeconds=0.05, backoffMaxSeconds=0.1)
    await device.connects(gateway.token())
    heard: list[int] = []
    attempts = 0
    enough = asyncio.Event()
    speaking, disturbing = asyncio.create_task(speak(gateway, enough)), asyncio.create_task(disturb(gateway))
    while not speaking.done() or len(heard) < speaking.result():
        said = await device.next_line()
        if "asked" in said:
            attempts += 1
            device.send_command(token=gateway.token())
            if attempts == 5:
                enough.set()
        elif "message" in said:
            heard.append(said["message"]["data"])
        else:
            assert said["state"].get("recovered", True)
    disturbing.cancel()
    assert heard == list(range(speaking.result()))


async def speak(gateway: Gateway, enough: asyncio.Event) -> int:
    """Say numbers until it is enough, and some more; return how many."""
    number = left = 0
    while left < 100:
        await say(gateway, number)
        number += 1
        left += enough.is_set()
        await asyncio.sleep(0.003)
    return number


async def disturb(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(0.1)
        for connection_id in list(gateway.node.hub._by_id):
            await gateway.node.hub.disconnect(connection_id)


async def test_a_reloaded_page_gets_the_missed_messages(
    gateway: Gateway, start_device: StartDevice, tmp_path: Path
) -> None:
    options = {"url": gateway.url, "storedIn": str(tmp_path / "cursor")}
    device = await start_device(**options)
    await device.connects(gateway.token())
    await say(gateway, 1)
    assert await next_data(device, 1) == [1]
    assert await device.ends() == 0
    await say(gateway, 2, 3)
    anew = await start_device(**options)
    await anew.connects(gateway.token())
    assert await next_data(anew, 2) == [2, 3]


async def test_a_client_may_begin_with_all_that_is_kept(gateway: Gateway, start_device: StartDevice) -> None:
    await say(gateway, 1, 2)
    device = await start_device(url=gateway.url, startFrom="oldest")
    await device.connects(gateway.token())
    assert await next_data(device, 2) == [1, 2]


async def test_the_seen_state_of_one_device_reaches_all(gateway: Gateway, start_device: StartDevice) -> None:
    one, other = await start_device(url=gateway.url), await start_device(url=gateway.url)
    for device in (one, other):
        await device.connects(gateway.token())
    await say(gateway, 1)
    cursor = (await one.next_line_of("message"))["cursor"]
    assert await next_data(other, 1) == [1]
    one.send_command(ack=cursor)
    for device in (one, other):
        assert (await device.next_line_of("message"))["data"] == {"cursor": cursor}


async def test_an_upload_is_cancelled_by_a_device(gateway: Gateway, start_device: StartDevice) -> None:
    device = await start_device(url=gateway.url)
    await device.connects(gateway.token())
    await update(gateway, 10)
    assert (await next_data(device, 1))[0]["progress"] == 10
    device.send_command(cancel="moc-1")
    assert (await next_data(device, 1))[0]["status"] == "cancelled"
    assert await device.next_line_of("answered") == "ok"
    device.send_command(cancel="moc-2")
    assert await device.next_line_of("answered") == "UPLOAD_UNKNOWN"
