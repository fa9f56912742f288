"""Actions of services that routes call themselves, as API Gateway does: requests, and their responses as JSON.

Source: API Gateway API reference, "Integration", `uri`; developer guide, "Integration types in API Gateway".
"""

import asyncio
import contextlib
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

from tellwire.apigateway.services.definition import ServiceAction

_SECONDS: Final = 60.0
_FORM: Final = "application/x-www-form-urlencoded"

_TARGETS: Final = {
    "dynamodb": ("DynamoDB_20120810", "1.0"),
    "events": ("AWSEvents", "1.1"),
    "ssm": ("AmazonSSM", "1.1"),
    "secretsmanager": ("secretsmanager", "1.1"),
    "cognito-idp": ("AWSCognitoIdentityProviderService", "1.1"),
}
"""Services that speak JSON: the first part of their `X-Amz-Target`, and the version of the protocol."""

_FORM_SERVICES: Final = ("sqs", "sns")

CALLED: Final = (*_TARGETS, *_FORM_SERVICES)
"""Services whose actions routes can call here, by their names in URIs."""


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """The request of an action."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ServiceResponse:
    """The response of a service; `text` is JSON, as API Gateway gets it."""

    status: int
    text: str

    @property
    def is_success(self) -> bool:
        return self.status < 300


class ServiceCaller:
    """The services of a template, for the routes that call them. `dynamodb` is the address of another database."""

    def __init__(self, url: str, region: str, dynamodb: str | None = None) -> None:
        self._url = url
        self._region = region
        self._dynamodb = dynamodb or url

    async def call(self, action: ServiceAction, text: str) -> ServiceResponse:
        """Call an action with the request that a mapping template has made.

        Raises:
            OSError: the service does not answer.
        """
        url = self._dynamodb if action.service == "dynamodb" else self._url
        return await asyncio.to_thread(_sent, url, service_request(action, text, self._region))


def service_request(action: ServiceAction, text: str, region: str) -> ServiceRequest:
    """Return the request of an action, in the protocol of its service. Headers of the integration come first."""
    scope = f"local/20260101/{region}/{action.service}/aws4_request"
    headers = {
        "authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
        "x-amz-date": "20260101T000000Z",
    }
    if action.service in _TARGETS:
        target, version = _TARGETS[action.service]
        headers["content-type"] = f"application/x-amz-json-{version}"
        if action.action:
            headers["x-amz-target"] = f"{target}.{action.action}"
    else:
        headers["content-type"] = _FORM
        text = text.strip()
        if action.action and "Action=" not in text:
            text = f"Action={action.action}&{text}"
    given = {name.lower(): value for name, value in action.headers.items()}
    return ServiceRequest(action.path, headers | given, text.encode())


def response_text(body: bytes, media_type: str) -> str:
    """Return a response as JSON: SQS and SNS write XML here, and JSON to API Gateway, which asks for it."""
    text = body.decode("utf-8", "replace")
    if "xml" not in media_type and not text.startswith("<"):
        return text
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - of the services on this machine
    except ElementTree.ParseError:
        return text
    return json.dumps({_name(root): _value(root)}, separators=(",", ":"))


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _value(element: ElementTree.Element) -> Any:
    return {_name(child): _value(child) for child in element} if len(element) else element.text


def _sent(url: str, request: ServiceRequest) -> ServiceResponse:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", request.path, request.body, dict(request.headers))
        response = connection.getresponse()
        media_type = response.getheader("content-type") or ""
        return ServiceResponse(response.status, response_text(response.read(), media_type))
