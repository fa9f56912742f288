"""examples/aws_parts_upload, end to end: its template on a local API Gateway, its workers, S3, DynamoDB, two devices.

The handlers run in processes of their own, as the template says; nothing of them is replaced.
"""

import asyncio
import csv
import importlib
import io
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from examples.parts_upload.devices import Device, connected
from examples.parts_upload.make_samples import make_samples
from tellwire import create_message
from tellwire.apigateway.runner.environment_pool import EnvironmentPool
from tellwire.apigateway.runner.invocation import Invocation
from tellwire.auth import mint_token
from tellwire.broadcast import Broadcaster
from tellwire.client import Client
from tellwire.engines.aws.environment import open_table
from tellwire.model import Target
from tests.publications import publication

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "aws_parts_upload"
SECRET = "a-secret-for-tests-of-40-characters-long"
SECONDS = 100.0

CSV_WORKER, IMAGE_WORKER, SWEEPER = "CsvWorkerFunction", "ImageWorkerFunction", "SweepFunction"

# One stack for all tests: it takes seconds to start. Each test has a user of its own.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]


@pytest.fixture(scope="module")
def local_stack() -> Iterator[Any]:
    """The module beside the template that runs it here."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield importlib.import_module("local_stack")
    finally:
        sys.path.remove(str(EXAMPLE))
        del sys.modules["local_stack"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(local_stack: Any, dynamodb_local: str) -> AsyncIterator[Any]:
    workers = (CSV_WORKER, IMAGE_WORKER, SWEEPER)
    async with local_stack.running_stack(SECRET, workers=workers, dynamodb=dynamodb_local) as running:
        yield running


@asynccontextmanager
async def two_devices(stack: Any, user_id: str) -> AsyncIterator[list[Device]]:
    token = mint_token(SECRET, user_id, 3600)
    async with AsyncExitStack() as resources:
        yield [
            await resources.enter_async_context(connected(name, stack.api.websocket_url, token, lambda *_: None))
            for name in ("phone", "laptop")
        ]


async def received_by(stack: Any, devices: list[Device], user_id: str) -> list[Device]:
    """Wait until everything that was sent has arrived, and return the devices."""
    await Broadcaster(stack.carrier()).broadcast_to_user(user_id, create_message("that_is_all", {}))
    async with asyncio.timeout(SECONDS):
        for device in devices:
            await device.arrival_of("that_is_all")
    return devices


async def put(stack: Any, path: Path, key: str) -> dict[str, Any]:
    """Upload a file, and return the event that S3 sends."""
    return dict(await asyncio.to_thread(stack.put, path, key))


async def test_two_devices_see_a_parts_list_from_0_to_100(stack: Any, tmp_path: Path) -> None:
    key = "uploads/ada/moc 1/Stückliste (1).csv"
    async with two_devices(stack, "ada") as devices:
        event = await put(stack, make_samples(tmp_path).parts_list, key)
        assert await stack.invoke(CSV_WORKER, event) == {key: "9,988 parts imported, 12 rows left out"}
        for device in await received_by(stack, devices, "ada"):
            assert device.missed(["moc 1"]) == []
            assert device.of_type("upload_progress")[-1]["fileName"] == "Stückliste (1).csv"
            assert [error["message"] for error in device.of_type("error")] == ["12 of 10,000 rows were left out"]
            assert [each["severity"] for each in device.of_type("notification")] == ["warning"]
    result = await asyncio.to_thread(stack.s3.get_object, Bucket="uploads", Key=key.replace("uploads/", "parts/"))
    assert len(list(csv.reader(io.StringIO(result["Body"].read().decode(), newline="")))) == 1 + 9_988


async def test_two_events_of_one_upload_are_one_upload_to_its_user(stack: Any, tmp_path: Path) -> None:
    key = "uploads/grace/moc-1/parts.csv"
    async with two_devices(stack, "grace") as devices:
        event = await put(stack, make_samples(tmp_path, rows=500).parts_list, key)
        await stack.invoke(CSV_WORKER, event)
        assert await stack.invoke(CSV_WORKER, event) == {key: "already done"}
        for device in await received_by(stack, devices, "grace"):
            assert len(device.of_type("notification")) == 1


async def test_two_devices_see_pictures_become_thumbnails(stack: Any, tmp_path: Path) -> None:
    *pictures, impostor = make_samples(tmp_path, rows=10).images
    async with two_devices(stack, "mary") as devices:
        for path in (*pictures, impostor):
            key = f"uploads/mary/moc-1/{path.name}"
            outcome = (await stack.invoke(IMAGE_WORKER, await put(stack, path, key)))[key]
            assert outcome.startswith("NOT_AN_IMAGE" if path == impostor else "1 thumbnail made")
        for device in await received_by(stack, devices, "mary"):
            assert device.missed([f"moc-1/{path.name}" for path in pictures]) == []
            assert [error["code"] for error in device.of_type("error")] == ["NOT_AN_IMAGE"]
    found = await asyncio.to_thread(stack.s3.list_objects_v2, Bucket="uploads", Prefix="thumbnails/mary/")
    assert found["KeyCount"] == len(pictures)


async def test_only_the_user_gets_it_and_closed_connections_are_removed(stack: Any, tmp_path: Path) -> None:
    async with two_devices(stack, "somebody-else") as others:
        async with two_devices(stack, "joan") as devices:
            event = await put(stack, make_samples(tmp_path, rows=10).parts_list, "uploads/joan/moc-1/parts.csv")
            await stack.invoke(CSV_WORKER, event)
            await received_by(stack, devices, "joan")
        await received_by(stack, others, "somebody-else")
        assert [device.of_type("upload_progress") for device in others] == [[], []]
    table = open_table(stack.api.environment_of(stack.workers[CSV_WORKER]))
    async with asyncio.timeout(SECONDS):
        while [row async for page, _ in table.everyone() for row in page if row.user_id in ("joan", "somebody-else")]:
            await asyncio.sleep(0.05)
    await table.close()


async def test_the_guide_s_handler_works_twice_in_a_row_in_one_warm_process(stack: Any, tmp_path: Path) -> None:
    parts_list = tmp_path / "parts-list.csv"
    parts_list.write_text("part number,quantity\n" + "3001,4\n" * 1000)
    await put(stack, parts_list, "parts-list.csv")
    function = replace(stack.workers[CSV_WORKER], handler="guide_handler.handler")
    process = EnvironmentPool(function, stack.api.environment_of(function) | {"UPLOADS_BUCKET": "uploads"})
    try:
        async with two_devices(stack, "radia") as devices:
            for moc_id in ("moc-1", "moc-2"):
                event = {"body": json.dumps({"userId": "radia", "mocId": moc_id, "s3Key": "parts-list.csv"})}
                invocation = Invocation("guide", 30, 256, "us-east-1", f"request-{moc_id}")
                environment = await process.acquire()
                assert await environment.run(json.dumps(event).encode(), invocation) == b"null"
            for device in await received_by(stack, devices, "radia"):
                assert device.missed(["moc-1", "moc-2"]) == []
                assert [len(states) for states in device.uploads().values()] == [12, 12]
    finally:
        await process.close()


async def test_a_device_that_was_away_gets_the_others_messages_once_and_in_order(stack: Any, tmp_path: Path) -> None:
    async with two_devices(stack, "katherine") as devices:
        event = await put(stack, make_samples(tmp_path).parts_list, "uploads/katherine/moc-1/parts.csv")
        await stack.invoke(CSV_WORKER, event)
        phone, _ = await received_by(stack, devices, "katherine")
    async with connect(
        f"{stack.api.websocket_url}?token={mint_token(SECRET, 'katherine', 3600)}", proxy=None
    ) as tablet:
        await tablet.send('{"type": "hello", "cursor": "0"}')
        async with asyncio.timeout(SECONDS):
            welcome = json.loads(await tablet.recv())["data"]
    assert (welcome["recovered"], welcome["last"]) == (True, True)
    assert welcome["messages"] == [message for message in phone.messages if "cursor" in message]
    assert [message["type"] for message in welcome["messages"]] == ["error", "notification", "that_is_all"]
    assert welcome["state"] == [message for message in phone.messages if "key" in message][-1:]


async def test_the_sweeper_publishes_that_a_silent_upload_has_stalled_and_failed(stack: Any) -> None:
    data = {"uploadId": "moc-1", "fileName": "parts.csv", "progress": 40, "message": "Reading…", "leaseSeconds": 2}
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    last_word = {"type": "upload_progress", "data": data, "timestamp": now, "id": "the last word of a worker"}
    scheduled = {"detail-type": "Scheduled Event"}
    assert await stack.invoke(SWEEPER, scheduled) == {"expired": 0, "is_finished": True}
    async with two_devices(stack, "barbara") as devices:
        await stack.carrier().deliver(publication(Target(user="barbara"), json.dumps(last_word).encode()))
        async with asyncio.timeout(SECONDS):
            expired = 0
            while expired < 2:
                expired += (await stack.invoke(SWEEPER, scheduled))["expired"]
        for device in await received_by(stack, devices, "barbara"):
            assert [state["status"] for state in device.of_type("upload_progress")[1:]] == ["stalled", "failed"]
            assert [error["code"] for error in device.of_type("error")] == ["UPLOAD_LOST"]


async def test_only_who_has_a_token_of_the_template_s_secret_connects_and_gets_a_pong(stack: Any) -> None:
    url = stack.api.websocket_url
    for token in ("", mint_token(SECRET.upper(), "user-1", 3600)):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{url}?token={token}", proxy=None):
                pass
        assert refused.value.response.status_code == 401
    async with connect(f"{url}?token={mint_token(SECRET, 'user-1', 3600)}", proxy=None) as socket:
        await socket.send('{"type": "ping"}')
        async with asyncio.timeout(SECONDS):
            assert json.loads(await socket.recv())["type"] == "pong"


# --- as people run it -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def started(*command: str, folder: Path) -> AsyncIterator[Process]:
    """Start a command that has ended when the block has, with a secret of its own and nobody's AWS settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TELLWIRE_"))}
    environment = kept | {"XDG_STATE_HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environment, cwd=folder)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def demo(*arguments: str, folder: Path) -> Any:
    return started(sys.executable, str(EXAMPLE / "demo.py"), *arguments, folder=folder)


async def line_with(process: Process, words: str) -> str:
    """Read the output up to the line with these words."""
    assert process.stdout is not None
    async with asyncio.timeout(100):
        async for line in process.stdout:
            if words in line.decode():
                return line.decode()
    raise AssertionError(f"no line with {words!r}")


async def ended(process: Process) -> tuple[int | None, str, str]:
    async with asyncio.timeout(100):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_the_template_runs_with_tellwire_local(tmp_path: Path) -> None:
    command = (str(Path(sys.executable).with_name("tellwire")), "local", "--template", str(EXAMPLE), "--port", "0")
    async with started(*command, "--parameter", f"JwtSecret={SECRET}", folder=tmp_path) as process:
        url = (await line_with(process, "websocket")).split()[-1]
        async with connect(f"{url}?token={mint_token(SECRET, 'user-1', 60)}", proxy=None) as socket:
            await socket.send('{"type": "ping"}')
            async with asyncio.timeout(SECONDS):
                assert json.loads(await socket.recv())["type"] == "pong"
        process.send_signal(signal.SIGINT)
        code, _, errors = await ended(process)
    assert code == 0
    assert "ERROR" not in errors
    assert SECRET not in errors


async def test_tellwire_local_says_that_it_needs_a_way_to_verify_tokens(tmp_path: Path) -> None:
    command = (str(Path(sys.executable).with_name("tellwire")), "local", "--template", str(EXAMPLE), "--port", "0")
    async with started(*command, folder=tmp_path) as process:
        code, output, errors = await ended(process)
    assert (code, output) == (2, "")
    assert "Give CognitoUserPoolId and CognitoClientId, or JwtSecret alone" in errors.splitlines()[-1]


async def test_the_demo_ends_by_itself_with_what_both_devices_saw_and_the_aws_cli_s_word(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("Part;Qty\n" + "3001;4\n" * 1000)
    async with demo("--once", "--file", "mine.csv", folder=tmp_path) as process:
        code, output, errors = await ended(process)
    assert (code, errors) == (0, "")
    for device in ("phone", "laptop"):
        assert f"{device:<7} mine.csv           0.0%  Starting…" in output
        assert f"{device:<7} mine.csv         100.0%  1,000 parts imported" in output
        assert f"{device:<7} Upload complete: mine.csv: 1,000 parts imported" in output
        assert "mine.csv 0 → 100, median delivery" in output
    *_, later = output.partition("A tablet that was away connects, and receives from the history:\n")
    assert later.startswith(
        "tablet  Upload complete: mine.csv: 1,000 parts imported. Read as UTF-8, separated by ;\n"
        "tablet  mine.csv         100.0%  1,000 parts imported. Read as UTF-8, separated by ;\n"
    )
    assert "apigatewaymanagementapi get-connection --endpoint-url http://127.0.0.1:" in output
    shown = json.loads(output[output.rindex("\n{") :])
    assert shown.keys() == {"ConnectedAt", "Identity", "LastActiveAt"}


async def test_the_demo_says_what_the_devices_missed_and_exits_1(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("nothing of the kind\n")
    async with demo("--once", "--file", "mine.csv", folder=tmp_path) as process:
        code, output, _ = await ended(process)
    assert code == 1
    assert "phone   BAD_HEADER: No row names the columns; the first one has “nothing of the kind”" in output
    assert "the upload failed, as the devices say" in output
    assert "tablet  BAD_HEADER: No row names the columns" in output


async def test_the_demo_stays_until_ctrl_c_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("Part;Qty\n3001;4\n")
    async with demo("--file", "mine.csv", folder=tmp_path) as process:
        url = (await line_with(process, "websocket ")).split()[-1]
        listen = await line_with(process, " listen --user demo-user")
        assert url in listen
        assert "token=ey" not in listen
        process.send_signal(signal.SIGINT)
        code, _, errors = await ended(process)
    assert (code, errors) == (0, "")
    host, _, port = url.removeprefix("ws://").removesuffix("/prod").partition(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_a_file_that_is_not_there_is_2(tmp_path: Path) -> None:
    async with demo("--file", "missing.csv", folder=tmp_path) as process:
        code, output, errors = await ended(process)
    assert (code, output) == (2, "")
    assert errors.startswith("demo: --file: ")


async def test_a_client_follows_a_topic_over_the_functions_of_the_template(stack: Any) -> None:
    topic, broadcaster = "moc:7:comments", Broadcaster(stack.carrier())
    await broadcaster.broadcast_to_topic(topic, create_message("comment", {"number": 1}))
    token = mint_token(SECRET, "katherine", 3600, topics=["moc:*"])
    async with (
        asyncio.timeout(SECONDS),
        Client(stack.api.websocket_url, lambda _: token) as client,
        client.topic(topic, start_from="oldest") as comments,
    ):
        heard = aiter(comments)
        assert (await anext(heard)).data == {"number": 1}
        delivery = await broadcaster.broadcast_to_topic(topic, create_message("comment", {"number": 2}))
        assert delivery.delivered == 1
        assert (await anext(heard)).data == {"number": 2}
        assert comments.state.recovered
    while (await broadcaster.broadcast_to_topic(topic, create_message("comment", {"number": 3}))).delivered:
        await asyncio.sleep(0.05)
    members = open_table(stack.api.environment_of(stack.workers[CSV_WORKER])).members
    async with asyncio.timeout(SECONDS):
        while [member async for page, _ in members.of_topic(topic) for member in page]:
            await asyncio.sleep(0.05)
