"""What a template has that does not run here: one note for each thing that someone might miss."""

from typing import Final

from tellwire.apigateway.template.references import API, is_websocket_api
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack

_READ: Final = (
    "AWS::Lambda::Function",
    "AWS::Lambda::LayerVersion",
    "AWS::Lambda::Version",
    "AWS::Lambda::Alias",
    "AWS::DynamoDB::Table",
    "AWS::DynamoDB::GlobalTable",
)
# Permissions, logs, alarms, networks, names, and the small parts of an API: nothing behaves otherwise without them.
_HARMLESS: Final = (
    "AWS::ApiGateway::",
    "AWS::ApiGatewayV2::",
    "AWS::ApplicationAutoScaling::",
    "AWS::CDK::",
    "AWS::CertificateManager::",
    "AWS::CloudFormation::WaitCondition",
    "AWS::CloudWatch::",
    "AWS::CodeDeploy::",
    "AWS::EC2::",
    "AWS::IAM::",
    "AWS::KMS::",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::LayerVersionPermission",
    "AWS::Lambda::Permission",
    "AWS::Logs::",
    "AWS::Route53::",
    "AWS::WAFv2::",
    "Custom::LogRetention",
    "Custom::S3AutoDeleteObjects",
)
_MISSED_NEVERTHELESS: Final = ("AWS::ApiGateway::RestApi", "AWS::ApiGatewayV2::DomainName")


def note_leftovers(stack: Stack) -> None:
    """Note what is not emulated."""
    for resource in stack.resources():
        if _is_missed(resource):
            stack.note(f"{resource}: not emulated locally")


def _is_missed(resource: Resource) -> bool:
    if resource.type == API:
        return not is_websocket_api(resource)
    if resource.type in _MISSED_NEVERTHELESS:
        return True
    return resource.type not in _READ and not resource.type.startswith(_HARMLESS)
