"""The alarms of a realtime API.

    handler errors        a function raised an error or timed out: never expected
    handler throttles     a function had no free concurrency: clients cannot connect, or rows are not removed
    execution errors      API Gateway could not call a function, or got no answer within 29 seconds
    broadcast errors      the URL of the broadcaster answered with 5xx: DynamoDB did not respond, or a right is missing
    failing connects      most handshakes fail; a few always do, with expired tokens
    table throttles       DynamoDB refused requests: on-demand tables only at a steep rise, or for one hot user
    table system errors   DynamoDB failed

The sweeper and the broadcaster count as handlers, and the history as a table.

DynamoDB counts an operation's throttles and errors only while there are some, and a sum has no value where one of its
parts has none. So each part is filled with zeros: else an alarm would be silent while one operation is throttled.

Sources: API Gateway developer guide, "Monitor WebSocket API execution with CloudWatch metrics"; Lambda developer guide,
"Types of metrics for Lambda functions"; DynamoDB developer guide, "DynamoDB Metrics and dimensions"; CloudWatch user
guide, "Using metric math", on FILL.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from tellwire.infra.broadcaster import Broadcaster

PERIOD_MINUTES: Final = 5

FAILING_CONNECTS_PERCENT: Final = 50
FAILING_CONNECTS_PERIODS: Final = 3
"""Periods of a quarter of an hour: a page with an old token tries again for a while."""

FEWEST_CONNECTS: Final = 20
"""Fewest handshakes in a period for the alarm: with fewer, one client that retries could be most of them."""

_OF_BOTH_TABLES: Final = ("PutItem", "UpdateItem", "DeleteItem", "Query", "TransactWriteItems")
_OF_CONNECTIONS: Final = (*_OF_BOTH_TABLES, "Scan")
_OF_HISTORY: Final = (*_OF_BOTH_TABLES, "GetItem", "BatchGetItem")
"""Operations that the functions call; the metrics of a transaction are under its own name. An alarm has ten at most."""


class Alarms(Construct):
    """All alarms of an API. Without a topic they are still on the console, and for dashboards."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the CDK's name for it
        *,
        functions: Mapping[str, lambda_.Function],
        stage: apigatewayv2.WebSocketStage,
        table: dynamodb.Table,
        history_table: dynamodb.Table | None,
        broadcaster: Broadcaster | None,
        topic: sns.ITopic | None,
    ) -> None:
        super().__init__(scope, id)
        self._topic = topic
        for title, function in functions.items():
            name = function.node.id
            self._at_once(f"{name}Errors", function.metric_errors(), f"{title} raised an error or timed out")
            self._at_once(f"{name}Throttles", function.metric_throttles(), f"{title} had no free concurrency")
        execution = stage.metric("ExecutionError", statistic="Sum")
        self._at_once("ExecutionErrors", execution, "API Gateway got no answer from a function")
        self._add("FailingConnects", _failing_connects(stage), "Most handshakes fail", FAILING_CONNECTS_PERIODS)
        self._watch("Table", table, _OF_CONNECTIONS, "the connections table")
        if broadcaster is not None:
            failed = broadcaster.function.metric("Url5xxCount", statistic="Sum")
            self._at_once("BroadcastErrors", failed, "The broadcaster's URL answered with 5xx")
        if history_table is not None:
            self._watch("History", history_table, _OF_HISTORY, "the history table")

    def _watch(self, name: str, table: dynamodb.Table, operations: Sequence[str], title: str) -> None:
        throttled = _total(table, "ThrottledRequests", operations)
        failed = _total(table, "SystemErrors", operations)
        self._at_once(f"{name}Throttles", throttled, f"DynamoDB throttled {title}")
        self._at_once(f"{name}SystemErrors", failed, f"DynamoDB failed with {title}")

    def _at_once(self, name: str, metric: cloudwatch.IMetric, description: str) -> None:
        self._add(name, metric, description, periods=1, threshold=1)

    def _add(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        description: str,
        periods: int,
        threshold: float = FAILING_CONNECTS_PERCENT,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            alarm_description=description,
            threshold=threshold,
            evaluation_periods=periods,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            # Without events there is no data, and no failure.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if self._topic is not None:
            alarm.add_alarm_action(actions.SnsAction(self._topic))


def _total(table: dynamodb.Table, metric: str, operations: Sequence[str]) -> cloudwatch.MathExpression:
    """Return the sum of a metric over operations, each of which has no data while it has no trouble."""
    period = Duration.minutes(PERIOD_MINUTES)
    parts = {
        operation.lower(): table.metric(
            metric,
            dimensions_map={"TableName": table.table_name, "Operation": operation},
            statistic="Sum",
            period=period,
        )
        for operation in operations
    }
    return cloudwatch.MathExpression(
        expression=" + ".join(f"FILL({part}, 0)" for part in parts), using_metrics=parts, label=metric, period=period
    )


def _failing_connects(stage: apigatewayv2.WebSocketStage) -> cloudwatch.MathExpression:
    period = Duration.minutes(PERIOD_MINUTES)
    return cloudwatch.MathExpression(
        expression=f"IF(connects >= {FEWEST_CONNECTS}, 100 * errors / connects, 0)",
        using_metrics={
            "connects": stage.metric("ConnectCount", statistic="Sum", period=period),
            # 4xx and 5xx of functions. Only $connect's status has a meaning, so these are handshakes.
            "errors": stage.metric("IntegrationError", statistic="Sum", period=period),
        },
        label="failed handshakes, percent",
        period=period,
    )
