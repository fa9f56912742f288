"""Requests and answers of a function behind a function URL or an HTTP API: payload format 2.0. Pure.

Source: API Gateway developer guide, "Create AWS Lambda proxy integrations for HTTP APIs"; Lambda developer guide,
"Invoking Lambda function URLs", "Request and response payloads".
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tellwire.errors import ConfigError, shown

VERSION: Final = "2.0"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request. Names of headers are in lower case. `is_signed`: AWS has verified its signature."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    is_signed: bool


def is_request(event: Any) -> bool:
    """Return True if an event is a request over HTTP, and no direct invocation."""
    return isinstance(event, dict) and isinstance(event.get("requestContext"), dict)


def read_request(event: Mapping[str, Any]) -> HttpRequest:
    """Return the request of an event.

    Raises:
        ConfigError: it has another payload format: a REST API's, or an HTTP API's older one.
    """
    if event.get("version") != VERSION:
        given = shown(str(event.get("version", "1.0")))
        raise ConfigError(f"payload format: got {given}; allowed: {VERSION}, of a function URL or an HTTP API")
    context = event["requestContext"]
    text = event.get("body") or ""
    # A half of a pair cannot come over HTTP; whoever decodes the body refuses it.
    body = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode("utf-8", "surrogatepass")
    return HttpRequest(
        method=context["http"]["method"],
        path=event.get("rawPath") or "/",
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        body=body,
        is_signed=bool((context.get("authorizer") or {}).get("iam")),
    )


def answer(status: int, body: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return an answer in the form that Lambda expects. The body is text."""
    return {
        "statusCode": status,
        "headers": {"content-type": media_type, **(headers or {})},
        "body": body.decode(),
        "isBase64Encoded": False,
    }
