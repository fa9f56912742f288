"""`sendmessage`: post the message to all other connections."""

import json
import os

import boto3

table = boto3.resource("dynamodb").Table(os.environ["CONNECTIONS_TABLE_NAME"])


def handler(event, context):
    request = event["requestContext"]
    api = boto3.client("apigatewaymanagementapi", endpoint_url=f"https://{request['domainName']}/{request['stage']}")
    message = json.loads(event["body"])["message"]
    for item in table.scan()["Items"]:
        if item["connectionId"] == request["connectionId"]:
            continue
        try:
            api.post_to_connection(ConnectionId=item["connectionId"], Data=message.encode())
        except api.exceptions.GoneException:
            table.delete_item(Key={"connectionId": item["connectionId"]})
    return {"statusCode": 200}
