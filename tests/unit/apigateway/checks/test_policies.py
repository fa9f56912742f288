"""Calls that a template's policies do not allow."""

from typing import Any

import pytest

from tellwire.apigateway.checks.policies import denied_permission
from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.definition import Policy

TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table/rows"


def denied(call: AwsCall, *statements: dict[str, Any], is_complete: bool = True) -> str | None:
    return denied_permission(Policy(statements, is_complete), call, "us-east-1")


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


PUT = AwsCall("dynamodb", "PutItem", "us-east-1", "rows")


@pytest.mark.parametrize(
    "statement",
    [
        allow("dynamodb:PutItem"),
        allow(["dynamodb:GetItem", "dynamodb:Put*"], [TABLE, f"{TABLE}/index/*"]),
        allow("DynamoDB:putitem", TABLE),
        allow("*", "arn:aws:dynamodb:*:*:table/r?ws"),
        allow("dynamodb:*", [None]),
        {"Effect": "Allow", "NotAction": "dynamodb:DeleteItem", "Resource": "*"},
    ],
)
def test_a_statement_that_fits_allows(statement: dict[str, Any]) -> None:
    assert denied(PUT, statement) is None


@pytest.mark.parametrize(
    "statement",
    [
        allow("dynamodb:GetItem"),
        allow("dynamodb:PutItem", f"{TABLE}2"),
        allow("dynamodb:PutItem", f"{TABLE}/index/*"),
        {"Effect": "Allow", "NotAction": "dynamodb:*", "Resource": "*"},
    ],
)
def test_a_statement_about_something_else_does_not(statement: dict[str, Any]) -> None:
    assert denied(PUT, statement) == "dynamodb:PutItem"


def test_without_a_statement_nothing_is_allowed() -> None:
    assert denied(PUT) == "dynamodb:PutItem"


def test_a_deny_wins() -> None:
    assert denied(PUT, allow("*"), {"Effect": "Deny", "Action": "dynamodb:*", "Resource": TABLE}) == "dynamodb:PutItem"


def test_a_deny_with_a_condition_is_not_held_against_a_call() -> None:
    statement = {"Effect": "Deny", "Action": "dynamodb:*", "Resource": TABLE, "Condition": {"Bool": {}}}
    assert denied(PUT, allow("*"), statement) is None


def test_nothing_is_said_of_a_role_that_is_not_in_the_template() -> None:
    assert denied(PUT, is_complete=False) is None


@pytest.mark.parametrize(
    ("call", "action"),
    [
        (AwsCall("sqs", "SendMessageBatch", "us-east-1", "http://127.0.0.1:3002/123456789012/q"), "sqs:SendMessage"),
        (AwsCall("lambda", "InvokeFunction", "us-east-1", "greet"), "lambda:InvokeFunction"),
        (AwsCall("dynamodb", "TransactWriteItems", "us-east-1"), "dynamodb:DeleteItem"),
    ],
)
def test_permissions_have_other_names_than_some_actions(call: AwsCall, action: str) -> None:
    assert denied(call, allow(action)) is None
    assert denied(call) is not None


@pytest.mark.parametrize("action", ["sts:GetCallerIdentity", "cognito-idp:InitiateAuth"])
def test_some_actions_need_no_permission(action: str) -> None:
    service, _, name = action.partition(":")
    assert denied(AwsCall(service, name, "us-east-1")) is None
