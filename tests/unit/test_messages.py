"""Messages: allowed values, and their encoding."""

import contextlib
import json
import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.errors import InvalidMessage, MessageTooBig
from tellwire.limits import MAX_DEPTH, MAX_MESSAGE_BYTES
from tellwire.messages import (
    create_error_message,
    create_message,
    create_notification_message,
    create_upload_progress_message,
    encode_message,
)
from tellwire.wire import RESERVED_TYPES
from tests.publications import decode_message

GOLDEN = [
    path
    for path in sorted((Path(__file__).parents[2] / "spec" / "messages").glob("*.json"))
    if not {"cursor", "key", "topic"} & set(json.loads(path.read_bytes()))
    and json.loads(path.read_bytes())["type"] not in RESERVED_TYPES
]


def as_json(message: Any) -> dict[str, Any]:
    return dict(json.loads(encode_message(message)))


def test_upload_progress_has_the_guides_arguments_and_names() -> None:
    message = as_json(create_upload_progress_message("moc-1", "parts.csv", 50, "Parsing row 5000...", 5000, 10000))
    assert list(message)[:3] == ["type", "data", "timestamp"]
    assert message["type"] == "upload_progress"
    assert message["data"] == {
        "uploadId": "moc-1",
        "fileName": "parts.csv",
        "progress": 50,
        "message": "Parsing row 5000...",
        "currentRow": 5000,
        "totalRows": 10000,
    }


def test_optional_fields_are_left_out_rather_than_null() -> None:
    assert set(as_json(create_upload_progress_message("a", "b", 0, ""))["data"]) == {
        "uploadId",
        "fileName",
        "progress",
        "message",
    }
    assert set(as_json(create_notification_message("t", "m", "info"))["data"]) == {"title", "message", "severity"}
    assert set(as_json(create_error_message("C", "m"))["data"]) == {"code", "message"}


def test_a_whole_progress_stays_whole_on_the_wire() -> None:
    assert b'"progress":50,' in encode_message(create_upload_progress_message("a", "b", 50, ""))


def test_timestamps_are_rfc_3339_utc_with_milliseconds() -> None:
    import re

    sent_at = as_json(create_notification_message("t", "m", "info"))["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", sent_at)


@pytest.mark.parametrize("progress", [-0.1, 100.1, float("nan"), float("inf"), True, "50", None])
def test_progress_outside_0_to_100_is_refused(progress: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"data\.progress: got .*; allowed: a number from 0 to 100"):
        create_upload_progress_message("a", "b", progress, "")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("", "f", 0, ""), "data.uploadId"),
        (("  ", "f", 0, ""), "data.uploadId"),
        ((None, "f", 0, ""), "data.uploadId"),
        (("a", "", 0, ""), "data.fileName"),
        (("a", "f", 0, None), "data.message"),
        (("a", "f", 0, "", -1), "data.currentRow"),
        (("a", "f", 0, "", 1.5), "data.currentRow"),
        (("a", "f", 0, "", True), "data.currentRow"),
        (("a", "f", 0, "", 1, "2"), "data.totalRows"),
    ],
)
def test_upload_progress_names_the_field_that_is_wrong(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        create_upload_progress_message(*arguments)
    assert caught.value.field == field


def test_an_unknown_severity_lists_the_known_ones() -> None:
    with pytest.raises(InvalidMessage, match="got 'fatal'; allowed: error, info, success, warning"):
        create_notification_message("t", "m", "fatal")  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["/mocs/1", "/", "https://example.com/a?b#c", "HTTP://example.com", "/a//b"])
def test_http_and_site_relative_urls_are_allowed(url: str) -> None:
    assert as_json(create_notification_message("t", "m", "info", url, "Go"))["data"]["actionUrl"] == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "/\\evil.example",
        "/\tevil",
        "mocs/1",
        "",
        "https://",
        "https:///x",
        "http://a b",
        "ftp://example.com",
        "/a\nb",
        "/a\n",
        5,
    ],
)
def test_other_urls_are_refused(url: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"data\.actionUrl"):
        create_notification_message("t", "m", "info", url)


