"""Decoding: the golden messages of spec/, and everything else that a server may send."""

import json
from pathlib import Path

import pytest

from tellwire.client.decode import ReceivedMessage, WelcomePage, read_message, read_welcome
from tellwire.messages import KNOWN_TYPES

GOLDEN = sorted((Path(__file__).parents[3] / "spec" / "messages").glob("*.json"))


def read(payload: bytes) -> ReceivedMessage:
    message = read_message(payload)
    assert message is not None
    return message


def test_there_is_a_golden_message_of_every_type() -> None:
    types = {read(file.read_bytes()).type for file in GOLDEN}
    assert types > KNOWN_TYPES


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_golden_message_is_read_whole(file: Path) -> None:
    payload = file.read_bytes().rstrip(b"\n")
    message = read(payload)
    fields = ("type", "data", "timestamp", "id", "cursor", "key", "version", "topic")
    read_fields = {name: value for name in fields if (value := getattr(message, name)) is not None}
    assert read_fields | ({"from": message.from_user} if message.from_user else {}) == json.loads(payload)
    assert message.payload == payload


def test_fields_of_a_later_version_are_no_trouble() -> None:
    payload = b'{"type":"upload_progress","data":{"uploadId":"a","eta":5},"id":"1","trace":"x","timestamp":"t"}'
    assert read_message(payload) == ReceivedMessage(
        "upload_progress", {"uploadId": "a", "eta": 5}, "t", "1", payload=payload
    )


def test_a_plain_servers_message_needs_neither_id_nor_timestamp_nor_data() -> None:
    assert read_message(b'{"type": "hello"}') == ReceivedMessage("hello", None, payload=b'{"type": "hello"}')
    message = read(b'{"type":"x","timestamp":1700000000,"id":7}')
    assert (message.timestamp, message.id) == (None, None)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"message":"Forbidden","connectionId":"c","requestId":"r"}',
        b'{"type":7}',
        b"[]",
        b"",
        b"hello",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type":"x","data":' + b"[" * 100_000,
        b'{"type":"\xff"}',
    ],
)
def test_what_is_no_json_or_has_no_type_is_no_message(payload: bytes) -> None:
    assert read_message(payload) is None


def test_a_message_has_its_position() -> None:
    message = read(b'{"type":"x","cursor":"e:1","key":"upload:u","version":3,"topic":"t"}')
    assert (message.cursor, message.key, message.version, message.topic) == ("e:1", "upload:u", 3, "t")
    message = read(b'{"type":"x","cursor":1,"key":2,"version":true}')
    assert (message.cursor, message.key, message.version) == (None, None, None)


def test_the_messages_of_a_welcome_are_read_as_if_they_had_come_alone() -> None:
    one, other = b'{"type":"said","data":1,"cursor":"e:1"}', b'{"type":"up","data":2, "key":"k","version":7}'
    head = b'{"type":"welcome","data":{"cursor":"e:1","recovered":true,"last":false,"later":1,"messages":['
    page = read_welcome(read(head + one + b'],"state":[' + other + b"]}}"))
    assert page == WelcomePage("e:1", True, [read(one)], [read(other)], last=False)
    assert [each.payload for each in (*page.messages, *page.states)] == [one, other]


@pytest.mark.parametrize(
    ("text", "seconds"), [(b"25", 25), (b"0.5", 0.5), (b"0", None), (b"true", None), (b'"25"', None)]
)
def test_a_welcome_may_say_its_pace(text: bytes, seconds: float | None) -> None:
    data = b'"cursor":"e:1","recovered":true,"last":true,"heartbeatSeconds":%b,"rotateAfterSeconds":%b' % (text, text)
    page = read_welcome(read(b'{"type":"welcome","data":{%b}}' % data))
    assert page is not None
    assert (page.heartbeat_seconds, page.rotate_after_seconds) == (seconds, seconds)
