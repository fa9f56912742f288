"""Both DynamoDBs for tests do with the table of connections what the code relies on."""

import time

import pytest
from botocore.exceptions import ClientError

from tests.dynamodb import create_connections_table, dynamodb_client


@pytest.fixture
def table_name(dynamodb: str) -> str:
    name = f"connections-{time.monotonic_ns()}"
    create_connections_table(dynamodb, name)
    return name


def test_a_row_is_found_by_its_user_at_once_and_by_its_connection(dynamodb: str, table_name: str) -> None:
    client = dynamodb_client(dynamodb)
    row = {"userId": {"S": "user-1"}, "connectionId": {"S": "abc="}, "expiresAt": {"N": "1"}}
    client.put_item(TableName=table_name, Item=row)
    by_user = client.query(
        TableName=table_name,
        ConsistentRead=True,
        KeyConditionExpression="userId = :user",
        ExpressionAttributeValues={":user": {"S": "user-1"}},
    )
    by_connection = client.query(
        TableName=table_name,
        IndexName="byConnection",
        KeyConditionExpression="connectionId = :id",
        ExpressionAttributeValues={":id": {"S": "abc="}},
    )
    assert by_user["Items"] == by_connection["Items"] == [row]
    ttl = client.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"}


def test_an_index_is_not_read_consistently(dynamodb: str, table_name: str) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        dynamodb_client(dynamodb).query(
            TableName=table_name,
            IndexName="byConnection",
            ConsistentRead=True,
            KeyConditionExpression="connectionId = :id",
            ExpressionAttributeValues={":id": {"S": "abc="}},
        )
