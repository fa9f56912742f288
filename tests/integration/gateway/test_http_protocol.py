"""HTTP as clients, proxies and attackers speak it, on the sockets of a real gateway."""

import asyncio
import contextlib
import contextvars
import itertools
import json
import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tellwire import limits
from tellwire.config import Settings
from tellwire.gateway import Node
from tellwire.server.http_protocol import HttpProtocol
from tests.conftest import API_KEY, SECRET, Gateway
from tests.tools import SECONDS, require

BODY = json.dumps({"target": {"user": "u"}, "message": {"type": "hi", "data": 1}}).encode()
KEY = f"Authorization: Bearer {API_KEY}\r\n".encode()
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
CONTEXT = contextvars.ContextVar("CONTEXT", default="")
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def socket_of(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*gateway.node.address)
    try:
        async with asyncio.timeout(SECONDS):
            yield reader, writer
    finally:
        writer.transport.abort()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one answer: its status and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    return int(head.split()[1]), await reader.readexactly(length)


async def exchange(gateway: Gateway, *segments: bytes) -> tuple[int, bytes]:
    """Send segments, one after the other, and return the answer."""
    async with socket_of(gateway) as (reader, writer):
        for segment in segments:
            writer.write(segment)
            await asyncio.sleep(0.02)
        return await answer(reader)


def publish(*headers: bytes) -> bytes:
    return b"POST /v1/publish HTTP/1.1\r\nHost: x\r\n" + KEY + b"".join(headers) + b"\r\n"


# --- offers of other protocols ----------------------------------------------------------------------------------------

LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:])


