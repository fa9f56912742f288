"""Requests of webhooks, to a real server that answers badly: late, hugely, elsewhere, or not at all."""

import asyncio
import gzip
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tellwire.limits import WEBHOOK_REQUESTS_AT_ONCE, WEBHOOK_REQUESTS_PER_USER, WEBHOOK_REQUESTS_WAITING
from tellwire.ports import SystemClock
from tellwire.webhooks.signature import is_signed, key_of
from tellwire.webhooks.target import WebhookTarget
from tellwire.webhooks.webhook import Webhook, WebhookFailed
from tests.tools import until
from tests.unit.aws_api.scripted import DROPS, HANGS, ReceivedRequest, Response, Service, Step

SECRET = "a secret of webhooks that nobody knows"
KEYS = (key_of(SECRET),)


@asynccontextmanager
async def webhook(service: Service, **options: Any) -> AsyncIterator[Webhook]:
    async with service.running():
        target = WebhookTarget.of("messages", f"{service.url}/hook", [SECRET], "TELLWIRE_MESSAGE_WEBHOOK_URL")
        hook = Webhook(target, SystemClock(), **options)
        try:
            yield hook
        finally:
            await hook.close()


async def test_a_request_is_signed_and_its_answer_is_returned() -> None:
    service = Service(Response(201, b'{"a":1}'))
    async with webhook(service) as hook:
        answer = await hook.post(b'{"x":1}', "msg_1")
    assert (answer.status, answer.body, answer.is_success) == (201, b'{"a":1}', True)
    (request,) = service.requests
    assert (request.method, request.target, request.body) == ("POST", "/hook", b'{"x":1}')
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "msg_1"
    assert is_signed(KEYS, request.headers, request.body, time.time())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
async def test_a_failure_that_passes_is_tried_again_under_its_id(status: int) -> None:
    service = Service(Response(status), DROPS, Response(200))
    async with webhook(service) as hook:
        assert (await hook.post(b"{}", "msg_1")).is_success
    assert [each.headers["webhook-id"] for each in service.requests] == ["msg_1"] * 3


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
async def test_a_refusal_is_an_answer_and_is_not_tried_again(status: int) -> None:
    service = Service(Response(status, b'{"message":"no"}'))
    async with webhook(service) as hook:
        answer = await hook.post(b"{}", "msg_1")
    assert (answer.status, answer.is_success) == (status, False)
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int, caplog: pytest.LogCaptureFixture) -> None:
    inner = Service(Response(200))
    async with inner.running():
        location = f"{inner.url}/metadata?token=secret"
        service = Service(Response(status, b"", {"Location": location}))
        async with webhook(service) as hook:
            with caplog.at_level(logging.WARNING, "tellwire.webhooks"), pytest.raises(WebhookFailed):
                await hook.post(b"{}", "msg_1")
    assert inner.requests == []
    assert len(service.requests) == 1
    assert f"it answered {status}, a redirect to {inner.url}/metadata, which is not followed" in caplog.text
    assert "token=secret" not in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "response",
    [
        Response(200, b"x" * 100_000),
        Response(200, gzip.compress(b"\0" * 50_000_000), {"Content-Encoding": "gzip"}),
    ],
    ids=["huge", "a bomb"],
)
async def test_a_huge_answer_is_not_read_and_not_asked_for_again(response: Response) -> None:
    service = Service(response)
    async with webhook(service, max_answer_bytes=10_000) as hook:
        with pytest.raises(WebhookFailed, match=r"the answer is over 10,000 bytes"):
            await hook.post(b"{}", "msg_1")
    assert len(service.requests) == 1


async def test_an_answer_that_never_comes_ends_with_its_time() -> None:
    service = Service(HANGS)
    async with webhook(service, seconds=0.3) as hook:
        with pytest.raises(WebhookFailed):
            await hook.post(b"{}", "msg_1")


async def test_an_answer_that_comes_byte_by_byte_ends_with_its_time() -> None:
    ended = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        except OSError:
            pass
        finally:
            ended.set()
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = WebhookTarget.of("messages", f"http://127.0.0.1:{port}", [SECRET], "X")
    hook = Webhook(target, SystemClock(), seconds=0.5)
    try:
        with pytest.raises(WebhookFailed):
            await hook.post(b"{}", "msg_1")
        await asyncio.wait_for(ended.wait(), 30)
    finally:
        await hook.close()
        server.close()
        await server.wait_closed()


async def test_while_a_target_is_away_others_fail_at_once() -> None:
    service = Service(Response(500))
    async with webhook(service, seconds=1) as hook:
        with pytest.raises(WebhookFailed, match="it answered 500"):
            await hook.post(b"{}", "msg_1")
        sent = len(service.requests)
        with pytest.raises(WebhookFailed, match="it did not answer before"):
            await hook.post(b"{}", "msg_2")
        assert len(service.requests) == sent
        service.steps[:] = [Response(200)]
        for _ in range(500):
            try:
                answer = await hook.post(b"{}", "msg_3")
                break
            except WebhookFailed:
                await asyncio.sleep(0.05)
        assert answer.is_success


async def test_one_user_does_not_take_the_place_of_all_others() -> None:
    go_on = asyncio.Event()

    async def held(request: ReceivedRequest) -> Step:
        await go_on.wait()
        return Response(200)

    service = Service(held)
    async with webhook(service, seconds=30, attempt_seconds=30) as hook:
        posts = [asyncio.create_task(hook.post(b"{}", f"m{n}", "u1")) for n in range(WEBHOOK_REQUESTS_PER_USER)]
        await until(lambda: len(service.requests) == WEBHOOK_REQUESTS_PER_USER)
        with pytest.raises(WebhookFailed, match="requests of one user wait for it already"):
            await hook.post(b"{}", "one too many", "u1")
        posts.append(asyncio.create_task(hook.post(b"{}", "of another user", "u2")))
        await until(lambda: len(service.requests) == WEBHOOK_REQUESTS_PER_USER + 1)
        go_on.set()
        assert all(each.is_success for each in await asyncio.gather(*posts))
        assert (await hook.post(b"{}", "again", "u1")).is_success


async def test_a_target_has_a_bounded_number_of_requests_at_once() -> None:
    open_now = most = 0
    go_on = asyncio.Event()

    async def held(request: ReceivedRequest) -> Step:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await go_on.wait()
        open_now -= 1
        return Response(200)

    service = Service(held)
    room = WEBHOOK_REQUESTS_AT_ONCE + WEBHOOK_REQUESTS_WAITING
    async with webhook(service, seconds=30, attempt_seconds=30) as hook:
        posts = [asyncio.create_task(hook.post(b"{}", f"msg_{number}")) for number in range(room)]
        await until(lambda: open_now == WEBHOOK_REQUESTS_AT_ONCE)
        with pytest.raises(WebhookFailed, match="wait for it already"):
            await hook.post(b"{}", "one too many")
        go_on.set()
        assert all(each.is_success for each in await asyncio.gather(*posts))
    assert most == WEBHOOK_REQUESTS_AT_ONCE
