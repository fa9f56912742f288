"""The tables: connections, by user and by connection id; and the history, by stream.

Keys, indexes and TTL are those that `tellwire.engines.aws` uses; tables made by other tools (SAM, SST) must have the
same.
"""

from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from tellwire.engines.aws.connections import BY_CONNECTION
from tellwire.engines.aws.history_items import LEASED_UPLOADS, PARTITION_KEY, SORT_KEY

TTL_ATTRIBUTE: Final = "expiresAt"
"""The attribute by which items expire, in epoch seconds, in both tables."""


def make_table(scope: Construct, *, removal_policy: RemovalPolicy, point_in_time_recovery: bool) -> dynamodb.Table:
    """Return a new connections table."""
    connection_id = _text("connectionId")
    keys = (_text("userId"), connection_id)
    table = _table(scope, "Connections", keys, removal_policy, point_in_time_recovery=point_in_time_recovery)
    table.add_global_secondary_index(
        index_name=BY_CONNECTION, partition_key=connection_id, projection_type=dynamodb.ProjectionType.ALL
    )
    return table


def make_history_table(scope: Construct, *, removal_policy: RemovalPolicy) -> dynamodb.Table:
    """Return a new history table.

    It has no point-in-time recovery: a table from an hour ago would assign offsets again that clients have seen.
    """
    keys = (_text(PARTITION_KEY), _text(SORT_KEY))
    table = _table(scope, "History", keys, removal_policy, point_in_time_recovery=False)
    table.add_global_secondary_index(
        index_name=LEASED_UPLOADS,
        partition_key=_text(LEASED_UPLOADS),
        sort_key=_text(PARTITION_KEY),
        projection_type=dynamodb.ProjectionType.KEYS_ONLY,
    )
    return table


def _table(
    scope: Construct,
    name: str,
    keys: tuple[dynamodb.Attribute, dynamodb.Attribute],
    removal_policy: RemovalPolicy,
    *,
    point_in_time_recovery: bool,
) -> dynamodb.Table:
    return dynamodb.Table(
        scope,
        name,
        partition_key=keys[0],
        sort_key=keys[1],
        time_to_live_attribute=TTL_ATTRIBUTE,
        # Connections and uploads come in bursts: in the morning, or after a deployment.
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=point_in_time_recovery
        ),
        removal_policy=removal_policy,
    )


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
