"""The client's conversation."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire import protocol
from tellwire.errors import TokenExpired
from tellwire.model import Identity
from tellwire.position import Position, StreamEnd


def answer(text: str) -> dict[str, Any]:
    action = protocol.receive(text)
    assert isinstance(action, protocol.Reply)
    return dict(json.loads(action.payload))


def test_ping_is_answered_with_pong_in_the_shape_of_every_message() -> None:
    assert protocol.receive('{"type": "ping"}') == protocol.Ping()
    pong = json.loads(protocol.pong(None))
    assert list(pong) == ["type", "data", "timestamp"]
    assert (pong["type"], pong["data"]) == ("pong", {})


def test_a_pong_says_where_the_stream_ends() -> None:
    assert json.loads(protocol.pong(StreamEnd(Position("e", 7), 12)))["data"] == {"cursor": "e:7", "version": 12}
    assert json.loads(protocol.pong(StreamEnd(Position("e", 0), 0)))["data"] == {"cursor": "e:0"}


def test_an_unknown_type_is_named_with_what_is_allowed() -> None:
    error = answer('{"type": "dance"}')
    assert error["type"] == "error"
    assert error["data"]["code"] == "UNKNOWN_TYPE"
    assert "'dance'" in error["data"]["message"]
    assert "ping, auth" in error["data"]["message"]


@pytest.mark.parametrize("text", ["", "hello", "{", '{"type": "ping"', "\ud800"])
def test_what_is_not_json_is_told_so(text: str) -> None:
    assert answer(text)["data"]["code"] == "INVALID_JSON"


@pytest.mark.parametrize("text", ["[]", "1", '"ping"', "{}", '{"type": 5}', "null"])
def test_json_without_a_type_is_an_unknown_type(text: str) -> None:
    assert answer(text)["data"]["code"] == "UNKNOWN_TYPE"


def test_a_very_long_type_is_not_echoed_in_full() -> None:
    assert len(answer(json.dumps({"type": "x" * 10_000}))["data"]["message"]) < 200


def test_auth_asks_for_the_token_to_be_checked() -> None:
    assert protocol.receive('{"type": "auth", "token": "abc"}') == protocol.Reauthenticate("abc")


def test_what_a_client_asks_for_is_read() -> None:
    assert protocol.receive('{"type": "ack", "cursor": "e:5"}') == protocol.Acknowledge("e:5")
    assert protocol.receive('{"type": "cancel", "uploadId": "u1"}') == protocol.Cancel("u1")


@pytest.mark.parametrize(
    "text", ['{"type": "ack"}', '{"type": "ack", "cursor": 5}', '{"type": "cancel", "upload": "u"}']
)
def test_what_is_missing_in_it_is_told(text: str) -> None:
    assert answer(text)["data"]["code"] == "INVALID_MESSAGE"


def test_a_token_on_its_way_is_not_printed() -> None:
    assert "abc" not in repr(protocol.Reauthenticate("abc"))


@pytest.mark.parametrize("text", ['{"type": "auth"}', '{"type": "auth", "token": 5}'])
def test_auth_without_a_token_is_told_what_is_missing(text: str) -> None:
    assert answer(text)["data"]["code"] == "INVALID_MESSAGE"


def test_auth_ok_says_until_when() -> None:
    said = json.loads(protocol.auth_ok(Identity("u", 1_763_889_534.0)))
    assert said["type"] == "auth_ok"
    assert said["data"] == {"expiresAt": "2025-11-23T09:18:54.000Z"}


def test_a_refusal_is_an_error_message() -> None:
    assert json.loads(protocol.refusal(TokenExpired()))["data"] == {
        "code": "TOKEN_EXPIRED",
        "message": "The token has expired",
    }


@given(st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    protocol.receive(text)
    protocol.request_id_in(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"type": "thing", "data": 1e999}', "data: a number in it is too large"),
        ('{"type": "thing", "data": [{"a": -1e400}]}', "data: a number in it is too large"),
        ('{"type": "thing", "data": 1e999, "id": 5}', "too large"),
        ('{"type": "thing", "id": ""}', "the id of a request"),
        ('{"type": "hello", "cursor": "e:1", "version": -1}', '"version": 5'),
    ],
)
def test_an_error_names_the_field_that_is_wrong(text: str, words: str) -> None:
    action = protocol.receive(text, ["thing"])
    assert isinstance(action, protocol.Reply)
    assert words in json.loads(action.payload)["data"]["message"]
