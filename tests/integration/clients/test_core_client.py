"""The TypeScript client in Node, and a real gateway."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tellwire import create_message, create_notification_message
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.model import Delivery, Target
from tellwire.testing import FakeClock
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, token_for
from tests.integration.clients.conftest import SECONDS, StartDevice

HELLO = create_notification_message("Hello", "Wörld 🧱", "info")


async def test_messages_arrive_and_the_process_ends_when_the_client_closes(
    gateway: Gateway, start_device: StartDevice
) -> None:
    device = await start_device(url=gateway.url)
    await device.connects(gateway.token())
    assert await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO) == Delivery(delivered=1)
    message = await device.next_line_of("message")
    assert (message["type"], message["data"]["message"]) == ("notification", "Wörld 🧱")
    assert await device.ends() == 0


async def test_a_browsers_token_may_be_in_the_query(gateway: Gateway, start_device: StartDevice) -> None:
    device = await start_device(url=gateway.ws_url, tokenIn="query")
    await device.connects(gateway.token())
    await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)
    assert (await device.next_line_of("message"))["data"]["title"] == "Hello"


@asynccontextmanager
async def gateway_on(port: int, **settings: Any) -> AsyncIterator[Gateway]:
    defaults: dict[str, Any] = {"jwt_secret": SECRET, "api_key": API_KEY, "drain_seconds": 1, "engine": "memory"}
    node = Node(Settings(port=port, **defaults | settings))
    async with node.running() as url:
        yield Gateway(node, url)


async def test_it_comes_back_when_the_gateway_restarts(start_device: StartDevice) -> None:
    async with gateway_on(0) as first:
        device = await start_device(url=first.url)
        await device.connects(first.token())
        port = int(first.url.rsplit(":", 1)[1])
    waiting = await device.becomes("waiting")
    assert waiting["reason"] == {"code": 1012, "message": "the server restarts", "kind": "server"}
    async with gateway_on(port) as second:
        # Attempts may have failed before this gateway was there.
        while "recovered" not in (state := (said := await device.next_line()).get("state", {})):
            if "asked" in said:
                device.send_command(token=second.token())
        # It keeps what it says in memory, so what was said before is lost.
        assert (state["status"], state["recovered"]) == ("open", False)
        assert await second.node.broadcaster.broadcast_to_user("user-1", HELLO) == Delivery(delivered=1)
        assert (await device.next_line_of("message"))["data"]["title"] == "Hello"


async def test_a_topic_goes_on_after_a_restart_and_brings_each_message_once(
    start_device: StartDevice, tmp_path: Path
) -> None:
    topic = "moc:1:comments"
    rules = [{"pattern": "moc:*", "subscribe": "anyone"}]
    settings = {"engine": "sqlite", "database": str(tmp_path / "tellwire.sqlite3"), "topics": json.dumps(rules)}

    async def say(gateway: Gateway, text: str) -> None:
        await gateway.node.broadcaster.broadcast(Target(topic=topic), create_message("comment_added", {"text": text}))

    async with gateway_on(0, **settings) as first:
        device = await start_device(url=first.url, topic=topic)
        await device.connects(first.token())
        assert await device.next_line_of("topic") == {"status": "subscribed", "recovered": True}
        await say(first, "one")
        message = await device.next_line_of("message")
        assert (message["topic"], message["data"]) == (topic, {"text": "one"})
        port = int(first.url.rsplit(":", 1)[1])
    async with gateway_on(port, **settings) as second:
        await say(second, "two")
        lines: list[dict[str, Any]] = []
        while (lines := [*lines, await device.next_line()])[-1].get("topic", {}).get("status") != "subscribed":
            if "asked" in lines[-1]:
                device.send_command(token=second.token())
        assert lines[-1] == {"topic": {"status": "subscribed", "recovered": True}}
        await say(second, "three")
        texts = [(await device.next_line_of("message"))["data"]["text"] for _ in range(2)]
        assert texts == ["two", "three"]


async def test_a_topic_that_is_forbidden_is_told_as_refused(gateway: Gateway, start_device: StartDevice) -> None:
    device = await start_device(url=gateway.url, topic="secret")
    await device.connects(gateway.token())
    state = await device.next_line_of("topic")
    assert (state["status"], state["error"]["code"]) == ("refused", "TOPIC_FORBIDDEN")


async def test_a_token_that_expires_is_followed_by_a_new_one(
    start_gateway: StartGateway, start_device: StartDevice
) -> None:
    clock = FakeClock(time.time())
    # Without pings: the device is another process, whose pongs take longer than these five minutes do.
    gateway = await start_gateway(clock, ping_after_seconds=0)
    device = await start_device(url=gateway.url, stableAfterSeconds=0.001)
    await device.connects(gateway.token(ttl_seconds=300))
    await clock.advance(301)
    connecting = await device.becomes("connecting")
    assert (connecting["reason"]["code"], connecting["reason"]["kind"]) == (4401, "token")
    assert await device.next_line_of("asked") == "refused"
    device.send_command(token=gateway.token())
    assert await device.recovers()
    await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)
    assert (await device.next_line_of("message"))["data"]["title"] == "Hello"


async def test_a_handshake_with_an_expired_token_is_followed_by_one_with_a_new_one(
    gateway: Gateway, start_device: StartDevice
) -> None:
    device = await start_device(url=gateway.url)
    await device.becomes("connecting")
    assert await device.next_line_of("asked") == "connect"
    device.send_command(token=gateway.token(ttl_seconds=-10))
    told = []
    while "asked" not in (line := await device.next_line()):
        told.append(line["state"])
    assert line["asked"] == "refused"
    assert [state["reason"]["kind"] for state in told if "reason" in state] == ["token"]
    device.send_command(token=gateway.token())
    await device.becomes("open")


async def test_a_token_is_renewed_on_the_open_connection(
    start_gateway: StartGateway, start_device: StartDevice
) -> None:
    clock = FakeClock(time.time())
    gateway = await start_gateway(clock)
    device = await start_device(url=gateway.url)
    await device.connects(token_for(ttl_seconds=10))
    assert await device.next_line_of("asked") == "renew"
    device.send_command(token=gateway.token(ttl_seconds=3600))
    await renewed(gateway, clock.now() + 60)
    await clock.advance(60)
    assert await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO) == Delivery(delivered=1)
    # The next line is the message, so the connection has not changed.
    assert (await device.next_line_of("message"))["data"]["title"] == "Hello"


async def renewed(gateway: Gateway, until: float) -> None:
    """Wait until the only connection lives at least until then. The client does not say when that is so."""
    connection: Any
    (connection,) = gateway.node.hub._by_id.values()
    async with asyncio.timeout(SECONDS):
        while connection.expires_at < until:
            await asyncio.sleep(0.01)


async def test_another_users_token_ends_it(gateway: Gateway, start_device: StartDevice) -> None:
    device = await start_device(url=gateway.url)
    await device.connects(token_for(ttl_seconds=10))
    assert await device.next_line_of("asked") == "renew"
    device.send_command(token=gateway.token("user-2"))
    reason = (await device.becomes("closed"))["reason"]
    assert (reason["kind"], reason["code"]) == ("user", 4403)


async def test_a_gateway_that_answers_pings_is_alive(gateway: Gateway, start_device: StartDevice) -> None:
    # Longer than a gateway takes for an answer on any machine, and no longer than the pause.
    device = await start_device(url=gateway.url, heartbeatSeconds=0.1, answerTimeoutSeconds=4)
    await device.connects(gateway.token())
    await asyncio.sleep(4.5)
    await gateway.node.broadcaster.broadcast_to_user("user-1", HELLO)
    assert (await device.next_line_of("message"))["data"]["title"] == "Hello"


async def test_no_message_is_lost_or_comes_twice_while_connections_are_replaced(
    gateway: Gateway, start_device: StartDevice
) -> None:
    device = await start_device(url=gateway.url, rotateAfterSeconds=0.2)
    await device.connects(gateway.token())
    replaced = 0
    received: list[int] = []
    enough = asyncio.Event()
    sending = asyncio.create_task(send_numbers(gateway, enough))
    while not sending.done() or len(received) < sending.result():
        said = await device.next_line()
        if "asked" in said:
            replaced += 1
            device.send_command(token=gateway.token())
            if replaced == 5:
                enough.set()
        else:
            received.append(said["message"]["data"])
    assert received == list(range(sending.result()))


async def send_numbers(gateway: Gateway, enough: asyncio.Event) -> int:
    """Send numbers until it is enough, and some more; return how many."""
    number = left = 0
    while left < 100:
        await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("number", number))
        number += 1
        left += enough.is_set()
        await asyncio.sleep(0.004)
    return number
