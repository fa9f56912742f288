"""A worker with two services: it reads an object of S3 with boto3, and tells its user the end."""

import boto3

from tellwire.sync import broadcast_to_user, create_notification_message


def handler(event, context):
    body = boto3.client("s3").get_object(Bucket="uploads", Key=event["key"])["Body"].read()
    text = f"{len(body.splitlines())} rows"
    delivery = broadcast_to_user(event["userId"], create_notification_message("Imported", text, "success"))
    return {"delivered": delivery.delivered}
