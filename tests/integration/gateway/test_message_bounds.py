"""The bounds of a message, on every way in: its bytes on the wire, its depth, its ids."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection

from tellwire import InvalidMessage, Message, create_message, create_upload_progress_message
from tellwire.client import Client
from tellwire.errors import MessageTooBig
from tellwire.limits import MAX_DEPTH, MAX_FILE_NAME_CHARACTERS, MAX_MESSAGE_BYTES
from tests.conftest import Gateway, StartGateway, read
from tests.integration.gateway.test_http_api import call


def blob(size: int) -> Message:
    return create_message("blob", "x" * size)


def upload(size: int) -> Message:
    return create_upload_progress_message("moc-1", "parts.csv", 50, "x" * size)


def upload_of_long_id(size: int) -> Message:
    # In JSON each of these characters has six bytes, and a state's key repeats them.
    return create_upload_progress_message("\x01" * 1000, "parts.csv", 50, "x" * size)


async def biggest(gateway: Gateway, make: Callable[[int], Message]) -> int:
    """Publish the biggest message that is not refused, and return its size."""
    low, high = 0, MAX_MESSAGE_BYTES
    while high - low > 1:
        middle = (low + high) // 2
        try:
            await gateway.node.broadcaster.broadcast_to_user("somebody-else", make(middle))
            low = middle
        except MessageTooBig:
            high = middle
    await gateway.node.broadcaster.broadcast_to_user("user-1", make(low))
    return low


async def frames(device: ClientConnection) -> list[str]:
    """Say hello, and return all frames up to the last page of the welcome."""
    await device.send(json.dumps({"type": "hello", "cursor": "0"}))
    received: list[str] = []
    while not received or '"last":true' not in received[-1]:
        received.append(str(await device.recv()))
    return received


@pytest.mark.parametrize("make", [blob, upload, upload_of_long_id])
async def test_nothing_on_the_wire_is_over_128_kib_whatever_is_added(
    gateway: Gateway, make: Callable[[int], Message]
) -> None:
    async with gateway.device(max_size=MAX_MESSAGE_BYTES) as device:
        size = await biggest(gateway, make)
        live = str(await device.recv())
        assert MAX_MESSAGE_BYTES - 100 < len(live) <= MAX_MESSAGE_BYTES
    async with gateway.device(max_size=MAX_MESSAGE_BYTES) as device:
        welcome = await frames(device)
        assert max(map(len, welcome)) <= MAX_MESSAGE_BYTES
        assert "x" * size in "".join(welcome)
    with pytest.raises(MessageTooBig, match=r"allowed: at most 1[123]"):
        await gateway.node.broadcaster.broadcast_to_user("user-1", make(size + 1))


async def test_a_message_that_gets_no_position_may_have_all_of_it(gateway: Gateway) -> None:
    overhead = len(str(msgspec.json.encode(blob(0)), "utf-8")) + len(',"id":"t"') + 24
    async with gateway.device(max_size=MAX_MESSAGE_BYTES) as device:
        await gateway.node.broadcaster.broadcast_to_all(blob(MAX_MESSAGE_BYTES - overhead))
        assert len(await device.recv()) == MAX_MESSAGE_BYTES


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def publish_body(depth: int, message_type: str = "thing", user: str = "user-1") -> bytes:
    data = nested(depth - 1)
    if message_type == "error":
        data = f'{{"code":"BAD","message":"bad","details":{nested(depth - 2)}}}'
    return f'{{"target":{{"user":"{user}"}},"message":{{"type":"{message_type}","data":{data}}}}}'.encode()


@pytest.mark.parametrize("message_type", ["thing", "error"])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 300, 974, 975, 1000, 3000, 60_000])
async def test_a_message_that_is_too_deep_is_refused_before_it_is_kept(
    gateway: Gateway, depth: int, message_type: str
) -> None:
    async with gateway.device() as device:
        status, answer, _ = await call(gateway, "POST", "/v1/publish", publish_body(depth, message_type))
        assert (status, answer["code"]) == (400, "INVALID_MESSAGE")
        lines = b"\n".join([publish_body(depth, message_type), publish_body(MAX_DEPTH, message_type)])
        status, answers, _ = await call(gateway, "POST", "/v1/publish/batch", lines)
        assert status == 200
        refused, accepted = map(json.loads, answers.splitlines())
        assert (refused["code"], accepted["delivered"]) == ("INVALID_MESSAGE", 1)
        assert (await read(device))["type"] == message_type
        assert len(await frames(device)) == 1
        assert str(await frames(device)).count(message_type) == 1


async def test_data_of_a_client_that_is_too_deep_reaches_no_handler(start_gateway: StartGateway) -> None:
    gateway: Gateway = await start_gateway()
    received: list[Any] = []
    gateway.node.on_message("thing", lambda data, sender: received.append(data))
    async with gateway.device() as device:
        for depth in (MAX_DEPTH, 300, 1000, 15_000):
            await device.send(f'{{"type":"thing","data":{nested(depth)}}}')
            assert (await read(device))["data"]["code"] in ("INVALID_MESSAGE", "INVALID_JSON")
        assert received == []
        await device.send(f'{{"type":"thing","data":{nested(MAX_DEPTH - 1)}}}')
        await device.send('{"type":"ping"}')
        assert (await read(device))["type"] == "pong"
    assert len(received) == 1


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_numbers_that_json_lacks_are_refused_over_http(gateway: Gateway, value: str) -> None:
    body = f'{{"target":{{"user":"u"}},"message":{{"type":"thing","data":{{"v":{value}}}}}}}'.encode()
    status, answer, _ = await call(gateway, "POST", "/v1/publish", body)
    assert (status, answer["code"]) == (400, "INVALID_MESSAGE")


async def test_ids_beyond_their_bounds_are_refused_over_http(gateway: Gateway) -> None:
    message: dict[str, Any] = {"type": "thing", "data": None}
    progress = {"uploadId": "é" * 501, "fileName": "f", "progress": 1, "message": "m"}
    for target, sent in (
        ({"user": "é" * 1022}, message),
        ({"connection": "a" * 1001}, message),
        ({"connections": ["a" * 1001]}, message),
        ({"user": "user-1"}, {**message, "id": "a" * 1001}),
        ({"user": "user-1"}, {"type": "upload_progress", "data": progress}),
    ):
        status, answer, _ = await call(gateway, "POST", "/v1/publish", {"target": target, "message": sent})
        assert (status, answer["code"]) == (400, "INVALID_MESSAGE")
        assert "bytes in UTF-8" in answer["message"]


async def test_the_broadcaster_of_a_node_refuses_what_http_refuses(gateway: Gateway) -> None:
    data: Any = None
    for _ in range(MAX_DEPTH):
        data = [data]
    with pytest.raises(InvalidMessage, match="at most 64 deep"):
        await gateway.node.broadcaster.broadcast_to_user("user-1", create_message("thing", data))


NOT_UTF8 = b"caf\xe9.csv".decode(errors="surrogateescape")


async def test_text_that_utf_8_cannot_carry_is_repaired_over_http(gateway: Gateway) -> None:
    # `json.dumps` escapes half a surrogate pair, and so does `JSON.stringify`.
    messages = [
        {"type": "notification", "data": {"title": NOT_UTF8, "message": "🙂", "severity": "info"}},
        {"type": "error", "data": {"code": "BAD", "message": "m", "details": {NOT_UTF8: [NOT_UTF8]}}},
        {"type": "thing", "data": {"name": NOT_UTF8}},
        {"type": "upload_progress", "data": {"uploadId": NOT_UTF8, "fileName": NOT_UTF8, "progress": 1, "message": ""}},
    ]
    async with gateway.device() as device:
        for message in messages:
            status, _, _ = await call(
                gateway, "POST", "/v1/publish", {"target": {"user": "user-1"}, "message": message}
            )
            assert status == 200
        notification, error, thing, upload = [(await read(device))["data"] for _ in messages]
    assert (notification["title"], notification["message"]) == ("caf\ufffd.csv", "🙂")
    assert error["details"] == {"caf\ufffd.csv": ["caf\ufffd.csv"]}
    assert thing == {"name": "caf\ufffd.csv"}
    assert (upload["uploadId"], upload["fileName"]) == ("caf\\udce9.csv", "caf\ufffd.csv")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"target":{"user":"\\ud800"},"message":{"type":"thing","data":1}}', "target.user: got"),
        (b'{"target":{"user":"u"},"message":{"type":"thing","data":["\\ud800",NaN]}}', "NaN is no number of JSON"),
        (b'{"target":{"user":"u"},"message":{"type":"thing","data":["\\ud800",1e999]}}', "a finite number"),
        (b'{"target":{"user":"u"},"message":{"type":"thing","data":"\\ud800"', "allowed: JSON"),
        (b'{"target":{"user":"u"},"message":{"type":"\\ud800","data":1}}', "type: got"),
        (b'{"target":{"user":"u"},"message":{"type":"error","data":{"code":"\\ud800"}}}', "message: got nothing"),
        (
            b'{"target":{"user":"u"},"message":{"type":"thing","data":["\\ud800",' + b"[" * 2000 + b"]" * 2000 + b"]}}",
            "",
        ),
    ],
    ids=["user", "NaN", "1e999", "truncated", "type", "missing", "deep"],
)
async def test_what_else_is_wrong_with_it_is_still_named(gateway: Gateway, body: bytes, words: str) -> None:
    status, answer, _ = await call(gateway, "POST", "/v1/publish", body)
    assert (status, answer["code"]) == (400, "INVALID_MESSAGE")
    assert words in answer["message"]


async def test_an_upload_with_a_very_long_file_name_ends_visibly_when_its_worker_is_gone(
    start_gateway: StartGateway,
) -> None:
    gateway: Gateway = await start_gateway()
    data = {"uploadId": "u", "fileName": "x" * 129_000, "progress": 1, "message": "", "leaseSeconds": 1}
    async with gateway.device() as device:
        message = {"type": "upload_progress", "data": data}
        await call(gateway, "POST", "/v1/publish", {"target": {"user": "user-1"}, "message": message})
        received = [await read(device) for _ in range(4)]
    assert [each["data"].get("status", each["data"].get("code")) for each in received[1:]] == [
        "stalled",
        "failed",
        "UPLOAD_LOST",
    ]
    assert {len(each["data"]["fileName"]) for each in received[:3]} == {MAX_FILE_NAME_CHARACTERS}


@pytest.mark.parametrize("make", [blob, upload])
async def test_the_python_client_gets_the_biggest_message_live_and_later(
    gateway: Gateway, make: Callable[[int], Message]
) -> None:
    async def token(why: str) -> str:
        return gateway.token()

    async with Client(gateway.url, token) as live:
        received = asyncio.ensure_future(anext(live))
        while live.state.recovered is None:
            await asyncio.sleep(0.01)
        size = await biggest(gateway, make)
        assert "x" * size in str((await received).data)
    async with Client(gateway.url, token, start_from="oldest") as later:
        assert "x" * size in str((await anext(later)).data)
