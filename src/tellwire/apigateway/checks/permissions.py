"""Permissions of API Gateway to invoke functions. Pure.

Without one, AWS answers 500 or `Internal server error`; here functions are invoked anyway.

Source: CloudFormation template reference, "AWS::Lambda::Permission"; API Gateway developer guide, "Invoke permissions
for WebSocket APIs".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tellwire.apigateway.template import references
from tellwire.apigateway.template.intrinsics import Unresolved, text
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack

PERMISSION: Final = "AWS::Lambda::Permission"
_FUNCTION = re.compile(
    r"(?:arn:[\w-]+:apigateway:[\w-]+:lambda:path/2015-03-31/functions/)?"
    r"(?:arn:[\w-]+:lambda:[\w-]*:\d*:function:)?(?P<name>[\w-]+)(?::(?P<qualifier>[\w$-]+))?(?:/invocations)?",
    re.ASCII,
)
_PRINCIPALS: Final = ("apigateway.amazonaws.com", "*")
_ACTIONS: Final = ("lambda:InvokeFunction", "lambda:*", "*")


@dataclass(frozen=True, slots=True)
class _Permission:
    """A permission: the function with its qualifier, and the pattern of ARNs; None if that is not known here."""

    function: tuple[str, str] | None
    source: str | None


def missing_permissions(stack: Stack, api_id: str, stage: str) -> Iterator[str]:
    """Yield a line for each route, and for the authorizer, whose function API Gateway may not invoke on AWS."""
    permissions = [_permission(each) for each in stack.resources(PERMISSION) if _is_for_api_gateway(each)]
    base = f"arn:aws:execute-api:{stack.identity.region}:{stack.identity.account_id}:{api_id}"
    for route in _own(stack, references.ROUTE, api_id):
        integration = _target(stack, route)
        if integration is None or "CredentialsArn" in integration.properties:
            continue
        function = _function(integration, "IntegrationUri")
        key = _text(route, "RouteKey")
        if function is not None and key is not None:
            yield from _missing(f"route {key}", function, f"{base}/{stage}/{key}", permissions)
    for authorizer in _own(stack, references.AUTHORIZER, api_id):
        function = _function(authorizer, "AuthorizerUri")
        if function is not None and "AuthorizerCredentialsArn" not in authorizer.properties:
            yield from _missing("the authorizer", function, f"{base}/authorizers/{authorizer.logical_id}", permissions)


def _missing(what: str, function: tuple[str, str], arn: str, permissions: list[_Permission]) -> Iterator[str]:
    own = [each for each in permissions if each.function is None or each.function == function]
    if any(_fits(each.source, arn) for each in own):
        return
    name = ":".join(part for part in function if part)
    if own:
        given = ", ".join(str(each.source) for each in own)
        yield (
            f"{what}: on AWS, API Gateway may not invoke function {name}: no AWS::Lambda::Permission has a SourceArn "
            f"that fits {arn} (it has {given}); clients get Internal server error"
        )
    else:
        yield (
            f"{what}: on AWS, API Gateway may not invoke function {name}: there is no AWS::Lambda::Permission for it "
            "with the principal apigateway.amazonaws.com; clients get Internal server error"
        )


def _fits(pattern: str | None, arn: str) -> bool:
    if pattern is None:
        return True
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, arn) is not None


def _is_for_api_gateway(permission: Resource) -> bool:
    principal, action = _text(permission, "Principal"), _text(permission, "Action")
    return (principal is None or principal in _PRINCIPALS) and (action is None or action in _ACTIONS)


def _permission(resource: Resource) -> _Permission:
    return _Permission(_function(resource, "FunctionName"), _text(resource, "SourceArn"))


def _function(resource: Resource, name: str) -> tuple[str, str] | None:
    """Return name and qualifier of the function that a property names; None if that is not known here."""
    found = _FUNCTION.fullmatch(_text(resource, name) or "")
    if found is None:
        return None
    qualifier = found["qualifier"] or ""
    return found["name"], "" if qualifier == "$LATEST" else qualifier


def _target(stack: Stack, route: Resource) -> Resource | None:
    target = _text(route, "Target") or ""
    return stack.resource(target.rpartition("/")[2], references.INTEGRATION)


def _own(stack: Stack, resource_type: str, api_id: str) -> list[Resource]:
    return [each for each in stack.resources(resource_type) if _text(each, "ApiId") == api_id]


def _text(resource: Resource, name: str) -> str | None:
    try:
        value = resource.resolved(name)
        return None if value is None else text(value)
    except Unresolved:
        return None
