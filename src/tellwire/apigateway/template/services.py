"""Resources of services that functions call: queues, topics, parameters, secrets, event buses, and user pools.

Each becomes a call that creates it under the name or the id that `Ref` and `Fn::GetAtt` give.

Source: CloudFormation template reference of each type; the API references of the services.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tellwire.apigateway.services.definition import Creation, GeneratedSecret
from tellwire.apigateway.template import references
from tellwire.apigateway.template.intrinsics import NO_VALUE, Unresolved, text
from tellwire.apigateway.template.resource import LeftOut, Resource
from tellwire.apigateway.template.stack import Stack
from tellwire.errors import ConfigError

_QUEUE_ATTRIBUTES: Final = (
    "ContentBasedDeduplication",
    "DelaySeconds",
    "FifoQueue",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "VisibilityTimeout",
)
_POOL_PROPERTIES: Final = (
    "AliasAttributes",
    "AutoVerifiedAttributes",
    "MfaConfiguration",
    "Schema",
    "UsernameAttributes",
)
_CLIENT_PROPERTIES: Final = (
    "AllowedOAuthFlows",
    "AllowedOAuthScopes",
    "CallbackURLs",
    "ExplicitAuthFlows",
    "ReadAttributes",
    "SupportedIdentityProviders",
)


def read_creations(stack: Stack) -> Iterator[Creation]:
    """Yield the calls that create the resources, those first that others refer to. Others are noted."""
    for resource_type, read in _READERS:
        for resource in stack.resources(resource_type):
            try:
                yield from read(resource)
            except (ConfigError, Unresolved) as error:
                stack.note(f"{resource}: is left out: {error}")
            except (AttributeError, KeyError, TypeError, ValueError):
                stack.note(f"{resource}: is left out: its properties have another form than AWS's")


def _queue(resource: Resource) -> Iterator[Creation]:
    attributes = {name: text(resource.value(name)) for name in _QUEUE_ATTRIBUTES if name in resource.properties}
    if attributes.get("FifoQueue") == "false":
        del attributes["FifoQueue"]
    yield Creation(
        f"{resource}", "sqs", "create_queue", {"QueueName": references.name_of(resource), "Attributes": attributes}
    )


def _redrive(resource: Resource) -> Iterator[Creation]:
    policy = resource.value("RedrivePolicy")
    if policy is not None:
        value = policy if isinstance(policy, str) else json.dumps(policy)
        name = references.name_of(resource)
        attributes = {"RedrivePolicy": value}
        yield Creation(f"{resource}", "sqs", "set_queue_attributes", {"QueueUrl": name, "Attributes": attributes})


def _topic(resource: Resource) -> Iterator[Creation]:
    attributes = {"FifoTopic": "true"} if resource.flag("FifoTopic") else {}
    name = references.name_of(resource)
    yield Creation(f"{resource}", "sns", "create_topic", {"Name": name, "Attributes": attributes})


def _subscriptions_of_topic(resource: Resource) -> Iterator[Creation]:
    for subscription in resource.value("Subscription") or ():
        arn = resource.resolve({"Ref": resource.logical_id})
        yield _subscription(resource, str(arn), subscription["Protocol"], subscription["Endpoint"], {})


def _subscription_resource(resource: Resource) -> Iterator[Creation]:
    attributes = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name in ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery")
        if (value := resource.value(name)) is not None
    }
    protocol, endpoint = resource.text("Protocol"), resource.text("Endpoint")
    yield _subscription(resource, resource.text("TopicArn"), protocol, endpoint, attributes)


def _subscription(
    resource: Resource, topic: str, protocol: str, endpoint: str, attributes: Mapping[str, str]
) -> Creation:
    if protocol not in ("sqs", "lambda"):
        raise ConfigError(f"Protocol: got {protocol}; allowed here: sqs, lambda")
    parameters = {"TopicArn": topic, "Protocol": protocol, "Endpoint": endpoint, "Attributes": dict(attributes)}
    return Creation(f"{resource}", "sns", "subscribe", parameters)


def _parameter(resource: Resource) -> Iterator[Creation]:
    parameters = {"Name": references.name_of(resource), "Type": resource.text("Type"), "Value": resource.text("Value")}
    yield Creation(f"{resource}", "ssm", "put_parameter", parameters)


def _secret(resource: Resource) -> Iterator[Creation]:
    parameters: dict[str, Any] = {"Name": references.name_of(resource)}
    generated = None
    match resource.value("GenerateSecretString"):
        case dict(wanted):
            generated = GeneratedSecret(
                int(wanted.get("PasswordLength", 32)),
                wanted.get("SecretStringTemplate"),
                wanted.get("GenerateStringKey"),
            )
        case _:
            parameters["SecretString"] = resource.text("SecretString", "")
    yield Creation(f"{resource}", "secretsmanager", "create_secret", parameters, generated=generated)


def _bus(resource: Resource) -> Iterator[Creation]:
    yield Creation(f"{resource}", "events", "create_event_bus", {"Name": references.name_of(resource)})


def _pool(resource: Resource) -> Iterator[Creation]:
    parameters = {"PoolName": _optional(resource, "UserPoolName") or resource.logical_id}
    parameters |= _properties(resource, _POOL_PROPERTIES)
    yield Creation(f"{resource}", "cognito-idp", "create_user_pool", parameters, wanted_id=_reference_to(resource))


def _client(resource: Resource) -> Iterator[Creation]:
    parameters = {
        "UserPoolId": resource.text("UserPoolId"),
        "ClientName": _optional(resource, "ClientName") or resource.logical_id,
        "GenerateSecret": resource.flag("GenerateSecret"),
    }
    parameters |= _properties(resource, _CLIENT_PROPERTIES)
    yield Creation(
        f"{resource}", "cognito-idp", "create_user_pool_client", parameters, wanted_id=_reference_to(resource)
    )


def _group(resource: Resource) -> Iterator[Creation]:
    parameters = {"UserPoolId": resource.text("UserPoolId"), "GroupName": resource.text("GroupName")}
    yield Creation(f"{resource}", "cognito-idp", "create_group", parameters)


_READERS: Final[tuple[tuple[str, Callable[[Resource], Iterator[Creation]]], ...]] = (
    ("AWS::SQS::Queue", _queue),
    ("AWS::SQS::Queue", _redrive),
    ("AWS::SNS::Topic", _topic),
    ("AWS::SNS::Topic", _subscriptions_of_topic),
    ("AWS::SNS::Subscription", _subscription_resource),
    ("AWS::SSM::Parameter", _parameter),
    ("AWS::SecretsManager::Secret", _secret),
    ("AWS::Events::EventBus", _bus),
    ("AWS::Cognito::UserPool", _pool),
    ("AWS::Cognito::UserPoolClient", _client),
    ("AWS::Cognito::UserPoolGroup", _group),
)

CREATED: Final = frozenset(resource_type for resource_type, _ in _READERS)
"""Types of resources that exist here."""


def _properties(resource: Resource, names: tuple[str, ...]) -> dict[str, Any]:
    """Return optional properties, without those that only AWS knows: URLs of pages are not needed here."""
    found = {}
    for name in names:
        with contextlib.suppress(LeftOut):
            if (value := resource.value(name)) is not None:
                found[name] = value
    return found


def _optional(resource: Resource, name: str) -> str | None:
    value = resource.resolved(name)
    return None if value is None or value is NO_VALUE else text(value)


def _reference_to(resource: Resource) -> str:
    return str(resource.resolve({"Ref": resource.logical_id}))
