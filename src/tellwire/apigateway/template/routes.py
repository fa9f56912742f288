"""The routes of an API, and the functions behind them.

A route runs here if its integration is a Lambda proxy, the only kind whose work is all in the function.
"""

from collections.abc import Iterator, Mapping

from tellwire.apigateway.definition import DEFAULT, Route
from tellwire.apigateway.template import references
from tellwire.apigateway.template.links import function_of, linked, own
from tellwire.apigateway.template.models import read_models
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError
from tellwire.limits import INTEGRATION_TIMEOUT_SECONDS, MIN_INTEGRATION_TIMEOUT_SECONDS

_PROXY = "AWS_PROXY"


def read_routes(stack: Stack, stage_variables: Mapping[str, str]) -> Iterator[Route]:
    """Return the routes of the WebSocket API.

    Raises:
        ConfigError: a route cannot run here; it names the route.
    """
    with_response = _routes_with_response(stack)
    for resource in own(stack, references.ROUTE):
        key = resource.text("RouteKey")
        if "RequestParameters" in resource.properties:
            stack.note(f"route {key}: RequestParameters is not checked locally")
        integration = _integration(stack, resource, key)
        yield Route(
            key=key,
            function=function_of(stack, integration, "IntegrationUri", stage_variables),
            has_response=_has_response(stack, resource, key, with_response),
            api_key_required=resource.flag("ApiKeyRequired"),
            timeout_seconds=_timeout_seconds(integration),
            models=read_models(stack, resource, key),
            model_selection_expression=resource.text("ModelSelectionExpression", DEFAULT),
        )


def _integration(stack: Stack, route: Resource, key: str) -> Resource:
    if "Target" not in route.properties:
        raise ConfigError(f"route {key}: has no integration ({route} has no Target); allowed: a Lambda proxy")
    integration = linked(stack, route, "Target", references.INTEGRATION)
    kind = integration.text("IntegrationType")
    if kind != _PROXY:
        raise ConfigError(
            f"route {key}: got the integration type {kind} ({integration}); allowed: {_PROXY} with Lambda"
        )
    return integration


def _routes_with_response(stack: Stack) -> set[str]:
    return {
        response.text("RouteId")
        for response in own(stack, references.ROUTE_RESPONSE)
        if response.text("RouteResponseKey") == DEFAULT
    }


def _has_response(stack: Stack, route: Resource, key: str, with_response: set[str]) -> bool:
    has_response = route.logical_id in with_response
    selects = route.value("RouteResponseSelectionExpression") == DEFAULT
    if has_response != selects:
        missing = (
            f"AWS::ApiGatewayV2::RouteResponse with RouteResponseKey {DEFAULT}"
            if selects
            else f"RouteResponseSelectionExpression {DEFAULT}"
        )
        stack.note(f"route {key}: it does not answer, as on AWS: there is no {missing}")
    return has_response and selects


def _timeout_seconds(integration: Resource) -> float:
    allowed = (MIN_INTEGRATION_TIMEOUT_SECONDS * 1000, INTEGRATION_TIMEOUT_SECONDS * 1000)
    return integration.number("TimeoutInMillis", allowed[1], allowed) / 1000
