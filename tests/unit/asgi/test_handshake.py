"""The handshake in an ASGI scope, and refusals as ASGI events."""

from typing import Any

from tellwire.asgi.handshake import refusing_events, request_of
from tellwire.errors import TokenExpired
from tellwire.server.refusal import Refusal

EXPIRED = Refusal.of(TokenExpired())


def scope(*offered: str, **more: Any) -> dict[str, Any]:
    return {"path": "/live/a b", "headers": [(b"origin", b"https://a.example")], "subprotocols": list(offered), **more}


def events(given: dict[str, Any], refusal: Refusal = EXPIRED) -> list[Any]:
    return list(refusing_events(given, request_of(given), refusal))


def test_a_request_has_the_headers_the_query_and_the_subprotocols_of_the_scope() -> None:
    request = request_of(scope("tellwire.v1", "token.abc", raw_path=b"/live/a%20b", query_string=b"x=1"))
    assert (request.path, request.query, request.token) == ("/live/a%20b", "x=1", "abc")
    assert request.headers["origin"] == "https://a.example"
    assert request.chosen_subprotocol == "tellwire.v1"


def test_a_query_has_the_token_of_a_client_without_subprotocols() -> None:
    assert request_of(scope(query_string=b"token=abc")).token == "abc"


def test_a_client_of_our_subprotocol_is_accepted_and_closed_with_our_code() -> None:
    accept, close = events(scope("tellwire.v1", extensions={"websocket.http.response": {}}))
    assert accept == {"type": "websocket.accept", "subprotocol": "tellwire.v1"}
    assert close == {"type": "websocket.close", "code": 4401, "reason": "TOKEN_EXPIRED: The token has expired"}


def test_another_client_gets_the_status_where_the_server_can_send_one() -> None:
    start, body = events(scope(extensions={"websocket.http.response": {}}))
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert (b"content-type", b"application/json") in start["headers"]
    assert b"TOKEN_EXPIRED" in body["body"]


def test_another_client_is_closed_before_the_accept_where_the_server_cannot() -> None:
    assert events(scope()) == [{"type": "websocket.close", "code": 4401, "reason": "TOKEN_EXPIRED"}]
