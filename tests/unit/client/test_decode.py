"""What a client receives: the golden messages of spec/, and whatever else a server may say."""

import json
from pathlib import Path

import pytest

from tellwire.client.received import ReceivedMessage, WelcomePage, read_message, read_welcome
from tellwire.messages import KNOWN_TYPES

GOLDEN = sorted((Path(__file__).parents[3] / "spec" / "messages").glob("*.json"))


def test_there_is_a_golden_message_of_every_type() -> None:
    types = {read_message(file.read_bytes()).type for file in GOLDEN}
    assert types > KNOWN_TYPES


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_a_golden_message_is_read_whole(file: Path) -> None:
    payload = file.read_bytes().rstrip(b"\n")
    message = read_message(payload)
    fields = ("type", "data", "timestamp", "id", "cursor", "key", "version")
    assert {name: value for name in fields if (value := getattr(message, name)) is not None} == json.loads(payload)
    assert message.payload == payload


def test_fields_of_a_later_version_are_no_trouble() -> None:
    payload = b'{"type":"upload_progress","data":{"uploadId":"a","eta":5},"id":"1","trace":"x","timestamp":"t"}'
    assert read_message(payload) == ReceivedMessage(
        "upload_progress", {"uploadId": "a", "eta": 5}, "t", "1", payload=payload
    )


def test_a_plain_servers_message_needs_neither_id_nor_timestamp_nor_data() -> None:
    assert read_message(b'{"type": "hello"}') == ReceivedMessage("hello", None, payload=b'{"type": "hello"}')
    message = read_message(b'{"type":"x","timestamp":1700000000,"id":7}')
    assert (message.timestamp, message.id) == (None, None)


def test_what_is_no_message_keeps_its_json_and_its_bytes() -> None:
    forbidden = b'{"message":"Forbidden","connectionId":"c","requestId":"r"}'
    message = read_message(forbidden)
    assert (message.type, message.data["message"], message.payload) == ("", "Forbidden", forbidden)


@pytest.mark.parametrize(
    "payload",
    [b"", b"hello", b"{", b"\xff\xfe", b"[" * 100_000, b'{"type":"x","data":' + b"[" * 100_000, b'{"type":"\xff"}'],
)
def test_what_is_no_json_is_its_bytes(payload: bytes) -> None:
    assert read_message(payload) == ReceivedMessage("", None, payload=payload)


def test_a_message_says_its_place() -> None:
    message = read_message(b'{"type":"x","cursor":"e:1","key":"upload:u","version":3}')
    assert (message.cursor, message.key, message.version) == ("e:1", "upload:u", 3)
    message = read_message(b'{"type":"x","cursor":1,"key":2,"version":true}')
    assert (message.cursor, message.key, message.version) == (None, None, None)


def test_the_messages_of_a_welcome_are_read_as_if_they_had_come_alone() -> None:
    one, other = b'{"type":"said","data":1,"cursor":"e:1"}', b'{"type":"up","data":2, "key":"k","version":7}'
    head = b'{"type":"welcome","data":{"cursor":"e:1","recovered":true,"last":false,"later":1,"messages":['
    page = read_welcome(read_message(head + one + b'],"state":[' + other + b"]}}"))
    assert page == WelcomePage("e:1", True, [read_message(one)], [read_message(other)], last=False)
    assert [each.payload for each in (*page.messages, *page.states)] == [one, other]
