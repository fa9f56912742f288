"""Permissions of functions: does a template's policy allow a call? Pure.

As IAM decides, with two differences: a condition is taken to hold, and a resource that is not known here is taken to
match. So nothing is reported that AWS might allow.

Source: IAM user guide, "Policy evaluation logic"; service authorization reference.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tellwire.apigateway.definition import ACCOUNT_ID
from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.definition import Policy

_WITHOUT_PERMISSION: Final = frozenset(
    {
        "sts:GetCallerIdentity",
        "cognito-idp:InitiateAuth",
        "cognito-idp:RespondToAuthChallenge",
        "cognito-idp:SignUp",
        "cognito-idp:ConfirmSignUp",
        "cognito-idp:GetUser",
        "cognito-idp:ForgotPassword",
        "cognito-idp:ConfirmForgotPassword",
        "cognito-idp:",
    }
)
"""Actions that need no permission, or that are not signed."""

_ARNS: Final[Mapping[str, str]] = {
    "dynamodb": "arn:aws:dynamodb:{region}:{account}:table/{name}",
    "sqs": "arn:aws:sqs:{region}:{account}:{name}",
    "sns": "arn:aws:sns:{region}:{account}:{name}",
    "lambda": "arn:aws:lambda:{region}:{account}:function:{name}",
}

_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "dynamodb:TransactWriteItems": ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"),
    "dynamodb:TransactGetItems": ("dynamodb:GetItem",),
    "dynamodb:ExecuteStatement": ("dynamodb:PartiQLSelect", "dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate"),
    "sqs:SendMessageBatch": ("sqs:SendMessage",),
    "sqs:DeleteMessageBatch": ("sqs:DeleteMessage",),
    "sqs:ChangeMessageVisibilityBatch": ("sqs:ChangeMessageVisibility",),
    "sns:PublishBatch": ("sns:Publish",),
}
"""Actions whose permissions have other names; any one of them is enough here."""


def denied_permission(policy: Policy, call: AwsCall, region: str) -> str | None:
    """Return the permission that a call needs and that no policy allows; None if it is allowed, or not known."""
    if not policy.is_complete or not call.action or call.permission in _WITHOUT_PERMISSION:
        return None
    needed = _ACTIONS.get(call.permission, (call.permission,))
    arn = _arn(call, region)
    if any(_allows(policy.statements, action, arn) for action in needed):
        return None
    return needed[0]


def _allows(statements: Iterable[Mapping[str, Any]], action: str, arn: str | None) -> bool:
    allowed = False
    for statement in statements:
        if _names_action(statement, action) and _names_resource(statement, arn):
            if statement.get("Effect") == "Deny":
                if "Condition" not in statement and arn is not None:
                    return False
            else:
                allowed = True
    return allowed


def _names_action(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not _matches(statement["NotAction"], action, ignores_case=True)
    return _matches(statement.get("Action"), action, ignores_case=True)


def _names_resource(statement: Mapping[str, Any], arn: str | None) -> bool:
    if arn is None or "NotResource" in statement:
        return True
    return _matches(statement.get("Resource"), arn, unknown=True)


def _matches(patterns: Any, text: str, *, ignores_case: bool = False, unknown: bool = False) -> bool:
    for pattern in patterns if isinstance(patterns, list) else [patterns]:
        if not isinstance(pattern, str):
            if unknown:
                return True
            continue
        expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(expression, text, re.IGNORECASE if ignores_case else 0):
            return True
    return False


def _arn(call: AwsCall, region: str) -> str | None:
    """Return the ARN of a call's resource; None if it is not known, so that every resource matches."""
    form, name = _ARNS.get(call.service), call.resource
    if form is None or not name or call.permission == "dynamodb:TransactWriteItems":
        return None
    if name.startswith("arn:"):
        # Of a function perhaps with a version or an alias.
        return ":".join(name.split(":")[:7]) if call.service == "lambda" else name
    if call.service == "lambda" and ":" in name:
        return None
    return form.format(region=region, account=ACCOUNT_ID, name=name.rpartition("/")[2])
