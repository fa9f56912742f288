"""Local values of `Ref` and `Fn::GetAtt`: names, ids and ARNs of resources in AWS's forms. Pure.

The values are the same for the same template. Types of resources that are not listed here have no local name.

Source: CloudFormation template reference, "Return values" of each resource type.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tellwire.apigateway.definition import Api
from tellwire.apigateway.template.intrinsics import Unresolved, text
from tellwire.apigateway.template.resource import Resource

API: Final = "AWS::ApiGatewayV2::Api"
STAGE: Final = "AWS::ApiGatewayV2::Stage"
ROUTE: Final = "AWS::ApiGatewayV2::Route"
ROUTE_RESPONSE: Final = "AWS::ApiGatewayV2::RouteResponse"
MODEL: Final = "AWS::ApiGatewayV2::Model"
INTEGRATION: Final = "AWS::ApiGatewayV2::Integration"
INTEGRATION_RESPONSE: Final = "AWS::ApiGatewayV2::IntegrationResponse"
AUTHORIZER: Final = "AWS::ApiGatewayV2::Authorizer"
API_KEY: Final = "AWS::ApiGateway::ApiKey"
PARAMETER: Final = "AWS::SSM::Parameter"
APPLICATION: Final = "AWS::Serverless::Application"
NESTED_STACK: Final = "AWS::CloudFormation::Stack"
FUNCTION: Final = "AWS::Lambda::Function"
FUNCTION_URL: Final = "AWS::Lambda::Url"
ALIAS: Final = "AWS::Lambda::Alias"
VERSION: Final = "AWS::Lambda::Version"
LAYER: Final = "AWS::Lambda::LayerVersion"
TABLE: Final = "AWS::DynamoDB::Table"
GLOBAL_TABLE: Final = "AWS::DynamoDB::GlobalTable"

USER_POOL: Final = "AWS::Cognito::UserPool"
USER_POOL_CLIENT: Final = "AWS::Cognito::UserPoolClient"

_BUCKET: Final = "AWS::S3::Bucket"
_ACCOUNT = "{region}:{account}"


@dataclass(frozen=True, slots=True)
class _Kind:
    """Names of the resources of one type. `name_property` None: their name is the logical id."""

    name_property: str | None = None
    ref: str = "{name}"
    attributes: Mapping[str, str] = field(default_factory=dict)


def _kind(
    name_property: str | None, arn: str, ref: str = "{name}", *, arn_attribute: str = "Arn", **more: str
) -> _Kind:
    named = {name_property: "{name}"} if name_property else {}
    return _Kind(name_property, ref, {arn_attribute: arn, **named, **more})


_FUNCTION_ARN = f"arn:aws:lambda:{_ACCOUNT}:function:{{name}}"
_TABLE_ARN = f"arn:aws:dynamodb:{_ACCOUNT}:table/{{name}}"
_TABLE = _kind("TableName", _TABLE_ARN, StreamArn=f"{_TABLE_ARN}/stream/2024-01-01T00:00:00.000")
_TOPIC_ARN = f"arn:aws:sns:{_ACCOUNT}:{{name}}"
_SECRET_ARN = f"arn:aws:secretsmanager:{_ACCOUNT}:secret:{{name}}"
_MACHINE_ARN = f"arn:aws:states:{_ACCOUNT}:stateMachine:{{name}}"
_QUEUE_ARN = f"arn:aws:sqs:{_ACCOUNT}:{{name}}"
_QUEUE_URL = "https://sqs.{region}.amazonaws.com/{account}/{name}"

_KINDS: Final[Mapping[str, _Kind]] = {
    STAGE: _Kind("StageName"),
    ROUTE: _Kind(attributes={"RouteId": "{name}"}),
    ROUTE_RESPONSE: _Kind(attributes={"RouteResponseId": "{name}"}),
    MODEL: _Kind(attributes={"ModelId": "{name}"}),
    INTEGRATION: _Kind(attributes={"IntegrationId": "{name}"}),
    AUTHORIZER: _Kind(attributes={"AuthorizerId": "{name}"}),
    FUNCTION: _kind("FunctionName", _FUNCTION_ARN),
    FUNCTION_URL: _Kind(attributes={"FunctionUrl": "https://{name}.lambda-url.{region}.on.aws/"}),
    # By logical id, not by LayerName: the resource is found by this ARN again.
    LAYER: _Kind(ref=f"arn:aws:lambda:{_ACCOUNT}:layer:{{name}}:1"),
    TABLE: _TABLE,
    GLOBAL_TABLE: _TABLE,
    "AWS::SQS::Queue": _kind("QueueName", _QUEUE_ARN, _QUEUE_URL, QueueUrl=_QUEUE_URL, QueueName="{name}"),
    "AWS::SNS::Topic": _kind("TopicName", _TOPIC_ARN, _TOPIC_ARN, arn_attribute="TopicArn", TopicName="{name}"),
    _BUCKET: _kind("BucketName", "arn:aws:s3:::{name}"),
    USER_POOL: _kind(
        None,
        f"arn:aws:cognito-idp:{_ACCOUNT}:userpool/{{name}}",
        UserPoolId="{name}",
        ProviderName="cognito-idp.{region}.amazonaws.com/{name}",
        ProviderURL="https://cognito-idp.{region}.amazonaws.com/{name}",
    ),
    USER_POOL_CLIENT: _Kind(attributes={"ClientId": "{name}"}),
    "AWS::Cognito::UserPoolGroup": _Kind("GroupName"),
    "AWS::SecretsManager::Secret": _kind("Name", _SECRET_ARN, _SECRET_ARN, arn_attribute="Id"),
    PARAMETER: _Kind("Name"),
    "AWS::Events::EventBus": _kind("Name", f"arn:aws:events:{_ACCOUNT}:event-bus/{{name}}"),
    "AWS::Events::Rule": _kind("Name", f"arn:aws:events:{_ACCOUNT}:rule/{{name}}"),
    "AWS::Scheduler::Schedule": _kind("Name", f"arn:aws:scheduler:{_ACCOUNT}:schedule/default/{{name}}"),
    "AWS::Kinesis::Stream": _kind("Name", f"arn:aws:kinesis:{_ACCOUNT}:stream/{{name}}"),
    "AWS::StepFunctions::StateMachine": _kind("StateMachineName", _MACHINE_ARN, _MACHINE_ARN),
    "AWS::KMS::Key": _kind(None, f"arn:aws:kms:{_ACCOUNT}:key/{{name}}", KeyId="{name}"),
    "AWS::IAM::Role": _kind("RoleName", "arn:aws:iam::{account}:role/{name}"),
    "AWS::Logs::LogGroup": _kind("LogGroupName", f"arn:aws:logs:{_ACCOUNT}:log-group:{{name}}:*"),
}


def reference(resource: Resource, identity: Api) -> str:
    """Return the value of `Ref` of a resource.

    Raises:
        Unresolved: the value is not known here.
    """
    if resource.type == API:
        return _of_api(resource, identity)["ApiId"]
    if resource.type in (ALIAS, VERSION):
        qualifier = text(resource.resolved("Name")) if resource.type == ALIAS else "1"
        return f"{_function_arn(resource, identity)}:{qualifier}"
    if (kind := _KINDS.get(resource.type)) is None:
        raise Unresolved(f"{resource} has no name that is known locally")
    return _filled(kind.ref, _name_or_id(resource, identity), identity)


def attribute(resource: Resource, name: str, identity: Api) -> str:
    """Return the value of `Fn::GetAtt` of a resource.

    Raises:
        Unresolved: the value is not known here.
    """
    if resource.type == API:
        attributes = _of_api(resource, identity)
    elif resource.type == VERSION:
        attributes = {"Version": "1"}
    else:
        kind = _KINDS.get(resource.type, _Kind())
        own = _name_or_id(resource, identity)
        attributes = {key: _filled(form, own, identity) for key, form in kind.attributes.items()}
        if resource.type == PARAMETER and name in ("Value", "Type"):
            return text(resource.resolved(name))
    if name not in attributes:
        raise Unresolved(f"{name} of {resource} is not known locally")
    return attributes[name]


def name_of(resource: Resource) -> str:
    """Return the name of a resource: the name in the template, or its logical id.

    Functions and tables run here, so any name will do: they have their logical id if their name is not known.

    Raises:
        Unresolved: the name is not known, and the resource is on AWS.
    """
    try:
        # Names of buckets are in lower case.
        own_id = resource.logical_id.lower() if resource.type == _BUCKET else resource.logical_id
        return given_name(resource) or f"{own_id}{_fifo_suffix(resource)}"
    except Unresolved:
        if resource.type in (FUNCTION, TABLE, GLOBAL_TABLE):
            return resource.logical_id
        raise


def _name_or_id(resource: Resource, identity: Api) -> str:
    """Return the name of a resource, or an id in AWS's form, the same for the same template."""
    if resource.type not in (USER_POOL, USER_POOL_CLIENT):
        return name_of(resource)
    digest = hashlib.sha256(f"{resource.stack}/{resource.logical_id}".encode()).hexdigest()
    return f"{identity.region}_{digest[:9]}" if resource.type == USER_POOL else digest[:26]