@pytest.mark.parametrize(
    "segments",
    [
        [publish(H2C, LENGTH) + BODY],
        [publish(H2C, LENGTH), BODY],
        [publish(LENGTH, H2C), BODY[:9], BODY[9:]],
        [publish(H2C, CHUNKED) + CHUNKS],
        [publish(H2C, CHUNKED), CHUNKS[:9], CHUNKS[9:]],
        [publish(b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0, h2c\r\n", LENGTH) + BODY],
        [publish(b"Connection: Upgrade\r\nUpgrade: something-else/7\r\n", LENGTH), BODY],
        [publish(H2C, LENGTH)[:40], publish(H2C, LENGTH)[40:90], publish(H2C, LENGTH)[90:] + BODY],
    ],
)
async def test_an_offer_of_another_protocol_is_ignored_and_the_body_read(
    gateway: Gateway, segments: list[bytes]
) -> None:
    status, body = await exchange(gateway, *segments)
    assert (status, b'"delivered":0' in body) == (200, True)


async def test_an_offer_with_expect_is_told_to_continue_and_the_connection_goes_on(gateway: Gateway) -> None:
    async with socket_of(gateway) as (reader, writer):
        for _ in range(2):
            writer.write(publish(H2C, LENGTH, b"Expect: 100-continue\r\n"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(BODY)
            assert (await answer(reader))[0] == 200


@pytest.mark.parametrize("rest", [b"", b"Expect: 100-continue\r\n"])
async def test_a_body_that_will_be_too_big_is_refused_before_it_comes(gateway: Gateway, rest: bytes) -> None:
    async with socket_of(gateway) as (reader, writer):
        writer.write(publish(b"Content-Length: %d\r\n" % (limits.MAX_PUBLISH_BYTES + 1), rest))
        status, body = await answer(reader)
        assert (status, json.loads(body)["code"]) == (413, "BODY_TOO_BIG")


async def test_curl_that_offers_http_2_publishes(gateway: Gateway) -> None:
    command = [require("curl"), "--http2", "-sS", "-m", "30", "-H", KEY.decode().strip(), "-d", BODY.decode()]
    run = await asyncio.to_thread(subprocess.run, [*command, f"{gateway.url}/v1/publish"], capture_output=True)
    assert b'"delivered":0' in run.stdout, run.stderr


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_other_offers_and_old_versions_are_no_handshake(gateway: Gateway, version: bytes) -> None:
    upgrade = b"websocket" if version == b"1.0" else b"h2c"
    head = b"GET /healthz HTTP/%b\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % (version, upgrade)
    assert (await exchange(gateway, head))[0] == 200


@pytest.mark.parametrize(
    "offer",
    [
        b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: websocket\r\n",
        b"Connection: keep-alive , UPGRADE,x\r\nUpgrade: WebSocket\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
    ],
)
async def test_lists_of_options_are_read_as_lists(gateway: Gateway, offer: bytes) -> None:
    request = (
        b"GET /?token=%b HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%b\r\n"
    )
    assert (await exchange(gateway, request % (gateway.token().encode(), offer)))[0] == 101


async def test_what_is_not_served_is_refused_in_json(gateway: Gateway) -> None:
    for request, status, code in [
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
        (publish(b"Transfer-Encoding: gzip, chunked\r\n"), 501, "NOT_IMPLEMENTED"),
        (b"nonsense\r\n\r\n", 400, "BAD_REQUEST"),
    ]:
        found, body = await exchange(gateway, request)
        assert (found, json.loads(body)["code"]) == (status, code)


# --- floods -----------------------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    paths = [b"/healthz", b"/readyz", b"/nothing"] * 40
    requests = [b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths]
    chunked = publish(CHUNKED) + CHUNKS
    async with socket_of(gateway) as (reader, writer):
        writer.write(chunked + b"".join(requests) + publish(LENGTH) + BODY + chunked)
        found = [(await answer(reader))[0] for _ in range(len(paths) + 3)]
        assert found == [200, *[200, 200, 404] * 40, 200, 200]


@pytest.mark.parametrize("seed", range(6))
async def test_however_requests_are_cut_the_answers_are_the_same(gateway: Gateway, seed: int) -> None:
    chance = random.Random(seed)
    kinds = [
        (HEALTH, 200),
        (b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (b"\r\n" + publish(LENGTH) + BODY, 200),
        (publish(CHUNKED) + CHUNKS, 200),
        (publish(CHUNKED) + CHUNKS.removesuffix(b"\r\n") + b"X-Sum: 1\r\n\r\n", 200),
        (publish(H2C, LENGTH) + BODY, 200),
        (publish(H2C, CHUNKED) + CHUNKS, 200),
        (b"POST /v1/publish HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"\r\n" + BODY, 401),
    ]
    requests = [chance.choice(kinds) for _ in range(25)]
    stream = b"".join(request for request, _ in requests)
    cuts = sorted({0, len(stream), *(chance.randrange(len(stream)) for _ in range(60))})
    async with socket_of(gateway) as (reader, writer):
        for start, end in itertools.pairwise(cuts):
            writer.write(stream[start:end])
            await asyncio.sleep(0.002)
        assert [(await answer(reader))[0] for _ in requests] == [status for _, status in requests]


async def test_a_request_does_not_see_the_context_of_the_one_before() -> None:
    seen: list[str] = []

    async def page(request: Request) -> Response:
        seen.append(CONTEXT.get())
        CONTEXT.set("a request's")
        return Response()

    CONTEXT.set("the program's")
    node = Node(Settings(port=0, jwt_secret=SECRET, engine="memory"), routes=[Route("/page", page, methods=["POST"])])
    get = b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    chunked = b"POST /page HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    async with node.running() as url, socket_of(Gateway(node, url)) as (reader, writer):
        writer.write((get + chunked) * 3)
        for _ in range(6):
            await answer(reader)
    assert seen == ["the program's"] * 6


@pytest.mark.parametrize("first", [HEALTH, publish(CHUNKED) + CHUNKS])
async def test_a_flood_of_requests_on_one_connection_does_not_delay_the_others(gateway: Gateway, first: bytes) -> None:
    requests = 4000
    server = gateway.node._own_server._uvicorn.server_state
    async with socket_of(gateway) as (reader, writer), socket_of(gateway) as (other_reader, other_writer):
        other_writer.write(HEALTH)
        await answer(other_reader)
        writer.write(first + HEALTH * requests)
        flooded = asyncio.create_task(reader.readexactly(100))
        await flooded
        before, most = server.total_requests, 0
        for _ in range(20):
            other_writer.write(HEALTH)
            assert (await answer(other_reader))[0] == 200
            most = max([most, *(len(each.pipeline) for each in server.connections if isinstance(each, HttpProtocol))])
        # The others wait for some turns, in each of which the flooding connection has one request.
        assert server.total_requests - before < 20 * 40
        assert most <= limits.HTTP_HEAD_BYTES_PER_TURN // len(HEALTH)
        bodies = b""
        while bodies.count(b'"ok"') < requests - 10:
            bodies += await reader.read(1 << 20)


async def test_unread_requests_wait_in_the_kernel_and_not_in_memory(gateway: Gateway) -> None:
    async with socket_of(gateway) as (_, writer):
        writer.transport.set_write_buffer_limits(high=1)
        with pytest.raises(TimeoutError):
            # The answers are not read, so the gateway stops reading requests.
            while True:
                writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
                await asyncio.wait_for(writer.drain(), 2)
        (flooded,) = gateway.node._own_server._uvicorn.server_state.connections
        assert isinstance(flooded, HttpProtocol)
        assert len(flooded._unread) <= 512 * 1024
        assert len(flooded.pipeline) <= 1


@pytest.mark.parametrize("is_handshake", [False, True])
async def test_more_than_a_hundred_headers_are_refused_before_they_are_read(
    gateway: Gateway, is_handshake: bool
) -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if is_handshake else b""
    many = b"".join(b"a%d: b\r\n" % number for number in range(5000))
    status, body = await exchange(gateway, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + offer + many + b"\r\n")
    assert (status, json.loads(body)["code"]) == (431, "HEAD_TOO_BIG")
    few = b"".join(b"a%d: b\r\n" % number for number in range(limits.MAX_HEADERS - 1))
    assert (await exchange(gateway, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + few + b"\r\n"))[0] == 200


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"1;" + b"x" * 100, id="extension"),
        pytest.param(b"1;x\r\nx\r\n0\r\nname: " + b"x" * 100, id="trailer"),
        pytest.param(b"0\r\n" + b"a: b\r\n" * 200, id="trailers"),
    ],
)
@pytest.mark.parametrize("key", [KEY, b""])
async def test_trailers_and_extensions_are_bounded(gateway: Gateway, endless: bytes, key: bytes) -> None:
    async with socket_of(gateway) as (reader, writer):
        writer.write(b"POST /v1/publish HTTP/1.1\r\nHost: x\r\n" + key + CHUNKED + b"\r\n" + endless)
        flooding = asyncio.create_task(_flood(writer))
        found = await reader.read()
        flooding.cancel()
    assert b"HTTP/1.1 431 " in found or b"HTTP/1.1 401 " in found


async def _flood(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()
            await asyncio.sleep(0)


async def test_a_trailer_is_no_header(gateway: Gateway) -> None:
    request = b"POST /v1/publish HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n" + CHUNKS.removesuffix(b"\r\n")
    status, _ = await exchange(gateway, request + KEY + b"\r\n")
    assert status == 401
    status, _ = await exchange(gateway, publish(CHUNKED) + CHUNKS.removesuffix(b"\r\n") + b"X-Sum: 1\r\n\r\n")
    assert status == 200


@pytest.mark.parametrize(("key", "status"), [(KEY, 413), (b"", 401)])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_who_sends_a_large_body_and_then_closes_reads_the_refusal(
    gateway: Gateway, key: bytes, status: int, version: bytes
) -> None:
    body = b" " * 3_000_000
    head = b"POST /v1/publish HTTP/%b\r\nHost: x\r\nConnection: close\r\n" % version
    async with socket_of(gateway) as (reader, writer):
        # The client writes all of it before it reads.
        writer.write(head + key + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        await asyncio.sleep(0.2)
        assert (await answer(reader))[0] == status
        assert await reader.read() == b""


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"", b"Expect: 100-continue\r\n"])
async def test_a_body_that_does_not_come_is_answered_with_408(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    monkeypatch.setattr(limits, "BODY_GRACE_SECONDS", 0.2)
    async with socket_of(gateway) as (reader, writer):
        writer.write(publish(LENGTH, rest))
        if rest:
            await reader.readuntil(b"\r\n\r\n")
        status, body = await answer(reader)
        assert (status, json.loads(body)["code"]) == (408, "REQUEST_TIMEOUT")
        assert await reader.read() == b""


async def test_a_body_that_trickles_is_ended(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_GRACE_SECONDS", 0.2)
    async with socket_of(gateway) as (reader, writer):
        writer.write(publish(b"Content-Length: 10000\r\n"))
        trickle = asyncio.create_task(_trickle(writer, b"x"))
        assert (await answer(reader))[0] == 408
        assert await reader.read() == b""
        trickle.cancel()


@pytest.mark.parametrize("drop", [b"x", b"1\r\nx\r\n"])
async def test_a_body_after_its_refusal_does_not_keep_the_socket(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, drop: bytes
) -> None:
    monkeypatch.setattr(limits, "UNREAD_BODY_SECONDS", 0.3)
    length = CHUNKED if b"\r" in drop else b"Content-Length: 100000\r\n"
    async with socket_of(gateway) as (reader, writer):
        writer.write(b"POST /v1/publish HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n")
        assert (await answer(reader))[0] == 401
        trickle = asyncio.create_task(_trickle(writer, drop))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        trickle.cancel()


async def _trickle(writer: asyncio.StreamWriter, drop: bytes) -> None:
    while True:
        writer.write(drop)
        await asyncio.sleep(0.02)


async def test_who_reads_no_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WRITE_TIMEOUT_SECONDS", 0.3)

    async def large(request: Request) -> Response:
        return Response(b"x" * 50_000_000)

    node = Node(Settings(port=0, jwt_secret=SECRET, engine="memory"), routes=[Route("/large", large)])
    async with node.running() as url, socket_of(Gateway(node, url)) as (reader, writer):
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(50_000_000)


async def test_a_stop_that_ends_a_request_answers_503_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    began = asyncio.Event()

    async def endless(request: Request) -> Response:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    settings = Settings(port=0, jwt_secret=SECRET, engine="memory", drain_seconds=1)
    node = Node(settings, routes=[Route("/endless", endless)])
    async with node.running() as url, socket_of(Gateway(node, url)) as (reader, writer):
        writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await began.wait()
        node.stop()
        assert (await answer(reader))[0] == 503
    assert not [record for record in caplog.records if record.exc_info]


def _uri(gateway: Gateway) -> str:
    return f"{gateway.ws_url}?token={gateway.token()}"
