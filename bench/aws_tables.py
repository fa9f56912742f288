"""The tables on AWS as parameters of CreateTable. A test compares them with those of the templates."""

from typing import Any

CONNECTIONS_TABLE: dict[str, Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": "userId", "AttributeType": "S"},
        {"AttributeName": "connectionId", "AttributeType": "S"},
    ],
    "KeySchema": [
        {"AttributeName": "userId", "KeyType": "HASH"},
        {"AttributeName": "connectionId", "KeyType": "RANGE"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "byConnection",
            "KeySchema": [{"AttributeName": "connectionId", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}

HISTORY_TABLE: dict[str, Any] = {
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": "streamKey", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
        {"AttributeName": "leasedUploads", "AttributeType": "S"},
    ],
    "KeySchema": [
        {"AttributeName": "streamKey", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "leasedUploads",
            "KeySchema": [
                {"AttributeName": "leasedUploads", "KeyType": "HASH"},
                {"AttributeName": "streamKey", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }
    ],
}
