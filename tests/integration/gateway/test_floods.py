"""Clients that send more than they may: they are told, and closed with 4429, and other clients notice nothing."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from tellwire.client import Client
from tellwire.limits import (
    CONTROL_FRAME_BURST,
    HELLO_BURST,
    MAX_REQUESTS_REFUSED,
    MESSAGE_BURST,
    REPLAY_BURST_BYTES,
)
from tellwire.messages import create_message
from tests.conftest import Gateway, StartGateway, read
from tests.integration.gateway.test_socket import only_connection, start_with_clock
from tests.tools import until

FRAMES = {
    "pings": Frame(Opcode.PING, b"").serialize(mask=True),
    "pongs": Frame(Opcode.PONG, b"").serialize(mask=True),
    "ping messages": Frame(Opcode.TEXT, b'{"type":"ping"}').serialize(mask=True),
    "hellos": Frame(Opcode.TEXT, b'{"type":"hello"}').serialize(mask=True),
    "cancels": Frame(Opcode.TEXT, b'{"type":"cancel","uploadId":"x"}').serialize(mask=True),
    "auths": Frame(Opcode.TEXT, b'{"type":"auth"}').serialize(mask=True),
    "empty texts": Frame(Opcode.TEXT, b"").serialize(mask=True),
    "junk": Frame(Opcode.TEXT, b"}").serialize(mask=True),
    "unknown types": Frame(Opcode.TEXT, b'{"type":"dance"}').serialize(mask=True),
}


async def answers(device: ClientConnection) -> Counter[str]:
    """Return the types and codes of all messages until the close."""
    found: Counter[str] = Counter()
    try:
        async for text in device:
            message = json.loads(text)
            found[message["data"].get("code", message["type"])] += 1
    except ConnectionClosed:
        pass
    return found


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
async def test_a_client_that_sends_too_much_is_told_and_then_closed_with_4429(gateway: Gateway, frame: bytes) -> None:
    async with gateway.device(ping_interval=None) as device:
        device.transport.write(frame * 400)
        found = await answers(device)
        assert (device.close_code, device.close_reason) == (4429, "TOO_MANY_REQUESTS")
        assert MAX_REQUESTS_REFUSED < found["TOO_MANY_REQUESTS"] <= MAX_REQUESTS_REFUSED + 2


async def test_the_error_names_the_limit_and_the_client_goes_on_below_it(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway, messages_per_second=5, message_burst=3)
    async with gateway.device() as device:
        for _ in range(4):
            await device.send('{"type": "ping"}')
        assert [(await read(device))["type"] for _ in range(3)] == ["pong"] * 3
        error = (await read(device))["data"]
        assert error["code"] == "TOO_MANY_REQUESTS"
        assert "messages: 5 a second, and 3 at once" in error["message"]
        await clock.advance(0.2)
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"


async def test_a_request_beyond_the_rate_is_refused_with_its_id(start_gateway: StartGateway) -> None:
    gateway, _ = await start_with_clock(start_gateway, messages_per_second=1, message_burst=1)
    calls: list[Any] = []
    gateway.node.on_message("add", lambda data, sender: calls.append(data))
    async with gateway.device() as device:
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"
        for text in ('{"type": "add", "data": [1, 2], "id": "q1"}', '{"type": "add"}', '{"id": ""}', '["id"]', "}"):
            await device.send(text)
            error = (await read(device))["data"]
            assert (error["code"], error.get("id")) == ("TOO_MANY_REQUESTS", "q1" if "q1" in text else None)
    assert calls == []


async def test_no_task_is_made_for_a_message_that_is_not_allowed(gateway: Gateway) -> None:
    async with gateway.device(ping_interval=None) as device:
        device.transport.write(FRAMES["cancels"] * 10_000)
        most = 0
        while gateway.node.hub.get(only_connection(gateway).connection_id) is not None:
            most = max(most, sum("SocketPeer._handle" in repr(task) for task in asyncio.all_tasks()))
            await asyncio.sleep(0)
        assert most <= MESSAGE_BURST


async def test_hellos_have_a_limit_of_their_own(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with gateway.device() as device:
        for _ in range(HELLO_BURST):
            await device.send('{"type": "hello"}')
            assert (await read(device))["type"] == "welcome"
        await device.send('{"type": "hello"}')
        error = (await read(device))["data"]
        assert (error["code"], "hellos: one in 2 seconds" in error["message"]) == ("TOO_MANY_REQUESTS", True)
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"
        await clock.advance(2)
        await device.send('{"type": "hello"}')
        assert (await read(device))["type"] == "welcome"


async def test_dismissals_of_all_that_has_ended_count_as_hellos_since_they_read_as_much(
    start_gateway: StartGateway,
) -> None:
    gateway, clock = await start_with_clock(start_gateway)
    async with gateway.device() as device:
        for number in range(HELLO_BURST + 1):
            await device.send(f'{{"type": "dismiss", "endedUpTo": 5, "id": "{number}"}}')
        answers = [await read(device) for _ in range(HELLO_BURST + 1)]
        refused = next(each["data"] for each in answers if each["type"] == "error")
        assert (refused["code"], refused["id"]) == ("TOO_MANY_REQUESTS", str(HELLO_BURST))
        assert sum(each["type"] == "ok" for each in answers) == HELLO_BURST
        await clock.advance(2)
        await device.send('{"type": "dismiss", "endedUpTo": 5, "id": "later"}')
        assert await read(device) | {"timestamp": ""} == {"type": "ok", "data": {"id": "later"}, "timestamp": ""}


async def test_a_welcome_names_the_limits(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(messages_per_second=7, message_burst=9, hello_interval_seconds=3)
    async with gateway.device() as device:
        await device.send('{"type": "hello"}')
        assert (await read(device))["data"]["limits"] == {
            "maxMessageBytes": 131072,
            "maxRequestsInFlight": 32,
            "maxRequestsPerSecond": 7,
            "maxRequestBurst": 9,
            "helloIntervalSeconds": 3,
            "maxSubscriptions": 100,
        }


async def test_the_bytes_of_replays_are_paced_for_all_connections_of_a_user(start_gateway: StartGateway) -> None:
    gateway, clock = await start_with_clock(start_gateway, replay_bytes_per_second=1024 * 1024)
    message_bytes, received = 90_000, 0
    for _ in range(40):
        message = create_message("n", "x" * message_bytes)
        await gateway.node.broadcaster.broadcast_to_user("user-1", message)

    async def replays(device: ClientConnection, count: int) -> None:
        nonlocal received
        for _ in range(count):
            await device.send('{"type": "hello", "cursor": "0"}')
            is_last = False
            while not is_last:
                page = await device.recv()
                received += len(page)
                is_last = json.loads(page)["data"]["last"]

    async with gateway.devices(2) as devices:
        both = asyncio.gather(*(replays(device, 3) for device in devices))
        await until(lambda: received > REPLAY_BURST_BYTES - 2 * message_bytes)
        for _ in range(100):
            await asyncio.sleep(0)
        # The clock stands still, so the rest waits.
        assert received <= REPLAY_BURST_BYTES + 2 * message_bytes
        await clock.advance(10)
        await both
        assert received > 6 * 40 * message_bytes


async def test_pings_are_answered_up_to_their_limit(gateway: Gateway) -> None:
    async with gateway.device(ping_interval=None) as device:
        for _ in range(CONTROL_FRAME_BURST):
            await (await device.ping())
        assert device.state.name == "OPEN"


@pytest.mark.parametrize("count", [1, 4])
async def test_another_clients_ping_is_answered_while_floods_are_read(gateway: Gateway, count: int) -> None:
    fragment = Frame(Opcode.CONT, b"", fin=False).serialize(mask=True)
    # Pings of their own would wait behind what they send, on a busy machine for longer than websockets allows.
    async with gateway.devices(count, "flooder", ping_interval=None) as flooders, gateway.device() as device:
        first = Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=True)
        for each in flooders:
            each.transport.write(first + fragment * 400_000 + Frame(Opcode.CONT, b"").serialize(mask=True))
        ends = [asyncio.create_task(each.recv()) for each in flooders]
        await until(lambda: len(gateway.node.sockets.turns._waiting) == count)
        await device.send('{"type": "ping"}')
        assert (await read(device))["type"] == "pong"
        # Megabytes are read in thousands of turns. Without turns, all of them would have come first.
        assert not any(end.done() for end in ends)
        await asyncio.gather(*ends)


async def test_a_message_that_makes_the_application_fail_ends_that_connection_alone(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway.device("user-2") as other, gateway.device() as device:

        def fail(*_: Any) -> None:
            raise RuntimeError("internal detail")

        with monkeypatch.context() as patched:
            patched.setattr(type(gateway.node.sockets.application), "received", fail)
            await device.send('{"type": "ping"}')
            await device.wait_closed()
        assert device.close_code == 1011
        assert "internal detail" in caplog.text
        await other.send('{"type": "ping"}')
        assert (await read(other))["type"] == "pong"


async def test_our_client_keeps_to_the_limits_and_none_of_its_messages_is_refused(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(messages_per_second=200, message_burst=10)
    handled: list[int] = []
    gateway.node.on_message("count", lambda data, sender: handled.append(data))
    async with Client(gateway.url, lambda why: gateway.token()) as client:
        await until(lambda: client.state.recovered is not None)
        await asyncio.gather(*(client.send("count", number) for number in range(100)))
        await until(lambda: len(handled) == 100)
        assert client.state.status == "open"
    assert sorted(handled) == list(range(100))
