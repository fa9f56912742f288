"""What each function may do, and on what: nothing that it does not do.

Each statement names its resources; there is no wildcard but the connection ids, which nobody knows beforehand.

Source: IAM service authorization reference, "Amazon DynamoDB", "Amazon ExecuteAPI"; API Gateway developer guide,
"Control access with IAM authorization" (`arn:…:execute-api:region:account:api/stage/METHOD/@connections/id`).
"""

from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from tellwire.aws.connections import BY_CONNECTION

_POST_AND_DELETE: Final = ("POST", "DELETE")


def of_connect(table: dynamodb.Table) -> list[iam.PolicyStatement]:
    """Store a connection."""
    return [_allow(["dynamodb:PutItem"], [table.table_arn])]


def of_disconnect(table: dynamodb.Table) -> list[iam.PolicyStatement]:
    """Find a connection by its id alone, and remove it."""
    return [
        _allow(["dynamodb:Query"], [_index_arn(table)]),
        _allow(["dynamodb:DeleteItem"], [table.table_arn]),
    ]


def of_default(table: dynamodb.Table, api: apigatewayv2.WebSocketApi, stage_name: str) -> list[iam.PolicyStatement]:
    """Find a connection, prolong or remove it, answer it."""
    return [
        _allow(["dynamodb:Query"], [_index_arn(table)]),
        _allow(["dynamodb:UpdateItem", "dynamodb:DeleteItem"], [table.table_arn]),
        _manage_connections(api, stage_name),
    ]


def of_broadcast(table: dynamodb.Table, api: apigatewayv2.WebSocketApi, stage_name: str) -> list[iam.PolicyStatement]:
    """Find the connections of a user or of all, post to them, remove those that are gone."""
    return [
        _allow(["dynamodb:Query"], [table.table_arn, _index_arn(table)]),
        _allow(["dynamodb:Scan", "dynamodb:DeleteItem"], [table.table_arn]),
        _manage_connections(api, stage_name),
    ]


def of_logging(group: logs.LogGroup) -> iam.PolicyStatement:
    """Write to one log group. Lambda's managed policy would allow all of the account's."""
    return _allow(["logs:CreateLogStream", "logs:PutLogEvents"], [group.log_group_arn])


def _manage_connections(api: apigatewayv2.WebSocketApi, stage_name: str) -> iam.PolicyStatement:
    paths = [f"{stage_name}/{method}/@connections/*" for method in _POST_AND_DELETE]
    format_arn = Stack.of(api).format_arn
    arns = [format_arn(service="execute-api", resource=api.api_id, resource_name=path) for path in paths]
    return _allow(["execute-api:ManageConnections"], arns)


def _index_arn(table: dynamodb.Table) -> str:
    return f"{table.table_arn}/index/{BY_CONNECTION}"


def _allow(actions: list[str], resources: list[str]) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=actions, resources=resources)
