"""Publishes that are answered without ASGI: the same answers, bounds and refusals as with it."""

import asyncio
import json
import re
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from tellwire.config import Settings
from tellwire.engines.sqlite import stream_rows
from tellwire.gateway.http_api import HttpApi
from tellwire.server.direct import Direct, KnownHead, Respond
from tellwire.server.http_protocol import HttpProtocol
from tests.conftest import API_KEY, Gateway, StartGateway, read
from tests.integration.gateway.test_http_protocol import answer, exchange, socket_of


def body(data: Any = 1, user: str = "user-1") -> bytes:
    return json.dumps({"target": {"user": user}, "message": {"type": "hi", "data": data}}).encode()


def request(content: bytes, *headers: str, key: str = API_KEY, path: str = "/v1/publish") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


@pytest.fixture
def by_asgi(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for each publish that the ASGI application has answered."""
    seen: list[int] = []
    publish = HttpApi.publish

    async def watched(self: HttpApi, request: Request) -> Response:
        seen.append(len(seen))
        return await publish(self, request)

    monkeypatch.setattr(HttpApi, "publish", watched)
    return seen


async def whole_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await reader.readexactly(length)


async def test_from_the_second_on_publishes_need_no_asgi_and_their_answers_are_the_same(
    by_asgi: list[int], gateway: Gateway
) -> None:
    async with gateway.device() as device, socket_of(gateway) as (reader, writer):
        answers = []
        for number in range(5):
            # Of different lengths: the head is the same but for that.
            writer.write(request(body("x" * number)))
            answers.append(await whole_answer(reader))
        assert [(await read(device))["data"] for _ in range(5)] == ["", "x", "xx", "xxx", "xxxx"]
    assert len(by_asgi) == 1
    dates = re.compile(rb"date: [^\r]+\r\n")
    heads = {tuple(sorted(dates.sub(b"", each).split(b"\r\n"))) for each in answers}
    assert len(heads) == 1
    assert all(dates.search(each) for each in answers)


@pytest.mark.parametrize("cut", [1, 30, -40, -1])
async def test_a_request_in_pieces_is_answered_too(by_asgi: list[int], gateway: Gateway, cut: int) -> None:
    async with socket_of(gateway) as (reader, writer):
        writer.write(request(body()))
        await answer(reader)
        for _ in range(2):
            whole = request(body("in pieces"))
            writer.write(whole[:cut])
            await asyncio.sleep(0.02)
            writer.write(whole[cut:])
            assert (await answer(reader))[0] == 200
    assert len(by_asgi) == 1


async def test_pipelined_publishes_are_answered_in_their_order(by_asgi: list[int], gateway: Gateway) -> None:
    async with gateway.device() as device, socket_of(gateway) as (reader, writer):
        writer.write(request(body(0)))
        await answer(reader)
        writer.write(b"".join(request(body(number)) for number in range(1, 200)))
        for _ in range(199):
            assert (await answer(reader))[0] == 200
        assert [(await read(device))["data"] for _ in range(200)] == list(range(200))
    assert len(by_asgi) == 1


async def test_a_turn_of_the_event_loop_has_a_few_of_the_publishes_of_one_connection(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []
    take_turn, responded = HttpProtocol._take_turn, HttpProtocol._responded

    def counted_turn(self: HttpProtocol) -> None:
        turns.append(0)
        take_turn(self)

    def counted(self: HttpProtocol, direct: Direct, body: bytes) -> bool:
        turns[-1] += 1
        return responded(self, direct, body)

    monkeypatch.setattr(HttpProtocol, "_take_turn", counted_turn)
    monkeypatch.setattr(HttpProtocol, "_responded", counted)
    async with socket_of(gateway) as (reader, writer):
        writer.write(request(body(0)))
        await answer(reader)
        writer.write(b"".join(request(body(number)) for number in range(500)))
        for _ in range(500):
            assert (await answer(reader))[0] == 200
    assert sum(turns) == 500
    assert max(turns) <= 32


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (request(b"{"), 400),
        (request(b""), 400),
        (request(body("x" * 200_000)), 413),
        (request(body(), "Content-Encoding: gzip"), 400),
        (request(body(), "Content-Encoding: rot13"), 415),
        (request(body(), key="another-key-of-some-length"), 401),
        (request(body(), path="/v1/publish/"), 200),
        (request(body(), path="/v1/publish?x=1"), 200),
        (request(body(), "Connection: close"), 200),
        (request(body(), "Expect: 100-continue"), 200),
    ],
)
async def test_what_is_not_plain_is_answered_as_without_a_direct_endpoint(
    gateway: Gateway, other: bytes, status: int
) -> None:
    alone = await exchange(gateway, other)
    async with socket_of(gateway) as (reader, writer):
        for _ in range(2):
            writer.write(request(body()))
            assert (await answer(reader))[0] == 200
        writer.write(other)
        after = await answer(reader)
    assert after[0] == alone[0] == status or (after, alone) == ((100, b""), (100, b""))
    assert after[1] == alone[1]


async def test_a_client_whose_headers_change_is_answered_directly_too(by_asgi: list[int], gateway: Gateway) -> None:
    async with socket_of(gateway) as (reader, writer):
        for number in range(4):
            writer.write(request(body(), f"X-Request-Id: {number}"))
            assert (await answer(reader))[0] == 200
    assert len(by_asgi) == 1


async def test_a_key_that_is_withdrawn_is_refused_at_once(start_gateway: StartGateway) -> None:
    gateway: Gateway = await start_gateway()
    async with socket_of(gateway) as (reader, writer):
        for _ in range(3):
            writer.write(request(body()))
            assert (await answer(reader))[0] == 200
        other = Settings(port=0, jwt_secret=gateway.node.settings.jwt_secret, api_key="the-next-key-of-this-gateway")
        await gateway.node.reload(other)
        writer.write(request(body()))
        assert (await answer(reader))[0] == 401


async def test_a_key_for_something_else_publishes_nothing(start_gateway: StartGateway) -> None:
    gateway: Gateway = await start_gateway(api_key="ops:admin:8c21f05a9b7e3d64")
    async with socket_of(gateway) as (reader, writer):
        for _ in range(3):
            writer.write(request(body(), key="8c21f05a9b7e3d64"))
            assert (await answer(reader))[0] == 403


async def test_a_wrong_key_is_counted_and_locks_its_address_out(by_asgi: list[int], gateway: Gateway) -> None:
    async with socket_of(gateway) as (reader, writer):
        statuses = []
        for number in range(100):
            writer.write(request(body(), key=f"a-guess-of-some-length-{number}"))
            statuses.append((await answer(reader))[0])
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert by_asgi == []


async def test_a_publish_that_cannot_be_kept_is_answered_with_503(
    start_gateway: StartGateway, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway: Gateway = await start_gateway(engine="sqlite", database=str(tmp_path / "h.sqlite3"))
    async with socket_of(gateway) as (reader, writer):
        for _ in range(2):
            writer.write(request(body()))
            await answer(reader)

        def fails(connection: Any, entries: Any) -> None:
            raise sqlite3.OperationalError("disk full")

        monkeypatch.setattr(stream_rows, "commit", fails)
        writer.write(request(body()))
        whole = await whole_answer(reader)
    assert whole.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in whole
    assert b'"HISTORY_UNAVAILABLE"' in whole


async def test_an_unexpected_error_is_answered_with_500(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(publication: Any) -> Any:
        raise RuntimeError("internal detail")

    async with socket_of(gateway) as (reader, writer):
        writer.write(request(body()))
        await answer(reader)
        monkeypatch.setattr(gateway.node.hub, "hand_out_alone", fails)
        writer.write(request(body()))
        status, problem = await answer(reader)
    assert status == 500
    assert json.loads(problem)["code"] == "INTERNAL_ERROR"
    assert b"detail" not in problem


# --- while the commit is on its way -----------------------------------------------------------------------------------


@pytest.fixture
async def held(start_gateway: StartGateway, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Gateway, Any]:
    """A gateway on SQLite, and a lock that holds its commits."""
    gateway: Gateway = await start_gateway(engine="sqlite", database=str(tmp_path / "h.sqlite3"))
    lock = threading.Lock()
    # On the file's thread, where it may wait.
    monkeypatch.setattr("tellwire.engines.sqlite.history._MOST_COMMITTED_HERE", 0)
    commit: Callable[..., None] = stream_rows.commit

    def waits(connection: Any, entries: Any) -> None:
        with lock:
            commit(connection, entries)

    monkeypatch.setattr(stream_rows, "commit", waits)
    return gateway, lock


async def test_a_client_that_goes_before_the_answer_has_published(held: tuple[Gateway, Any]) -> None:
    gateway, lock = held
    async with gateway.device() as device:
        async with socket_of(gateway) as (reader, writer):
            writer.write(request(body(0)))
            await answer(reader)
            with lock:
                writer.write(request(body(1)))
                await asyncio.sleep(0.05)
                writer.transport.abort()
                await asyncio.sleep(0.05)
        assert [(await read(device))["data"] for _ in range(2)] == [0, 1]


async def test_a_gateway_that_stops_answers_the_publish_in_progress_and_ends_the_connection(
    held: tuple[Gateway, Any],
) -> None:
    gateway, lock = held
    async with socket_of(gateway) as (reader, writer):
        writer.write(request(body(0)))
        await answer(reader)
        with lock:
            writer.write(request(body(1)))
            await asyncio.sleep(0.05)
            gateway.node.stop()
            await asyncio.sleep(0.1)
        whole = await whole_answer(reader)
        assert whole.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in whole
        assert await reader.read() == b""


async def test_a_gateway_that_ends_refuses_a_publish_whose_commit_does_not_come(held: tuple[Gateway, Any]) -> None:
    gateway, lock = held
    async with socket_of(gateway) as (reader, writer):
        writer.write(request(body(0)))
        await answer(reader)
        with lock:
            writer.write(request(body(1)))
            await asyncio.sleep(0.05)
            gateway.node.stop()
            status, problem = await answer(reader)
    assert status == 503
    assert json.loads(problem)["code"] == "RESTARTING"


async def test_the_next_request_of_a_connection_waits_for_the_answer(held: tuple[Gateway, Any]) -> None:
    gateway, lock = held
    async with socket_of(gateway) as (reader, writer):
        writer.write(request(body(0)))
        await answer(reader)
        with lock:
            writer.write(request(body(1)) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readexactly(1), 0.2)
        assert b"delivered" in (await answer(reader))[1]
        assert b"ok" in (await answer(reader))[1]


# --- a known head -----------------------------------------------------------------------------------------------------


def taken(body: bytes, respond: Respond) -> bool:
    return True


def known(head: bytes) -> KnownHead:
    found = KnownHead.of(head, taken, 1000)
    assert found is not None
    return found


HEAD = b"POST / HTTP/1.1\r\nContent-Length: %b\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("length", [b"4", b"04", b"0004"])
def test_a_known_head_finds_the_body_whatever_its_length(length: bytes) -> None:
    unread = bytearray(HEAD % length + b"abcdNEXT")
    start, end = known(HEAD % b"17").body(unread) or (0, 0)
    assert unread[start:end] == b"abcd"


@pytest.mark.parametrize(
    "length", [b"", b"-4", b"+4", b"4 ", b"4, 4", b"0x4", b"4_0", b"123456789", b"2000", "٤".encode()]
)
def test_a_length_that_is_none_is_left_to_the_parser(length: bytes) -> None:
    assert known(HEAD % b"4").body(bytearray(HEAD % length + b"x" * 3000)) is None


@pytest.mark.parametrize(
    "unread",
    [b"", HEAD % b"4", HEAD % b"4" + b"abc", (HEAD % b"4")[:-3], b"GET" + HEAD % b"4" + b"abcd", HEAD.lower() % b"4"],
)
def test_another_head_or_a_part_of_one_is_left_to_the_parser(unread: bytes) -> None:
    assert known(HEAD % b"4").body(bytearray(unread)) is None


def test_a_head_without_one_length_is_not_remembered() -> None:
    assert KnownHead.of(b"POST / HTTP/1.1\r\n\r\n", taken, 1000) is None
    assert KnownHead.of(HEAD.replace(b"host: x", b"content-length: 4") % b"4", taken, 1000) is None
