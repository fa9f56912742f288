"""The authorizer of `$connect`. API Gateway has no authorization on other routes of a WebSocket API."""

from collections.abc import Mapping

from tellwire.apigateway.definition import CONNECT, Authorizer, IdentitySource
from tellwire.apigateway.template import references
from tellwire.apigateway.template.links import function_of, linked, own
from tellwire.apigateway.template.resource import LeftOut, Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError


def read_authorizer(
    stack: Stack, api: Resource, stage_variables: Mapping[str, str], left_out: dict[str, str]
) -> Authorizer | None:
    """Return the authorizer of `$connect`; None when everyone may connect.

    If its function cannot be found, it has a name of its own, with the reason in `left_out`: nobody can connect.

    Raises:
        ConfigError: the authorizer is of a kind that WebSocket APIs do not have.
    """
    authorizer = None
    for route in own(stack, api, references.ROUTE):
        key, kind = route.text("RouteKey"), route.text("AuthorizationType", "NONE")
        if kind not in ("NONE", "AWS_IAM", "CUSTOM") or (kind != "NONE" and key != CONNECT):
            raise ConfigError(
                f"route {key}: AuthorizationType: got {kind}; allowed: NONE, and CUSTOM or AWS_IAM on {CONNECT}"
            )
        if kind == "AWS_IAM":
            stack.note(f"route {key}: AWS_IAM authorization is not checked locally: everyone may connect")
        if kind == "CUSTOM":
            try:
                authorizer = _authorizer(
                    stack, linked(stack, api, route, "AuthorizerId", references.AUTHORIZER), stage_variables
                )
            except LeftOut as error:
                name = f"authorizer of {api.logical_id}"
                authorizer, left_out[name] = Authorizer(name), str(error)
    return authorizer


def _authorizer(stack: Stack, resource: Resource, stage_variables: Mapping[str, str]) -> Authorizer:
    if (kind := resource.text("AuthorizerType")) != "REQUEST":
        raise ConfigError(f"{resource}: AuthorizerType: got {kind}; allowed: REQUEST")
    return Authorizer(
        function=function_of(resource, "AuthorizerUri", stage_variables, stack)[0],
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
