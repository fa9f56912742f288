"""The functions behind the contract tests, controlled by the query string and by messages.

They write every event they receive to a file, so that a test sees it whichever process they run in.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import boto3

CONNECT_ARN = "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/$connect"


def _record(event: Any) -> None:
    with Path(os.environ["EVENTS_FILE"]).open("a") as file:
        file.write(json.dumps(event) + "\n")


def _client(event: Any) -> Any:
    context = event["requestContext"]
    url = f"https://{context['domainName']}/{context['stage']}"
    return boto3.client("apigatewaymanagementapi", endpoint_url=url)


def _wait(file: str) -> None:
    end = time.monotonic() + 60
    while not Path(file).exists() and time.monotonic() < end:
        time.sleep(0.01)


def connect(event: Any, context: Any) -> Any:
    _record(event)
    query = event.get("queryStringParameters", {})
    if "raise" in query:
        raise RuntimeError(query["raise"])
    if "return" in query:
        return json.loads(query["return"])
    if "post" in query:
        client = _client(event)
        try:
            client.post_to_connection(ConnectionId=event["requestContext"]["connectionId"], Data=b"too early")
        except client.exceptions.GoneException:
            return {"statusCode": 418}
    if "until" in query:
        _wait(query["until"])
    headers = {"Sec-WebSocket-Protocol": query["protocol"]} if "protocol" in query else {}
    return {"statusCode": int(query.get("status", 200)), "headers": headers, "body": query.get("body", "")}


def disconnect(event: Any, context: Any) -> Any:
    _record(event)


def failing_disconnect(event: Any, context: Any) -> Any:
    _record(event)
    raise RuntimeError("nobody minds")


def default(event: Any, context: Any) -> Any:
    _record(event)
    return {"statusCode": 200, "body": f"default {event['body']}"}


def custom(event: Any, context: Any) -> Any:
    _record(event)
    body = json.loads(event["body"])
    match body.get("do"):
        case "raise":
            raise RuntimeError("broken")
        case "malformed":
            return ["no", "response"]
        case "status":
            return {"statusCode": body["status"], "body": "unheard"}
        case "long":
            return {"statusCode": 200, "body": "x" * body["bytes"]}
        case "wait":
            _wait(body["until"])
        case "post":
            _client(event).post_to_connection(
                ConnectionId=event["requestContext"]["connectionId"], Data=body["text"].encode()
            )
    return {"statusCode": 200, "body": body.get("body", "unheard")}


class Refused(Exception):
    """The error that an authorizer raises."""


def authorize(event: Any, context: Any) -> Any:
    _record(event)
    wanted = event["queryStringParameters"]["auth"]
    if wanted in ("Unauthorized", "something else"):
        raise Refused(wanted)
    return VERDICTS[wanted]


def _policy(effect: str, resource: str) -> dict[str, Any]:
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}
    return {
        "principalId": "user-1",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"name": "Ada", "number": 123, "flag": True},
    }


VERDICTS = {
    "allow": _policy("Allow", CONNECT_ARN),
    "wide": _policy("Allow", "arn:aws:execute-api:*:*:tellwire00/prod/*"),
    "deny": _policy("Deny", CONNECT_ARN),
    "too-narrow": _policy("Allow", "arn:aws:execute-api:us-east-1:123456789012:tellwire00/prod/*/*"),
    "no-policy": {"statusCode": 401},
    "objects": _policy("Allow", CONNECT_ARN) | {"context": {"list": [1]}},
}
