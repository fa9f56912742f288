"""The alarms of a realtime API: what nobody has to look at while it is quiet.

    handler errors        a function raised or ran out of time: never expected
    handler throttles     no concurrency left for a function: clients cannot connect, or rows are not removed
    execution errors      API Gateway could not call a function, or got no answer within 29 seconds
    failing connects      most handshakes fail; single ones do, with tokens that have expired
    table throttles       DynamoDB refused requests: of on-demand tables only in a steep rise, or one hot user
    table system errors   DynamoDB failed

The sweeper counts as a handler, and the history as a table.

Source: API Gateway developer guide, "Monitor WebSocket API execution with CloudWatch metrics"; Lambda developer guide,
"Types of metrics for Lambda functions"; DynamoDB developer guide, "DynamoDB Metrics and dimensions".
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

PERIOD_MINUTES: Final = 5

FAILING_CONNECTS_PERCENT: Final = 50
FAILING_CONNECTS_PERIODS: Final = 3
"""A quarter of an hour: a page with an old token tries again for a while."""

FEWEST_CONNECTS: Final = 20
"""In a period. Below it a share says nothing: one client that tries again and again would be all of them."""

_OF_CONNECTIONS: Final = ("PUT_ITEM", "UPDATE_ITEM", "DELETE_ITEM", "QUERY", "SCAN")
_OF_HISTORY: Final = ("GET_ITEM", "PUT_ITEM", "UPDATE_ITEM", "QUERY")


class Alarms(Construct):
    """All alarms of an API. They are also without a topic: on the console, and for dashboards."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002 - the CDK's name for it
        *,
        functions: Mapping[str, lambda_.Function],
        stage: apigatewayv2.WebSocketStage,
        table: dynamodb.Table,
        history_table: dynamodb.Table | None,
        topic: sns.ITopic | None,
    ) -> None:
        super().__init__(scope, id)
        self._topic = topic
        for what, function in functions.items():
            name = function.node.id
            self._at_once(f"{name}Errors", function.metric_errors(), f"{what} raised, or ran out of time")
            self._at_once(f"{name}Throttles", function.metric_throttles(), f"{what} found no concurrency left")
        execution = stage.metric("ExecutionError", statistic="Sum")
        self._at_once("ExecutionErrors", execution, "API Gateway got no answer from a function")
        self._add("FailingConnects", _failing_connects(stage), "Most handshakes fail", FAILING_CONNECTS_PERIODS)
        self._watch("Table", table, _OF_CONNECTIONS, "the connections table")
        if history_table is not None:
            self._watch("History", history_table, _OF_HISTORY, "the history table")

    def _watch(self, name: str, table: dynamodb.Table, operations: Sequence[str], what: str) -> None:
        asked = [dynamodb.Operation[operation] for operation in operations]
        throttled = table.metric_throttled_requests_for_operations(operations=asked)
        failed = table.metric_system_errors_for_operations(operations=asked)
        self._at_once(f"{name}Throttles", throttled, f"DynamoDB throttled {what}")
        self._at_once(f"{name}SystemErrors", failed, f"DynamoDB failed with {what}")

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
            # Nothing happened, so nothing went wrong.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if self._topic is not None:
            alarm.add_alarm_action(actions.SnsAction(self._topic))


def _failing_connects(stage: apigatewayv2.WebSocketStage) -> cloudwatch.MathExpression:
    period = Duration.minutes(PERIOD_MINUTES)
    return cloudwatch.MathExpression(
        expression=f"IF(connects >= {FEWEST_CONNECTS}, 100 * errors / connects, 0)",
        using_metrics={
            "connects": stage.metric("ConnectCount", statistic="Sum", period=period),
            # 4xx and 5xx of functions. Statuses mean nothing but on $connect, so these are handshakes.
            "errors": stage.metric("IntegrationError", statistic="Sum", period=period),
        },
        label="failed handshakes, percent",
        period=period,
    )
