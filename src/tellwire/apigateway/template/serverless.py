"""Reader of `serverless.yml`: its functions with `websocket` events become the CloudFormation that the framework makes.

Names of resources are the framework's, so that `Ref: WebsocketsApi` in the file means what it means on AWS. Its own
`resources` are kept. What is not read is named in a note: other events, plugins, and variables from elsewhere.

Source: Serverless Framework documentation, "Serverless.yml Reference", "Websocket", "Resources".
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tellwire.apigateway.definition import Api
from tellwire.apigateway.template import references
from tellwire.apigateway.template.serverless_variables import Given, Variables
from tellwire.errors import ConfigError, shown

API: Final = "WebsocketsApi"
_ROLE: Final = "IamRoleLambdaExecution"
_DEFAULT_TIMEOUT_SECONDS: Final = 6
_DEFAULT_MEMORY_MB: Final = 1024
_DEFAULT_STAGE: Final = "dev"
_DEFAULT_SELECTION: Final = "$request.body.action"
_DEFAULT_SOURCE: Final = "route.request.header.Auth"
_HARMLESS_PLUGINS: Final = ("serverless-offline", "serverless-esbuild", "serverless-pseudo-parameters")

Resources = dict[str, dict[str, Any]]


def is_serverless(body: Mapping[str, Any]) -> bool:
    """Return whether the data is that of a `serverless.yml`."""
    return "service" in body and "provider" in body


def to_template(
    body: Mapping[str, Any], identity: Api, stage: str | None, options: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Return a CloudFormation template for a `serverless.yml`, and notes on the parts that are not read.

    Raises:
        ConfigError: the file does not have the form that the framework requires.
    """
    written_stage = _object(body, "provider").get("stage", _DEFAULT_STAGE)
    own_stage = options.get("stage", _DEFAULT_STAGE)
    first = Variables(body, _given(identity, stage or own_stage, options))
    chosen = stage or str(first.resolve(written_stage))
    resolved = Variables(body, _given(identity, chosen, options)).resolve(dict(body))
    return _Service(resolved, chosen).template()


def _given(identity: Api, stage: str, options: Mapping[str, str]) -> Given:
    return Given(stage, identity.region, identity.account_id, options, os.environ)


