"""The access log of a stage: one line of JSON for each event and message.

Every field is listed here, so that none contains a header, the query string, an identity or a message, where tokens
are. Execution logs, which contain all of these, stay off.

Source: API Gateway developer guide, "Configure logging for WebSocket APIs".
"""

import json
from typing import Final, cast

from aws_cdk import RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

_TEXTS: Final = {
    "requestId": "$context.requestId",
    "requestTime": "$context.requestTime",
    "eventType": "$context.eventType",
    "routeKey": "$context.routeKey",
    "connectionId": "$context.connectionId",
    "messageId": "$context.messageId",
    "sourceIp": "$context.identity.sourceIp",
    "status": "$context.status",
    "integrationLatencyMs": "$context.integrationLatency",
    "errorType": "$context.error.responseType",
}
"""Fields of a line. Numbers are in quotes, too: a missing value is logged as `-`, which is not JSON."""

FORMAT: Final = json.dumps(_TEXTS, separators=(",", ":"))

_ROLE_POLICY: Final = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"


def log_accesses(scope: Construct, stage: apigatewayv2.WebSocketStage, retention: logs.RetentionDays) -> None:
    """Write the access log of a stage to a new log group."""
    group = logs.LogGroup(scope, "AccessLog", retention=retention, removal_policy=RemovalPolicy.DESTROY)
    settings = apigatewayv2.CfnStage.AccessLogSettingsProperty(destination_arn=group.log_group_arn, format=FORMAT)
    cast("apigatewayv2.CfnStage", stage.node.default_child).access_log_settings = settings


def set_account_role(scope: Construct, stage: apigatewayv2.WebSocketStage) -> None:
    """Give API Gateway the role with which it writes logs, for all APIs of the account in this region.

    It is kept when the stack is deleted, as other APIs may need it by then.
    """
    role = iam.Role(
        scope,
        "AccountLogRole",
        assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
        managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(_ROLE_POLICY)],
    )
    account = apigateway.CfnAccount(scope, "Account", cloud_watch_role_arn=role.role_arn)
    role.apply_removal_policy(RemovalPolicy.RETAIN)
    account.apply_removal_policy(RemovalPolicy.RETAIN)
    stage.node.add_dependency(account)
