"""The words for handshakes without an answer, on real sockets."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tellwire.client.failures import reason_of
from tellwire.client.socket import Refused, Unreachable, open_socket
from tellwire.http_messages import redirect_target
from tellwire.ports import SystemClock
from tests.unit.aws_api.authority import make_authority

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _cuts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.transport.abort()


async def _babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n\r\n")
    await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def _port(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _reason(url: str) -> str:
    with pytest.raises(Unreachable) as caught:
        await open_socket(url, "head.claims.signature", "subprotocol", SystemClock())
    return str(caught.value)


async def test_a_certificate_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    context, _ = make_authority(tmp_path)
    async with _port(_closes, context) as port:
        assert (await _reason(f"wss://localhost:{port}/")).startswith("certificate verify failed: ")


async def test_a_name_that_is_not_known_is_named() -> None:
    # The second is that of a machine without a name server.
    assert await _reason("ws://no-such-host.invalid/") in (
        "name or service not known",
        "temporary failure in name resolution",
        "no address associated with hostname",
    )


@pytest.mark.parametrize("handler", [_closes, _cuts])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_connection_that_ends_at_once_is_named(scheme: str, handler: Handler) -> None:
    async with _port(handler) as port:
        reason = await _reason(f"{scheme}://127.0.0.1:{port}/")
    assert reason in (
        "the connection was closed without an answer to the handshake",
        "the connection was reset",
        "connection reset by peer",
        "TLS failed: unexpected eof while reading",
    )


async def test_an_answer_that_is_not_http_is_named() -> None:
    async with _port(_babbles) as port:
        assert (await _reason(f"ws://127.0.0.1:{port}/")).startswith("the answer is not HTTP")
        assert "TLS failed" in await _reason(f"wss://127.0.0.1:{port}/")


async def test_a_port_without_a_server_is_refused_on_each_of_its_addresses() -> None:
    assert await _reason("ws://127.0.0.1:1/") == "connection refused"
    both = OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 113] No route ('10.0.0.1')")
    assert reason_of(both) == "no route to host"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://h.example/live/", "https://h.example/live/"),
        ("/live/?token=a.b.c", "ws://127.0.0.1:1/live/"),
        ("//u:p@h.example/x#y", "ws://h.example/x"),
        ("", "ws://127.0.0.1:1/live"),
        ("http://[", "an address that is not valid"),
    ],
)
def test_a_redirect_is_named_without_its_query(location: str, target: str) -> None:
    assert redirect_target("ws://127.0.0.1:1/live?token=a.b.c", location) == target


async def test_a_redirect_of_the_handshake_is_named() -> None:
    async def redirects(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 301 Moved\r\nLocation: https://h.example/live/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with _port(redirects) as port:
        with pytest.raises(Refused) as caught:
            await open_socket(f"ws://127.0.0.1:{port}/live", "head.claims.signature", "subprotocol", SystemClock())
    refusal = caught.value.refusal
    assert (refusal.status, refusal.error) == (301, "REDIRECTED")
    assert refusal.message == "It redirects to https://h.example/live/"
