"""The CDK example: synthesized as a developer does it, then run by `tellwire local`, up to a message on a socket."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from dotenv import dotenv_values
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tellwire.auth import mint_token
from tellwire.aws.environment import open_table
from tellwire.carriers.aws import AwsCarrier
from tellwire.model import Delivery, Target
from tests.aws_stack import Stack, read
from tests.faults import Proxy, Request
from tests.unit.infra.conftest import Synthesized

pytestmark = pytest.mark.timeout(180)  # Node takes its time to start, and so do three functions

EXAMPLE = Path(__file__).parents[3] / "examples" / "aws-cdk"
LOCAL_ENV = EXAMPLE / "local.env"
TELLWIRE = str(Path(sys.executable).with_name("tellwire"))
SECONDS = 30.0

WORKER = """
import json, sys
from tell_worker import handler
json.dump(handler(json.load(sys.stdin), None), sys.stdout)
"""


@dataclass
class Local:
    """`tellwire local`, and what it said at its start."""

    said: str

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.said)
        assert found is not None, self.said
        return found[1]

    @contextmanager
    def device(self, user_id: str, **options: Any) -> Iterator[ClientConnection]:
        query = "" if options else f"?token={token(user_id)}"
        with connect(self.find(r"(ws://\S+)") + query, proxy=None, **options) as socket:
            yield socket


def token(user_id: str) -> str:
    secret = dotenv_values(LOCAL_ENV)["TELLWIRE_JWT_SECRET"]
    assert secret is not None
    return mint_token(secret, user_id, 3600)


def environment(**more: str) -> dict[str, str]:
    """Return this environment without a developer's own settings."""
    own = ("AWS_", "TELLWIRE_", "COGNITO_", "CDK_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | more


@pytest.fixture(scope="session")
def cloud_assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `cdk synth` leaves behind. The layer has nothing in it: here, tellwire is installed."""
    if shutil.which("node") is None:
        what = "there is no node on this machine"
        if os.environ.get("CI"):
            pytest.fail(f"{what}, and CI must run every test", pytrace=False)
        pytest.skip(what)
    directory = tmp_path_factory.mktemp("cdk")
    with ZipFile(directory / "layer.zip", "w") as layer:
        layer.writestr("python/nothing.py", "")
    context = json.dumps({"layer": str(directory / "layer.zip")})
    subprocess.run(
        [sys.executable, "cdk_app.py"],
        cwd=EXAMPLE,
        env=environment(CDK_OUTDIR=str(directory / "cdk.out"), CDK_CONTEXT_JSON=context),
        timeout=120,
        check=True,
    )
    return directory / "cdk.out"


@pytest.fixture(scope="module")
def local(cloud_assembly: Path) -> Iterator[Local]:
    command = [TELLWIRE, "local", "--template", str(cloud_assembly), "--env-file", str(LOCAL_ENV), "--port", "0"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = ""
            while "$default" not in said and (line := process.stdout.readline()):
                said += line
            yield Local(said)
        finally:
            process.terminate()


def test_a_device_that_brings_a_token_is_let_in_and_answered(local: Local) -> None:
    with local.device("user-1") as socket:
        socket.send('{"type": "ping"}')
        assert json.loads(socket.recv(SECONDS))["type"] == "pong"


def test_a_token_may_come_as_a_subprotocol(local: Local) -> None:
    subprotocols = [Subprotocol("tellwire.v1"), Subprotocol(f"token.{token('user-1')}")]
    with local.device("user-1", subprotocols=subprotocols) as socket:
        assert socket.subprotocol == "tellwire.v1"


def test_a_device_without_a_token_is_refused(local: Local) -> None:
    with pytest.raises(InvalidStatus) as caught, connect(local.find(r"(ws://\S+)"), proxy=None):
        pass
    assert caught.value.response.status_code == 401


def test_a_message_of_your_own_type_reaches_your_function(local: Local) -> None:
    with local.device("user-1") as socket:
        socket.send('{"type": "rename_moc", "data": {"mocId": "moc-1", "name": "Castle"}}')
        answer = json.loads(socket.recv(SECONDS))
        assert answer["type"] == "moc_renamed"
        assert answer["data"] == {"mocId": "moc-1", "name": "Castle", "by": "user-1"}
        socket.send('{"type": "rename_moc", "data": {"mocId": "moc-1"}}')
        assert json.loads(socket.recv(SECONDS))["data"]["code"] == "INVALID_MESSAGE"


def test_a_worker_reaches_every_device_of_a_user_with_what_it_was_granted(local: Local, cloud_assembly: Path) -> None:
    event = {"userId": "user-2", "title": "Upload complete", "message": "10,000 parts"}
    with local.device("user-2") as phone, local.device("user-2") as laptop, local.device("user-3") as other:
        assert run_worker(local, cloud_assembly, event) == {"delivered": 2, "gone": 0, "failed": 0}
        for device in (phone, laptop):
            assert json.loads(device.recv(SECONDS))["data"]["title"] == "Upload complete"
        other.send('{"type": "ping"}')
        assert json.loads(other.recv(SECONDS))["type"] == "pong"


def run_worker(local: Local, cloud_assembly: Path, event: dict[str, str]) -> dict[str, int]:
    """Invoke the worker in a process of its own, with the variables that `grant_broadcast` gave it, here filled in."""
    template = json.loads((cloud_assembly / "Parts.template.json").read_text())
    [worker] = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function" and resource["Properties"]["Handler"] == "tell_worker.handler"
    ]
    here = {
        "CONNECTIONS_TABLE_NAME": local.find(r"dynamodb\s+\S+\s+(\S+)"),
        "WEBSOCKET_API_ENDPOINT": local.find(r"management\s+(\S+)/@connections"),
    }
    assert worker["Environment"]["Variables"].keys() == here.keys()
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        cwd=EXAMPLE / "worker",
        env=environment(
            **here,
            PYTHONDONTWRITEBYTECODE="1",  # the directory is an asset
            AWS_ENDPOINT_URL_DYNAMODB=local.find(r"dynamodb\s+(\S+)"),
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="local",
            AWS_SECRET_ACCESS_KEY="local",
        ),
        input=json.dumps(event),
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    return dict(json.loads(done.stdout))


# --- rights -----------------------------------------------------------------------------------------------------------

STALE = "GkLIUTsjg44fdEI="


async def test_what_the_functions_ask_of_aws_is_what_the_construct_grants_them(
    cloud_assembly: Path,
    dynamodb_local: str,
    stack: Stack,
    dynamodb_proxy: Proxy,
    posts_proxy: Proxy,
    carrier: AwsCarrier,
) -> None:
    # Nothing here checks rights, so what is asked for is written down. Before any function runs:
    stack.environ["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] = posts_proxy.url
    table = open_table(stack.environ | {"AWS_ENDPOINT_URL_DYNAMODB": dynamodb_local}, stack.clock)
    template = Synthesized(cloud_assembly / "Parts.template.json")

    def asked() -> set[str]:
        seen = {_about_the_table(each) for each in dynamodb_proxy.requests} | {e.method for e in posts_proxy.requests}
        dynamodb_proxy.requests.clear()
        posts_proxy.requests.clear()
        return seen

    def granted(handler: str) -> set[str]:
        return {_in_short(action, on) for action, on in template.rights(handler) if not action.startswith("logs:")}

    async def until_nobody_is_there() -> None:
        async with asyncio.timeout(SECONDS):
            while [row async for page in table.of_user("user-1") for row in page]:
                await asyncio.sleep(0.01)

    asked()  # the table was made
    async with stack.device():
        assert asked() == granted("tellwire.aws.handlers.connect")
    await until_nobody_is_there()
    assert asked() == granted("tellwire.aws.handlers.disconnect")

    async with stack.device(ttl_seconds=60) as expired, stack.device() as device:
        asked()
        stack.api.advance(61)
        await expired.send('{"type": "ping"}')
        assert (await read(expired))["data"]["code"] == "TOKEN_EXPIRED"
        await expired.wait_closed()
        await device.send(json.dumps({"type": "auth", "token": stack.token()}))
        assert (await read(device))["type"] == "auth_ok"
    await until_nobody_is_there()
    assert asked() == granted("moc_messages.default")

    await table.add("user-1", STALE, stack.clock.now() - 3600, stack.clock.now() + 3600)
    async with stack.device(ttl_seconds=180):
        stack.api.advance(181)
        asked()
        assert await carrier.deliver(Target(user="user-1"), b"{}") == Delivery(gone=2)
        assert await carrier.deliver(Target(all=True), b"{}") == Delivery()
        assert await carrier.deliver(Target(connection=STALE), b"{}") == Delivery(gone=1)
    cdks_own = {"managed AWSLambdaBasicExecutionRole"}
    assert asked() == granted("tell_worker.handler") - cdks_own
    await table.close()


def _about_the_table(request: Request) -> str:
    return f"{request.action} {'index' if 'IndexName' in request.parameters else 'table'}"


def _in_short(action: str, resource: str) -> str:
    """Return a right in the words of `asked`: `Query index`, `POST`."""
    service, _, operation = action.rpartition(":")
    if service == "execute-api":
        return resource.split("/")[2]
    if service == "dynamodb":
        return f"{operation} {'index' if resource.endswith('/index/byConnection') else 'table'}"
    return f"{resource} {action.rpartition('/')[2]}"
