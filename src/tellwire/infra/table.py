"""The connections table: who is connected, by user and by connection.

Keys, index and TTL are what `tellwire.aws` reads and writes; a table made otherwise (SAM, SST) must have the same.
"""

from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from tellwire.aws.connections import BY_CONNECTION

TTL_ATTRIBUTE: Final = "expiresAt"
"""Epoch seconds."""


def make_table(scope: Construct, *, removal_policy: RemovalPolicy, point_in_time_recovery: bool) -> dynamodb.Table:
    """Return a new connections table."""
    user_id = dynamodb.Attribute(name="userId", type=dynamodb.AttributeType.STRING)
    connection_id = dynamodb.Attribute(name="connectionId", type=dynamodb.AttributeType.STRING)
    table = dynamodb.Table(
        scope,
        "Connections",
        partition_key=user_id,
        sort_key=connection_id,
        time_to_live_attribute=TTL_ATTRIBUTE,
        # Connections come in waves: a morning, a deploy, a reconnect storm.
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=point_in_time_recovery
        ),
        removal_policy=removal_policy,
    )
    table.add_global_secondary_index(
        index_name=BY_CONNECTION, partition_key=connection_id, projection_type=dynamodb.ProjectionType.ALL
    )
    return table
