"""Function URLs: requests become events of payload format 2.0, and results become answers.

On AWS each has a host of its own; here it is a path below the services: `/lambda-url/<logical id>/`.

Source: Lambda developer guide, "Invoking Lambda function URLs", "Request and response payloads" and "Access control".
"""

import base64
import binascii
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from tellwire.apigateway.definition import ACCOUNT_ID
from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.definition import FunctionUrl
from tellwire.apigateway.services.refusal import Answer

PATH: Final = "/lambda-url/"
"""The begin of the paths of all function URLs on this machine."""

MAX_BYTES: Final = 6 * 1024 * 1024
"""Largest request (Lambda developer guide, "Lambda quotas")."""

_JSON: Final = "application/json"
_TEXTS: Final = ("text/", _JSON, "application/javascript", "application/xml")
FORBIDDEN: Final = Answer(403, b'{"Message":"Forbidden"}', _JSON)
TOO_LARGE: Final = Answer(413, b'{"Message":"Request Entity Too Large"}', _JSON)
FAILED: Final = Answer(502, b"Internal Server Error", "text/plain")


@dataclass(frozen=True, slots=True)
class UrlRequest:
    """A request to a function URL. `path` is after the function's own, names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    source_ip: str


def requested(path: str) -> tuple[str, str] | None:
    """Return the logical id of the URL in a path, and the function's own path; None: it is no function URL's."""
    if not path.startswith(PATH):
        return None
    name, _, rest = path.removeprefix(PATH).partition("/")
    return name, f"/{rest}"


def address(services_url: str, url: FunctionUrl) -> str:
    """Return the address of a function URL on this machine."""
    return f"{services_url}{PATH}{url.name}/"


def host(url: FunctionUrl, region: str) -> str:
    """Return the address that the template's values have, in AWS's form."""
    return f"https://{url.name}.lambda-url.{region}.on.aws/"


def call_of(url: FunctionUrl, function_name: str, region: str) -> AwsCall:
    """Return the call that a request to a function URL is, for the policies of its caller."""
    return AwsCall("lambda", "InvokeFunctionUrl" if url.is_signed else "", region, function_name)


def is_forbidden(url: FunctionUrl, call: AwsCall) -> bool:
    """Return True if a request needs a signature for Lambda, and has none. `call` is as the request was signed."""
    return url.is_signed and call.service != "lambda"


def event_of(url: FunctionUrl, request: UrlRequest, region: str) -> dict[str, Any]:
    """Return the event of a request."""
    now = time.time()
    is_text = "content-encoding" not in request.headers and request.headers.get("content-type", "").startswith(_TEXTS)
    body = request.body.decode("utf-8", "replace") if is_text else base64.b64encode(request.body).decode()
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": {name: value for name, value in request.headers.items() if name != "cookie"},
    }
    if cookie := request.headers.get("cookie"):
        event["cookies"] = [each.strip() for each in cookie.split(";")]
    if request.query:
        parameters: dict[str, str] = {}
        for name, value in parse_qsl(request.query, keep_blank_values=True):
            parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
        event["queryStringParameters"] = parameters
    event["requestContext"] = {
        "accountId": ACCOUNT_ID if url.is_signed else "anonymous",
        "apiId": url.name,
        **({"authorizer": {"iam": _caller(request.headers)}} if url.is_signed else {}),
        "domainName": f"{url.name}.lambda-url.{region}.on.aws",
        "domainPrefix": url.name,
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.source_ip,
            "userAgent": request.headers.get("user-agent", ""),
        },
        "requestId": str(uuid.uuid4()),
        "routeKey": "$default",
        "stage": "$default",
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        "timeEpoch": int(now * 1000),
    }
    return event | ({"body": body} if request.body else {}) | {"isBase64Encoded": bool(request.body) and not is_text}


def _caller(headers: Mapping[str, str]) -> dict[str, Any]:
    key = headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
    name = headers.get("x-amz-security-token", "") or "local"
    return {
        "accessKey": key,
        "accountId": ACCOUNT_ID,
        "callerId": f"{key}:{name}",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{name}/{name}",
        "userId": f"{key}:{name}",
    }


def answer_of(result: Any) -> Answer:
    """Return the answer for the result of a function, as Lambda infers it."""
    if not (isinstance(result, dict) and "statusCode" in result):
        return Answer(200, json.dumps(result).encode(), _JSON)
    try:
        status = int(result["statusCode"])
        text = result.get("body", "")
        body = text if isinstance(text, str) else json.dumps(text)
        content = base64.b64decode(body, validate=True) if result.get("isBase64Encoded") else body.encode()
        headers = {str(name).lower(): str(value) for name, value in (result.get("headers") or {}).items()}
    except (TypeError, ValueError, AttributeError, binascii.Error):
        return FAILED
    if not 100 <= status <= 599:
        return FAILED
    media_type = headers.pop("content-type", _JSON)
    cookies = [("set-cookie", str(each)) for each in result.get("cookies") or ()]
    return Answer(status, content, media_type, (*headers.items(), *cookies))
