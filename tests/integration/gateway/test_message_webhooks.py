"""Messages of own types that the project's own server handles, over a real gateway."""

import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tellwire.errors import ConfigError
from tellwire.gateway import Node
from tellwire.messages import create_message
from tellwire.webhooks.signature import is_signed, key_of
from tests.conftest import Gateway, StartGateway, read
from tests.unit.aws_api.scripted import DROPS, HANGS, ReceivedRequest, Response, Service, Step

SECRET = "a secret of webhooks that nobody knows"
NEW = "another secret, with enough bytes too"

Ask = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def backend() -> AsyncIterator[Service]:
    async with Service().running() as service:
        yield service


async def gateway_of(start_gateway: StartGateway, backend: Service, **settings: Any) -> Gateway:
    options: dict[str, Any] = {
        "message_webhook_url": f"{backend.url}/hook",
        "message_webhook_types": ("rename", "ping_us"),
        "webhook_secret": SECRET,
    }
    gateway = await start_gateway(**options | settings)
    assert isinstance(gateway, Gateway)
    return gateway


async def ask(gateway: Gateway, *requests: Any, user_id: str = "user-1") -> list[dict[str, Any]]:
    """Return the answers to requests on one connection."""
    async with gateway.device(user_id) as device:
        answers = []
        for request in requests:
            await device.send(json.dumps(request))
            answers.append(await read(device))
    return answers


def answering(status: int, body: Any) -> Response:
    return Response(status, json.dumps(body).encode())


RENAME = {"type": "rename", "data": {"name": "Lift"}, "id": "7"}


async def test_a_message_goes_to_the_server_and_its_answer_is_the_result(
    start_gateway: StartGateway, backend: Service
) -> None:
    backend.steps = [answering(200, {"type": "renamed", "data": {"by": "us"}})]
    gateway = await gateway_of(start_gateway, backend)
    (answer,) = await ask(gateway, RENAME)
    assert answer["type"] == "ok"
    assert answer["data"]["id"] == "7"
    assert answer["data"]["result"]["type"] == "renamed"
    assert answer["data"]["result"]["data"] == {"by": "us"}
    (request,) = backend.requests
    assert request.target == "/hook"
    assert is_signed([key_of(SECRET)], request.headers, request.body, time.time())
    body = request.json
    assert body["type"] == "message"
    assert body["data"]["userId"] == "user-1"
    assert body["data"]["message"] == {"type": "rename", "data": {"name": "Lift"}}
    assert list(body["data"]) == ["userId", "connectionId", "message"]


async def test_a_repeated_request_is_sent_once_and_a_retried_one_has_one_id(
    start_gateway: StartGateway, backend: Service
) -> None:
    backend.steps = [Response(503), DROPS, answering(200, {"type": "renamed"}), Response(500)]
    gateway = await gateway_of(start_gateway, backend)
    first, again = await ask(gateway, RENAME, RENAME)
    assert first == again
    assert len({each.headers["webhook-id"] for each in backend.requests}) == 1
    assert len(backend.requests) == 3
    backend.steps = [Response(200, b"")]
    await ask(gateway, RENAME, user_id="user-2")
    await ask(gateway, RENAME | {"id": "8"})
    assert len({each.headers["webhook-id"] for each in backend.requests}) == 3


async def test_a_message_without_an_id_is_answered_with_the_message_or_with_nothing(
    start_gateway: StartGateway, backend: Service
) -> None:
    backend.steps = [Response(204, b""), answering(200, {"type": "renamed", "data": 5})]
    gateway = await gateway_of(start_gateway, backend)
    async with gateway.device() as device:
        await device.send('{"type":"rename"}')
        await device.send('{"type":"ping_us"}')
        assert (await read(device))["data"] == 5
    assert len({each.headers["webhook-id"] for each in backend.requests}) == 2


