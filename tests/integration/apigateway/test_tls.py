"""One port for TLS and plain text."""

import asyncio
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tellwire.apigateway.certificate import make_certificate
from tellwire.apigateway.definition import Api, Route
from tellwire.apigateway.local import LocalApi
from tellwire.apigateway.runner.host import InProcess
from tellwire.server import tls
from tests.tools import until


def echo(event: Any, context: Any) -> Any:
    return {"statusCode": 200, "body": event["body"]}


def scheme(event: Any, context: Any) -> Any:
    return {"statusCode": 200 if event["headers"]["X-Forwarded-Proto"] == "https" else 403}


@pytest.fixture
async def local() -> AsyncIterator[LocalApi]:
    api = Api((Route("$default", "echo", has_response=True),))
    with LocalApi(api, {"echo": InProcess.of(echo)}) as running:
        async with running.running():
            yield running


def trusting(local: LocalApi) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=local.environment["AWS_CA_BUNDLE"])


def address(local: LocalApi) -> tuple[str, int]:
    host, port = str(local.api.domain_name).rsplit(":", 1)
    return host, int(port)


async def reply_over(local: LocalApi, url: str, **options: Any) -> str:
    async with connect(url, proxy=None, **options) as client:
        await client.send("x" * 20_000)
        return str(await client.recv())


async def test_both_are_served_by_their_first_byte(local: LocalApi) -> None:
    plain, secure = local.websocket_url, local.websocket_url.replace("ws://", "wss://")
    for _ in range(3):
        assert await reply_over(local, plain) == "x" * 20_000
        assert await reply_over(local, secure, ssl=trusting(local)) == "x" * 20_000


async def test_the_certificate_is_for_the_names_of_this_machine(local: LocalApi) -> None:
    _, port = address(local)
    assert (
        await reply_over(local, f"wss://localhost:{port}/prod", ssl=trusting(local), host="127.0.0.1") == "x" * 20_000
    )
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await reply_over(local, f"wss://example.com:{port}/prod", ssl=trusting(local), host="127.0.0.1")


async def test_who_does_not_trust_it_does_not_connect(local: LocalApi) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await reply_over(local, local.websocket_url.replace("ws://", "wss://"), ssl=ssl.create_default_context())
    assert await reply_over(local, local.websocket_url) == "x" * 20_000


async def test_events_tell_which_it_was() -> None:
    with LocalApi(Api((Route("$connect", "scheme"),)), {"scheme": InProcess.of(scheme)}) as local:
        async with (
            local.running(),
            connect(local.websocket_url.replace("ws://", "wss://"), proxy=None, ssl=trusting(local)),
        ):
            pass


@pytest.mark.parametrize("words", [b"", b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x00\x00", b"G"])
async def test_who_begins_and_does_not_go_on_is_let_go(
    words: bytes, local: LocalApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tellwire.server.tls", "tellwire.limits"):
        monkeypatch.setattr(f"{module}.HEAD_TIMEOUT_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection(*address(local))
    writer.write(words)
    async with asyncio.timeout(100):
        await reader.read()
    writer.close()
    assert await reply_over(local, local.websocket_url) == "x" * 20_000


async def test_who_connects_and_leaves_at_once_leaves_nothing(local: LocalApi) -> None:
    listening = [server for server in local._server._uvicorn.servers if isinstance(server, tls.TlsOrPlain)]
    for _ in range(50):
        with socket.create_connection(address(local)):
            pass
    await until(lambda: not listening[0]._opening)


def test_the_key_is_not_left_behind(tmp_path: Path) -> None:
    _, trusted = make_certificate(tmp_path)
    assert list(tmp_path.iterdir()) == [trusted]
    assert b"PRIVATE" not in trusted.read_bytes()
    assert stat.S_ISREG(trusted.stat().st_mode)


def test_everybody_who_was_trusted_still_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.pem"
    mine.write_text("-----BEGIN MINE-----\n")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(mine))
    _, trusted = make_certificate(tmp_path)
    assert trusted.read_text().startswith("-----BEGIN MINE-----\n")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "not there"))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    _, trusted = make_certificate(tmp_path)
    assert trusted.read_text().count("BEGIN CERTIFICATE") > 20
