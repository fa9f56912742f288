"""`/metrics` of a real node: its numbers after real traffic, and who may read them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tellwire import Settings
from tellwire.gateway import Node
from tellwire.messages import create_message
from tellwire.server.socket import Connection
from tests.conftest import SECRET, Gateway, read

ADMIN = "0123456789abcdefghijABCDEFGHIJ0"
METRICS = "abcdefghij0123456789ABCDEFGHIJ0"
PUBLISH = "ABCDEFGHIJabcdefghij01234567890"
KEYS = f"ops:admin:{ADMIN} prometheus:metrics:{METRICS} worker:publish:{PUBLISH}"


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    settings = Settings(
        port=0, jwt_secret=SECRET, engine="memory", drain_seconds=1, outbox_max_messages=4, api_key=KEYS, metrics=True
    )
    node = Node(settings)
    async with node.running() as url:
        yield Gateway(node, url)


async def scrape(gateway: Gateway, key: str | None = METRICS) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(*gateway.node.address)
    authorization = "" if key is None else f"Authorization: Bearer {key}\r\n"
    writer.write(f"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{authorization}\r\n".encode())
    async with asyncio.timeout(60):
        answer = (await reader.read()).decode()
    writer.close()
    return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


async def values(gateway: Gateway) -> dict[Any, float]:
    status, text = await scrape(gateway)
    assert status == 200
    return {
        (each.name, *each.labels.values()): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


async def test_real_traffic_is_in_the_metrics(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus):
        async with connect(gateway.ws_url, proxy=None):
            pass
    async with gateway.device() as device, gateway.device():
        await device.send('{"type": "hello", "cursor": "0"}')
        while (await read(device))["type"] != "welcome":
            pass
        await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("note", 1))
        await gateway.node.broadcaster.broadcast_to_topic("moc:1", create_message("note", 1))
        found = await values(gateway)
    assert found["tellwire_connections",] == 2
    assert found["tellwire_connections_opened_total",] == 2
    assert found["tellwire_handshakes_refused_total", "TOKEN_MISSING"] == 1
    assert found["tellwire_publishes_total", "user"] == 1
    assert found["tellwire_topic_publishes_total", "*"] == 1
    assert found["tellwire_deliveries_total", "delivered"] == 2
    assert found["tellwire_publish_seconds_count",] == 2
    assert found["tellwire_welcome_seconds_count",] == 1
    assert found["tellwire_write_delay_seconds_count",] >= 1
    assert found["tellwire_engine_up",] == 1


async def test_a_slow_consumer_is_in_the_metrics_while_it_is_one(gateway: Gateway) -> None:
    async with gateway.device(max_queue=1) as device:
        device.transport.pause_reading()
        (connection,) = gateway.node.hub._by_id.values()
        assert isinstance(connection, Connection)
        while not connection._is_behind:
            await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("note", "x" * 60_000))
            await asyncio.sleep(0)
        await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("note", "waits"))
        found = await values(gateway)
        assert found["tellwire_slow_consumers",] == 1
        assert found["tellwire_outbox_messages",] >= 1
        device.transport.abort()
    async with asyncio.timeout(60):
        while len(gateway.node.hub):
            await asyncio.sleep(0.01)
    assert (await values(gateway))["tellwire_slow_consumers",] == 0


@pytest.mark.parametrize(
    ("key", "status"),
    [
        (None, 401),
        ("wrong", 401),
        (PUBLISH, 403),
        (ADMIN, 200),
        (METRICS, 200),
    ],
)
async def test_only_a_key_for_it_reads_the_metrics(gateway: Gateway, key: str | None, status: int) -> None:
    assert (await scrape(gateway, key))[0] == status


async def test_without_the_setting_there_are_no_metrics() -> None:
    node = Node(Settings(port=0, jwt_secret=SECRET, engine="memory", api_key=KEYS, drain_seconds=1))
    async with node.running() as url:
        assert (await scrape(Gateway(node, url)))[0] == 404


async def test_no_user_and_no_topic_is_in_the_metrics(gateway: Gateway) -> None:
    await gateway.node.broadcaster.broadcast_to_user("secret-user", create_message("note", 1))
    await gateway.node.broadcaster.broadcast_to_topic("secret-topic", create_message("note", 1))
    _, text = await scrape(gateway)
    assert "secret" not in text
