"""Schedule of the sweeper: once a minute, without retries.

Lambda would retry a failed run for hours, beside the later runs. The next run does the same work.

Source: Lambda developer guide, "How Lambda handles errors and retries with asynchronous invocation".
"""

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

SWEEP_MINUTES: Final = 1
"""Shortest period of a schedule. An upload without updates is reported within its lease and this time."""


def run_every_minute(scope: Construct, function: lambda_.Function) -> None:
    """Run a function every minute, with a new schedule."""
    period = Duration.minutes(SWEEP_MINUTES)
    function.configure_async_invoke(retry_attempts=0, max_event_age=period)
    rule = events.Rule(scope, f"{function.node.id}Schedule", schedule=events.Schedule.rate(period))
    rule.add_target(targets.LambdaFunction(function))
