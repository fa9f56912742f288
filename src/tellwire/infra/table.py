"""The tables: who is connected, by user and by connection; and what was said, by user and place.

Keys, indexes and TTL are what `tellwire.aws` reads and writes; a table made otherwise (SAM, SST) must have the same.
"""

from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from tellwire.engines.aws.connections import BY_CONNECTION
from tellwire.engines.aws.history_items import RUNNING

TTL_ATTRIBUTE: Final = "expiresAt"
"""Epoch seconds, in both tables."""


def make_table(scope: Construct, *, removal_policy: RemovalPolicy, point_in_time_recovery: bool) -> dynamodb.Table:
    """Return a new connections table."""
    connection_id = _text("connectionId")
    table = _table(scope, "Connections", connection_id, removal_policy, point_in_time_recovery=point_in_time_recovery)
    table.add_global_secondary_index(
        index_name=BY_CONNECTION, partition_key=connection_id, projection_type=dynamodb.ProjectionType.ALL
    )
    return table


def make_history_table(scope: Construct, *, removal_policy: RemovalPolicy) -> dynamodb.Table:
    """Return a new table of what was said.

    It has no point-in-time recovery: a table from an hour ago would give out places that clients have seen already.
    """
    table = _table(scope, "History", _text("place"), removal_policy, point_in_time_recovery=False)
    table.add_global_secondary_index(
        index_name=RUNNING,
        partition_key=_text(RUNNING),
        sort_key=_text("userId"),
        projection_type=dynamodb.ProjectionType.KEYS_ONLY,
    )
    return table


def _table(
    scope: Construct,
    name: str,
    sort_key: dynamodb.Attribute,
    removal_policy: RemovalPolicy,
    *,
    point_in_time_recovery: bool,
) -> dynamodb.Table:
    return dynamodb.Table(
        scope,
        name,
        partition_key=_text("userId"),
        sort_key=sort_key,
        time_to_live_attribute=TTL_ATTRIBUTE,
        # Connections come in waves: a morning, a deploy, a reconnect storm. So do uploads.
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=point_in_time_recovery
        ),
        removal_policy=removal_policy,
    )


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
