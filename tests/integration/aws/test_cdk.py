"""The CDK example: synthesized as a developer does it, then run by `tellwire local`, up to a message on a socket."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from dotenv import dotenv_values
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tellwire.auth import mint_token
from tellwire.engines.aws.connections import ConnectionsTable
from tellwire.engines.aws.environment import open_table
from tellwire.model import Delivery, Target
from tellwire.ports import Carrier
from tellwire.shut_out import ShutOut
from tests.aws_stack import Stack, read, running_stack
from tests.conftest import SECRET
from tests.faults import Proxy, Request
from tests.publications import publication
from tests.unit.infra.conftest import Synthesized

pytestmark = [pytest.mark.timeout(180), pytest.mark.long]  # Node takes its time to start, and so do three functions

EXAMPLE = Path(__file__).parents[3] / "examples" / "aws_cdk"
LOCAL_ENV = EXAMPLE / "local.env"
TELLWIRE = str(Path(sys.executable).with_name("tellwire"))
SECONDS = 100.0

WORKER = """
import json, sys
from notify_worker import handler
json.dump(handler(json.load(sys.stdin), None), sys.stdout)
"""


@dataclass
class Local:
    """A running `tellwire local`, and its output at its start."""

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


# The example as a program, which is what `cdk synth` runs, and again with the one option that leaves out what is kept:
# in one process, as the CDK takes longer to begin than for both.
SYNTHESIZE = """
import runpy, sys
from functools import partial

runpy.run_path("cdk_app.py", run_name="__main__")
sys.path.insert(0, ".")
import cdk_app

cdk_app.RealtimeApi = partial(cdk_app.RealtimeApi, history=False)
app = cdk_app.App(outdir=sys.argv[1])
cdk_app.Parts(app, "Parts")
app.synth()
"""


@pytest.fixture(scope="session")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of `cdk synth`, in `cdk.out`, and in `live-only.out` without a history. Its layer is empty, because
    tellwire is installed here.
    """
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
        [sys.executable, "-B", "-c", SYNTHESIZE, str(directory / "live-only.out")],
        cwd=EXAMPLE,
        env=environment(CDK_OUTDIR=str(directory / "cdk.out"), CDK_CONTEXT_JSON=context),
        timeout=150,
        check=True,
    )
    return directory


