"""Connecting: statuses, subprotocols, the authorizer."""

import base64
import json
import os
import re
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from websockets.typing import Subprotocol

from tests.contract.api_gateway.conftest import Contract, StartContract, raw

ERROR_FRAME = re.compile(
    rb'\{"message": "([^"]+)", "connectionId":"([A-Za-z0-9_-]{15}=)", "requestId":"([A-Za-z0-9_-]{15}=)"\}'
)


def upgrade(contract: Contract, target: str, *headers: str) -> bytes:
    """Send a handshake by hand and return the whole head of the answer."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *headers,
    ]
    with raw(contract) as client:
        client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return client.recv(65536)


def test_a_get_without_an_upgrade_is_told_to_upgrade(contract: Contract) -> None:
    with raw(contract) as client:
        client.sendall(b"GET /prod HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 426 Upgrade Required\r\n")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_of_connect_opens_the_connection(contract: Contract, status: int) -> None:
    with contract.connect({"status": status}) as client:
        client.send("hello")


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 418, 499, 500, 501, 503])
def test_any_other_status_of_connect_reaches_the_client_as_it_is(contract: Contract, status: int) -> None:
    answer = contract.refused({"status": status, "body": "because"})
    assert (answer.status_code, bytes(answer.body)) == (status, b"because")


def test_a_connect_that_raises_is_a_bad_gateway(contract: Contract) -> None:
    answer = contract.refused({"raise": "broken"})
    assert answer.status_code == 502
    found = ERROR_FRAME.fullmatch(bytes(answer.body))
    assert found is not None
    assert found[1] == b"Internal server error"
    assert b"broken" not in bytes(answer.body)
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-amzn-RequestId"])


@pytest.mark.parametrize(
    "result", ["null", "[]", '"ok"', "{}", '{"statusCode": "ok"}', '{"statusCode": 99}', '{"statusCode":200,"body":{}}']
)
def test_a_connect_that_returns_no_proxy_response_is_a_bad_gateway(contract: Contract, result: str) -> None:
    assert contract.refused({"return": result}).status_code == 502


def test_a_status_in_text_is_a_status(contract: Contract) -> None:
    with contract.connect({"return": '{"statusCode": "200"}'}):
        pass


def test_a_connect_that_takes_too_long_is_a_gateway_timeout(contract: Contract, tmp_path: Path) -> None:
    def push() -> None:
        contract.events("CONNECT", 1)
        contract.advance(29)

    may_end = tmp_path / "may end"
    pushing = Thread(target=push)
    pushing.start()
    assert contract.refused({"until": may_end}, open_timeout=100).status_code == 504
    may_end.touch()
    pushing.join()


def test_without_a_connect_route_everybody_is_let_in(start: StartContract) -> None:
    with start(without=("$connect",)).connect() as client:
        client.send("hello")


@pytest.mark.parametrize(("target", "status"), [("/prod", 101), ("/prod/", 101), ("/prod?a=1", 101)])
def test_the_stage_is_the_path(contract: Contract, target: str, status: int) -> None:
    assert upgrade(contract, target).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("target", ["/", "/dev", "/prod/more", "/prodigy", "/%70rod/x", "//prod"])
def test_another_path_is_forbidden(contract: Contract, target: str) -> None:
    answer = upgrade(contract, target)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b'{"message":"Forbidden"}')
    assert b"x-amzn-ErrorType: ForbiddenException\r\n" in answer


def test_a_url_over_4096_characters_is_refused(contract: Contract) -> None:
    assert upgrade(contract, "/prod?a=" + "x" * 4000).startswith(b"HTTP/1.1 101 ")
    assert upgrade(contract, "/prod?a=" + "x" * 4100).startswith(b"HTTP/1.1 414 ")


# --- subprotocols -----------------------------------------------------------------------------------------------------


def test_the_answer_has_a_subprotocol_only_if_connect_returned_one(contract: Contract) -> None:
    offered = "Sec-WebSocket-Protocol: app.v1, ticket.abc"
    assert b"sec-websocket-protocol" not in upgrade(contract, "/prod", offered).lower()
    assert b"Sec-WebSocket-Protocol: app.v1\r\n" in upgrade(contract, "/prod?protocol=app.v1", offered)
    with contract.connect({"protocol": "app.v1"}, subprotocols=[Subprotocol("app.v1"), Subprotocol("other")]) as client:
        assert client.subprotocol == "app.v1"


def test_the_offered_subprotocols_reach_connect_as_one_header(contract: Contract) -> None:
    upgrade(contract, "/prod", "Sec-WebSocket-Protocol: app.v1, ticket.abc")
    event = contract.event("CONNECT")
    assert event["headers"]["Sec-WebSocket-Protocol"] == "app.v1, ticket.abc"
    assert event["multiValueHeaders"]["Sec-WebSocket-Protocol"] == ["app.v1, ticket.abc"]


def test_no_other_header_of_connect_reaches_the_client(contract: Contract) -> None:
    result = json.dumps({"statusCode": 200, "headers": {"X-Secret": "1", "sec-websocket-PROTOCOL": "a"}})
    with contract.connect({"return": result}, subprotocols=[Subprotocol("a")]) as client:
        assert client.response is not None
        assert "X-Secret" not in client.response.headers
        assert client.subprotocol == "a"


# --- the authorizer ---------------------------------------------------------------------------------------------------

TENANT = {"X-Tenant": "t"}


@pytest.fixture
def guarded(start: StartContract) -> Contract:
    return start(authorizer=True)


@pytest.mark.parametrize(
    ("query", "headers"),
    [({}, TENANT), ({"auth": ""}, TENANT), ({"auth": "allow"}, {}), ({"auth": "allow"}, {"X-Tenant": ""})],
)
def test_without_an_identity_source_nobody_is_asked(
    guarded: Contract, query: dict[str, str], headers: dict[str, str]
) -> None:
    answer = guarded.refused(query, additional_headers=headers)
    assert answer.status_code == 401
    assert bytes(answer.body) == b'{"message":"Unauthorized"}'
    assert answer.headers["x-amzn-ErrorType"] == "UnauthorizedException"
    assert guarded.events() == []


@pytest.mark.parametrize("auth", ["allow", "wide"])
def test_a_policy_that_covers_connect_lets_in(guarded: Contract, auth: str) -> None:
    with guarded.connect({"auth": auth}, additional_headers=TENANT):
        assert guarded.events("REQUEST", 1)


@pytest.mark.parametrize(
    ("auth", "status", "message"),
    [
        ("deny", 403, "Forbidden"),
        ("too-narrow", 403, "Forbidden"),
        ("Unauthorized", 401, "Unauthorized"),
        ("something else", 500, "Internal server error"),
        ("no-policy", 500, "Internal server error"),
        ("objects", 500, "Internal server error"),
    ],
)
def test_other_verdicts_refuse(guarded: Contract, auth: str, status: int, message: str) -> None:
    answer = guarded.refused({"auth": auth}, additional_headers=TENANT)
    assert answer.status_code == status
    assert json.loads(bytes(answer.body))["message"] == message
    assert [e for e in guarded.events("CONNECT") if "type" not in e] == []


def test_the_context_is_in_every_event_as_text(guarded: Contract) -> None:
    with guarded.connect({"auth": "allow"}, additional_headers=TENANT) as client:
        client.send("hello")
        guarded.events("MESSAGE", 1)
    guarded.events("DISCONNECT", 1)
    for event_type in ("CONNECT", "MESSAGE", "DISCONNECT"):
        context: dict[str, Any] = guarded.event(event_type)["requestContext"]["authorizer"]
        assert isinstance(context.pop("integrationLatency"), int)
        assert context == {"principalId": "user-1", "name": "Ada", "number": "123", "flag": "true"}


def test_a_refused_client_never_disconnects(guarded: Contract) -> None:
    guarded.refused({"auth": "deny"}, additional_headers=TENANT)
    with guarded.connect({"auth": "allow"}, additional_headers=TENANT):
        pass
    assert len(guarded.events("DISCONNECT", 1)) == 1
