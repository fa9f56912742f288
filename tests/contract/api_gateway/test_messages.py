"""Messages: their routes, the frames the client receives, and their independence of each other."""

import json
import re
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection

from tests.contract.api_gateway.conftest import Contract, StartContract


def frame(message: str, connection_id: str) -> re.Pattern[str]:
    return re.compile(
        re.escape(f'{{"message": "{message}", "connectionId":"{connection_id}", "requestId":"')
        + r'[A-Za-z0-9_-]{15}="\}'
    )


def is_quiet(client: ClientConnection) -> bool:
    """Return whether the client received nothing before the response to its next message."""
    client.send('{"action": "answering", "body": "marker"}')
    return client.recv(45) == "marker"


# Which route an expression chooses, `tests/unit/apigateway/test_routing.py` tells, too: one through the command, a
# process for each, is enough.
@pytest.mark.parametrize(
    ("start", "selection", "message", "route"),
    [
        ("command", "${request.body.a}${request.body.b}", {"a": "cus", "b": "tom"}, "custom"),
        ("fixture", "$request.body.action", {"action": "custom"}, "custom"),
        ("fixture", "${request.body.action}", {"action": "custom"}, "custom"),
        ("fixture", "${request.body.a}${request.body.b}", {"a": "cus", "b": "tom"}, "custom"),
        ("fixture", "${request.body.a}tom", {"a": "cus"}, "custom"),
        ("fixture", "${request.body.action}-${request.body.nothing}", {"action": "custom"}, "$default"),
        ("fixture", "custom", {}, "custom"),
        ("fixture", "\\$default", {"action": "custom"}, "$default"),
        ("fixture", "$request.body.deep.down[0]", {"deep": {"down": ["custom"]}}, "custom"),
        ("fixture", "$request.body.action", {"action": "Custom"}, "$default"),
        ("fixture", "$request.body.action", {"action": ["custom"]}, "$default"),
        ("fixture", "$request.body.action", {"action": None}, "$default"),
        ("fixture", "$request.body.action", {}, "$default"),
        ("fixture", "$request.body.action", [], "$default"),
        ("fixture", "$request.body.action", "custom", "$default"),
        ("fixture", "$request.body.action", 5, "$default"),
        ("fixture", "$request.body.action", {"action": json.loads("[" * 400 + "]" * 400)}, "$default"),
        ("fixture", "$request.body.action", {"action": "$connect"}, "$default"),
        ("fixture", "$request.body.action", {"action": "$disconnect"}, "$default"),
    ],
    indirect=["start"],
)
def test_the_selection_expression_chooses_the_route(
    start: StartContract, selection: str, message: object, route: str
) -> None:
    contract = start(selection=selection)
    with contract.connect() as client:
        client.send(json.dumps(message))
        (event,) = contract.events("MESSAGE", 1)
        assert event["requestContext"]["routeKey"] == route


@pytest.mark.parametrize("text", ["", "not json", "{", '{"action": "other"}', "\ufeff{}"])
def test_without_a_route_and_a_default_a_message_is_forbidden(start: StartContract, text: str) -> None:
    contract = start(without=("$default",))
    with contract.connect() as client:
        client.send(text)
        heard = client.recv(45)
        assert frame("Forbidden", contract.connection_id).fullmatch(str(heard))
        assert is_quiet(client)


@pytest.mark.parametrize("what", ["raise", "malformed"])
def test_a_function_that_fails_is_an_internal_server_error(contract: Contract, what: str) -> None:
    with contract.connect() as client:
        client.send(json.dumps({"action": "custom", "do": what}))
        assert frame("Internal server error", contract.connection_id).fullmatch(str(client.recv(45)))
        assert is_quiet(client)