@pytest.mark.parametrize("name", [*sorted(RESERVED_TYPES), "notification", "", "1st", "a b", "a\n", "x" * 65, None])
def test_a_custom_message_cannot_have_a_reserved_type(name: Any) -> None:
    with pytest.raises(InvalidMessage, match="type"):
        create_message(name, {})


class SafeString(str):
    """A string as a template engine makes it, with methods of its own."""

    __slots__ = ()

    def __str__(self) -> str:
        return self

    def isspace(self) -> bool:
        raise RuntimeError("not here")

    def isascii(self) -> bool:
        raise RuntimeError("not here")


NOT_UTF8 = b"caf\xe9".decode(errors="surrogateescape")


@pytest.mark.parametrize(
    "word", [SafeString("café"), SafeString("cafe"), NOT_UTF8], ids=["class", "ascii", "not UTF-8"]
)
def test_all_words_of_a_message_are_repaired_when_it_is_made(word: str) -> None:
    shown = str.__str__(word).encode(errors="replace").decode().replace("?", "\ufffd")
    assert as_json(create_upload_progress_message("u1", word, 50, word))["data"]["fileName"] == shown
    assert as_json(create_upload_progress_message("u1", word, 50, word))["data"]["message"] == shown
    notification = create_notification_message(word, word, SafeString("info"), f"/{word}", word)  # type: ignore[arg-type]
    assert as_json(notification)["data"] == {
        "title": shown,
        "message": shown,
        "severity": "info",
        "actionUrl": f"/{shown}",
        "actionLabel": shown,
    }
    assert as_json(create_error_message(word, word))["data"] == {"code": shown, "message": shown}
    assert as_json(create_message(SafeString("thing"), 1))["type"] == "thing"


def test_two_ids_that_utf_8_cannot_carry_stay_two() -> None:
    ids = [b"\xe9".decode(errors="surrogateescape"), b"\xe8".decode(errors="surrogateescape"), SafeString("u1")]
    made = [create_upload_progress_message(each, "f", 0, "") for each in ids]
    assert [as_json(each)["data"]["uploadId"] for each in made] == ["\\udce9", "\\udce8", "u1"]
    sent = [msgspec.structs.replace(create_message("thing", 1), id=each) for each in ids]
    assert [as_json(each)["id"] for each in sent] == ["\\udce9", "\\udce8", "u1"]


def test_ids_of_uploads_and_messages_are_bounded_in_bytes() -> None:
    for fits in ("a" * 1000, "é" * 500):
        assert as_json(create_upload_progress_message(fits, "f", 0, ""))["data"]["uploadId"] == fits
        assert as_json(msgspec.structs.replace(create_message("thing", 1), id=fits))["id"] == fits
    for too_long in ("a" * 1001, "é" * 501, "\udce9" * 200):
        with pytest.raises(InvalidMessage, match=r"data.uploadId: got .*; allowed: at most 1,000 bytes in UTF-8"):
            create_upload_progress_message(too_long, "f", 0, "")
        with pytest.raises(InvalidMessage, match=r"id: got .*; allowed: at most 1,000 bytes in UTF-8"):
            msgspec.structs.replace(create_message("thing", 1), id=too_long)


def test_custom_data_may_be_any_json() -> None:
    for data in (None, 1, "x", [1, {"a": None}], {"b": [True]}):
        assert as_json(create_message("thing.happened", data))["data"] == data


@pytest.mark.parametrize(
    "data", [object(), {"f": {1, object()}}, {None: 1}, {True: 1}, 2**70 * 1j, {"\ud800": object()}]
)
def test_data_that_json_cannot_carry_is_refused(data: Any) -> None:
    with pytest.raises(InvalidMessage, match="data"):
        encode_message(create_message("thing", data))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan"), np.float32("inf")], ids=repr)
