"""DynamoDB for tests, as a pytest plugin: moto's, and Amazon's DynamoDB Local.

Each process has its moto, and all have one DynamoDB Local, as it takes seconds to start: a test makes a table under a
name of its own (`new_table_name`). moto forgets everything when another test in the process ends one: a table lives as
long as its test.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import boto3
import pytest

from bench.aws_tables import CONNECTIONS_TABLE, HISTORY_TABLE
from bench.processes import free_port
from tellwire.apigateway.dynamodb import create_tables, local_dynamodb
from tests.tools import require, require_module

REGION = "us-east-1"
OF_ALL = pytest.StashKey[dict[str, Any]]()
PACKAGES = Path(__file__).parent / "integration" / "aws" / "dynamodb_local"
START_SECONDS = 100.0
"""The timeout of DynamoDB Local's start, which takes five seconds."""

# What matters is how soon it starts, not how fast it can get.
JAVA_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m")


def new_table_name(kind: str) -> str:
    """Return a name that no other test has."""
    return f"{kind}-{uuid.uuid4().hex}"


def create_connections_table(url: str, name: str) -> None:
    """Create the table of connections, as the templates do on AWS."""
    create_tables(url, [{**CONNECTIONS_TABLE, "TableName": name}], {name: "expiresAt"}, REGION)


def create_history_table(url: str, name: str) -> None:
    """Create the history table, as the templates do on AWS, but without its time to live: DynamoDB Local deletes items
    at once that are too old by the real time, and a test has its own.
    """
    create_tables(url, [{**HISTORY_TABLE, "TableName": name}], {}, REGION)


def local_environment(url: str) -> dict[str, str]:
    """Return the environment of a function that uses a DynamoDB on this machine."""
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    return {"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_REGION": REGION, **keys}


def dynamodb_client(url: str) -> Any:
    """Return a boto3 client of a DynamoDB on this machine."""
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.client("dynamodb", endpoint_url=url, region_name=REGION, **keys)


@pytest.fixture(scope="session")
def moto_dynamodb() -> Iterator[str]:
    """The URL of moto's DynamoDB."""
    with local_dynamodb() as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb_local(pytestconfig: pytest.Config) -> str:
    """The URL of Amazon's DynamoDB Local. Who is the first to ask starts it."""
    directory = Path(_of_all(pytestconfig)["dynamodb_local"])
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = directory / "running"
        if not running.exists():
            process, port = _start_dynamodb_local(directory)
            running.write_text(f"{process} {port}")
        return f"http://127.0.0.1:{running.read_text().split()[1]}"


def _of_all(config: pytest.Config) -> dict[str, Any]:
    """Return the values that the first process shares with all test processes."""
    return cast("dict[str, Any]", getattr(config, "workerinput", config.stash.get(OF_ALL, None)))


def pytest_configure(config: pytest.Config) -> None:
    """Make a directory that all processes have in common."""
    if not hasattr(config, "workerinput"):
        config.stash[OF_ALL] = {"dynamodb_local": tempfile.mkdtemp(prefix="dynamodb-local-")}


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist of it."""
    node.workerinput.update(node.config.stash[OF_ALL])


def pytest_unconfigure(config: pytest.Config) -> None:
    """End DynamoDB Local, whoever started it, and then remove its directory, in which it writes."""
    if not hasattr(config, "workerinput"):
        directory = Path(config.stash[OF_ALL]["dynamodb_local"])
        running = directory / "running"
        if running.exists():
            os.kill(int(running.read_text().split()[0]), signal.SIGKILL)
            _wait_until_unlocked(directory / "alive")
        shutil.rmtree(directory)


@pytest.fixture(params=["moto", "dynamodb-local"])
def dynamodb(request: pytest.FixtureRequest) -> str:
    """The URL of a DynamoDB: the test runs with each of them."""
    return str(request.getfixturevalue("moto_dynamodb" if request.param == "moto" else "dynamodb_local"))


def _start_dynamodb_local(directory: Path) -> tuple[int, int]:
    """Return its process id and its port, once it answers."""
    java = require("java")
    emulator = require_module(PACKAGES, "amplify-dynamodb-simulator") / "emulator"
    port, log = free_port(), directory / "log"
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
    with log.open("w") as output, (directory / "alive").open("w") as alive:
        # It is not the child of whoever ends it: the lock it inherits tells when it has ended.
        fcntl.flock(alive, fcntl.LOCK_EX)
        # It leaves a file where it is started.
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=(alive.fileno(),),
        )
    _wait_for(port, process, log)
    # It outlives the process that started it, and is ended by the one that began the tests.
    process.returncode = 0
    return process.pid, port


def _wait_until_unlocked(path: Path) -> None:
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)


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
