"""The function for producers in other languages, on the API's real parts: publishes reach devices, now and later."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tellwire.aws.handlers import Broadcast
from tests.aws_stack import Stack, read, running_stack
from tests.unit.aws.test_http_events import request_event


@pytest.fixture
def stack(moto_dynamodb: str) -> Iterator[Stack]:
    with running_stack(moto_dynamodb, has_history=True) as running:
        yield running


def publish(user: str = "user-1", **more: Any) -> dict[str, Any]:
    message = {"type": "notification", "data": {"title": "Hello", "message": "From afar", "severity": "info"}, **more}
    return {"target": {"user": user}, "message": message}


async def called(stack: Stack, event: Any) -> Any:
    return await asyncio.to_thread(Broadcast(stack.deployment), event, None)


async def test_a_signed_request_reaches_a_device(stack: Stack) -> None:
    async with stack.device() as device:
        answer = await called(stack, request_event(body=json.dumps(publish())))
        assert (answer["statusCode"], json.loads(answer["body"])["delivered"]) == (200, 1)
        assert (await read(device))["data"]["message"] == "From afar"


async def test_an_invocation_reaches_a_device_that_comes_later(stack: Stack) -> None:
    assert (await called(stack, publish(id="job-1")))["delivered"] == 0
    assert (await called(stack, publish(id="job-1")))["delivered"] == 0
    async with stack.device() as device:
        await device.send(json.dumps({"type": "hello", "cursor": "0"}))
        messages = (await read(device))["data"]["messages"]
    assert [each["id"] for each in messages] == ["job-1"]


async def test_all_targets_of_a_gateway_are_reached(stack: Stack) -> None:
    async with stack.device() as device:
        await device.send(json.dumps({"type": "hello"}))
        connection = (await read(device))["data"]["connectionId"]
        for target in ({"connection": connection}, {"connections": [connection]}, {"all": True}):
            delivery = await called(stack, {**publish(), "target": target})
            assert delivery["delivered"] == 1, target
            await read(device)
