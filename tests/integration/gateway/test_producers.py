"""Producers and a real gateway: the functions of the package, from both kinds of code."""

import asyncio
import contextlib
import csv
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

import tellwire
from tellwire import sync
from tellwire.carriers.http import HttpCarrier
from tellwire.errors import GatewayRefused, GatewayUnreachable
from tellwire.messages import create_message
from tellwire.model import Delivery, Target
from tests.conftest import API_KEY, Gateway, StartGateway, read
from tests.publications import publication

HELLO = tellwire.create_notification_message("Hello", "World", "info")


async def until_complete(device: ClientConnection) -> list[dict[str, Any]]:
    messages = [await read(device)]
    while messages[-1]["data"].get("progress") != 100:
        messages.append(await read(device))
    return messages


async def test_the_environment_names_the_gateway(producer: Gateway) -> None:
    async with producer.device() as device:
        assert await tellwire.broadcast_to_user("user-1", HELLO) == Delivery(delivered=1)
        assert (await read(device))["data"]["title"] == HELLO.data.title


async def test_progress_reaches_two_devices_from_0_to_100(producer: Gateway) -> None:
    rows = csv.reader(io.StringIO("".join(f"{n},red,{n}\r\n" for n in range(30_000))))
    async with producer.devices(2) as devices:
        async with tellwire.track_upload("user-1", "moc-1", "parts.csv", 30_000, interval_seconds=0.002) as upload:
            async for _ in upload.count(rows):
                while upload.rows == 15_000 and upload.sent < 2:
                    await asyncio.sleep(0.001)
        for device in devices:
            shown = [message["data"]["progress"] for message in await until_complete(device)]
            assert shown[0] == 0
            assert shown == sorted(shown)
            assert len(shown) > 2


async def test_synchronous_code_in_threads_does_the_same(producer: Gateway) -> None:
    def job() -> Delivery:
        with sync.track_upload("user-1", "moc-1", "parts.csv", 100) as upload:
            for _ in upload.count(range(100)):
                pass
        return sync.broadcast_to_user("user-1", HELLO)

    async with producer.device() as device:
        assert await asyncio.to_thread(job) == Delivery(delivered=1)
        await until_complete(device)
        assert (await read(device))["type"] == "notification"
        # And again in the same process, as a warm Lambda does.
        assert await asyncio.to_thread(job) == Delivery(delivered=1)


async def test_a_wrong_key_is_refused_and_named_without_the_key(gateway: Gateway) -> None:
    carrier = HttpCarrier(gateway.url, "wrong-s3cret")
    with pytest.raises(GatewayRefused, match="401 API_KEY_WRONG") as caught:
        await tellwire.Broadcaster(carrier).broadcast_to_user("u", HELLO)
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    """The waits of a carrier before its further tries, without the dice. The fourth is longer than it has time."""
    waits = iter((0.0, 0.01, 0.02, 1e6))
    monkeypatch.setattr("tellwire.carriers.http.full_jitter", lambda *_: waits)
    return waits


async def test_an_unreachable_gateway_is_retried_until_the_timeout(waits: Iterator[float]) -> None:
    carrier = HttpCarrier("http://127.0.0.1:9", timeout_seconds=60)
    with pytest.raises(GatewayUnreachable, match="Connection refused"):
        await tellwire.Broadcaster(carrier).broadcast_to_user("u", HELLO)
    assert list(waits) == []


