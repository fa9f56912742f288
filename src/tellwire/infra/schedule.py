"""When the sweeper runs: once a minute, and not again for a run that failed.

Lambda would repeat a failed run for hours, beside those of every minute since. The next one does its work.

Source: Lambda developer guide, "How Lambda handles errors and retries with asynchronous invocation".
"""

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

SWEEP_MINUTES: Final = 1
"""The shortest that a schedule allows: a silent upload is said to be so within its lease and this."""


def run_every_minute(scope: Construct, function: lambda_.Function) -> None:
    """Let a schedule of its own run a function."""
    period = Duration.minutes(SWEEP_MINUTES)
    function.configure_async_invoke(retry_attempts=0, max_event_age=period)
    rule = events.Rule(scope, f"{function.node.id}Schedule", schedule=events.Schedule.rate(period))
    rule.add_target(targets.LambdaFunction(function))
