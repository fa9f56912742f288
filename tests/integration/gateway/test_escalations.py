"""Escalations over real gateways: published over HTTP, called at the project's own server, over a kill of a node."""

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tellwire import broadcast_to_user, create_notification_message
from tellwire.broadcast import use_broadcaster
from tellwire.webhooks.signature import is_signed, key_of
from tests.conftest import API_KEY, SECRET, Gateway, StartGateway, read
from tests.integration.gateway.test_http_api import call
from tests.integration.test_cli import own_state, tellwire
from tests.redis_server import RedisServer
from tests.tools import until
from tests.unit.aws_api.scripted import HANGS, ReceivedRequest, Response, Service

__all__ = ["own_state"]

SIGNS = "a secret of webhooks that nobody knows"
ESCALATE = {"after_seconds": 1, "target": "mail"}


@pytest.fixture
async def backend() -> AsyncIterator[Service]:
    async with Service().running() as service:
        yield service


async def gateway_of(start_gateway: StartGateway, backend: Service, **settings: Any) -> Gateway:
    options: dict[str, Any] = {"webhooks": {"mail": f"{backend.url}/mail"}, "webhook_secret": SIGNS}
    gateway = await start_gateway(**options | settings)
    assert isinstance(gateway, Gateway)
    return gateway


def publish_of(title: str = "Down", *, target: str = "mail", after: float = 1, user: str = "user-1") -> dict[str, Any]:
    data = {"title": title, "message": "db-1", "severity": "error"}
    escalate = {"afterSeconds": after, "target": target}
    return {"target": {"user": user}, "message": {"type": "notification", "data": data}, "escalate": escalate}


async def stats(gateway: Gateway) -> tuple[int, int, int]:
    _, found, _ = await call(gateway, "GET", "/v1/stats")
    return found["escalationsCalled"], found["escalationsAcknowledged"], found["escalationsFailed"]


async def test_over_http_a_target_is_called_with_a_signature(start_gateway: StartGateway, backend: Service) -> None:
    gateway = await gateway_of(start_gateway, backend)
    async with gateway.device() as device:
        assert (await call(gateway, "POST", "/v1/publish", publish_of()))[0] == 200
        message = await read(device)
        assert set(message) == {"type", "data", "timestamp", "id", "cursor"}
        await until(lambda: backend.requests)
    await until(lambda: _are(gateway, (1, 0, 0)))
    (request,) = backend.requests
    assert (request.method, request.target) == ("POST", "/mail")
    assert is_signed([key_of(SIGNS)], request.headers, request.body, time.time())
    body = request.json
    assert (body["type"], set(body)) == ("escalation", {"type", "timestamp", "data"})
    assert set(body["data"]) == {"userId", "message", "publishedAt", "afterSeconds", "attempt"}
    assert body["data"]["message"] == {name: message[name] for name in ("type", "data", "timestamp", "id")}


async def _are(gateway: Gateway, counts: tuple[int, int, int]) -> bool:
    return await stats(gateway) == counts


@pytest.mark.parametrize("way", ["seen", "read"])
async def test_a_device_that_acknowledges_it_in_time_cancels_it(
    start_gateway: StartGateway, backend: Service, way: str
) -> None:
    gateway = await gateway_of(start_gateway, backend)
    async with gateway.device() as device:
        await call(gateway, "POST", "/v1/publish", publish_of())
        cursor = (await read(device))["cursor"]
        request = {"type": "ack", "cursor": cursor} if way == "seen" else {"type": "read", "cursors": [cursor]}
        await device.send(json.dumps(request | {"id": "1"}))
        await until(lambda: _are(gateway, (0, 1, 0)))
    assert backend.requests == []


async def test_a_batch_a_program_and_the_command_line_publish_them(
    start_gateway: StartGateway, backend: Service
) -> None:
    gateway = await gateway_of(start_gateway, backend)
    lines = [publish_of("1"), publish_of("2", target="fax"), publish_of("3")]
    _, answers, _ = await call(gateway, "POST", "/v1/publish/batch", "\n".join(map(json.dumps, lines)).encode())
    outcomes = [json.loads(each) for each in answers.splitlines()]
    assert [each.get("code") for each in outcomes] == [None, "INVALID_MESSAGE", None]
    assert outcomes[1]["message"] == "escalate.target: got 'fax'; allowed: mail"
    with use_broadcaster(gateway.node.broadcaster):
        await broadcast_to_user("user-1", create_notification_message("4", "", "info", escalate=ESCALATE))
    flags = ("--escalate-after", "1", "--escalate-to", "mail")
    sent = await tellwire(
        "send", "--url", gateway.url, "--user", "user-1", "notification", "5", "", *flags, TELLWIRE_API_KEY=API_KEY
    )
    assert (sent.code, sent.out) == (0, "delivered 0, gone 0, failed 0\n")
    await until(lambda: len(backend.requests) == 4)
    titles = sorted(each.json["data"]["message"]["data"]["title"] for each in backend.requests)
    assert titles == ["1", "3", "4", "5"]
    half = await tellwire("send", "--url", gateway.url, "--user", "u", "notification", "5", "", *flags[:2])
    assert (half.code, "both or neither" in half.err) == (2, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"escalate": {"afterSeconds": 0, "target": "mail"}}, "escalate.afterSeconds: got 0; allowed: a number"),
        ({"escalate": {"afterSeconds": 604_801, "target": "mail"}}, "from 1 to 604,800"),
        ({"escalate": {"afterSeconds": 86_401, "target": "mail"}}, "at most 86,400 seconds, the age of the history"),
        ({"escalate": {"afterSeconds": 60, "target": "http://10.0.0.1/"}}, "escalate.target: got 'http://10.0.0.1/'"),
        ({"escalate": {"afterSeconds": 60}}, "escalate"),
        ({"escalate": {"afterSeconds": 60, "target": "mail", "url": "x"}}, "url"),
        ({"target": {"topic": "moc:1"}}, "a notification to one user"),
        ({"target": {"all": True}}, "a notification to one user"),
        ({"message": {"type": "note", "data": 1}}, "no message of another type"),
    ],
)
async def test_what_cannot_be_escalated_is_refused_with_the_reason(
    start_gateway: StartGateway, backend: Service, change: dict[str, Any], words: str
) -> None:
    gateway = await gateway_of(start_gateway, backend)
    status, answer, _ = await call(gateway, "POST", "/v1/publish", publish_of() | change)
    assert (status, answer["code"]) == (400, "INVALID_MESSAGE")
    assert words in answer["message"]


