"""Bounds of batches: lines, bytes of a line, connections of a target, and the work of a turn."""

import asyncio
import json
from typing import Any

import pytest

from tellwire import limits
from tellwire.errors import HistoryUnavailable
from tellwire.gateway.batch import Batches
from tellwire.limits import MAX_BATCH_LINES, MAX_PUBLISH_BYTES, MAX_TARGET_CONNECTIONS
from tests.conftest import Gateway, StartGateway
from tests.integration.gateway.test_http_api import HELLO, call
from tests.integration.gateway.test_http_protocol import KEY, answer, socket_of
from tests.tools import until


def line(user: str = "u", message: Any = HELLO) -> bytes:
    return json.dumps({"target": {"user": user}, "message": message}).encode()


async def batch(gateway: Gateway, body: bytes) -> tuple[int, Any]:
    status, answers, _ = await call(gateway, "POST", "/v1/publish/batch", body)
    return status, [json.loads(each) for each in answers.splitlines()] if status == 200 else answers


async def test_a_batch_with_too_many_lines_is_refused_before_any_is_published(gateway: Gateway) -> None:
    async with gateway.device() as device:
        status, answers = await batch(gateway, line("user-1") + b"\n{}" * (MAX_BATCH_LINES + 1))
        assert (status, answers["code"]) == (413, "BODY_TOO_BIG")
        assert f"allowed: at most {MAX_BATCH_LINES:,}" in answers["message"]
        await batch(gateway, line("user-1", {"type": "after", "data": 1}))
        assert json.loads(await device.recv())["type"] == "after"


async def test_a_line_is_as_long_as_a_publish_may_be(gateway: Gateway) -> None:
    long = b'{"target":{"user":"u"},"message":{"type":"x","data":' + b" " * MAX_PUBLISH_BYTES + b"1}}"
    status, answers = await batch(gateway, b"\n".join([line(), long, line()]))
    assert status == 200
    assert [each.get("code") for each in answers] == [None, "MESSAGE_TOO_BIG", None]


async def test_a_target_names_a_bounded_number_of_connections(gateway: Gateway) -> None:
    target = {"connections": ["x"] * (MAX_TARGET_CONNECTIONS + 1)}
    body = json.dumps({"target": target, "message": HELLO}).encode()
    status, answers = await batch(gateway, b"\n".join([body, line()]))
    assert [each.get("code") for each in answers] == ["INVALID_MESSAGE", None]
    assert f"target.connections: got '{MAX_TARGET_CONNECTIONS + 1:,} ids'" in answers[0]["message"]
    status, found, _ = await call(gateway, "POST", "/v1/publish", body)
    assert (status, found["code"]) == (400, "INVALID_MESSAGE")