def test_a_function_that_takes_too_long_times_out_and_the_connection_stays(contract: Contract, tmp_path: Path) -> None:
    may_end = tmp_path / "may end"
    with contract.connect() as client:
        client.send(json.dumps({"action": "custom", "do": "wait", "until": str(may_end)}))
        contract.events("MESSAGE", 1)
        contract.advance(28.9)
        assert is_quiet(client)
        contract.advance(0.2)
        assert frame("Endpoint request timed out", contract.connection_id).fullmatch(str(client.recv(45)))
        may_end.touch()
        assert is_quiet(client)


@pytest.mark.parametrize("status", [201, 301, 400, 401, 500, 501])
def test_a_status_of_a_message_is_not_heard(contract: Contract, status: int) -> None:
    with contract.connect() as client:
        client.send(json.dumps({"action": "custom", "do": "status", "status": status}))
        contract.events("MESSAGE", 1)
        assert is_quiet(client)


def test_a_body_is_heard_only_with_a_route_response(contract: Contract) -> None:
    with contract.connect() as client:
        client.send('{"action": "custom", "body": "one"}')
        client.send("two")
        contract.events("MESSAGE", 2)
        client.send('{"action": "answering", "body": "three"}')
        assert client.recv(45) == "three"
        client.send('{"action": "answering", "body": ""}')
        contract.events("MESSAGE", 4)
        assert is_quiet(client)


def test_a_body_over_128_kib_is_an_internal_server_error(contract: Contract) -> None:
    with contract.connect(max_size=None) as client:
        client.send('{"action": "answering", "do": "long", "bytes": 131072}')
        assert len(client.recv(45)) == 131_072
        client.send('{"action": "answering", "do": "long", "bytes": 131073}')
        assert frame("Internal server error", contract.connection_id).fullmatch(str(client.recv(45)))


def test_a_deeply_nested_message_has_no_route(contract: Contract) -> None:
    with contract.connect() as client:
        client.send('{"action": ' + "[" * 900 + "]" * 900 + "}")
        (event,) = contract.events("MESSAGE", 1)
        assert event["requestContext"]["routeKey"] == "$default"
        assert is_quiet(client)


def test_a_body_of_connect_is_not_heard(contract: Contract) -> None:
    with contract.connect({"body": "hello"}) as client:
        assert is_quiet(client)


def test_messages_of_one_connection_run_at_the_same_time(contract: Contract, tmp_path: Path) -> None:
    may_end = tmp_path / "may end"
    with contract.connect() as client:
        for _ in range(2):
            client.send(json.dumps({"action": "answering", "do": "wait", "until": str(may_end), "body": "slow"}))
        client.send('{"action": "answering", "body": "fast"}')
        assert client.recv(45) == "fast"
        # Both have begun, and neither has ended.
        assert len(contract.events("MESSAGE", 3)) == 3
        may_end.touch()
        assert [client.recv(45) for _ in range(2)] == ["slow", "slow"]


def test_a_message_that_is_not_what_the_model_says_is_a_bad_request_body(with_model: Contract) -> None:
    bad = ['{"action": "say"}', "[]", "not json", "", "[" * 900 + "]" * 900]
    good = '{"text": "hello"}'
    with with_model.connect() as client:
        heard = []
        for text in bad:
            client.send(text)
            heard.append(str(client.recv(45)))
        client.send(good)
        assert client.recv(45) == f"default {good}"
    # Only the valid message reached the function.
    [event] = with_model.events("MESSAGE", 1)
    assert event["body"] == good
    connection_id = re.escape(event["requestContext"]["connectionId"])
    refused = re.compile(
        r'\{"message" : "Bad request body", '
        rf'"connectionId": "{connection_id}", '
        r'"messageId": "[A-Za-z0-9_-]{15}="\}'
    )
    assert all(refused.fullmatch(frame) for frame in heard), heard


def test_a_function_can_answer_through_the_management_api(contract: Contract) -> None:
    with contract.connect() as client:
        client.send('{"action": "custom", "do": "post", "text": "héllo"}')
        assert client.recv(45) == "héllo"
