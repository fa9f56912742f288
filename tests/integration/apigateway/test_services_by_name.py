"""Services of AWS for handlers given by name: `tellwire local --route`."""

import json
from pathlib import Path

from tests.integration.apigateway.test_local_command import Local, local, project

__all__ = ["local", "project"]

SERVICES = """
import json, urllib.request, boto3
def ask(event, context):
    table = boto3.resource("dynamodb").Table("rooms")
    table.put_item(Item={"room": event["body"]})
    queue = boto3.client("sqs").create_queue(QueueName="jobs")["QueueUrl"]
    told = boto3.client("lambda").invoke(FunctionName="app-greet", Payload=json.dumps(queue.rpartition("/")[2]))
    named = boto3.client("dynamodb", endpoint_url="https://dynamodb.us-east-1.amazonaws.com")
    try:
        urllib.request.urlopen("https://my-bucket.s3.eu-west-3.amazonaws.com/key")
    except urllib.error.HTTPError as error:
        status = error.code
    answer = [table.scan()["Items"], json.load(told["Payload"]), named.list_tables()["TableNames"], status]
    return {"statusCode": 200, "body": json.dumps(answer)}
def greet(event, context):
    return f"hello {event}"
"""


def test_handlers_by_name_have_the_services_and_invoke_each_other(local: Local, project: Path) -> None:
    (project / "app.py").write_text(SERVICES)
    options = ("--answer", "$default", "--route", "greet=app:greet", "--table", "rooms=room")
    running = local("--route", "$default=app:ask", *options)
    assert json.loads(running.ask("lobby")) == [[{"room": "lobby"}], "hello jobs", ["rooms"], 400]
    running.wait_for("a function calls S3 (GetBucket), which is not answered here")


def test_an_endpoint_of_the_developer_is_kept(local: Local) -> None:
    elsewhere = "http://127.0.0.1:9"
    options = ("--route", "$default=app:environment", "--answer", "$default")
    running = local(*options, AWS_ENDPOINT_URL=elsewhere, AWS_ENDPOINT_URL_S3=elsewhere)
    assert running.ask("AWS_ENDPOINT_URL") == running.ask("AWS_ENDPOINT_URL_S3") == elsewhere