class _Service:
    """A service whose variables have values."""

    def __init__(self, body: Mapping[str, Any], stage: str) -> None:
        self._body = body
        self._stage = stage
        self._provider = _object(body, "provider")
        service = body["service"]
        self._name = str(service.get("name", "service") if isinstance(service, dict) else service)
        self._notes: list[str] = []

    def template(self) -> tuple[dict[str, Any], list[str]]:
        resources: Resources = {}
        functions = _object(self._body, "functions")
        for name, function in functions.items():
            if not isinstance(function, dict):
                raise ConfigError(
                    f"serverless.yml: function {name}: got {shown(function)}; allowed: a handler and events"
                )
            resources[_logical_id(name)] = self._function(name, function)
        routes = [(name, event) for name, each in functions.items() for event in self._websocket_events(name, each)]
        if routes:
            resources |= self._api()
            for name, event in routes:
                resources |= self._route(name, event)
        resources[_ROLE] = self._role()
        for plugin in _list(self._body.get("plugins")):
            if plugin not in _HARMLESS_PLUGINS:
                self._notes.append(f"serverless.yml: plugin {plugin}: not run locally")
        for logical_id, own in self._own_resources().items():
            resources[logical_id] = _merged(resources.get(logical_id, {}), own)
        return {"Resources": resources}, self._notes

    # --- functions ----------------------------------------------------------------------------------------------------

    def _function(self, name: str, function: Mapping[str, Any]) -> dict[str, Any]:
        variables = {**_object(self._provider, "environment"), **_object(function, "environment")}
        handler = function.get("handler")
        properties = {
            "FunctionName": function.get("name", f"{self._name}-{self._stage}-{name}"),
            "Handler": handler,
            "Runtime": function.get("runtime", self._provider.get("runtime", "nodejs20.x")),
            "Code": self._code(function),
            "Timeout": function.get("timeout", self._provider.get("timeout", _DEFAULT_TIMEOUT_SECONDS)),
            "MemorySize": function.get("memorySize", self._provider.get("memorySize", _DEFAULT_MEMORY_MB)),
            "Environment": {"Variables": variables},
            "Layers": function.get("layers", self._provider.get("layers", [])),
            "Role": {"Fn::GetAtt": [_ROLE, "Arn"]},
        }
        if "image" in function:
            properties |= {"PackageType": "Image", "Code": {"ImageUri": "an image"}}
        return {"Type": references.FUNCTION, "Properties": properties}

    def _code(self, function: Mapping[str, Any]) -> Any:
        for package in (_object(function, "package"), _object(self._body, "package")):
            if isinstance(artifact := package.get("artifact"), str):
                return artifact
        return "."

    def _role(self) -> dict[str, Any]:
        role = _object(_object(self._provider, "iam"), "role")
        statements = [*_list(role.get("statements")), *_list(self._provider.get("iamRoleStatements"))]
        # Every function may write logs and post to connections: the framework adds both.
        own = {"Effect": "Allow", "Action": ["logs:*", "execute-api:ManageConnections"], "Resource": "*"}
        document = {"Version": "2012-10-17", "Statement": [own, *statements]}
        policies = [{"PolicyName": "own", "PolicyDocument": document}]
        managed = _list(role.get("managedPolicies"))
        return {"Type": "AWS::IAM::Role", "Properties": {"Policies": policies, "ManagedPolicyArns": managed}}

    # --- the API ------------------------------------------------------------------------------------------------------

    def _websocket_events(self, name: str, function: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for event in _list(function.get("events")):
            match event:
                case {"websocket": str(route)}:
                    yield {"route": route}
                case {"websocket": {"route": _} as given}:
                    yield given
                case "websocket" | {"websocket": _}:
                    raise ConfigError(
                        f"serverless.yml: function {name}: websocket: got {shown(event)}; allowed: a route"
                    )
                case dict():
                    self._notes.append(
                        f"serverless.yml: function {name}: event {next(iter(event), '')}: not emulated locally"
                    )
                case _:
                    self._notes.append(f"serverless.yml: function {name}: event {event}: not emulated locally")

    def _api(self) -> Resources:
        selection = self._provider.get("websocketsApiRouteSelectionExpression", _DEFAULT_SELECTION)
        own = {"ApiId": {"Ref": API}}
        return {
            API: _resource(
                references.API,
                Name=self._provider.get("websocketsApiName", f"{self._stage}-{self._name}-websockets"),
                ProtocolType="WEBSOCKET",
                RouteSelectionExpression=selection,
            ),
            "WebsocketsDeploymentStage": _resource(references.STAGE, StageName=self._stage, AutoDeploy=True, **own),
        }

    def _route(self, name: str, event: Mapping[str, Any]) -> Resources:
        function, key = _logical_id(name), str(event["route"])
        uri = {
            "Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/"
            f"${{{function}.Arn}}/invocations"
        }
        own = {"ApiId": {"Ref": API}}
        route = f"{_route_id(key)}WebsocketsRoute"
        properties: dict[str, Any] = {
            "RouteKey": key,
            "Target": {"Fn::Sub": f"integrations/${{{_normalized(name)}WebsocketsIntegration}}"},
            **own,
        }
        made: Resources = {
            f"{_normalized(name)}WebsocketsIntegration": _resource(
                references.INTEGRATION, IntegrationType="AWS_PROXY", IntegrationUri=uri, **own
            ),
            f"{function}PermissionWebSockets": _resource(
                "AWS::Lambda::Permission",
                Action="lambda:InvokeFunction",
                FunctionName={"Fn::GetAtt": [function, "Arn"]},
                Principal="apigateway.amazonaws.com",
            ),
        }
        if event.get("routeResponseSelectionExpression"):
            properties["RouteResponseSelectionExpression"] = event["routeResponseSelectionExpression"]
            made[f"{route}Response"] = _resource(
                references.ROUTE_RESPONSE, RouteId={"Ref": route}, RouteResponseKey="$default", **own
            )
        if (authorizer := event.get("authorizer")) is not None:
            made["WebsocketsAuthorizer"] = _authorizer(authorizer, own)
            properties |= {"AuthorizationType": "CUSTOM", "AuthorizerId": {"Ref": "WebsocketsAuthorizer"}}
        return {**made, route: _resource(references.ROUTE, **properties)}

    def _own_resources(self) -> Resources:
        merged: Resources = {}
        for part in _list(self._body.get("resources")):
            merged |= _object(part, "Resources") if isinstance(part, dict) else {}
        return merged


def _authorizer(written: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    name: Any = written
    sources: Any = [_DEFAULT_SOURCE]
    if isinstance(written, dict):
        name = written.get("name") or written.get("arn")
        sources = _list(written.get("identitySource", sources))
    uri: Any = name
    if isinstance(name, str) and not name.startswith("arn:"):
        uri = {"Fn::GetAtt": [_logical_id(name), "Arn"]}
    return _resource(references.AUTHORIZER, AuthorizerType="REQUEST", AuthorizerUri=uri, IdentitySource=sources, **own)


def _merged(made: dict[str, Any], own: Any) -> dict[str, Any]:
    """Return a resource of the framework with the properties that the file's own `resources` give it."""
    if not made or not isinstance(own, dict):
        return own if isinstance(own, dict) else {}
    return {**made, **own, "Properties": {**made["Properties"], **_object(own, "Properties")}}


def _resource(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": properties}


def _normalized(name: str) -> str:
    """Return a function's name as the framework writes it into logical ids."""
    text = name.replace("-", "Dash").replace("_", "Underscore")
    return text[:1].upper() + text[1:]


def _logical_id(name: str) -> str:
    return f"{_normalized(name)}LambdaFunction"


def _route_id(key: str) -> str:
    return "S" + "".join(character if character.isalnum() else f"x{ord(character):x}" for character in key)


def _object(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = of.get(name) or {}
    if isinstance(value, list):
        # Functions and environments may be a list of objects.
        value = {key: each for part in value if isinstance(part, dict) for key, each in part.items()}
    if not isinstance(value, dict):
        raise ConfigError(f"serverless.yml: {name}: got {shown(value)}; allowed: an object")
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
