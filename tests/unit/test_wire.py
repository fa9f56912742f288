"""The structs of the wire, and the JSON Schema, golden files and table of errors that are made from them."""

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from scripts.export_spec import NOT_ON_THE_WIRE, error_table
from tellwire import errors, protocol, wire
from tellwire.limits import MAX_MESSAGE_BYTES
from tellwire.messages import KNOWN_TYPES, TERMINAL_STATUSES, UploadStatus, create_message, encode_message
from tellwire.stream import Replay
from tellwire.text import require_topic
from tests.publications import decode_message

SPEC = Path(__file__).parents[2] / "spec"
SCHEMA = json.loads((SPEC / "wire.schema.json").read_text())
MESSAGES = sorted((SPEC / "messages").glob("*.json"))
REQUESTS = sorted((SPEC / "requests").glob("*.json"))


def is_valid(definition: str, value: Any) -> bool:
    """Return whether the schema's definition allows a JSON value."""
    schema = {"$ref": f"#/$defs/{definition}", "$defs": SCHEMA["$defs"]}
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def is_done(text: str) -> bool:
    """Return whether the server performs a client's request instead of answering with an error."""
    action = protocol.receive(text)
    return not (isinstance(action, protocol.Reply) and json.loads(action.payload)["type"] == "error")


def type_of(path: Path) -> str:
    return str(json.loads(path.read_bytes())["type"])


# --- golden files -----------------------------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_there_is_a_golden_file_of_every_type() -> None:
    sent = {wire.tag_of(each) for each in get_args(wire.ServerMessage)}
    assert {type_of(path) for path in MESSAGES} - {"comment_added"} == sent | KNOWN_TYPES
    assert {type_of(path) for path in REQUESTS} == set(wire.REQUEST_TYPES)


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_a_golden_message_is_what_the_schema_says_a_server_sends(path: Path) -> None:
    message = json.loads(path.read_bytes())
    assert is_valid("ServerMessage", message)
    assert not is_valid("ServerMessage", message | {"surplus": 1})


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_a_golden_request_is_in_the_schema_and_is_done(path: Path) -> None:
    text = path.read_text()
    assert is_valid("ClientRequest", json.loads(text))
    assert is_done(text)
    assert wire.encode(wire.decode_request(text)).decode() == text


@pytest.mark.parametrize("path", [each for each in MESSAGES if type_of(each) in wire.RESERVED_TYPES], ids=str)
def test_a_golden_message_of_the_protocol_is_read_and_written_byte_for_byte(path: Path) -> None:
    payload = path.read_bytes()
    bare = json.loads(payload)
    message = msgspec.json.decode(payload, type=wire.ServerMessage)
    written = wire.encode(message)
    if "key" in bare:
        written = wire.as_state(written, bare["key"], bare["version"])
    assert written == payload