def test_a_number_that_json_lacks_is_refused_and_never_becomes_null(value: float) -> None:
    for data in (value, [value], {"a": [{"b": (None, value)}]}, Table([1.0, value])):
        for message in (create_message("thing", data), create_error_message("BAD", "bad", data)):
            with pytest.raises(InvalidMessage, match=r"got .*; allowed: a finite number; JSON has no NaN"):
                encode_message(message)


@dataclass
class Table:
    """Data in a class of its own."""

    columns: list[float]


def test_none_and_the_word_null_are_no_numbers() -> None:
    for data in (None, [None], {"null": "null"}, Table([1.5])):
        assert encode_message(create_message("thing", data))


@pytest.mark.parametrize("name", [NOT_UTF8, SafeString("café")], ids=["not UTF-8", "class"])
def test_words_in_own_data_are_repaired(name: str) -> None:
    shown = str.__str__(name).replace("\udce9", "\ufffd")
    data = {"files": [name, {"name": name, name: 1}], "table": {1: name}}
    sent = {"files": [shown, {"name": shown, shown: 1}], "table": {"1": shown}}
    assert as_json(create_message("thing", data))["data"] == sent
    assert as_json(create_error_message("BAD", "bad", data))["data"]["details"] == sent


def test_data_may_be_nested_64_deep_with_its_message() -> None:
    def nested(depth: int) -> Any:
        return [nested(depth - 1)] if depth else "]" * 100

    assert encode_message(create_message("thing", nested(MAX_DEPTH - 1)))
    for depth in (MAX_DEPTH, 900):
        with pytest.raises(
            InvalidMessage, match=r"data: got deeper ones; allowed: arrays and objects .* at most 64 deep"
        ):
            encode_message(create_message("thing", nested(depth)))
    with pytest.raises(InvalidMessage, match="data"):
        encode_message(create_error_message("BAD", "bad", nested(MAX_DEPTH - 1)))


def test_numbers_of_other_libraries_are_numbers() -> None:
    for count in (np.int64(5), np.uint8(5), np.int32(5)):
        data = as_json(create_upload_progress_message("u", "f", count, "m", count, count))["data"]
        assert (data["progress"], data["currentRow"], data["totalRows"]) == (5, 5, 5)
    for percent in (np.float64(33.5), np.float32(33.5), np.float16(33.5), Decimal("33.5"), Fraction(67, 2)):
        assert as_json(create_upload_progress_message("u", "f", percent, "m"))["data"]["progress"] == 33.5
    own = {"rows": np.int64(5), "share": np.float32(0.5), "list": [np.float64(1.5)], np.int64(7): 1, "ok": np.True_}
    assert as_json(create_message("thing", own))["data"] == {
        "rows": 5,
        "share": 0.5,
        "list": [1.5],
        "7": 1,
        "ok": True,
    }


@pytest.mark.parametrize("number", [np.True_, "5", Decimal("NaN"), np.float64("nan"), Decimal(101), 10**400, None, [5]])
def test_a_truth_value_a_text_and_nan_are_no_percentage(number: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"data\.progress"):
        create_upload_progress_message("u", "f", number, "m")


@pytest.mark.parametrize("number", [np.True_, np.float64(5), Decimal(5), "5", np.int64(-1)])
def test_a_count_is_whole(number: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"data\.currentRow"):
        create_upload_progress_message("u", "f", 5, "m", number)


def test_data_that_refers_to_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidMessage):
        encode_message(create_message("thing", loop))


def test_other_values_than_messages_are_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"what a create_…_message function made"):
        encode_message({"type": "notification"})  # type: ignore[arg-type]


