"""Resources of a template that do not run here: one note for each that a user might miss."""

from typing import Final

from tellwire.apigateway.template.invocations import READ as INVOCATIONS
from tellwire.apigateway.template.references import API, is_websocket_api
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.services import CREATED
from tellwire.apigateway.template.stack import Stack

_READ: Final = (
    *CREATED,
    *INVOCATIONS,
    "AWS::Lambda::Function",
    "AWS::Lambda::LayerVersion",
    "AWS::Lambda::Version",
    "AWS::Lambda::Alias",
    "AWS::Lambda::Url",
    "AWS::DynamoDB::Table",
    "AWS::DynamoDB::GlobalTable",
)
# Permissions, logs, alarms, networks, names, and small parts of an API: without them, everything else behaves the same.
_HARMLESS: Final = (
    "AWS::ApiGateway::",
    "AWS::ApiGatewayV2::",
    "AWS::ApplicationAutoScaling::",
    "AWS::CDK::",
    "AWS::CertificateManager::",
    "AWS::CloudFormation::WaitCondition",
    "AWS::CloudWatch::",
    "AWS::CodeDeploy::",
    "AWS::Cognito::UserPoolDomain",
    "AWS::EC2::",
    "AWS::IAM::",
    "AWS::KMS::",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::LayerVersionPermission",
    "AWS::Lambda::Permission",
    "AWS::Logs::",
    "AWS::Route53::",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Scheduler::ScheduleGroup",
    "AWS::WAFv2::",
    "Custom::LogRetention",
    "Custom::S3AutoDeleteObjects",
)
# Exceptions from `_HARMLESS`.
_NOT_HARMLESS: Final = ("AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::DomainName")


def note_unsupported(stack: Stack) -> None:
    """Add a note for each resource that is not emulated."""
    for resource in stack.resources():
        if _is_missed(resource):
            stack.note(f"{resource}: not emulated locally")


def _is_missed(resource: Resource) -> bool:
    if resource.type == API:
        return not is_websocket_api(resource)
    if resource.type in _NOT_HARMLESS:
        return True
    return resource.type not in _READ and not resource.type.startswith(_HARMLESS)