# --- the schema forbids what the server refuses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"type": 5}',
        '{"type": "dance"}',
        '{"type": "auth"}',
        '{"type": "auth", "token": 5}',
        '{"type": "hello", "cursor": 5}',
        '{"type": "hello", "cursors": "e:5"}',
        '{"type": "hello", "cursors": {"user": 5}}',
        '{"type": "hello", "cursors": {"nobody": "e:5"}}',
        '{"type": "hello", "cursor": "e:5", "cursors": {"user": "e:5"}}',
        '{"type": "ack"}',
        '{"type": "ack", "cursor": null}',
        '{"type": "cancel"}',
        '{"type": "cancel", "upload_id": "u"}',
        '{"type": "read"}',
        '{"type": "read", "cursors": []}',
        '{"type": "read", "cursors": "e:5"}',
        '{"type": "read", "upTo": 5}',
        json.dumps({"type": "read", "cursors": ["e:5"] * 101}),
        '{"type": "dismiss"}',
        '{"type": "dismiss", "id": "1"}',
        '{"type": "dismiss", "key": "upload:u", "upTo": "e:5"}',
        '{"type": "dismiss", "endedUpTo": 0}',
        '{"type": "history"}',
        '{"type": "history", "id": "1", "limit": 0}',
        '{"type": "history", "id": "1", "limit": 101}',
        '{"type": "ping", "id": ""}',
        '{"type": "ping", "id": 5}',
        json.dumps({"type": "ping", "id": "x" * 65}),
        '{"type": "welcome"}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "topic": ""}',
        '{"type": "subscribe", "topic": "parts", "cursor": null}',
        '{"type": "subscribe", "topic": "parts", "version": 0}',
        '{"type": "unsubscribe"}',
        '{"type": "unsubscribe", "topic": 5}',
        '{"type": "publish", "topic": "parts"}',
        '{"type": "publish", "topic": "parts", "message": {"data": 1}}',
        '{"type": "hello", "cursors": {"user": "e:5"}, "versions": {"topic:parts": 0}}',
        '{"type": "history", "id": "1", "stream": "topic:"}',
        json.dumps({"type": "hello", "cursors": {f"topic:{number}": "" for number in range(1_002)}}),
    ],
)
def test_the_schema_of_requests_forbids_what_is_refused(text: str) -> None:
    assert not is_done(text)
    assert not is_valid("ClientRequest", json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "ping", "later": true}',
        '{"type": "hello", "cursor": null}',
        '{"type": "hello", "cursors": {}}',
        '{"type": "hello", "cursors": {"topic:parts": "e:5"}}',
        '{"type": "ack", "cursor": "garbage", "id": "1"}',
    ],
)
def test_the_schema_of_requests_allows_what_is_done(text: str) -> None:
    assert is_done(text)
    assert is_valid("ClientRequest", json.loads(text))


@pytest.mark.parametrize(
    "path", [each for each in MESSAGES if type_of(each) in KNOWN_TYPES], ids=lambda path: path.stem
)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp", "yesterday"),
        ("timestamp", "2026-11-23T09:18:54.123+01:00"),
        ("id", ""),
        ("id", " "),
        ("data.uploadId", " "),
        ("data.progress", 101),
        ("data.currentRow", -1),
        ("data.status", "asleep"),
        ("data.leaseSeconds", 0),
        ("data.startedAt", "now"),
        ("data.title", ""),
        ("data.severity", "fatal"),
        ("data.actionUrl", "javascript:alert(1)"),
        ("data.code", ""),
        ("data.surplus", 1),
    ],
)
def test_the_schema_of_messages_forbids_what_is_refused(path: Path, field: str, value: Any) -> None:
    message = json.loads(path.read_bytes())
    for name in ("cursor", "key", "version"):
        message.pop(name, None)
    (message["data"] if field.startswith("data.") else message)[field.removeprefix("data.")] = value
    with pytest.raises(errors.InvalidMessage):
        decode_message(json.dumps(message).encode())
    assert not is_valid("ServerMessage", message)


@pytest.mark.parametrize("position", [{"cursor": "e:5", "key": "k", "version": 1}, {"key": "k"}, {"cursor": "5"}])
def test_a_message_has_a_position_in_one_lane_only(position: dict[str, Any]) -> None:
    message = json.loads((SPEC / "messages" / "notification.json").read_bytes())
    assert not is_valid("NotificationMessage", message | position)


# --- reserved names ---------------------------------------------------------------------------------------------------


def test_the_names_of_later_versions_are_reserved() -> None:
    reserved = {"ok", "read", "dismiss", "history", "subscribe", "unsubscribe", "subscribed", "unsubscribed"}
    assert reserved | {"publish", "topic", "presence", "join", "leave"} < wire.RESERVED_TYPES
    assert {"queued", "retrying"} <= set(get_args(UploadStatus)) - TERMINAL_STATUSES
    assert "limits" in SCHEMA["$defs"]["Welcome"]["properties"]