async def test_a_refusal_is_told_with_the_text_of_the_server(start_gateway: StartGateway, backend: Service) -> None:
    backend.steps = [answering(422, {"message": "This MOC is closed", "secret": "x"})]
    gateway = await gateway_of(start_gateway, backend)
    (answer,) = await ask(gateway, RENAME)
    assert answer["type"] == "error"
    assert answer["data"] == {"code": "MESSAGE_REFUSED", "message": "This MOC is closed", "id": "7"}


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Response(404, b"<html>"), "it answered 404 without a message"),
        (Response(200, b"<html>"), "its answer is no message"),
        (answering(200, {"type": "welcome", "data": {}}), "its answer is no message"),
        (answering(200, ["renamed"]), "its answer is no message"),
        (answering(200, {"type": "renamed", "data": "x" * 200_000}), "the answer is over 131,072 bytes"),
        (Response(302, b"", {"Location": "http://169.254.169.254/"}), "which is not followed"),
    ],
    ids=["not found", "no JSON", "a reserved type", "no object", "too big", "a redirect"],
)
async def test_an_answer_that_is_not_valid_tells_the_client_nothing(
    start_gateway: StartGateway, backend: Service, caplog: pytest.LogCaptureFixture, step: Step, words: str
) -> None:
    backend.steps = [step]
    gateway = await gateway_of(start_gateway, backend)
    with caplog.at_level(logging.WARNING):
        (answer,) = await ask(gateway, RENAME)
    assert answer["data"]["code"] == "INTERNAL_ERROR"
    assert answer["data"]["id"] == "7"
    assert words in caplog.text
    assert "Traceback" not in caplog.text
    assert SECRET not in caplog.text
    assert len(backend.requests) == 1


async def test_a_handler_of_the_program_comes_first_and_other_types_are_unknown(
    start_gateway: StartGateway, backend: Service
) -> None:
    gateway = await gateway_of(start_gateway, backend)
    gateway.node.on_message("rename", lambda data, sender: create_message("own", sender.request_id))
    renamed, unknown = await ask(gateway, RENAME, {"type": "other", "id": "9"})
    assert renamed["data"]["result"]["data"] == "7"
    assert unknown["data"]["code"] == "UNKNOWN_TYPE"
    assert backend.requests == []


async def test_others_do_not_wait_for_a_server_that_hangs(start_gateway: StartGateway, backend: Service) -> None:
    backend.steps = [HANGS]
    gateway = await gateway_of(start_gateway, backend)
    async with gateway.device() as device:
        await device.send(json.dumps(RENAME))
        await device.send('{"type":"ping"}')
        assert (await read(device))["type"] == "pong"


async def test_a_reload_takes_another_secret(start_gateway: StartGateway, backend: Service, tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(SECRET)
    backend.steps = [Response(204, b"")]
    gateway = await gateway_of(start_gateway, backend, webhook_secret=None, webhook_secret_file=str(file))
    await ask(gateway, RENAME)
    file.write_text(f"{NEW}\n{SECRET}\n")
    await gateway.node.reload()
    await ask(gateway, RENAME | {"id": "8"})
    file.write_text("weak")
    with pytest.raises(ConfigError, match="got 4 bytes"):
        await gateway.node.reload(structs.replace(gateway.node.settings))
    await ask(gateway, RENAME | {"id": "9"})

    def signed_by(request: ReceivedRequest) -> list[bool]:
        return [is_signed([key_of(each)], request.headers, request.body, time.time()) for each in (NEW, SECRET)]

    assert [signed_by(each) for each in backend.requests] == [[False, True], [True, True], [True, True]]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"webhook_secret": None}, "TELLWIRE_WEBHOOK_SECRET: not set"),
        ({"webhook_secret": "short"}, "TELLWIRE_WEBHOOK_SECRET: got 5 bytes; allowed: at least 24"),
        ({"message_webhook_types": ()}, "TELLWIRE_MESSAGE_WEBHOOK_TYPES: got one of them; allowed: both"),
        ({"message_webhook_types": ("hello",)}, "TELLWIRE_MESSAGE_WEBHOOK_TYPES: type: got 'hello'"),
        ({"message_webhook_url": "https://u:secret@x"}, "TELLWIRE_MESSAGE_WEBHOOK_URL: got one that may hold a secret"),
    ],
)
async def test_settings_that_do_not_fit_together_are_refused(
    gateway: Gateway, backend: Service, settings: dict[str, Any], words: str
) -> None:
    options: dict[str, Any] = {
        "message_webhook_url": backend.url,
        "message_webhook_types": ("rename",),
        "webhook_secret": SECRET,
    }
    with pytest.raises(ConfigError, match=re.escape(words)) as raised:
        Node(structs.replace(gateway.node.settings, **options | settings))
    assert SECRET not in str(raised.value)
