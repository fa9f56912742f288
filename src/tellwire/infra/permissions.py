"""Permissions of each function: only the actions it performs, on the resources it uses.

Each statement names its resources; the only wildcard is for connection ids, which are not known beforehand.

Source: IAM service authorization reference, "Amazon DynamoDB", "Amazon ExecuteAPI"; API Gateway developer guide,
"Control access with IAM authorization" (`arn:…:execute-api:region:account:api/stage/METHOD/@connections/id`).
"""

from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs

from tellwire.engines.aws.connections import BY_CONNECTION
from tellwire.engines.aws.history_items import LEASED_UPLOADS

_POST_AND_DELETE: Final = ("POST", "DELETE")


def of_connect(table: dynamodb.Table) -> list[iam.PolicyStatement]:
    """Store a connection, and remove it if its user is shut out."""
    return [_allow(["dynamodb:PutItem", "dynamodb:Query", "dynamodb:DeleteItem"], [table.table_arn])]


def of_disconnect(table: dynamodb.Table) -> list[iam.PolicyStatement]:
    """Find a connection by its id, remove it, and note that its user may have left topics."""
    return [
        _allow(["dynamodb:Query"], [_index_arn(table, BY_CONNECTION)]),
        _allow(["dynamodb:UpdateItem", "dynamodb:DeleteItem"], [table.table_arn]),
    ]


def of_default(
    table: dynamodb.Table, history: dynamodb.Table | None, api: apigatewayv2.WebSocketApi, stage_name: str
) -> list[iam.PolicyStatement]:
    """Find a connection and the shut-outs of its user, renew or remove it, and post to it.

    With a history: read it, and store and publish the changes that a client requests.
    """
    index = _index_arn(table, BY_CONNECTION)
    return [
        _allow(["dynamodb:Query"], [index, table.table_arn]),
        _allow(["dynamodb:UpdateItem", "dynamodb:DeleteItem"], [table.table_arn]),
        *_keep(history, "dynamodb:Query"),
        _manage_connections(api, stage_name),
    ]


def of_broadcast(
    table: dynamodb.Table,
    history: dynamodb.Table | None,
    api: apigatewayv2.WebSocketApi,
    stage_name: str,
    *,
    to_connections: bool = False,
    to_all: bool = False,
) -> list[iam.PolicyStatement]:
    """Store publications; find the connections of users and topics, post to them, and remove those that are gone.

    `to_connections`: also find connections by their ids. `to_all`: also read the whole table of connections.
    """
    index = [_index_arn(table, BY_CONNECTION)] if to_connections else []
    scan = ["dynamodb:Scan"] if to_all else []
    return [
        _allow(["dynamodb:Query"], [table.table_arn, *index]),
        _allow([*scan, "dynamodb:UpdateItem", "dynamodb:DeleteItem"], [table.table_arn]),
        *_keep(history),
        _manage_connections(api, stage_name),
    ]


def of_sweep(
    table: dynamodb.Table, history: dynamodb.Table, api: apigatewayv2.WebSocketApi, stage_name: str
) -> list[iam.PolicyStatement]:
    """Find uploads with leases, store that they have stalled or failed, and publish that to their users.

    Find who has left topics, also by looking connections up, and tell that.
    """
    return [
        _allow(["dynamodb:Query"], [_index_arn(history, LEASED_UPLOADS), table.table_arn]),
        _allow(
            ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
            [history.table_arn],
        ),
        _allow(["dynamodb:UpdateItem", "dynamodb:DeleteItem"], [table.table_arn]),
        _manage_connections(api, stage_name, "GET"),
    ]


def of_logging(group: logs.LogGroup) -> iam.PolicyStatement:
    """Write to one log group. Lambda's managed policy would allow all of the account's."""
    return _allow(["logs:CreateLogStream", "logs:PutLogEvents"], [group.log_group_arn])


def _manage_connections(api: apigatewayv2.WebSocketApi, stage_name: str, *more: str) -> iam.PolicyStatement:
    paths = [f"{stage_name}/{method}/@connections/*" for method in (*_POST_AND_DELETE, *more)]
    format_arn = Stack.of(api).format_arn
    arns = [format_arn(service="execute-api", resource=api.api_id, resource_name=path) for path in paths]
    return _allow(["execute-api:ManageConnections"], arns)


def _keep(history: dynamodb.Table | None, *more: str) -> list[iam.PolicyStatement]:
    if history is None:
        return []
    # Nothing is deleted: items expire in DynamoDB.
    actions = ["dynamodb:GetItem", *more, "dynamodb:PutItem", "dynamodb:UpdateItem"]
    return [_allow(actions, [history.table_arn])]


def _index_arn(table: dynamodb.Table, index: str) -> str:
    return f"{table.table_arn}/index/{index}"


def _allow(actions: list[str], resources: list[str]) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=actions, resources=resources)
