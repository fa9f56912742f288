"""Messages with a time to live of their own, over the HTTP API and in a welcome."""

import json
from typing import Any

import pytest

from tellwire import InvalidMessage, broadcast_to_user, create_message, sync, try_broadcast_to_user, use_broadcaster
from tellwire.broadcast import Broadcaster
from tellwire.carriers.http import HttpCarrier
from tellwire.testing import FakeClock, MemoryCarrier
from tests.conftest import API_KEY, Gateway, StartGateway, read
from tests.integration.gateway.test_http_api import call


async def missed(gateway: Gateway) -> list[Any]:
    async with gateway.device() as device:
        await device.send('{"type": "hello", "cursor": "0"}')
        welcome = (await read(device))["data"]
    assert welcome["recovered"]
    return [message["data"] for message in welcome["messages"]]


async def test_a_message_of_a_producer_is_not_replayed_after_its_time_to_live(start_gateway: StartGateway) -> None:
    clock = FakeClock()
    gateway = await start_gateway(clock)
    carrier = HttpCarrier(gateway.url, API_KEY)
    with use_broadcaster(Broadcaster(carrier)):
        await broadcast_to_user("user-1", create_message("note", "always"))
        await broadcast_to_user("user-1", create_message("note", "a minute"), ttl_seconds=60)
        await try_broadcast_to_user("user-1", create_message("note", "two minutes"), ttl_seconds=120)
        assert await missed(gateway) == ["always", "a minute", "two minutes"]
        await clock.advance(61)
        assert await missed(gateway) == ["always", "two minutes"]
    await carrier.close()


async def test_the_http_api_takes_a_time_to_live_in_a_publish_and_in_a_batch(
    start_gateway: StartGateway,
) -> None:
    clock = FakeClock()
    gateway = await start_gateway(clock)
    once = {"target": {"user": "user-1"}, "message": {"type": "note", "data": 1}, "ttlSeconds": 60}
    assert (await call(gateway, "POST", "/v1/publish", once))[0] == 200
    lines = [once | {"message": {"type": "note", "data": number}} for number in (2, 3)]
    del lines[1]["ttlSeconds"]
    batch = b"\n".join(json.dumps(line).encode() for line in lines)
    assert (await call(gateway, "POST", "/v1/publish/batch", batch))[0] == 200
    await clock.advance(61)
    assert await missed(gateway) == [3]
    status, answer, _ = await call(gateway, "POST", "/v1/publish", once | {"ttlSeconds": 0})
    assert (status, answer["code"]) == (400, "INVALID_MESSAGE")
    assert answer["message"].startswith("ttlSeconds: got 0")


@pytest.mark.parametrize("ttl_seconds", [0, -1, float("nan"), float("inf"), True, "60", 10**9])
async def test_a_wrong_time_to_live_is_refused(ttl_seconds: Any) -> None:
    with use_broadcaster(Broadcaster(MemoryCarrier())), pytest.raises(InvalidMessage, match="ttl_seconds"):
        await broadcast_to_user("user-1", create_message("note", 1), ttl_seconds=ttl_seconds)


def test_synchronous_code_names_it_too() -> None:
    carrier = MemoryCarrier()
    with use_broadcaster(Broadcaster(carrier)):
        sync.broadcast_to_user("user-1", create_message("note", 1), ttl_seconds=60)
        sync.try_broadcast_to_user("user-1", create_message("note", 2), ttl_seconds=60)
    assert len(carrier.sent_to("user-1")) == 2
