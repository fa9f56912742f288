"""Events: equal to the golden events in spec/apigateway, except for random values."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway import events
from tellwire.apigateway.definition import Api, Route
from tellwire.apigateway.events import ClientContext, HandshakeInput
from tellwire.server.handshake import UpgradeRequest

GOLDEN = Path(__file__).parents[3] / "spec" / "apigateway"
API = Api((Route("$connect", "connect"),), api_id="a1b2c3d4e5")
CALLER = ClientContext("8FgyH1dgkRWW5wc=", 1731324924.553, "203.0.113.7")
HOST = "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com"
NOW = 1731324924.561

RANDOM = ("requestId", "extendedRequestId", "messageId")


def handshake(query: str = "", *more: tuple[str, str], now: float = NOW) -> HandshakeInput:
    headers = (
        ("Host", HOST),
        ("Upgrade", "websocket"),
        ("Connection", "upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        *more,
    )
    lower = {name.lower(): value for name, value in headers}
    sent = [(name.encode(), value.encode()) for name, value in headers]
    request = UpgradeRequest("/prod", query, lower, sent_headers=sent)
    return HandshakeInput.read(request, now, source_ip="203.0.113.7", port=443, is_secure=True)


def same(event: dict[str, Any], name: str) -> None:
    """Compare with a golden event, as text, so that the order of keys counts."""
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    for key in RANDOM:
        if key in golden["requestContext"]:
            assert re.fullmatch(r"[A-Za-z0-9_-]{14}[AEIMQUYcgkosw048]=", event["requestContext"][key])
            event["requestContext"][key] = golden["requestContext"][key]
    for headers in (event.get("headers", {}), event.get("multiValueHeaders", {})):
        if "X-Amzn-Trace-Id" in headers:
            text = json.dumps(headers["X-Amzn-Trace-Id"])
            fixed = re.sub(r"(Root=1-[0-9a-f]{8}-)[0-9a-f]{24}", r"\g<1>0123456789abcdef01234567", text)
            headers["X-Amzn-Trace-Id"] = json.loads(fixed)
    assert json.dumps(event, indent=2) == json.dumps(golden, indent=2)


def test_connect() -> None:
    same(events.connect_event(API, CALLER, handshake(), NOW), "connect")
    same(events.connect_event(API, CALLER, handshake("token=abc"), NOW), "connect-with-query")


def test_authorizer() -> None:
    same(events.authorizer_event(API, CALLER, handshake("token=abc"), NOW), "authorizer")


def test_message() -> None:
    body = '{"action": "chat", "message": "Hello from client"}'
    same(events.message_event(API, CALLER, "chat", body, 1731325546.514), "message")


def test_disconnect() -> None:
    same(events.disconnect_event(API, CALLER, 1005, "", 1731325909.875), "disconnect")


def test_stage_variables_are_there_if_the_stage_has_any() -> None:
    api = Api((Route("$connect", "connect"),), stage_variables={"colour": "blue"})
    for event in (
        events.connect_event(api, CALLER, handshake(), NOW),
        events.message_event(api, CALLER, "$default", "", NOW),
        events.authorizer_event(api, CALLER, handshake(), NOW),
    ):
        assert event["stageVariables"] == {"colour": "blue"}
    assert "stageVariables" not in events.disconnect_event(api, CALLER, 1000, "", NOW)


def test_the_month_is_english_whatever_the_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: "Nov embre")
    context = events.message_event(API, CALLER, "$default", "", NOW)["requestContext"]
    assert context["requestTime"] == "11/Nov/2024:11:35:24 +0000"


@pytest.mark.parametrize(
    ("query", "single", "multi"),
    [
        ("a=1&a=2&b=%20x+y", {"a": "2", "b": " x y"}, {"a": ["1", "2"], "b": [" x y"]}),
        ("a=&b", {"a": "", "b": ""}, {"a": [""], "b": [""]}),
        ("%C3%A9=%F0%9F%98%80", {"é": "😀"}, {"é": ["😀"]}),
    ],
)
def test_queries_are_decoded(query: str, single: dict[str, str], multi: dict[str, list[str]]) -> None:
    event = events.connect_event(API, CALLER, handshake(query), NOW)
    assert event["queryStringParameters"] == single
    assert event["multiValueQueryStringParameters"] == multi


def test_a_clients_own_forwarded_header_comes_first_and_its_trace_id_is_ours() -> None:
    came = handshake(
        "", ("x-forwarded-for", "198.51.100.1"), ("X-Amzn-Trace-Id", "Root=theirs"), ("x-forwarded-proto", "x")
    )
    headers = events.connect_event(API, CALLER, came, NOW)["headers"]
    assert headers["X-Forwarded-For"] == "198.51.100.1, 203.0.113.7"
    assert headers["X-Forwarded-Proto"] == "https"
    assert "theirs" not in headers["X-Amzn-Trace-Id"]
    assert [name.lower() for name in headers].count("x-forwarded-for") == 1


def test_an_authorizers_context_follows_the_route_key() -> None:
    client = ClientContext("8FgyH1dgkRWW5wc=", NOW, "::1", "agent", {"principalId": "u"})
    context = events.message_event(API, client, "$default", "", NOW)["requestContext"]
    assert list(context)[:3] == ["routeKey", "authorizer", "messageId"]
    assert context["identity"] == {"userAgent": "agent", "sourceIp": "::1"}


def test_events_do_not_share_what_a_handler_might_change() -> None:
    client = ClientContext("8FgyH1dgkRWW5wc=", NOW, "::1", None, {"principalId": "u"})
    first = events.message_event(API, client, "$default", "", NOW)
    first["requestContext"]["authorizer"]["principalId"] = "somebody else"
    assert client.authorizer == {"principalId": "u"}