@pytest.mark.parametrize(
    ("receivers", "lines", "largest"),
    [
        (0, 1000, limits.BATCH_LINES_PER_TURN),
        (10, 1000, limits.BATCH_DELIVERIES_PER_TURN // 10),
        (2000, 20, 1),
    ],
)
async def test_a_turn_has_a_bounded_number_of_lines_and_of_deliveries(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, receivers: int, lines: int, largest: int
) -> None:
    sizes = _count(gateway)
    monkeypatch.setattr(Batches, "receivers_of", lambda batches, target: receivers)
    status, answers = await batch(gateway, b"\n".join([line()] * lines))
    assert (status, len(answers), sum(sizes)) == (200, lines, lines)
    assert max(sizes) == largest


async def test_a_batch_ends_when_its_client_hangs_up(gateway: Gateway) -> None:
    published = _count(gateway)
    body = b"\n".join([line()] * 40_000)
    async with socket_of(gateway) as (_, writer):
        writer.write(_post(body))
        await until(lambda: published)
        writer.transport.abort()
    await asyncio.sleep(0.1)
    before = len(published)
    await asyncio.sleep(0.3)
    assert len(published) == before < 40_000 // limits.BATCH_LINES_PER_TURN


async def test_a_stop_answers_the_lines_that_are_left_in_its_last_moments(start_gateway: StartGateway) -> None:
    # Its last moments are a second, of which one group of lines needs a quarter.
    gateway = await start_gateway(drain_seconds=4)
    published = _count(gateway, pause_seconds=0.25)
    async with socket_of(gateway) as (reader, writer):
        writer.write(_post(b"\n".join([line()] * 4_000)))
        await until(lambda: published)
        gateway.node.stop()
        status, body = await answer(reader)
    answers = [json.loads(each).get("code") for each in body.splitlines()]
    assert (status, len(answers), set(answers)) == (200, 4_000, {None, "RESTARTING"})
    assert answers == sorted(answers, key=lambda code: code is not None)


@pytest.fixture
def by_asgi(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of each batch that the ASGI application has answered."""
    seen: list[int] = []
    publish = Batches.publish

    async def watched(self: Batches, body: bytes, request: Any) -> list[bytes]:
        seen.append(len(body))
        return await publish(self, body, request)

    monkeypatch.setattr(Batches, "publish", watched)
    return seen


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
async def test_a_batch_of_one_turn_needs_no_asgi_and_its_answers_are_the_same(
    by_asgi: list[int], start_gateway: StartGateway, engine: str
) -> None:
    gateway = await start_gateway(engine=engine)
    lines = [line("user-1", {"type": "n", "data": number}) for number in range(5)]
    wrong = [b"{", line("user-1", {"type": "ping", "data": 1}), line("user-1", {"type": "n", "data": "x" * 200_000})]
    body = b"\n".join([*lines[:3], *wrong, line("nobody"), *lines[3:]]) + b"\n\n"
    short = b"\n".join([*lines[:3], *wrong[:2], b"x" * 2_000, line("nobody"), *lines[3:]]) + b"\n\n"
    async with gateway.device() as device:
        first, second, third = [await batch(gateway, each) for each in (short, short, body)]
        for _ in range(3):
            assert [json.loads(await device.recv())["data"] for _ in range(5)] == list(range(5))
    assert first == second
    assert [each.get("delivered") for each in second[1]] == [1, 1, 1, None, None, None, 0, 1, 1]
    assert [each.get("status") for each in third[1] if "status" in each] == [400, 400, 413]
    # The first, since its key was not known yet, and the one that is too long.
    assert by_asgi == [len(short), len(body)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n".join([line()] * (limits.BATCH_LINES_PER_TURN + 1)),
        b"\n".join([line(), json.dumps({"target": {"all": True}, "message": HELLO}).encode(), line()]),
    ],
    ids=["empty", "many lines", "for everybody"],
)
async def test_another_batch_goes_the_long_way(by_asgi: list[int], gateway: Gateway, body: bytes) -> None:
    expected = await batch(gateway, body)
    assert await batch(gateway, body) == expected
    assert by_asgi == [len(body)] * 2


async def test_the_connections_that_get_a_batch_bound_it_too(
    by_asgi: list[int], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Batches, "receivers_of", lambda batches, target: 600)
    body = b"\n".join([line()] * 2)
    assert await batch(gateway, body) == await batch(gateway, body)
    assert by_asgi == [len(body)] * 2


async def test_a_batch_that_cannot_be_kept_says_so_in_its_lines(
    by_asgi: list[int], gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await batch(gateway, line())
    publish_soon = gateway.node.engine.broker.publish_soon

    def fail_the_second(publication: Any, done: Any) -> None:
        if b'"data":2' in publication.payload:
            asyncio.get_running_loop().call_later(0.05, done, HistoryUnavailable("the disk is full"))
        elif b'"data":3' in publication.payload:
            done(RuntimeError("a broken row"))
        else:
            publish_soon(publication, done)

    monkeypatch.setattr(gateway.node.engine.broker, "publish_soon", fail_the_second)
    status, answers = await batch(gateway, b"\n".join(line("u", {"type": "n", "data": each}) for each in (1, 2, 3)))
    assert (status, [each.get("status") for each in answers]) == (200, [None, 503, 500])
    assert [each.get("code") for each in answers] == [None, "HISTORY_UNAVAILABLE", "INTERNAL_ERROR"]
    assert len(by_asgi) == 1


def _count(gateway: Gateway, pause_seconds: float = 0) -> list[int]:
    broker = gateway.node.engine.broker
    publish_all = broker.publish_all
    published: list[int] = []

    async def counted(publications: Any) -> Any:
        published.append(len(publications))
        await asyncio.sleep(pause_seconds)
        return await publish_all(publications)

    broker.publish_all = counted  # type: ignore[method-assign]
    return published


def _post(body: bytes) -> bytes:
    head = f"POST /v1/publish/batch HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
    return head + KEY + b"\r\n" + body
