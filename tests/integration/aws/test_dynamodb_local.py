"""The behaviour of both DynamoDBs for tests that the code relies on."""

import pytest
from botocore.exceptions import ClientError

from tests.dynamodb import create_connections_table, create_history_table, dynamodb_client, new_table_name


@pytest.fixture
def table_name(dynamodb: str) -> str:
    name = new_table_name("connections")
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


def test_a_failed_condition_returns_the_present_item_and_the_index_has_leased_uploads(dynamodb: str) -> None:
    client, name = dynamodb_client(dynamodb), new_table_name("history")
    create_history_table(dynamodb, name)
    key = {"streamKey": {"S": "user:user-1"}, "sk": {"S": "state#upload:1"}}
    item = key | {"version": {"N": "1"}, "leasedUploads": {"S": "yes"}}
    put = {"TableName": name, "ConditionExpression": "attribute_not_exists(sk)"}
    put |= {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    client.put_item(Item=item, **put)
    with pytest.raises(ClientError, match="ConditionalCheckFailedException") as caught:
        client.put_item(Item=key, **put)
    assert caught.value.response["Item"] == item
    by_lease = {"IndexName": "leasedUploads", "KeyConditionExpression": "leasedUploads = :yes"}
    by_lease |= {"ExpressionAttributeValues": {":yes": {"S": "yes"}}}  # type: ignore[dict-item]
    assert client.query(TableName=name, **by_lease)["Items"] == [key | {"leasedUploads": {"S": "yes"}}]
    client.put_item(TableName=name, Item=key)
    assert client.query(TableName=name, **by_lease)["Items"] == []
