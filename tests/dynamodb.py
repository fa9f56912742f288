"""DynamoDB for tests: moto's and Amazon's own DynamoDB Local, which is what AWS lets people run. Fixtures, a plugin.

Both run once and are shared, so a test makes a table under a name of its own. moto forgets everything when another
test in the process ends one: a table lives as long as its test.
"""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from tellwire.apigateway.dynamodb import create_tables, local_dynamodb
from tests.tools import require, require_module

REGION = "us-east-1"
PACKAGES = Path(__file__).parent / "integration" / "aws" / "dynamodb_local"
START_SECONDS = 45.0
"""How long DynamoDB Local may take to answer; it takes five seconds."""

# What matters is how soon it starts, not how fast it can get.
JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m")

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


def create_connections_table(url: str, name: str) -> None:
    """Create the table of connections, as the templates do on AWS."""
    create_tables(url, [{**CONNECTIONS_TABLE, "TableName": name}], {name: "expiresAt"}, REGION)


def create_history_table(url: str, name: str) -> None:
    """Create the table of what was said, as the templates do on AWS."""
    create_tables(url, [{**HISTORY_TABLE, "TableName": name}], {name: "expiresAt"}, REGION)


def local_environment(url: str) -> dict[str, str]:
    """Return what a function's environment says of a DynamoDB here."""
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    return {"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_REGION": REGION, **keys}


def dynamodb_client(url: str) -> Any:
    """Return boto3's client of a DynamoDB here."""
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.client("dynamodb", endpoint_url=url, region_name=REGION, **keys)


@pytest.fixture(scope="session")
def moto_dynamodb() -> Iterator[str]:
    """The URL of moto's DynamoDB."""
    with local_dynamodb() as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of Amazon's DynamoDB Local."""
    with _dynamodb_local(tmp_path_factory.mktemp("dynamodb_local")) as url:
        yield url


@pytest.fixture(params=["moto", "dynamodb-local"])
def dynamodb(request: pytest.FixtureRequest) -> str:
    """The URL of a DynamoDB: the test runs with each of them."""
    return str(request.getfixturevalue("moto_dynamodb" if request.param == "moto" else "dynamodb_local"))


@contextmanager
def _dynamodb_local(directory: Path) -> Iterator[str]:
    java = require("java")
    emulator = require_module(PACKAGES, "amplify-dynamodb-simulator") / "emulator"
    port, log = _free_port(), directory / "log"
    command = [
        java,
        *JAVA_OPTIONS,
        f"-Djava.library.path={emulator / 'DynamoDBLocal_lib'}",
        "-jar",
        str(emulator / "DynamoDBLocal.jar"),
        "-inMemory",
        # One database, whichever region and credentials a client has.
        "-sharedDb",
        "-disableTelemetry",
        "-port",
        str(port),
    ]
    with log.open("w") as output:
        # It leaves a file where it is started.
        process = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait_for(port, process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