async def test_without_targets_nothing_can_be_escalated(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    _, answer, _ = await call(gateway, "POST", "/v1/publish", publish_of())
    assert answer["message"].endswith("allowed: none, as TELLWIRE_WEBHOOKS is not set")


async def test_too_many_are_refused_with_a_code(
    start_gateway: StartGateway, backend: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.limits.MAX_ESCALATIONS", 2)
    gateway = await gateway_of(start_gateway, backend)
    statuses = [(await call(gateway, "POST", "/v1/publish", publish_of(after=3600)))[0] for _ in range(3)]
    assert statuses == [200, 200, 409]
    _, answer, _ = await call(gateway, "POST", "/v1/publish", publish_of(after=3600))
    assert answer["code"] == "TOO_MANY_ESCALATIONS"


async def test_one_that_is_acknowledged_makes_room_for_another(
    start_gateway: StartGateway, backend: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.limits.MAX_ESCALATIONS", 2)
    gateway = await gateway_of(start_gateway, backend)
    async with gateway.device() as device:
        for _ in range(2):
            assert (await call(gateway, "POST", "/v1/publish", publish_of(after=3600)))[0] == 200
        cursor = (await read(device))["cursor"]
        assert (await call(gateway, "POST", "/v1/publish", publish_of(after=3600)))[0] == 409
        await device.send(json.dumps({"type": "ack", "cursor": cursor, "id": "1"}))
        await until(lambda: _is_ok(gateway))


async def _is_ok(gateway: Gateway) -> bool:
    return (await call(gateway, "POST", "/v1/publish", publish_of(after=3600)))[0] == 200


async def test_failures_are_told_without_secrets_and_contents(
    start_gateway: StartGateway, backend: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend.steps = [Response(403)]
    gateway = await gateway_of(start_gateway, backend)
    await call(gateway, "POST", "/v1/publish", publish_of("a private title"))
    await until(lambda: _are(gateway, (0, 0, 1)))
    told = [each.getMessage() for each in caplog.records if each.name.startswith("tellwire")]
    assert "the webhook escalation mail failed: it refused with 403" in told
    everything = "\n".join(told)
    assert SIGNS not in everything
    assert API_KEY not in everything
    assert "a private title" not in everything
    assert SIGNS not in repr(gateway.node.settings)


# --- a node that is killed --------------------------------------------------------------------------------------------

# The lease of a call is a minute, for which no test waits.
_PROGRAM = """
import sys
from tellwire import limits
limits.ESCALATION_CALL_SECONDS = 2.0
from tellwire.cli import main
sys.argv = ["tellwire", "serve", "--port", "0"]
main()
"""


@contextlib.asynccontextmanager
async def serving(environment: dict[str, str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _PROGRAM, env=os.environ | environment, stdout=-1, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        first = (await asyncio.wait_for(process.stdout.readline(), 45)).decode()
        found = re.search(r"ws://127\.0\.0\.1:(\d+)", first)
        assert found, first
        yield process, f"http://127.0.0.1:{found[1]}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.long
@pytest.mark.parametrize("engine", ["sqlite", "redis"])
async def test_a_node_that_is_killed_in_the_call_is_followed_by_another(
    engine: str, backend: Service, tmp_path: Path, request: pytest.FixtureRequest, redis_prefix: str
) -> None:
    environment = {
        "TELLWIRE_ENGINE": engine,
        "TELLWIRE_JWT_SECRET": SECRET,
        "TELLWIRE_API_KEY": API_KEY,
        "TELLWIRE_WEBHOOKS": json.dumps({"mail": f"{backend.url}/mail"}),
        "TELLWIRE_WEBHOOK_SECRET": SIGNS,
    }
    if engine == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        environment |= {"TELLWIRE_REDIS_URL": server.url, "TELLWIRE_REDIS_PREFIX": redis_prefix}
    else:
        environment["TELLWIRE_DATABASE"] = str(tmp_path / "tellwire.sqlite3")
    is_called = asyncio.Event()

    async def hang(received: ReceivedRequest) -> Any:
        is_called.set()
        return HANGS

    backend.steps = [hang, Response(200)]
    async with serving(environment) as (process, url):
        status, _, _ = await call(Gateway(None, url), "POST", "/v1/publish", publish_of())  # type: ignore[arg-type]
        assert status == 200
        await asyncio.wait_for(is_called.wait(), 45)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    async with serving(environment) as (_, url):
        await until(lambda: len(backend.requests) >= 2)
        gateway = Gateway(None, url)  # type: ignore[arg-type]
        await until(lambda: _are(gateway, (1, 0, 0)))
    first, second = backend.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert [each.json["data"]["attempt"] for each in backend.requests] == [1, 2]
