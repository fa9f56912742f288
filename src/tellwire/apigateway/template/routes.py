"""The routes of an API, and the functions behind them.

A route that cannot run here keeps its key. Its function has a name of its own, which is in `left_out` with the reason.
"""

from collections.abc import Iterator, Mapping

from tellwire.apigateway.definition import DEFAULT, Route
from tellwire.apigateway.mapping import Mapper
from tellwire.apigateway.template import references
from tellwire.apigateway.template.integrations import read_integration
from tellwire.apigateway.template.links import own
from tellwire.apigateway.template.models import read_models
from tellwire.apigateway.template.resource import LeftOut, Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError


def read_routes(
    stack: Stack, api: Resource, stage_variables: Mapping[str, str], left_out: dict[str, str], label: str
) -> Iterator[Route]:
    """Return the routes of a WebSocket API. `label` follows the names of those that are left out.

    Raises:
        ConfigError: a route is not valid; it names the route.
    """
    with_response = _routes_with_response(stack, api)
    for resource in own(stack, api, references.ROUTE):
        key = resource.text("RouteKey")
        if "RequestParameters" in resource.properties:
            stack.note(f"route {key}: RequestParameters is not checked locally")
        try:
            yield _route(stack, api, resource, key, stage_variables, with_response)
        except LeftOut as error:
            name = f"route {key}{label}"
            left_out[name] = str(error).removeprefix(f"route {key}: ")
            yield Route(key, name, api_key_required=resource.flag("ApiKeyRequired"))


def _route(
    stack: Stack,
    api: Resource,
    resource: Resource,
    key: str,
    stage_variables: Mapping[str, str],
    with_response: set[str],
) -> Route:
    behind = read_integration(stack, api, resource, key, stage_variables)
    route = Route(
        key=key,
        function=behind.function,
        has_response=_has_response(stack, resource, key, with_response),
        api_key_required=resource.flag("ApiKeyRequired"),
        timeout_seconds=behind.timeout_seconds,
        models=read_models(stack, api, resource, key),
        model_selection_expression=resource.text("ModelSelectionExpression", DEFAULT),
        integration=behind.integration,
        qualifier=behind.qualifier,
        request=behind.request,
        responses=behind.responses,
        service=behind.service,
    )
    _require_templates(route)
    return route


def _require_templates(route: Route) -> None:
    try:
        Mapper(route)
    except ConfigError as error:
        raise LeftOut(str(error)) from error


def _routes_with_response(stack: Stack, api: Resource) -> set[str]:
    return {
        response.text("RouteId")
        for response in own(stack, api, references.ROUTE_RESPONSE)
        if response.text("RouteResponseKey") == DEFAULT
    }


def _has_response(stack: Stack, route: Resource, key: str, with_response: set[str]) -> bool:
    """Return whether a route answers: a route response alone says so, a selection expression alone does not."""
    has_response = route.logical_id in with_response
    if not has_response and route.value("RouteResponseSelectionExpression") == DEFAULT:
        missing = f"AWS::ApiGatewayV2::RouteResponse with RouteResponseKey {DEFAULT}"
        stack.note(f"route {key}: it does not answer, as on AWS: there is no {missing}")
    return has_response