def _fifo_suffix(resource: Resource) -> str:
    is_fifo = "true" in (str(resource.properties.get(name)).lower() for name in ("FifoQueue", "FifoTopic"))
    return ".fifo" if is_fifo else ""


def given_name(resource: Resource) -> str | None:
    """Return the name in the template; None if AWS chooses the name.

    Raises:
        Unresolved: it is not known here.
    """
    kind = _KINDS.get(resource.type, _Kind())
    given = resource.resolved(kind.name_property) if kind.name_property is not None else None
    return None if given is None else text(given)


def is_websocket_api(resource: Resource) -> bool:
    """Return whether an API is a WebSocket API; an HTTP API has the same type of resource."""
    return resource.type == API and resource.properties.get("ProtocolType") == "WEBSOCKET"


def _of_api(resource: Resource, identity: Api) -> dict[str, str]:
    if not is_websocket_api(resource):
        raise Unresolved(f"{resource} is not a WebSocket API, so it has no id locally")
    return {"ApiId": identity.api_id, "ApiEndpoint": f"wss://{identity.execute_api_host}"}


def _function_arn(resource: Resource, identity: Api) -> str:
    function = text(resource.resolved("FunctionName"))
    return function if function.startswith("arn:") else _filled(_FUNCTION_ARN, function, identity)


def _filled(form: str, name: str, identity: Api) -> str:
    return form.format(name=name, region=identity.region, account=identity.account_id)
