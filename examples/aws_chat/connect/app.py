"""`$connect`: store the connection."""

import os
import time

import boto3

table = boto3.resource("dynamodb").Table(os.environ["CONNECTIONS_TABLE_NAME"])

TWO_HOURS = 2 * 60 * 60


def handler(event, context):
    table.put_item(
        Item={
            "connectionId": event["requestContext"]["connectionId"],
            "connectedAt": event["requestContext"]["connectedAt"],
            "expiresAt": int(time.time()) + TWO_HOURS,
        }
    )
    return {"statusCode": 200}
