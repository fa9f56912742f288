"""`$default`: explain the usage of the chat."""

import json

import boto3


def handler(event, context):
    request = event["requestContext"]
    api = boto3.client("apigatewaymanagementapi", endpoint_url=f"https://{request['domainName']}/{request['stage']}")
    connection_id = request["connectionId"]
    info = api.get_connection(ConnectionId=connection_id)
    answer = {
        "usage": {"action": "sendmessage", "message": "..."},
        "connectionId": connection_id,
        "connectedAt": info["ConnectedAt"].isoformat(),
    }
    api.post_to_connection(ConnectionId=connection_id, Data=json.dumps(answer).encode())
    return {"statusCode": 200}