@pytest.mark.parametrize("topic", ["a b", "a*", "{user}", "a\x7f", "a\u00a0b", "x" * 257])
def test_the_schema_of_requests_forbids_a_name_that_no_topic_has(topic: str) -> None:
    with pytest.raises(errors.InvalidMessage):
        require_topic("topic", topic)
    assert not is_valid("ClientRequest", {"type": "subscribe", "topic": topic})


@pytest.mark.parametrize("topic", ["moc:1:comments", "a", "x" * 256, "größe/äöü", '"quoted"', "a.b-c_d"])
def test_the_schema_of_requests_allows_the_name_of_a_topic(topic: str) -> None:
    assert require_topic("topic", topic) == topic
    assert is_valid("ClientRequest", {"type": "subscribe", "topic": topic})


def test_a_custom_request_is_none_of_the_protocols_own() -> None:
    assert is_valid("CustomRequest", {"type": "rename_moc", "data": [1]})
    assert not is_valid("CustomRequest", {"type": "subscribe"})


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["upload:moc-1", 'a "quoted" key', "1", "%b", "schlüssel"])
def test_a_position_is_written_as_the_struct_would_be(key: str) -> None:
    payload = encode_message(create_message("parts", {"a": 1}))
    bare = json.loads(payload)
    state, in_log = wire.Positioned(key=key, version=12), wire.Positioned(cursor="e-1:12")
    assert json.loads(wire.as_state(payload, key, 12)) == bare | json.loads(wire.encode(state))
    assert json.loads(wire.in_log(payload, "e-1", 12)) == bare | json.loads(wire.encode(in_log))


def test_a_page_of_a_welcome_is_read_back_as_it_was_written() -> None:
    messages = [wire.in_log(encode_message(create_message("n", "x" * 1000)), "e", number) for number in range(1, 200)]
    head = wire.Welcome("c", "u", "e:199", True, "2026-11-23T09:18:54.123Z", 25, limits=wire.Limits(32_768))
    pages = [json.loads(page) for page in protocol.welcome(head, Replay(True, "e:199", messages, []))]
    assert all(is_valid("WelcomeMessage", page) for page in pages)
    assert [page["data"]["last"] for page in pages] == [False] * (len(pages) - 1) + [True]
    assert [each for page in pages for each in page["data"]["messages"]] == [json.loads(each) for each in messages]
    assert all(len(json.dumps(page)) < MAX_MESSAGE_BYTES for page in pages)
    assert pages[0]["data"]["heartbeatSeconds"] == 25
    assert pages[0]["data"]["limits"] == {"maxMessageBytes": 32_768}


def test_a_token_in_a_request_is_not_printed() -> None:
    assert "secret" not in repr(wire.AuthRequest("secret"))


# --- errors -----------------------------------------------------------------------------------------------------------


def test_the_table_of_errors_has_every_code_once() -> None:
    codes = [each["code"] for each in error_table()]
    assert len(codes) == len(set(codes))
    assert {"TOKEN_EXPIRED", "CONNECTION_UNKNOWN", "HISTORY_UNAVAILABLE", "UPLOAD_UNKNOWN"} <= set(codes)


def test_an_error_that_is_not_on_the_wire_leads_to_no_close_of_its_own() -> None:
    for name in NOT_ON_THE_WIRE:
        error = getattr(errors, name, errors.TellwireError)
        assert error.close_code == 1011, name


def test_the_protocol_page_has_the_table_of_errors() -> None:
    page = (SPEC / "protocol.md").read_text()
    rows = [
        line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `") and line.count("|") == 6
    ]
    table = {row[0].strip("`"): row[1:4] for row in rows}
    # Told to clients, and never raised.
    own = {"INVALID_JSON", "UNKNOWN_TYPE", "UPLOAD_LOST", "TOO_MANY_UPLOADS", "TOO_MANY_STATES"}
    assert set(table) - own == {each["code"] for each in error_table()}
    for each in error_table():
        again = "yes" if each["retryable"] else "no"
        close = "–" if each["close_code"] == 1011 else str(each["close_code"])
        assert table[each["code"]] == [str(each["http_status"]), close, again], each["code"]
