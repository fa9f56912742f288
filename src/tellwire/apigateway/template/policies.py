"""Policies of functions, as the template has them in their roles: SAM's policy templates are already translated.

Source: CloudFormation template reference, "AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"; AWS managed
policy reference.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tellwire.apigateway.services.definition import Policy
from tellwire.apigateway.template.intrinsics import Unresolved
from tellwire.apigateway.template.references import FUNCTION
from tellwire.apigateway.template.resource import Resource
from tellwire.apigateway.template.stack import Stack

_ROLE: Final = "AWS::IAM::Role"
_ATTACHED: Final = ("AWS::IAM::Policy", "AWS::IAM::RolePolicy", "AWS::IAM::ManagedPolicy")

_MANAGED: Final[Mapping[str, tuple[str, ...]]] = {
    "AWSLambdaBasicExecutionRole": (),
    "AWSLambdaVPCAccessExecutionRole": (),
    "AWSXrayWriteOnlyAccess": (),
    "AWSXRayDaemonWriteAccess": (),
    "CloudWatchLambdaInsightsExecutionRolePolicy": (),
    "AWSLambdaSQSQueueExecutionRole": ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    "AWSLambdaDynamoDBExecutionRole": (
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
    ),
    "AmazonDynamoDBFullAccess": ("dynamodb:*",),
    "AmazonDynamoDBFullAccess_v2": ("dynamodb:*",),
    "AmazonSQSFullAccess": ("sqs:*",),
    "AmazonSNSFullAccess": ("sns:*",),
    "AmazonSSMFullAccess": ("ssm:*",),
    "AmazonSSMReadOnlyAccess": ("ssm:Describe*", "ssm:Get*", "ssm:List*"),
    "SecretsManagerReadWrite": ("secretsmanager:*",),
    "AmazonEventBridgeFullAccess": ("events:*", "scheduler:*"),
    "AmazonCognitoPowerUser": ("cognito-idp:*", "cognito-identity:*"),
    "AmazonAPIGatewayInvokeFullAccess": ("execute-api:*",),
    "AWSLambda_FullAccess": ("lambda:*",),
    "AWSLambdaRole": ("lambda:InvokeFunction",),
    "AdministratorAccess": ("*",),
    "PowerUserAccess": ("*",),
}
"""Actions of AWS's managed policies; of others we know nothing."""


def read_policies(stack: Stack) -> dict[str, Policy]:
    """Return the policies of the template's functions, by logical id."""
    roles = {role.logical_id: role for role in stack.resources(_ROLE)}
    policies = {}
    for function in stack.resources(FUNCTION):
        role = roles.get(_logical_id(function.properties.get("Role")) or "")
        policies[function.logical_id] = Policy(is_complete=False) if role is None else _of_role(stack, role)
    return policies


def _of_role(stack: Stack, role: Resource) -> Policy:
    statements: list[Mapping[str, Any]] = []
    is_complete = "PermissionsBoundary" not in role.properties
    for document in (*_own_documents(role), *_attached(stack, role)):
        read = list(_statements(role, document))
        statements += [each for each in read if each is not None]
        is_complete = is_complete and None not in read
    for managed in _listed(role.properties.get("ManagedPolicyArns")):
        actions = _managed_actions(stack, role, managed)
        if actions is None:
            is_complete = False
        elif actions:
            statements.append({"Effect": "Allow", "Action": list(actions), "Resource": "*"})
    return Policy(tuple(statements), is_complete)


def _own_documents(role: Resource) -> Iterator[Any]:
    for policy in _listed(role.properties.get("Policies")):
        # An `Fn::If` around a whole policy is not followed.
        yield policy.get("PolicyDocument") if isinstance(policy, dict) else None


def _attached(stack: Stack, role: Resource) -> Iterator[Any]:
    for policy in stack.resources(*_ATTACHED):
        named = [*_listed(policy.properties.get("Roles")), policy.properties.get("RoleName")]
        if any(_logical_id(each) == role.logical_id for each in named):
            yield policy.properties.get("PolicyDocument")
    for written in _listed(role.properties.get("ManagedPolicyArns")):
        if (own := _own_managed(stack, written)) is not None:
            yield own.properties.get("PolicyDocument")


def _own_managed(stack: Stack, written: Any) -> Resource | None:
    return stack.resource(_logical_id(written) or "", "AWS::IAM::ManagedPolicy")


def _managed_actions(stack: Stack, role: Resource, written: Any) -> tuple[str, ...] | None:
    try:
        arn = str(role.resolve(written))
    except Unresolved:
        return None if _own_managed(stack, written) is None else ()  # its statements are among the attached ones
    return _MANAGED.get(arn.rpartition("/")[2]) if ":aws:policy/" in arn else None


def _statements(role: Resource, document: Any) -> Iterator[Mapping[str, Any] | None]:
    """Yield the statements of a document; None in place of one that cannot be read."""
    if not isinstance(document, dict):
        yield None
        return
    written = document.get("Statement")
    for statement in written if isinstance(written, list) else [written]:
        if not isinstance(statement, dict) or "Fn::If" in statement:
            yield None
            continue
        read = {name: [_value(role, each) for each in _listed(statement[name])] for name in _LISTS if name in statement}
        actions = read.get("Action", read.get("NotAction"))
        has_all = actions is not None and None not in actions
        yield {**statement, **read} if has_all else None


_LISTS: Final = ("Action", "NotAction", "Resource", "NotResource")


def _value(role: Resource, written: Any) -> Any:
    try:
        return role.resolve(written)
    except Unresolved:
        return None


def _listed(written: Any) -> list[Any]:
    if written is None:
        return []
    return written if isinstance(written, list) else [written]


def _logical_id(written: Any) -> str | None:
    match written:
        case {"Ref": str(name)}:
            return name
        case {"Fn::GetAtt": [str(name), *_]}:
            return name
        case {"Fn::GetAtt": str(name)}:
            return name.partition(".")[0]
        case _:
            return None
