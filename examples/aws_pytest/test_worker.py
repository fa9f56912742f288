"""Three ways to test a worker: its messages alone, with the table, and with the whole API. See docs/how-to/moto.md."""

import json
from pathlib import Path

import boto3
import httpx
import pytest
import worker
from moto import mock_aws
from moto.server import ThreadedMotoServer

from tellwire import Broadcaster, use_broadcaster
from tellwire.auth import mint_token
from tellwire.testing import MemoryCarrier

REGION = "eu-west-1"
SECRET = "a-secret-for-tests-of-40-characters-long"
JOB = {"userId": "user-1", "key": "parts.csv"}


@pytest.fixture(autouse=True)
def of_a_test(monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)


def put_file(**client):
    s3 = boto3.client("s3", **client)
    s3.create_bucket(Bucket="uploads", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="uploads", Key="parts.csv", Body=b"part,quantity\n3001,4\n")


# --- the messages alone: mock_aws for boto3, a carrier for tellwire


@mock_aws
def test_the_user_hears_of_the_import():
    put_file()
    carrier = MemoryCarrier()
    with use_broadcaster(Broadcaster(carrier)):
        worker.handler(JOB, None)
    (message,) = carrier.sent_to("user-1")
    assert message["data"]["message"] == "2 rows"


# --- with the table: moto's server, for boto3 and tellwire alike


@pytest.fixture
def moto_server(monkeypatch):
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    httpx.post(f"{url}/moto-api/reset")  # its data belongs to the process, and outlives the server
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    yield url
    server.stop()


def test_a_connection_that_is_gone_leaves_the_table(moto_server, api_gateway, monkeypatch):
    put_file()
    api = api_gateway({})  # an API without functions: every connection is gone
    monkeypatch.setenv("WEBSOCKET_API_ENDPOINT", api.management_url)
    monkeypatch.setenv("CONNECTIONS_TABLE_NAME", "connections")
    table = boto3.resource("dynamodb").create_table(
        TableName="connections",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "userId", "AttributeType": "S"},
            {"AttributeName": "connectionId", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "userId", "KeyType": "HASH"},
            {"AttributeName": "connectionId", "KeyType": "RANGE"},
        ],
    )
    table.put_item(Item={"userId": "user-1", "connectionId": "nBUGZLR2Hhyb5qM="})
    assert worker.handler(JOB, None) == {"delivered": 0}
    assert table.scan()["Count"] == 0


# --- with the whole API: its template, its tables, a device


def test_a_device_of_the_user_hears_of_the_import(api_gateway, moto_server):
    put_file()
    api = api_gateway(
        template=Path(__file__).with_name("template.yaml"),
        environment={"TELLWIRE_JWT_SECRET": SECRET, "AWS_ENDPOINT_URL_S3": moto_server},
    )
    with api.connect({"token": mint_token(SECRET, "user-1")}) as device:
        assert api.invoke("Worker", JOB) == {"delivered": 1}
        assert json.loads(device.recv(30))["data"]["message"] == "2 rows"
