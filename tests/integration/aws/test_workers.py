"""Workers as Lambda runs them: a synchronous `def handler(event, context)` in a process that stays warm, or freezes."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tellwire.broker import BrokerCarrier
from tellwire.engines.aws.carrier import AwsCarrier
from tellwire.errors import ConfigError
from tellwire.producer import carrier_from_environment
from tests.aws_stack import Stack, read
from tests.faults import Proxy

# The usage guide's CSV parser, line by line, and a loop that does what Lambda's runtime does.
GUIDES_HANDLER = """
import json, sys
from tellwire.sync import broadcast_to_user, create_upload_progress_message, create_notification_message

ROWS = range(1000)

def handler(event, context):
    body = json.loads(event["body"])
    user_id, moc_id, s3_key = body["userId"], body["mocId"], body["s3Key"]

    # Send initial progress
    broadcast_to_user(
        user_id, create_upload_progress_message(moc_id, "parts-list.csv", 0, "Starting CSV parsing...")
    )

    # Parse CSV with progress updates
    row_count = 0
    for row in ROWS:
        row_count += 1

        # Send progress every 100 rows
        if row_count % 100 == 0:
            broadcast_to_user(
                user_id,
                create_upload_progress_message(
                    moc_id,
                    "parts-list.csv",
                    min(50, (row_count / 10000) * 50),
                    f"Parsing row {row_count}...",
                    row_count,
                    10000,
                ),
            )

    # Send completion
    broadcast_to_user(
        user_id, create_upload_progress_message(moc_id, "parts-list.csv", 100, "CSV parsing complete!")
    )
    delivery = broadcast_to_user(
        user_id,
        create_notification_message(
            "Upload Complete", "Your file has been uploaded successfully", "success", f"/mocs/{moc_id}", "View MOC"
        ),
    )
    return {"statusCode": 200, "delivered": delivery.delivered}

for line in sys.stdin:
    print(json.dumps(handler(json.loads(line), None)), flush=True)
"""


@asynccontextmanager
async def warm_function(program: str, environ: dict[str, str]) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=os.environ | environ, stdin=-1, stdout=-1
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def invoke(process: Process, event: Any) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(event).encode() + b"\n")
    return json.loads(await asyncio.wait_for(process.stdout.readline(), 45))


def upload(moc_id: str) -> dict[str, str]:
    return {"body": json.dumps({"userId": "user-1", "mocId": moc_id, "s3Key": "uploads/parts-list.csv"})}


async def test_the_guides_handler_works_twice_in_one_warm_process_and_after_a_freeze(
    stack: Stack, dynamodb_proxy: Proxy, posts_proxy: Proxy
) -> None:
    environ = stack.environ | {"AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": posts_proxy.url}
    async with stack.devices(2) as devices, warm_function(GUIDES_HANDLER, environ) as function:
        for moc_id in ("first", "second"):
            assert await invoke(function, upload(moc_id)) == {"statusCode": 200, "delivered": 2}
        function.send_signal(signal.SIGSTOP)
        # What a freeze does: the other sides have hung up by the time the process thaws.
        dynamodb_proxy.hang_up()
        posts_proxy.hang_up()
        function.send_signal(signal.SIGCONT)
        assert await invoke(function, upload("third")) == {"statusCode": 200, "delivered": 2}
        for device in devices:
            for moc_id in ("first", "second", "third"):
                progress = [await read(device) for _ in range(12)]
                assert {message["data"]["uploadId"] for message in progress} == {moc_id}
                shown = [message["data"]["progress"] for message in progress]
                assert shown == [0, *(rows / 10000 * 50 for rows in range(100, 1001, 100)), 100]
                assert progress[5]["data"]["currentRow"] == 500
                assert (await read(device))["data"]["actionUrl"] == f"/mocs/{moc_id}"


async def test_messages_for_a_user_without_connections_are_kept_and_replayed_once(
    keeping_stack: Stack, dynamodb_proxy: Proxy
) -> None:
    async with warm_function(GUIDES_HANDLER, keeping_stack.environ) as function:
        assert await invoke(function, upload("first")) == {"statusCode": 200, "delivered": 0}
        function.send_signal(signal.SIGSTOP)
        dynamodb_proxy.hang_up()
        function.send_signal(signal.SIGCONT)
        assert await invoke(function, upload("second")) == {"statusCode": 200, "delivered": 0}
    async with keeping_stack.device() as device:
        await device.send('{"type": "hello", "cursor": "0"}')
        welcome = (await read(device))["data"]
    assert [message["data"]["actionUrl"] for message in welcome["messages"]] == ["/mocs/first", "/mocs/second"]
    assert [(state["data"]["uploadId"], state["data"]["progress"]) for state in welcome["state"]] == [
        ("first", 100),
        ("second", 100),
    ]


async def test_the_environment_chooses_the_engine(stack: Stack) -> None:
    carrier = carrier_from_environment(stack.environ)
    assert isinstance(carrier, BrokerCarrier)
    assert isinstance(carrier._carrier, AwsCarrier)
    await carrier._carrier.close()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"CONNECTIONS_TABLE_NAME": ""}, "CONNECTIONS_TABLE_NAME: not set, and WEBSOCKET_API_ENDPOINT is"),
        ({"WEBSOCKET_API_ENDPOINT": " "}, "WEBSOCKET_API_ENDPOINT: not set, and CONNECTIONS_TABLE_NAME is"),
        ({"TELLWIRE_URL": "http://127.0.0.1:8787"}, "got TELLWIRE_URL and CONNECTIONS_TABLE_NAME"),
        ({"AWS_REGION": "the moon"}, "AWS_REGION: got 'the moon'"),
        ({"WEBSOCKET_API_ENDPOINT": "abc123", "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": ""}, "got 'abc123'"),
    ],
)
def test_half_an_environment_is_named(changes: dict[str, str], words: str) -> None:
    environ = {
        "CONNECTIONS_TABLE_NAME": "connections",
        "WEBSOCKET_API_ENDPOINT": "https://abc.execute-api.us-east-1.amazonaws.com/prod",
        "AWS_REGION": "us-east-1",
    }
    with pytest.raises(ConfigError, match=words):
        carrier_from_environment(environ | changes)