@pytest.fixture(scope="session")
def cloud_assembly(assemblies: Path) -> Path:
    return assemblies / "cdk.out"


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
        if resource["Type"] == "AWS::Lambda::Function" and resource["Properties"]["Handler"] == "notify_worker.handler"
    ]
    here = {
        "CONNECTIONS_TABLE_NAME": local.find(r"dynamodb\s.*\b(\w*Connections\w*)"),
        "HISTORY_TABLE_NAME": local.find(r"dynamodb\s.*\b(\w*History\w*)"),
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


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_by_default_a_device_that_was_away_gets_the_workers_messages(local: Local, cloud_assembly: Path) -> None:
    event = {"userId": "user-4", "title": "Upload complete", "message": "10,000 parts"}
    assert run_worker(local, cloud_assembly, event) == {"delivered": 0, "gone": 0, "failed": 0}
    with local.device("user-4") as socket:
        socket.send('{"type": "hello", "cursor": "0"}')
        welcome = json.loads(socket.recv(SECONDS))["data"]
    assert [message["data"]["title"] for message in welcome["messages"]] == ["Upload complete"]
    assert welcome["cursor"] == welcome["messages"][0]["cursor"]


# --- rights -----------------------------------------------------------------------------------------------------------

STALE, EXPIRED = "GkLIUTsjg44fdEI=", "GkLIUTsjg44fdEJ="
HANDLERS = "tellwire.aws.handlers"


@pytest.fixture(scope="session")
def live_only_assembly(assemblies: Path) -> Path:
    return assemblies / "live-only.out"


@pytest.fixture(params=[True, False], ids=["history", "live-only"])
def has_history(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def template(request: pytest.FixtureRequest, has_history: bool) -> Synthesized:
    assembly: Path = request.getfixturevalue("cloud_assembly" if has_history else "live_only_assembly")
    return Synthesized(assembly / "Parts.template.json")


@pytest.fixture
def stack(template: Synthesized, dynamodb_proxy: Proxy, has_history: bool) -> Iterator[Stack]:
    """The API, with a history and without. Its clock stands still, so the slow synthesis comes before it."""
    with running_stack(dynamodb_proxy.url, has_history=has_history) as running:
        yield running


class Asked:
    """The requests of functions to AWS, and the rights that a template grants them. Nothing here checks rights, so
    the requests are recorded.
    """

    def __init__(self, stack: Stack, dynamodb: Proxy, posts: Proxy, template: Synthesized) -> None:
        self._tables = {
            stack.environ["CONNECTIONS_TABLE_NAME"]: "connections",
            stack.environ.get("HISTORY_TABLE_NAME"): "history",
        }
        self._dynamodb, self._posts, self._template = dynamodb, posts, template

    def take(self) -> set[str]:
        """Return the requests since the last call."""
        asked = {right for each in self._dynamodb.requests for right in self._about(each)}
        asked |= {each.method for each in self._posts.requests}
        self._dynamodb.requests.clear()
        self._posts.requests.clear()
        return asked

    def granted(self, handler: str) -> set[str]:
        """Return the rights of a function, without those of its log."""
        about_logs = re.compile(r"logs:\w+$|.*:policy/service-role/AWSLambdaBasicExecutionRole$")
        return {_in_short(act, on) for act, on in self._template.rights(handler) if about_logs.match(act) is None}

    def _about(self, request: Request) -> set[str]:
        parameters = request.parameters
        if request.action == "TransactWriteItems":
            # It needs the right of each of its writes.
            writes = [(kind, write) for each in parameters["TransactItems"] for kind, write in each.items()]
            return {f"{kind}Item {self._tables[write['TableName']]}" for kind, write in writes}
        if request.action == "BatchGetItem":
            return {f"BatchGetItem {self._tables[name]}" for name in parameters["RequestItems"]}
        table = self._tables[parameters["TableName"]]
        return {"/".join(filter(None, (f"{request.action} {table}", parameters.get("IndexName"))))}


def _in_short(action: str, resource: str) -> str:
    """Return a right in the words of `Asked`: `Query connections/byConnection`, `POST`."""
    service, _, operation = action.rpartition(":")
    if service == "execute-api":
        return resource.split("/")[2]
    assert service == "dynamodb"
    table, _, index = resource.partition("/index/")
    name = re.match(r"\$\{Realtime(Connections|History)\w*\.Arn\}$", table)
    assert name is not None, resource
    return "/".join(filter(None, (f"{operation} {name[1].lower()}", index)))


@pytest.fixture
async def table(stack: Stack, posts_proxy: Proxy, dynamodb_local: str) -> AsyncIterator[ConnectionsTable]:
    """The connections, past the proxy. Posts go through theirs, before any function runs."""
    stack.environ["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"] = posts_proxy.url
    table = open_table(stack.environ | {"AWS_ENDPOINT_URL_DYNAMODB": dynamodb_local}, stack.clock)
    yield table
    await table.close()


@pytest.fixture
def asked(
    stack: Stack, table: ConnectionsTable, dynamodb_proxy: Proxy, posts_proxy: Proxy, template: Synthesized
) -> Asked:
    asked = Asked(stack, dynamodb_proxy, posts_proxy, template)
    dynamodb_proxy.requests.clear()  # the tables were made
    return asked


async def until_nobody_is_in(table: ConnectionsTable) -> None:
    async with asyncio.timeout(SECONDS):
        while [row async for page in table.of_user("user-1") for row in page]:
            await asyncio.sleep(0.01)


async def add_gone(stack: Stack, table: ConnectionsTable) -> None:
    """Add connections that are gone; the token of one has expired. Those of devices would run $disconnect meanwhile."""
    for connection_id, ttl_seconds in ((STALE, 3600), (EXPIRED, 0)):
        await table.add("user-1", connection_id, stack.clock.now() - 3600, stack.clock.now() + ttl_seconds)


MEMBERS = {"UpdateItem connections"}
"""The right to change members of topics with presence, of which there are none here: see test_topic_presence.py."""


async def test_the_construct_grants_exactly_the_requests_of_the_routes(
    stack: Stack, table: ConnectionsTable, asked: Asked
) -> None:
    await table.put_shut_out(ShutOut.of("user-2", stack.clock.now() + 3600))
    with pytest.raises(InvalidStatus, match="403"):
        async with stack.device("user-2"):
            pass
    async with stack.device():
        assert asked.take() == asked.granted(f"{HANDLERS}.connect")
    await until_nobody_is_in(table)
    assert asked.take() | MEMBERS == asked.granted(f"{HANDLERS}.disconnect")

    async with stack.device(ttl_seconds=60) as expired, stack.device() as device:
        asked.take()
        stack.api.advance(61)
        await expired.send('{"type": "ping"}')
        assert (await read(expired))["data"]["code"] == "TOKEN_EXPIRED"
        await expired.wait_closed()
        await device.send(json.dumps({"type": "auth", "token": stack.token()}))
        assert (await read(device))["type"] == "auth_ok"
        await device.send('{"type": "hello"}')
        cursor = (await read(device))["data"]["cursor"]
        await device.send(json.dumps({"type": "ack", "cursor": cursor}))
        assert not cursor or (await read(device))["type"] == "seen"
        await device.send('{"type": "cancel", "uploadId": "never"}')
        assert (await read(device))["data"]["code"] == ("UPLOAD_UNKNOWN" if cursor else "HISTORY_MISSING")
        await follow_a_topic(device)
    await until_nobody_is_in(table)
    assert asked.take() == asked.granted("moc_messages.default")


async def follow_a_topic(device: AsyncConnection) -> None:
    """Say everything about a topic that a client may say."""
    token = mint_token(SECRET, "user-1", 7200, topics=["moc:*"])
    for request, answer in (
        ({"type": "auth", "token": token}, "auth_ok"),
        ({"type": "subscribe", "topic": "moc:1"}, "subscribed"),
        ({"type": "auth", "token": token}, "auth_ok"),
        ({"type": "ping"}, "pong"),
        ({"type": "unsubscribe", "topic": "moc:1"}, "unsubscribed"),
        ({"type": "subscribe", "topic": "moc:2"}, "subscribed"),
    ):
        await device.send(json.dumps(request))
        assert (await read(device))["type"] == answer


async def test_the_construct_grants_exactly_the_requests_of_a_worker(
    stack: Stack, table: ConnectionsTable, asked: Asked, *, has_history: bool
) -> None:
    worker: Carrier = stack.keeping_carrier() if has_history else stack.carrier()
    await add_gone(stack, table)
    asked.take()
    assert await worker.deliver(publication(Target(user="user-1"), message("order-17"))) == Delivery(gone=2)
    assert await worker.deliver(publication(Target(user="user-1"), message("order-17"))) == Delivery()
    requests = asked.take()
    assert requests | MEMBERS == asked.granted("notify_worker.handler")

    # A topic needs no other right: of these one is gone, and the token of the other has expired.
    await add_gone(stack, table)
    async for page in table.of_user("user-1"):
        for row in page:
            await table.members.add("moc:1", row)
    asked.take()
    assert await worker.deliver(publication(Target(topic="moc:1"), message("order-18"))) == Delivery(gone=2)
    assert asked.take() <= requests | MEMBERS
    await worker.deliver(publication(Target(user="user-1"), message("order-19")))
    asked.take()

    # With `to_connections` and `to_all` it may also do this.
    assert await worker.deliver(publication(Target(all=True), message())) == Delivery()
    assert await worker.deliver(publication(Target(connection=STALE), message())) == Delivery(gone=1)
    assert asked.take() - requests == {"Scan connections", "Query connections/byConnection"}


@pytest.mark.parametrize("has_history", [True], indirect=True)
async def test_the_construct_grants_exactly_the_requests_of_the_sweeper(
    stack: Stack, table: ConnectionsTable, asked: Asked
) -> None:
    data = {"uploadId": "moc-1", "fileName": "parts.csv", "progress": 40, "message": "", "leaseSeconds": 30}
    running = {"type": "upload_progress", "data": data, "timestamp": "2026-11-25T10:00:00.000Z", "id": "moc-1-40"}
    await stack.keeping_carrier().deliver(publication(Target(user="user-1"), json.dumps(running).encode()))
    stack.api.advance(61)
    await add_gone(stack, table)
    asked.take()
    assert await asyncio.to_thread(stack.sweep) == 1
    assert asked.take() | MEMBERS | {"GET"} == asked.granted(f"{HANDLERS}.sweep")


def message(message_id: str = "0123456789abcdef01234567") -> bytes:
    return json.dumps(
        {"type": "moc_renamed", "data": {}, "timestamp": "2026-11-25T10:00:00.000Z", "id": message_id}
    ).encode()
