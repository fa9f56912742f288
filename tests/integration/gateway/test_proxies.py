"""Producers behind proxies: their answers while a gateway restarts, on real sockets."""

import asyncio
import contextlib
import json
import re
import struct
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

import pytest

import tellwire
from tellwire.carriers.http import HttpCarrier
from tellwire.errors import GatewayRefused, GatewayUnreachable
from tellwire.limits import ROW_ERRORS_CHUNK
from tests.conftest import API_KEY, Gateway, StartGateway, read
from tests.nginx import nginx

HELLO = tellwire.create_notification_message("Hello", "World", "info")
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
RESET = b"(reset)"
CLOSED = b""


def answer(status: int, body: bytes = HTML, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d x" % status, b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def truncated(whole: bytes) -> bytes:
    return whole[:-20]


@dataclass
class Proxy:
    """A proxy that answers with `script` first, and passes everything on after that."""

    url: str
    script: list[bytes]
    paths: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def proxy(gateway: Gateway, script: Sequence[bytes], passing: str = "") -> AsyncIterator[Proxy]:
    """Run a proxy before a gateway. It answers requests whose path has `passing` in it from the script."""
    running = Proxy("", list(script))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                request = head + await reader.readexactly(int(length[1]) if length else 0)
                running.paths.append(head.split()[1].decode())
                if running.script and passing in running.paths[-1]:
                    scripted = running.script.pop(0)
                    if scripted == RESET:
                        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                        writer.transport.abort()
                        return
                    writer.write(scripted)
                    break
                there, to_gateway = await asyncio.open_connection(*gateway.node.address)
                to_gateway.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                writer.write(await there.read())
                to_gateway.close()
                break
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield running


ANSWERS = {
    **{str(status): answer(status) for status in (404, 408, 425, 429, 500, 502, 503, 504, *range(520, 531))},
    "500 of the gateway": answer(500, b'{"code":"INTERNAL_ERROR","message":"Something went wrong"}'),
    "503 of the gateway": answer(503, b'{"code":"HISTORY_UNAVAILABLE","message":"The history is away"}'),
    "HTML": answer(200),
    "an empty body": answer(200, b""),
    "JSON of another server": answer(200, b'{"status":"ok"}'),
    "an empty answer": CLOSED,
    "a reset": RESET,
    "half a body": truncated(answer(200, b'{"delivered":1,"gone":0,"failed":0}')),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellwire.carriers.http._FIRST_WAIT_SECONDS", 0.01)


@pytest.mark.parametrize("scripted", ANSWERS.values(), ids=ANSWERS)
async def test_a_message_for_a_user_survives_whatever_a_proxy_answers(gateway: Gateway, scripted: bytes) -> None:
    async with proxy(gateway, [scripted, scripted]) as before, gateway.device() as device:
        carrier = HttpCarrier(before.url, API_KEY)
        assert (await tellwire.Broadcaster(carrier).broadcast_to_user("user-1", HELLO)).delivered == 1
        assert (await read(device))["data"]["title"] == "Hello"
        assert len(before.paths) == 3
        await carrier.close()


ONCE = {name: scripted for name, scripted in ANSWERS.items() if not re.match(r"408|425|429|503", name)}


@pytest.mark.parametrize("scripted", ONCE.values(), ids=ONCE)
async def test_a_message_to_everybody_that_may_have_arrived_is_not_sent_twice(
    gateway: Gateway, scripted: bytes
) -> None:
    async with proxy(gateway, [scripted]) as before:
        carrier = HttpCarrier(before.url, API_KEY)
        with pytest.raises((GatewayUnreachable, GatewayRefused)) as caught:
            await tellwire.Broadcaster(carrier).broadcast_to_all(HELLO)
        assert not getattr(caught.value, "not_sent", False)
        assert len(before.paths) == 1
        await carrier.close()


async def test_an_attempt_that_may_have_arrived_is_remembered(gateway: Gateway) -> None:
    async with proxy(gateway, [answer(502), *[answer(503)] * 100]) as before:
        carrier = HttpCarrier(before.url, API_KEY, timeout_seconds=0.3)
        with pytest.raises(GatewayUnreachable, match="it answered 503") as caught:
            await tellwire.Broadcaster(carrier).broadcast_to_user("user-1", HELLO)
        assert not caught.value.not_sent
        await carrier.close()


async def test_a_redirect_is_named_and_not_followed(gateway: Gateway) -> None:
    moved = answer(308, HTML, b"Location: https://live.example.com/v1/publish?secret=1")
    async with proxy(gateway, [moved]) as before:
        carrier = HttpCarrier(before.url, API_KEY)
        with pytest.raises(
            GatewayRefused, match=r"it redirects to https://live\.example\.com/v1/publish: use"
        ) as caught:
            await tellwire.Broadcaster(carrier).broadcast_to_user("user-1", HELLO)
        assert "secret" not in str(caught.value)
        assert len(before.paths) == 1
        await carrier.close()


@pytest.mark.parametrize("scripted", [answer(502), answer(500), answer(200), CLOSED, RESET], ids=repr)
async def test_one_answer_of_a_proxy_does_not_end_the_list_of_row_errors(gateway: Gateway, scripted: bytes) -> None:
    async with proxy(gateway, [scripted], passing="row-errors") as before:
        broadcaster = tellwire.Broadcaster(HttpCarrier(before.url, API_KEY))
        count = 2 * ROW_ERRORS_CHUNK + 5
        async with tellwire.track_upload("user-1", "moc-1", "f.csv", broadcaster=broadcaster) as upload:
            for row in range(count):
                upload.row_error(row, "BAD", "bad")
        assert upload.failures == 0
        reader, writer = await asyncio.open_connection(*gateway.node.address)
        writer.write(
            b"GET /v1/uploads/moc-1/row-errors HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Bearer %b\r\n\r\n" % gateway.token().encode()
        )
        assert (await reader.read()).count(b"BAD") == count
        writer.close()


async def test_behind_nginx_a_restart_loses_no_message_and_fails_no_job(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    first: Gateway = await start_gateway()
    port = first.node.address[1]
    async with nginx(tmp_path, first.url) as address:
        carrier = HttpCarrier(address, API_KEY)
        broadcaster = tellwire.Broadcaster(carrier)
        async with tellwire.track_upload("user-1", "moc-1", "f.csv", 10, broadcaster=broadcaster) as upload:
            await first.ends()
            sending = asyncio.create_task(broadcaster.broadcast_to_user("user-1", HELLO))
            upload.row_error(3, "BAD", "bad")
            await asyncio.sleep(0.5)  # nginx answers with 502
            assert not sending.done()
            again: Gateway = await start_gateway(port=port)
        await sending
        async with again.device() as device:
            await device.send(json.dumps({"type": "hello", "cursor": "0"}))
            welcome = (await read(device))["data"]
        assert [message["data"]["title"] for message in welcome["messages"]] == ["Hello"]
        assert [state["data"]["status"] for state in welcome["state"]] == ["complete"]
        assert welcome["state"][0]["data"]["rowErrors"]["total"] == 1
        assert upload.failures == 0
        await carrier.close()


async def test_while_the_gateway_is_away_messages_fail_at_once_and_jobs_go_on_trying(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.carriers.circuit.CIRCUIT_FIRST_SECONDS", 0.3)
    first: Gateway = await start_gateway()
    port = first.node.address[1]
    carrier = HttpCarrier(first.url, API_KEY, timeout_seconds=0.5)
    broadcaster = tellwire.Broadcaster(carrier)
    await first.ends()
    with pytest.raises(GatewayUnreachable, match="refused"):
        await broadcaster.broadcast_to_user("user-1", HELLO)
    began = time.monotonic()
    for _ in range(50):
        with pytest.raises(
            GatewayUnreachable, match=r"it did not answer before, and is tried again in 0\.[0-9] s"
        ) as caught:
            await broadcaster.broadcast_to_user("user-1", HELLO)
        assert caught.value.not_sent
    assert time.monotonic() - began < 5  # fifty attempts would take 25 seconds
    # The last state of an upload is tried as long as ever, and finds the gateway that is back.
    ending = asyncio.create_task(
        broadcaster.broadcast_to_user("user-1", tellwire.create_upload_progress_message("moc-1", "f.csv", 100, "Done"))
    )
    await asyncio.sleep(0.05)
    assert not ending.done()
    await start_gateway(port=port)
    await ending
    # So the circuit is closed again.
    await broadcaster.broadcast_to_user("user-1", HELLO)
    await carrier.close()


async def test_a_probe_finds_the_gateway_that_is_back(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.carriers.circuit.CIRCUIT_FIRST_SECONDS", 0.1)
    first: Gateway = await start_gateway()
    port = first.node.address[1]
    carrier = HttpCarrier(first.url, API_KEY, timeout_seconds=0.2)
    broadcaster = tellwire.Broadcaster(carrier)
    await first.ends()
    with pytest.raises(GatewayUnreachable):
        await broadcaster.broadcast_to_user("user-1", HELLO)
    await start_gateway(port=port)
    while True:
        try:
            await broadcaster.broadcast_to_user("user-1", HELLO)
        except GatewayUnreachable:
            await asyncio.sleep(0.02)
        else:
            break
    await broadcaster.broadcast_to_user("user-1", HELLO)
    await carrier.close()


async def test_a_refusal_of_the_gateway_leaves_the_circuit_closed(gateway: Gateway) -> None:
    carrier = HttpCarrier(gateway.url, "a-wrong-key-of-24-letters")
    for _ in range(3):
        with pytest.raises(GatewayRefused, match="401"):
            await tellwire.Broadcaster(carrier).broadcast_to_user("user-1", HELLO)
    await carrier.close()
