"""The WebSocket API of a template, at one stage: `AWS::ApiGatewayV2::…` resources go in, an `Api` comes out.

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


def read_api(stack: Stack, stage_name: str | None) -> Api:
    """Return the WebSocket API of a template.

    Raises:
        ConfigError: the template has no API or several, `stage_name` is not one of its stages, or is None and there are
            several, or a route cannot run here.
    """
    api = _websocket_api(stack)
    stage = _stage(stack, stage_name)
    variables = _variables(stack, stage)
    if api.text("ApiKeySelectionExpression", _API_KEY_HEADER) != _API_KEY_HEADER:
        stack.note(f"{api}: API keys are read from the header x-api-key only")
    return replace(
        stack.identity,
        routes=tuple(read_routes(stack, variables)),
        stage=stage.text("StageName") if stage is not None else stage_name or stack.identity.stage,
        authorizer=read_authorizer(stack, variables),
        route_selection_expression=api.text("RouteSelectionExpression"),
        stage_variables=variables,
        api_keys=frozenset(_api_keys(stack)),
    )


def _websocket_api(stack: Stack) -> Resource:
    found = [api for api in stack.resources(references.API) if is_websocket_api(api)]
    if not found:
        others = ", ".join(_described(api) for api in stack.resources(*_KINDS_OF_API)) or "none"
        raise ConfigError(
            f"the template has no WebSocket API; got these APIs: {others}; "
            "allowed: an AWS::ApiGatewayV2::Api with ProtocolType WEBSOCKET, or an AWS::Serverless::WebSocketApi"
        )
    if len(found) > 1:
        names = ", ".join(api.logical_id for api in found)
        raise ConfigError(f"the template has several WebSocket APIs: {names}; allowed: one")
    return found[0]


def _described(api: Resource) -> str:
    return f"{api} (HTTP)" if api.type == references.API else str(api)


def _stage(stack: Stack, name: str | None) -> Resource | None:
    stages = {stage.text("StageName"): stage for stage in own(stack, references.STAGE)}
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


def _api_keys(stack: Stack) -> list[str]:
    keys = []
    for resource in stack.resources("AWS::ApiGateway::ApiKey"):
        if "Value" not in resource.properties:
            stack.note(f"{resource}: has no Value, AWS makes one up; the key does not exist locally")
            continue
        try:
            value = text(resource.resolved("Value"))
        except Unresolved as unresolved:
            stack.note(f"{resource}: Value: {unresolved}; the key does not exist locally")
            continue
        if "Enabled" not in resource.properties or resource.flag("Enabled"):
            keys.append(value)
    return keys
