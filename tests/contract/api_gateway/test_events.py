"""The events: exactly the keys, in the order, of the types that AWS sends."""

import re
import time
from datetime import UTC, datetime
from typing import Any

from tests.contract.api_gateway.conftest import Contract, StartContract

ID = re.compile(r"[A-Za-z0-9_-]{14}[AEIMQUYcgkosw048]=")

CONTEXT_KEYS = [
    "routeKey",
    "eventType",
    "extendedRequestId",
    "requestTime",
    "messageDirection",
    "stage",
    "connectedAt",
    "requestTimeEpoch",
    "identity",
    "requestId",
    "domainName",
    "connectionId",
    "apiId",
]


def converse(contract: Contract, **options: Any) -> None:
    with contract.connect({"b": "1", "a": "x y"}, **options) as client:
        client.send('{"action": "custom"}')
        contract.events("MESSAGE", 1)
    contract.events("DISCONNECT", 1)


def test_the_keys_of_connect(contract: Contract) -> None:
    converse(contract, user_agent_header=None)
    event = contract.event("CONNECT")
    assert list(event) == [
        "headers",
        "multiValueHeaders",
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "requestContext",
        "isBase64Encoded",
    ]
    assert list(event["requestContext"]) == CONTEXT_KEYS
    assert list(event["headers"]) == [
        "Host",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "X-Amzn-Trace-Id",
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
    ]
    assert event["multiValueHeaders"] == {name: [value] for name, value in event["headers"].items()}
    assert event["queryStringParameters"] == {"b": "1", "a": "x y"}
    assert event["multiValueQueryStringParameters"] == {"b": ["1"], "a": ["x y"]}
    assert event["isBase64Encoded"] is False


def test_the_keys_of_a_message(contract: Contract) -> None:
    converse(contract, user_agent_header=None)
    event = contract.event("MESSAGE")
    assert list(event) == ["requestContext", "body", "isBase64Encoded"]
    assert list(event["requestContext"]) == [CONTEXT_KEYS[0], "messageId", *CONTEXT_KEYS[1:]]
    assert event["requestContext"]["routeKey"] == "custom"
    assert event["body"] == '{"action": "custom"}'


def test_the_keys_of_disconnect(contract: Contract) -> None:
    converse(contract, user_agent_header=None)
    event = contract.event("DISCONNECT")
    assert list(event) == ["headers", "multiValueHeaders", "requestContext", "isBase64Encoded"]
    keys = [CONTEXT_KEYS[0], "disconnectStatusCode", *CONTEXT_KEYS[1:5], "disconnectReason", *CONTEXT_KEYS[5:]]
    assert list(event["requestContext"]) == keys
    host = event["requestContext"]["domainName"]
    assert event["headers"] == {"Host": host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}
    assert event["multiValueHeaders"] == {"Host": [host], "x-api-key": [""], "X-Forwarded-For": [""], "x-restapi": [""]}


def test_the_keys_of_the_authorizer(start: StartContract) -> None:
    contract = start(authorizer=True)
    with contract.connect({"auth": "allow"}, additional_headers={"X-Tenant": "t"}):
        pass
    event = contract.event("REQUEST")
    assert list(event) == [
        "type",
        "methodArn",
        "headers",
        "multiValueHeaders",
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "stageVariables",
        "requestContext",
    ]
    assert list(event["requestContext"]) == CONTEXT_KEYS
    assert event["methodArn"] == "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/$connect"
    assert event["headers"].items() >= {"Upgrade": "websocket", "content-length": "0", "X-Tenant": "t"}.items()
    assert event["headers"]["Connection"].lower() == "upgrade"
    assert event["stageVariables"] == {}


def test_without_a_query_its_keys_are_absent(contract: Contract) -> None:
    with contract.connect():
        pass
    assert list(contract.event("CONNECT")) == ["headers", "multiValueHeaders", "requestContext", "isBase64Encoded"]


def test_the_last_of_several_values_counts(contract: Contract) -> None:
    with contract.connect(additional_headers=[("X-Many", "1"), ("X-Many", "2")]) as client:
        client.send("hello")
    event = contract.event("CONNECT")
    assert event["headers"]["X-Many"] == "2"
    assert event["multiValueHeaders"]["X-Many"] == ["1", "2"]


def test_names_of_headers_stay_as_the_client_wrote_them(contract: Contract) -> None:
    with contract.connect(additional_headers={"x-LOWER-Upper": "1"}):
        pass
    assert contract.event("CONNECT")["headers"]["x-LOWER-Upper"] == "1"


def test_the_user_agent_is_in_the_identity_if_there_is_one(contract: Contract) -> None:
    with contract.connect(user_agent_header="agent/1"):
        pass
    identity = contract.event("CONNECT")["requestContext"]["identity"]
    assert list(identity.items()) == [("userAgent", "agent/1"), ("sourceIp", "127.0.0.1")]


def test_ids_and_times(contract: Contract) -> None:
    with contract.connect() as client:
        for _ in range(3):
            client.send('{"action": "custom"}')
        contract.events("MESSAGE", 3)
        contract.advance(5)
        client.send("late")
        contract.events("MESSAGE", 4)
    contract.events("DISCONNECT", 1)
    contexts = [event["requestContext"] for event in contract.events()]
    assert len({context["connectionId"] for context in contexts}) == 1
    assert len({context["connectedAt"] for context in contexts}) == 1
    assert len({context["requestId"] for context in contexts}) == len(contexts) == 6
    for context in contexts:
        assert context["requestId"] == context["extendedRequestId"]
        assert ID.fullmatch(context["requestId"])
        assert ID.fullmatch(context["connectionId"])
        assert ID.fullmatch(context.get("messageId", context["requestId"]))
        assert context["messageDirection"] == "IN"
        assert context["stage"] == "prod"
        assert isinstance(context["connectedAt"], int)
        moment = datetime.fromtimestamp(context["requestTimeEpoch"] // 1000, UTC)
        assert context["requestTime"] == moment.strftime("%d/%b/%Y:%H:%M:%S +0000")
    assert contexts[-1]["requestTimeEpoch"] - contexts[0]["connectedAt"] >= 5000
    assert abs(contexts[0]["connectedAt"] / 1000 - time.time()) < 10 * 365 * 86400


def test_a_message_that_is_no_json_is_told_as_it_came(contract: Contract) -> None:
    with contract.connect() as client:
        client.send("héllo\n\u2028 {")
        contract.events("MESSAGE", 1)
    assert contract.event("MESSAGE")["body"] == "héllo\n\u2028 {"
    assert contract.event("MESSAGE")["requestContext"]["routeKey"] == "$default"
