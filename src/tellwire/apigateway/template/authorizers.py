"""The authorizer of `$connect`. API Gateway has no authorization on other routes of a WebSocket API."""

from collections.abc import Mapping

from tellwire.apigateway.definition import CONNECT, Authorizer, IdentitySource
from tellwire.apigateway.template import references
from tellwire.apigateway.template.links import function_of, linked, own
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError


def read_authorizer(stack: Stack, stage_variables: Mapping[str, str]) -> Authorizer | None:
    """Return the authorizer of `$connect`; None when everyone may connect.

    Raises:
        ConfigError: the authorizer is of a kind that WebSocket APIs do not have, or its function cannot be found.
    """
    authorizer = None
    for route in own(stack, references.ROUTE):
        key, kind = route.text("RouteKey"), route.text("AuthorizationType", "NONE")
        if kind not in ("NONE", "AWS_IAM", "CUSTOM") or (kind != "NONE" and key != CONNECT):
            raise ConfigError(
                f"route {key}: AuthorizationType: got {kind}; allowed: NONE, and CUSTOM or AWS_IAM on {CONNECT}"
            )
        if kind == "AWS_IAM":
            stack.note(f"route {key}: AWS_IAM authorization is not checked locally: everyone may connect")
        if kind == "CUSTOM":
            authorizer = _authorizer(
                stack, linked(stack, route, "AuthorizerId", references.AUTHORIZER), stage_variables
            )
    return authorizer


def _authorizer(stack: Stack, resource: Resource, stage_variables: Mapping[str, str]) -> Authorizer:
    if (kind := resource.text("AuthorizerType")) != "REQUEST":
        raise ConfigError(f"{resource}: AuthorizerType: got {kind}; allowed: REQUEST")
    return Authorizer(
        function=function_of(stack, resource, "AuthorizerUri", stage_variables),
        identity_sources=tuple(map(IdentitySource, _expressions(resource))),
    )


def _expressions(resource: Resource) -> list[str]:
    match resource.value("IdentitySource"):
        case None:
            return []
        case str(written):
            return [expression.strip() for expression in written.split(",") if expression.strip()]
        case list(expressions):
            return [str(expression) for expression in expressions]
        case _:
            raise ConfigError(f"{resource}: IdentitySource: allowed: a list of expressions")
