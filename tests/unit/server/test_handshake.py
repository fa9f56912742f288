"""The opening handshake: the request that is read, and the answer."""

import json
from urllib.parse import parse_qs

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tellwire.errors import TokenExpired
from tellwire.server.handshake import UpgradeRequest, accept, accepted, read_request
from tellwire.server.refusal import Refusal, refused

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def request(query: str = "", **headers: str) -> UpgradeRequest:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return UpgradeRequest("/", query, {"sec-websocket-version": "13", "sec-websocket-key": KEY} | names)


def test_the_request_is_read_from_its_parts() -> None:
    sent = [
        (b"Host", b"example.com"),
        (b"Sec-WebSocket-Protocol", b"a"),
        (b"sec-websocket-protocol", b"b"),
        (b"X-Odd", b"a: b"),
    ]
    read = read_request("GET", b"/dev?token=a%20b", sent)
    assert (read.path, read.query) == ("/dev", "token=a%20b")
    assert read.headers["host"] == "example.com"
    assert read.headers["x-odd"] == "a: b"
    assert read.subprotocols == ["a", "b"]
    assert read.token == "a b"
    assert read.sent_headers == sent


@given(query=st.text(alphabet="token=&ab.%20+;~é", max_size=24))
@example(query="token=a.b-c_d")
@example(query="token=a%2Eb&token=c")
def test_the_token_of_a_query_is_the_last_one_decoded(query: str) -> None:
    assert UpgradeRequest("/", query, {}).token == next(reversed(parse_qs(query).get("token", [None])))


def test_the_accept_value_is_the_one_of_rfc_6455() -> None:
    assert accept(request()) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("key", ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "!" * 24, "QUJD"])
def test_a_bad_key_is_a_400(key: str) -> None:
    with pytest.raises(Refusal) as caught:
        accept(request(sec_websocket_key=key))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("method", "more"),
    [("POST", {}), ("HEAD", {}), ("GET", {b"Content-Length": b"5"}), ("GET", {b"Transfer-Encoding": b"chunked"})],
)
def test_a_websocket_begins_with_a_get_without_a_body(method: str, more: dict[bytes, bytes]) -> None:
    sent = {b"sec-websocket-version": b"13", b"sec-websocket-key": KEY.encode()} | more
    with pytest.raises(Refusal) as caught:
        accept(read_request(method, b"/", list(sent.items())))
    assert caught.value.status == 400


def test_a_body_of_no_bytes_is_no_body() -> None:
    assert accept(request(content_length="0")) == accept(request())


def test_another_version_is_a_426_that_names_ours() -> None:
    with pytest.raises(Refusal) as caught:
        accept(request(sec_websocket_version="8"))
    assert refused(caught.value).startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"Sec-WebSocket-Version: 13\r\n" in refused(caught.value)


@pytest.mark.parametrize(
    ("query", "protocols", "token", "chosen"),
    [
        ("", "", None, None),
        ("token=abc", "", "abc", None),
        ("token=first&token=last", "", "last", None),
        ("token=", "", None, None),
        ("", "tellwire.v1, token.abc", "abc", "tellwire.v1"),
        ("", "tellwire.v1,token.abc", "abc", "tellwire.v1"),
        ("token=query", "tellwire.v1, token.abc", "abc", "tellwire.v1"),
        ("token=query", "tellwire.v1", "query", "tellwire.v1"),
        ("token=query", "graphql-ws", "query", None),
        ("", "token.abc", "abc", None),
    ],
)
def test_the_token_comes_from_the_subprotocol_or_the_query(
    query: str, protocols: str, token: str | None, chosen: str | None
) -> None:
    handshake = request(query, sec_websocket_protocol=protocols)
    assert handshake.token == token
    assert handshake.chosen_subprotocol == chosen


def test_the_answer_never_repeats_the_token() -> None:
    assert accepted("x", "tellwire.v1").count(b"Sec-WebSocket-Protocol: tellwire.v1\r\n") == 1
    assert b"Protocol:" not in accepted("x", None)


def test_a_request_does_not_show_its_token_when_printed() -> None:
    assert "abc" not in repr(request("token=abc", sec_websocket_protocol="token.abc"))


def test_a_refusal_is_json_with_a_code_and_a_message() -> None:
    head, _, body = refused(Refusal.of(TokenExpired())).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert json.loads(body) == {"code": "TOKEN_EXPIRED", "message": "The token has expired"}
    assert f"Content-Length: {len(body)}".encode() in head