def test_128_kib_are_allowed_and_one_byte_more_is_not() -> None:
    overhead = len(encode_message(create_message("blob", "")))
    assert len(encode_message(create_message("blob", "x" * (MAX_MESSAGE_BYTES - overhead)))) == MAX_MESSAGE_BYTES
    with pytest.raises(MessageTooBig, match="got 131,073 bytes; allowed: at most 131,072 bytes"):
        encode_message(create_message("blob", "x" * (MAX_MESSAGE_BYTES - overhead + 1)))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_messages_are_read_and_written_byte_for_byte(path: Path) -> None:
    assert encode_message(decode_message(path.read_bytes())) == path.read_bytes()


def test_there_are_golden_messages_of_every_type() -> None:
    assert {json.loads(path.read_bytes())["type"] for path in GOLDEN} >= {"upload_progress", "notification", "error"}


def test_a_published_message_gets_the_timestamp_and_id_it_lacks() -> None:
    message = as_json(decode_message(b'{"type":"error","data":{"code":"X","message":"m"}}'))
    assert message["timestamp"]
    assert message["id"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "message: got []; allowed: a value of type object"),
        ("nonsense", "message: got 'nonsense'; allowed: JSON"),
        ("{}", "type: got nothing; allowed: a value; it is required"),
        ('{"type":"error","data":{"message":"m"}}', "data.code: got nothing; allowed: a value; it is required"),
        ('{"type":"error","data":{"code":5,"message":"m"}}', "data.code: got 5; allowed: a value of type str"),
        (
            '{"type":"notification","data":{"title":"t","message":"m","severity":"x"}}',
            "data.severity: got 'x'; allowed: error, info, success, warning",
        ),
        (
            '{"type":"notification","data":{"title":"t","message":"m","severity":"info","actionURL":"/"}}',
            "data.actionURL: got '/'; allowed: no such field here",
        ),
        (
            '{"type":"upload_progress","data":{"uploadId":"a","fileName":"f","progress":101,"message":""}}',
            "data.progress: got 101; allowed: a number from 0 to 100",
        ),
        ('{"type":"x","data":1,"timestamp":"today"}', "timestamp: got 'today'; allowed: an RFC 3339 time"),
        ('{"type":"x","data":1,"timestamp":"9999-99-99T99:99:99Z"}', "timestamp: got '9999"),
        ('{"type":"x","data":1,"timestamp":"2026-11-23T09:18:54+02:00"}', "timestamp: got '2026"),
        (
            '{"type":"upload_progress","data":{"uploadId":"a","fileName":"f","progress":'
            + "1" * 400
            + ',"message":""}}',
            "data.progress: got",
        ),
        ('{"type":"x","data":1,"a` - at `$.target.user":1}', "allowed: no such field here"),
        ('{"type":"x","data":1,"id":""}', "id: got ''; allowed: a non-empty string"),
        ('{"type":"pong","data":1}', "type: got 'pong'; allowed: any but the protocol's own"),
        ('{"type":"x","data":' + "[" * 100_000 + "]" * 100_000 + "}", "allowed: JSON"),
    ],
)
def test_a_bad_publish_says_what_was_given_and_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode_message(text.encode())
    assert words in str(caught.value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_encoded_and_decoded_unchanged(data: Any) -> None:
    message = create_message("anything", data)
    arrived = decode_message(encode_message(message))
    assert arrived == msgspec.structs.replace(message, id=arrived.id)


def test_a_message_gets_its_id_when_it_is_sent_unless_it_has_one() -> None:
    message = create_message("anything", 1)
    first, second = (decode_message(encode_message(message)).id for _ in range(2))
    assert isinstance(first, str)
    assert len(first) == 25
    assert first != second
    own = msgspec.structs.replace(message, id="import-17")
    assert decode_message(encode_message(own)) == own


@given(st.binary(max_size=200))
def test_any_bytes_raise_invalid_message_only(payload: bytes) -> None:
    with contextlib.suppress(InvalidMessage):
        decode_message(payload)
