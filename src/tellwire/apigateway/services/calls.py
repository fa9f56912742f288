"""Calls to AWS's services: service, action, region and resource are read from a request. Pure.

Source: IAM user guide, "Elements of an AWS API request signature"; the action is in `X-Amz-Target`, in the form's
`Action`, or in the path, as each protocol has it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote

_SCOPE = re.compile(r"Credential=[^/\s,]+/\d+/(?:(?P<region>[\w-]+)/)?(?P<service>[\w.-]+)/aws4_request")
_OF_AWS = r"(?:amazonaws\.com(?:\.cn)?|api\.aws)"
_SERVICE = r"(?P<service>(?!dualstack\.)[\w-]+)(?:\.dualstack)?"
_HOST = re.compile(rf"(?:.+\.)?{_SERVICE}\.(?P<region>[a-z]{{2}}(?:-[a-z]+)+-\d)\.{_OF_AWS}")
_GLOBAL_HOST = re.compile(rf"(?:.+\.)?(?P<service>[\w-]+)\.{_OF_AWS}")
_INVOCATION = re.compile(r"/2015-03-31/functions/(?P<function>[^/]+)/invocations/?")
_CONNECTION = re.compile(r"/@connections/[^/]+")

_UNSIGNED_TARGETS: Final = {
    "AWSCognitoIdentityProviderService": "cognito-idp",
    "AWSCognitoIdentityService": "cognito-identity",
}
_KEYS_OF_POOLS: Final = ("/.well-known/jwks.json", "/.well-known/openid-configuration")

_RESOURCE_KEYS: Final = (
    "TableName",
    "QueueUrl",
    "QueueName",
    "TopicArn",
    "TargetArn",
    "SecretId",
    "Name",
    "UserPoolId",
)


@dataclass(frozen=True, slots=True)
class AwsCall:
    """A call: the service's name in signatures, the action as in IAM policies, and the name of its resource.

    `service` and `action` are empty if the request does not say them. `is_form`: the answer is XML. `qualifier` is the
    version or alias of a function.
    """

    service: str
    action: str
    region: str
    resource: str = ""
    is_form: bool = False
    qualifier: str = ""

    @property
    def permission(self) -> str:
        """Return the action in the form of a policy: `dynamodb:PutItem`."""
        return f"{self.service}:{self.action}"


def read_call(
    method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, own_region: str = "us-east-1"
) -> AwsCall:
    """Return the call that a request is; names of `headers` are in lower case."""
    service, region = _signed(query, headers) or _from_host(headers.get("host", "")) or ("", "")
    target, _, action = headers.get("x-amz-target", "").rpartition(".")
    if not service:
        service = _UNSIGNED_TARGETS.get(target, "")
    if not service and path.endswith(_KEYS_OF_POOLS):
        service = "cognito-idp"
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    values = _form(body) if is_form else _json(body) if target else {}
    if is_form:
        action = str(values.get("Action", ""))
    if not action:
        action = _action_of_path(service, method, path)
    qualifier = parse_qs(query).get("Qualifier", [""])[0] if service == "lambda" else ""
    return AwsCall(service, action, region or own_region, _resource(service, path, values), is_form, qualifier)


def invoked_function(path: str) -> str | None:
    """Return the name or ARN of the function that a path of Lambda Invoke names."""
    found = _INVOCATION.fullmatch(path)
    return unquote(found["function"]) if found is not None else None


def _signed(query: str, headers: Mapping[str, str]) -> tuple[str, str] | None:
    presigned = unquote(query) if "X-Amz-Credential" in query else ""
    found = _SCOPE.search(headers.get("authorization", "")) or _SCOPE.search(presigned.replace("X-Amz-", ""))
    return (found["service"].lower(), found["region"] or "") if found is not None else None


def _from_host(host: str) -> tuple[str, str] | None:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if (found := _HOST.fullmatch(name)) is not None:
        return found["service"], found["region"]
    found = _GLOBAL_HOST.fullmatch(name)
    return (found["service"], "") if found is not None else None


def _form(body: bytes) -> Mapping[str, Any]:
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _action_of_path(service: str, method: str, path: str) -> str:
    if service == "lambda" and _INVOCATION.fullmatch(path):
        return "InvokeFunction"
    if service == "execute-api":
        return "ManageConnections"
    if service == "s3":
        kind = "Object" if len(path.strip("/").split("/", 1)) > 1 else "Bucket"
        return {"GET": f"Get{kind}", "PUT": f"Put{kind}", "DELETE": f"Delete{kind}"}.get(method, f"{method} {kind}")
    return ""


def _resource(service: str, path: str, values: Mapping[str, Any]) -> str:
    if service == "lambda":
        return invoked_function(path) or ""
    if service == "dynamodb" and isinstance(values.get("RequestItems"), dict):
        return next(iter(values["RequestItems"]), "")
    found = next((values[key] for key in _RESOURCE_KEYS if isinstance(values.get(key), str)), "")
    return str(found)
