"""`$disconnect`: delete the connection."""

import os

import boto3

table = boto3.resource("dynamodb").Table(os.environ["CONNECTIONS_TABLE_NAME"])


def handler(event, context):
    table.delete_item(Key={"connectionId": event["requestContext"]["connectionId"]})
    return {"statusCode": 200}
