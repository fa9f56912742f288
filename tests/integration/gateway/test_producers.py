"""Producers and a real gateway: the functions of the package, from both kinds of code."""

import asyncio
import contextlib
import csv
import gzip
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection

import tellwire
from tellwire import sync
from tellwire.carriers.http import HttpCarrier
from tellwire.errors import GatewayRefused, GatewayUnreachable, HistoryUnavailable
from tellwire.messages import create_message
from tellwire.model import Delivery, Target
from tests.conftest import API_KEY, Gateway, StartGateway, read
from tests.publications import publication
from tests.unit.aws_api.scripted import ReceivedRequest, Response, Service


@pytest.fixture(params=["over HTTP", "through Redis"])
async def producer(
    request: pytest.FixtureRequest, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> Gateway:
    """The environment of a producer that publishes to a gateway, in one of two ways."""
    if request.param == "over HTTP":
        gateway = await start_gateway()
        monkeypatch.setenv("TELLWIRE_URL", gateway.url)
        monkeypatch.setenv("TELLWIRE_API_KEY", API_KEY)
    else:
        url, prefix = (request.getfixturevalue(f"redis_{each}") for each in ("server", "prefix"))
        gateway = await start_gateway(engine="redis", redis_url=url.url, redis_prefix=prefix)
        monkeypatch.setenv("TELLWIRE_REDIS_URL", url.url)
        monkeypatch.setenv("TELLWIRE_REDIS_PREFIX", prefix)
    assert isinstance(gateway, Gateway)
    return gateway


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


async def test_an_answer_of_any_size_takes_little_memory() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(bomb)
    async with answering(head + bomb) as (url, _):
        with pytest.raises(GatewayUnreachable, match=r"the answer is over 65,536 bytes"):
            await HttpCarrier(url, timeout_seconds=0.5).deliver(
                publication(Target(user="user-1"), create_message("note", 1))
            )


async def test_a_busy_gateway_is_asked_again(waits: Iterator[float]) -> None:
    busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with answering(busy) as (url, requests):
        with pytest.raises(GatewayUnreachable, match="it answered 503"):
            await HttpCarrier(url, timeout_seconds=60).deliver(publication(Target(all=True), create_message("note", 1)))
        assert requests == [4]
        assert list(waits) == []


def counted(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that come to a gateway."""
    broker = gateway.node.engine.broker
    publish_all = broker.publish_all
    sizes: list[int] = []

    async def publish_all_counted(publications: Any) -> Any:
        sizes.append(len(publications))
        return await publish_all(publications)

    monkeypatch.setattr(broker, "publish_all", publish_all_counted)
    return sizes


async def test_publishes_at_once_are_one_batch_and_each_has_its_own_outcome(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = counted(gateway, monkeypatch)
    carrier = HttpCarrier(gateway.url, API_KEY)
    good = publication(Target(user="user-1"), create_message("n", 1))
    async with gateway.devices(2) as devices:
        delivered, refused, gone, last = await asyncio.gather(
            carrier.deliver(good),
            carrier.deliver(msgspec.structs.replace(good, payload=b'{"type":"n"}')),
            carrier.deliver(publication(Target(connection="unknown"), create_message("n", 2))),
            carrier.deliver(publication(Target(user="user-1"), create_message("n", 3))),
            return_exceptions=True,
        )
        for device in devices:
            assert [(await read(device))["data"] for _ in range(2)] == [1, 3]
    assert (delivered, gone, last) == (Delivery(delivered=2), Delivery(gone=1), Delivery(delivered=2))
    assert isinstance(refused, GatewayRefused)
    assert (refused.status, refused.refusal) == (400, "INVALID_MESSAGE")
    assert sizes == [3]


async def test_a_line_that_cannot_be_kept_just_now_is_published_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, waits: Iterator[float]
) -> None:
    broker = gateway.node.engine.broker
    publish_all = broker.publish_all
    sizes: list[int] = []

    async def publish_all_but_one(publications: Any) -> Any:
        sizes.append(len(publications))
        if len(sizes) > 1:
            return await publish_all(publications)
        return [*await publish_all(publications[1:]), HistoryUnavailable("the disk is full")][::-1]

    monkeypatch.setattr(broker, "publish_all", publish_all_but_one)
    carrier = HttpCarrier(gateway.url, API_KEY)
    async with gateway.device() as device:
        publishes = [carrier.deliver(publication(Target(user="user-1"), create_message("n", each))) for each in (1, 2)]
        assert await asyncio.gather(*publishes) == [Delivery(delivered=1)] * 2
        assert [(await read(device))["data"] for _ in range(2)] == [2, 1]
    # The other one was answered: it is not published again.
    assert sizes == [2]


async def test_publishes_that_a_proxy_takes_only_alone_are_sent_alone(waits: Iterator[float]) -> None:
    async def answer(request: ReceivedRequest) -> Response:
        return Response(413, b"<html>") if request.target.endswith("/batch") else Response(200, b'{"delivered":1}')

    async with Service(answer).running() as proxy:
        carrier = HttpCarrier(proxy.url)
        publishes = [carrier.deliver(publication(Target(all=True), create_message("n", each))) for each in range(3)]
        assert await asyncio.gather(*publishes) == [Delivery(delivered=1)] * 3
        await carrier.close()
    assert [request.target for request in proxy.requests] == ["/v1/publish/batch"] + ["/v1/publish"] * 3


@pytest.mark.parametrize("body", [b"", b"{}\n{}\n", b'{"delivered":1}\n', b"<html>\n\n"])
async def test_an_answer_to_a_batch_that_is_no_gateways_is_named(body: bytes) -> None:
    async with Service(Response(200, body)).running() as service:
        carrier = HttpCarrier(service.url)
        publishes = [carrier.deliver(publication(Target(all=True), create_message("n", each))) for each in range(2)]
        outcomes = await asyncio.gather(*publishes, return_exceptions=True)
        await carrier.close()
    assert ["not a gateway's" in str(each) for each in outcomes] == [True, True]
    assert outcomes[0] is not outcomes[1]
    assert len(service.requests) == 1


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