async def test_a_gateway_that_restarts_is_found_again(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start_gateway()
    port = first.node.address[1]
    carrier = HttpCarrier(first.url, API_KEY, timeout_seconds=60)
    assert await carrier.deliver(publication(Target(all=True), create_message("note", 1))) == Delivery()
    await first.ends()
    failed = asyncio.Event()

    def waits(*_: float) -> Iterator[float]:
        while True:
            failed.set()
            yield 0.05

    monkeypatch.setattr("tellwire.carriers.http.full_jitter", waits)
    sending = asyncio.create_task(carrier.deliver(publication(Target(all=True), create_message("note", 1))))
    await failed.wait()
    await start_gateway(port=port)
    assert await sending == Delivery()


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that gives every request this answer, and counts them."""
    requests = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            requests[0] += 1
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


async def test_a_broadcast_that_may_have_been_received_is_not_retried() -> None:
    async with answering(b"") as (url, requests):
        carrier = HttpCarrier(url)
        with pytest.raises(GatewayUnreachable) as caught:
            await carrier.deliver(publication(Target(all=True), create_message("note", 1)))
        assert not caught.value.not_sent
        assert requests == [1]


async def test_a_publish_for_a_user_that_may_have_been_received_is_retried_and_delivered_once(gateway: Gateway) -> None:
    dropped: list[bytes] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = gateway.node.address
        there, to_gateway = await asyncio.open_connection(host, port)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                request = await reader.readuntil(b'"}}')
                to_gateway.write(request)
                answer = await there.readuntil(b"}")
                if not dropped:
                    dropped.append(answer)
                    break
                writer.write(answer)
        writer.close()
        to_gateway.close()

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as proxy, gateway.device() as device:
        carrier = HttpCarrier(f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}", API_KEY)
        for title in ("one", "two"):
            await tellwire.Broadcaster(carrier).broadcast_to_user(
                "user-1", tellwire.create_notification_message(title, "", "info")
            )
        assert [(await read(device))["data"]["title"] for _ in range(2)] == ["one", "two"]
        await carrier.close()
    assert dropped


@pytest.mark.parametrize("pause_seconds", [0.0, 60.0])
async def test_after_a_pause_a_connection_found_closed_is_made_again(
    monkeypatch: pytest.MonkeyPatch, pause_seconds: float
) -> None:
    monkeypatch.setattr("tellwire.http_client._PAUSE_SECONDS", pause_seconds)
    handlers: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError):
            for answered in (True, False) if len(handlers) == 1 else (True,):
                await reader.readuntil(b'"}}')
                if answered:
                    body = b'{"delivered":0,"gone":0,"failed":0}'
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        carrier = HttpCarrier(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert await carrier.deliver(publication(Target(all=True), create_message("note", 1))) == Delivery()
        if pause_seconds:
            with pytest.raises(GatewayUnreachable):
                await carrier.deliver(publication(Target(all=True), create_message("note", 1)))
        else:
            assert await carrier.deliver(publication(Target(all=True), create_message("note", 1))) == Delivery()
        await carrier.close()
        await asyncio.gather(*filter(None, handlers))
    assert len(handlers) == (1 if pause_seconds else 2)


async def test_a_busy_gateway_is_asked_again(waits: Iterator[float]) -> None:
    busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with answering(busy) as (url, requests):
        with pytest.raises(GatewayUnreachable, match="it answered 503"):
            await HttpCarrier(url, timeout_seconds=60).deliver(publication(Target(all=True), create_message("note", 1)))
        assert requests == [4]
        assert list(waits) == []


async def test_an_html_page_is_not_a_gateways_answer() -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
    async with answering(page) as (url, _):
        with pytest.raises(GatewayRefused, match="is this its address"):
            await HttpCarrier(url).deliver(publication(Target(all=True), create_message("note", 1)))


def test_a_key_with_a_line_break_is_refused_without_printing_it() -> None:
    with pytest.raises(tellwire.ConfigError, match="printable ASCII") as caught:
        HttpCarrier("http://127.0.0.1:9", "s3cret\n")
    assert "s3cret" not in str(caught.value)


async def test_an_answer_of_another_server_is_named_in_the_error() -> None:
    page = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<html"
    async with answering(page) as (url, _):
        with pytest.raises(GatewayRefused, match="is this its address"):
            await HttpCarrier(url).deliver(publication(Target(all=True), create_message("note", 1)))


async def test_a_job_outlives_its_gateway(start_gateway: StartGateway, caplog: pytest.LogCaptureFixture) -> None:
    gateway = await start_gateway()
    carrier = HttpCarrier(gateway.url, API_KEY, timeout_seconds=0.5)
    async with tellwire.track_upload(
        "user-1", "moc-1", "f.csv", 100, interval_seconds=0.01, broadcaster=tellwire.Broadcaster(carrier)
    ) as upload:
        done = 0
        async for row in upload.count(range(100)):
            if row == 50:
                while not upload.sent:
                    await asyncio.sleep(0.01)
                await gateway.ends()
            await asyncio.sleep(0.01)
            done += 1
    assert done == 100
    assert upload.sent > 0
    assert upload.failures > 0
    assert caplog.text.count("the job goes on") == 1
