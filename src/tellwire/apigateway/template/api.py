"""The WebSocket APIs of a template, each at one stage: `AWS::ApiGatewayV2::…` resources go in, `Api`s come out.

Source: CloudFormation template reference, "AWS::ApiGatewayV2"; API Gateway developer guide, "WebSocket APIs".
"""

from dataclasses import replace

from tellwire.apigateway.definition import Api
from tellwire.apigateway.template import references
from tellwire.apigateway.template.authorizers import read_authorizer
from tellwire.apigateway.template.intrinsics import Unresolved, text
from tellwire.apigateway.template.links import own
from tellwire.apigateway.template.references import is_websocket_api
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.routes import read_routes
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError

_KINDS_OF_API = (references.API, "AWS::ApiGateway::RestApi", "AWS::AppSync::GraphQLApi")
_API_KEY_HEADER = "$request.header.x-api-key"


def read_apis(stack: Stack, stage_name: str | None, api_name: str | None, left_out: dict[str, str]) -> tuple[Api, ...]:
    """Return the WebSocket APIs of a template: all, or the one with this logical id. Several have a prefix each.

    Names of routes and authorizers that cannot run here are added to `left_out`, with the reason.

    Raises:
        ConfigError: the template has no API, or not this one, `stage_name` is not one of its stages, or is None and
            there are several.
    """
    found = _websocket_apis(stack, api_name)
    return tuple(_api(stack, api, stage_name, left_out, is_alone=len(found) == 1) for api in found)


def _api(stack: Stack, api: Resource, stage_name: str | None, left_out: dict[str, str], *, is_alone: bool) -> Api:
    stage = _stage(stack, api, stage_name)
    variables = _variables(stack, stage)
    if api.text("ApiKeySelectionExpression", _API_KEY_HEADER) != _API_KEY_HEADER:
        stack.note(f"{api}: API keys are read from the header x-api-key only")
    routes = tuple(read_routes(stack, api, variables, left_out, "" if is_alone else f" of {api.logical_id}"))
    needs_key = any(route.api_key_required for route in routes)
    return replace(
        stack.identity,
        api_id=stack.api_id(api),
        name=api.logical_id,
        prefix="" if is_alone else f"/{api.logical_id}",
        routes=routes,
        stage=stage.text("StageName") if stage is not None else stage_name or stack.identity.stage,
        authorizer=read_authorizer(stack, api, variables, left_out),
        route_selection_expression=api.text("RouteSelectionExpression"),
        stage_variables=variables,
        api_keys=frozenset(_api_keys(stack, api) if needs_key else ()),
    )


def _websocket_apis(stack: Stack, name: str | None) -> list[Resource]:
    found = [api for api in stack.resources(references.API) if is_websocket_api(api)]
    if not found:
        others = ", ".join(_described(api) for api in stack.resources(*_KINDS_OF_API)) or "none"
        raise ConfigError(
            f"the template has no WebSocket API; got these APIs: {others}; allowed: an AWS::ApiGatewayV2::Api with "
            f"ProtocolType WEBSOCKET, or an AWS::Serverless::WebSocketApi{_elsewhere(stack)}"
        )
    if name is None:
        return found
    chosen = [api for api in found if api.logical_id == name]
    if not chosen:
        raise ConfigError(f"api: got {name!r}; allowed: {', '.join(api.logical_id for api in found)}")
    return chosen[:1]


def _elsewhere(stack: Stack) -> str:
    nested = [str(each) for each in stack.resources(references.APPLICATION, references.NESTED_STACK)]
    return f". It may be in one of these, whose template is not on this machine: {', '.join(nested)}" if nested else ""


def _described(api: Resource) -> str:
    return f"{api} (HTTP)" if api.type == references.API else str(api)


def _stage(stack: Stack, api: Resource, name: str | None) -> Resource | None:
    stages = {stage.text("StageName"): stage for stage in own(stack, api, references.STAGE)}
    if not stages:
        return None
    names = ", ".join(stages)
    if name is None:
        if len(stages) > 1:
            raise ConfigError(f"the template has several stages: {names}; choose one with --stage")
        return next(iter(stages.values()))
    if name not in stages:
        raise ConfigError(f"stage: got {name!r}; allowed: {names}")
    return stages[name]


def _variables(stack: Stack, stage: Resource | None) -> dict[str, str]:
    variables: dict[str, str] = {}
    written = stage.properties.get("StageVariables") if stage is not None else None
    if not isinstance(written, dict):
        return variables
    for name, value in written.items():
        try:
            variables[name] = text(stack.resolve(value))
        except Unresolved as unresolved:
            stack.note(f"stage variable {name}: {unresolved}; it is left out")
    return variables


def _api_keys(stack: Stack, api: Resource) -> list[str]:
    """Return the values of the template's API keys. For one without a value a value is made up, as AWS does."""
    keys = []
    for resource in stack.resources(references.API_KEY):
        try:
            value = text(resource.resolved("Value", f"local-key-of-{resource.logical_id}"))
        except Unresolved as unresolved:
            stack.note(f"{resource}: Value: {unresolved}; nobody can connect with this key")
            continue
        if "Enabled" in resource.properties and not resource.flag("Enabled"):
            continue
        if "Value" not in resource.properties:
            stack.note(f"{resource}: has no Value, so AWS makes one up; here it is {value}")
        keys.append(value)
    if not keys:
        stack.note(f"{api}: a route requires an API key, and the template has none: nobody can connect, as on AWS")
    return keys
