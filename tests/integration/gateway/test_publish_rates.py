"""Publishes of each API key, bounded at a real gateway: with ASGI and without, one by one and in batches."""

from typing import Any

import pytest

from tellwire.carriers.http import HttpCarrier
from tellwire.messages import create_message
from tellwire.model import Delivery, Target
from tellwire.testing import FakeClock
from tests.conftest import Gateway, StartGateway
from tests.integration.gateway.test_direct import body, request, whole_answer
from tests.integration.gateway.test_http_api import call
from tests.integration.gateway.test_http_protocol import socket_of
from tests.publications import publication

WORKER = "4f9a02c7e1b85d36"
OTHER = "8c21f05a9b7e3d64"
KEYS = f"worker:publish:{WORKER} other:publish+admin:{OTHER}"


async def limited(start_gateway: StartGateway, clock: FakeClock | None = None, **settings: Any) -> Gateway:
    gateway = await start_gateway(clock, api_key=KEYS, publishes_per_second=2, publish_burst=3, **settings)
    assert isinstance(gateway, Gateway)
    return gateway


async def test_a_key_that_publishes_too_much_is_refused_without_asgi_and_with_it(start_gateway: StartGateway) -> None:
    clock = FakeClock()
    gateway = await limited(start_gateway, clock)
    async with socket_of(gateway) as (reader, writer):

        async def publish(content: bytes, key: str = WORKER) -> bytes:
            writer.write(request(content, key=key))
            return await whole_answer(reader)

        heads = [(await publish(body(number))).partition(b"\r\n")[0] for number in range(5)]
        assert heads == [b"HTTP/1.1 200 OK"] * 3 + [b"HTTP/1.1 429 Too Many Requests"] * 2
        refused = await publish(body())
        assert b"retry-after: 1\r\n" in refused
        assert b'{"code":"TOO_MANY_PUBLISHES","message":"The API key worker publishes too much; allowed: 2' in refused
        assert WORKER.encode() not in refused
        assert (await publish(body(), OTHER)).startswith(b"HTTP/1.1 200")
        await clock.advance(0.5)
        assert (await publish(body())).startswith(b"HTTP/1.1 200")
        assert (await publish(body())).startswith(b"HTTP/1.1 429")
    _, stats, _ = await call(gateway, "GET", "/v1/stats", key=OTHER)
    assert stats["publishesRefused"] == 4


async def test_a_publish_that_is_not_valid_counts_once(start_gateway: StartGateway) -> None:
    gateway = await limited(start_gateway, FakeClock())
    async with socket_of(gateway) as (reader, writer):
        statuses = []
        for content in (b"{}", b"{}", b"{}", b"{}"):
            writer.write(request(content, key=WORKER))
            statuses.append(int((await whole_answer(reader)).split()[1]))
    assert statuses == [400, 400, 400, 429]


@pytest.mark.parametrize("lines", [1, 10, 1000])
async def test_a_batch_counts_as_its_lines(start_gateway: StartGateway, lines: int) -> None:
    clock = FakeClock()
    gateway = await limited(start_gateway, clock)
    await call(gateway, "POST", "/v1/publish/batch", b"", WORKER)  # known from here on
    batch = b"\n".join(body(number) for number in range(lines))
    async with socket_of(gateway) as (reader, writer):

        async def publish() -> int:
            writer.write(request(batch, key=WORKER, path="/v1/publish/batch"))
            return int((await whole_answer(reader)).split()[1])

        taken = 0
        while await publish() == 200:
            taken += 1
        assert taken == (3 if lines == 1 else 1)
        await clock.advance((lines * taken - 3) / 2)
        assert await publish() == 429
        await clock.advance(0.5)
        assert await publish() == 200


async def test_a_producer_tries_again_until_its_key_may_publish(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(api_key=KEYS, publishes_per_second=20, publish_burst=1)
    carrier = HttpCarrier(gateway.url, WORKER)
    hello = publication(Target(user="user-1"), create_message("hi", 1))
    try:
        assert [await carrier.deliver(hello) for _ in range(4)] == [Delivery()] * 4
    finally:
        await carrier.close()
