"""The receivers of escalations: with a real gateway, a real SMTP server, and a push service that decrypts."""

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

import http_ece  # type: ignore[import-untyped]
import jwt
import pytest
import uvicorn
from aiosmtpd.smtp import SMTP
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pyreqwest.client import ClientBuilder
from starlette.applications import Starlette

from examples.escalation.receiver import Deliver, KnownIds, Unreachable, receiver
from examples.escalation.send_mail import mailer
from examples.escalation.send_push import Subscriptions, pusher
from tellwire import create_notification_message
from tellwire.webhooks.signature import signed_headers
from tests.conftest import StartGateway
from tests.tools import until
from tests.unit.aws_api.scripted import Response, Service

SECRET = "a secret of webhooks that nobody knows"
BODY = json.dumps({"type": "escalation", "data": {"userId": "user-1", "message": {"data": {"title": "T"}}}}).encode()


class Mailbox:
    """A handler of an SMTP server that keeps the mails."""

    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 OK"


class Server:
    """An application that is served on loopback."""

    def __init__(self, application: Starlette) -> None:
        self._server = uvicorn.Server(uvicorn.Config(application, log_level="warning", lifespan="off"))
        self._socket = socket.create_server(("127.0.0.1", 0))

    async def __aenter__(self) -> str:
        self._task = asyncio.create_task(self._server.serve([self._socket]))
        await until(lambda: self._server.started)
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/"

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._task


async def post(url: str, body: bytes = BODY, headers: dict[str, str] | None = None) -> int:
    headers = signed_headers([SECRET.encode()], "msg_1", int(time.time()), body) if headers is None else headers
    async with ClientBuilder().build() as client:
        response = await client.post(url).headers(headers).body_bytes(body).build().send()
        return int(response.status)


@pytest.fixture
def known_ids(tmp_path: Path) -> KnownIds:
    return KnownIds(tmp_path / "ids.sqlite3")


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
async def smtp_port(mailbox: Mailbox) -> AsyncIterator[int]:
    # Its own controller connects to the port that it was given, which must not be 0.
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_only_what_is_signed_is_delivered_and_once(known_ids: KnownIds) -> None:
    delivered: list[str] = []
    async with Server(receiver(SECRET, lambda user_id, _: delivered.append(user_id), known_ids)) as url:
        old = signed_headers([SECRET.encode()], "msg_1", int(time.time()) - 3600, BODY)
        others = signed_headers([b"another secret, as long as that"], "msg_1", int(time.time()), BODY)
        assert [await post(url, headers=each) for each in ({}, old, others)] == [401] * 3
        assert delivered == []
        assert [await post(url), await post(url)] == [204, 204]
        assert delivered == ["user-1"]
        assert await post(url, b" " * 300_000) == 413


@pytest.mark.parametrize(("error", "status"), [(Unreachable("no address"), 422), (OSError("no route"), 503)])
async def test_a_failure_is_answered_so_that_the_gateway_knows(
    known_ids: KnownIds, error: Exception, status: int
) -> None:
    failures = [error]

    def deliver(user_id: str, notification: Any) -> None:
        if failures:
            raise failures.pop()

    async with Server(receiver(SECRET, deliver, known_ids)) as url:
        assert [await post(url), await post(url)] == [status, 204]


async def escalated(start_gateway: StartGateway, deliver: Deliver, known_ids: KnownIds, done: Any) -> None:
    """Publish a notification that nobody acknowledges, and wait until it is delivered."""
    async with Server(receiver(SECRET, deliver, known_ids)) as url:
        gateway = await start_gateway(webhooks={"it": url}, webhook_secret=SECRET)
        message = create_notification_message(
            "Server down",
            "db-1 does not answer – ü",
            "error",
            "/servers/1",
            "Look",
            escalate={"after_seconds": 1, "target": "it"},
        )
        await gateway.node.broadcaster.broadcast_to_user("user-1", message)
        await until(done)
        await until(lambda: gateway.node.engine.escalations.counts.called)


async def test_a_mail_is_sent_to_the_address_of_the_user(
    start_gateway: StartGateway, known_ids: KnownIds, mailbox: Mailbox, smtp_port: int
) -> None:
    deliver = mailer(
        "127.0.0.1", smtp_port, {"user-1": "anna@shop.example"}, "ops@shop.example", "https://shop.example"
    )
    await escalated(start_gateway, deliver, known_ids, lambda: mailbox.mails)
    (mail,) = mailbox.mails
    assert (mail["To"], mail["From"], mail["Subject"]) == ("anna@shop.example", "ops@shop.example", "Server down")
    text = mail.get_content().replace("\r\n", "\n")  # type: ignore[attr-defined]
    assert text == "db-1 does not answer – ü\n\nLook: https://shop.example/servers/1\n"
    with pytest.raises(Unreachable):
        deliver("ben", {"title": "T", "message": ""})
    await asyncio.to_thread(deliver, "user-1", {"title": "two\r\nBcc: all@shop.example", "message": ""})
    assert (mailbox.mails[1]["Subject"], mailbox.mails[1]["Bcc"]) == ("two Bcc: all@shop.example", None)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Browser:
    """A browser with a subscription: it alone can decrypt its messages."""

    def __init__(self, endpoint: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = b"0123456789abcdef"
        public = self.key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self.subscription = {"endpoint": endpoint, "keys": {"p256dh": b64(public), "auth": b64(self.auth)}}

    def decrypt(self, body: bytes) -> Any:
        return json.loads(http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm"))


async def test_a_push_reaches_the_browser_and_nobody_else_can_read_it(
    start_gateway: StartGateway, known_ids: KnownIds, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = tmp_path / "vapid.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )

    async with Service().running() as service:

        async def push_service(request: Any) -> Response:
            return Response(410 if request.target == "/gone" else 201)

        service.steps = [push_service] * 10
        browser, gone = Browser(f"{service.url}/here"), Browser(f"{service.url}/gone")
        file = tmp_path / "subscriptions.json"
        file.write_text(json.dumps({"user-1": [gone.subscription, browser.subscription]}))
        deliver = pusher(str(pem), "mailto:ops@shop.example", Subscriptions(file))
        await escalated(
            start_gateway, deliver, known_ids, lambda: any(each.target == "/here" for each in service.requests)
        )
        request = next(each for each in service.requests if each.target == "/here")
    assert browser.decrypt(request.body) == {
        "title": "Server down",
        "message": "db-1 does not answer – ü",
        "actionUrl": "/servers/1",
    }
    assert (request.headers["content-encoding"], request.headers["ttl"]) == ("aes128gcm", str(24 * 3600))
    token, _, _ = request.headers["authorization"].removeprefix("vapid t=").partition(",")
    claims = jwt.decode(token, key.public_key(), algorithms=["ES256"], audience=service.url)
    assert claims["sub"] == "mailto:ops@shop.example"
    # That which its service no longer knows is removed.
    assert json.loads(file.read_text()) == {"user-1": [browser.subscription]}
    with pytest.raises(Unreachable):
        deliver("ben", {"title": "T", "message": ""})
