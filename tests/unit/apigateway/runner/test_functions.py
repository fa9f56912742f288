"""Functions: timeouts by the clock, concurrency, and environment."""

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from tellwire.apigateway.definition import Function
from tellwire.apigateway.runner.functions import DeployedFunction, Functions, TimedOut, lambda_environment, within
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.host import InProcess
from tellwire.limits import CONCURRENT_INVOCATIONS
from tellwire.testing import FakeClock


def functions(clock: FakeClock, handler: Any, timeout_seconds: float = 3) -> Functions:
    return Functions(
        {"f": DeployedFunction("f", InProcess.of(handler, clock.now), timeout_seconds, 128)}, clock, "us-east-1"
    )


async def test_a_function_returns_what_its_handler_returned() -> None:
    assert await functions(FakeClock(), lambda event, context: {"got": event}).invoke("f", {"a": 1}, "id") == {
        "got": {"a": 1}
    }


async def test_a_function_that_takes_too_long_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    begun, release = threading.Event(), threading.Event()
    remaining: list[int] = []

    def handler(event: Any, context: Any) -> None:
        remaining.append(context.get_remaining_time_in_millis())
        begun.set()
        release.wait(10)
        remaining.append(context.get_remaining_time_in_millis())

    invocation = asyncio.create_task(functions(clock, handler).invoke("f", {}, "id"))
    await asyncio.to_thread(begun.wait, 10)
    await clock.advance(2.9)
    assert not invocation.done()
    await clock.advance(0.2)
    with caplog.at_level(logging.ERROR), pytest.raises(HandlerFailed, match="timed out"):
        await invocation
    release.set()
    while len(remaining) < 2:
        await asyncio.sleep(0.01)
    assert remaining == [3000, 0]


async def test_only_so_many_run_at_a_time() -> None:
    release = threading.Event()
    several = functions(FakeClock(), lambda event, context: release.wait(30))
    running = [asyncio.create_task(several.invoke("f", {}, "id")) for _ in range(CONCURRENT_INVOCATIONS)]
    await asyncio.sleep(0.1)
    with pytest.raises(HandlerFailed, match="Rate exceeded"):
        await several.invoke("f", {}, "id")
    release.set()
    assert all(await asyncio.gather(*running))
    await several.invoke("f", {}, "id")


async def test_within_gives_the_result_or_the_error() -> None:
    clock = FakeClock()
    assert await within(1, asyncio.sleep(0, "done"), clock) == "done"

    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await within(1, fail(), clock)


async def test_nothing_is_left_of_what_ended_in_time() -> None:
    clock = FakeClock()
    several = functions(clock, lambda event, context: event)
    await asyncio.gather(*(several.invoke("f", {}, "id") for _ in range(20)))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_within_does_not_end_what_takes_longer() -> None:
    clock = FakeClock()
    work = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(within(1, work, clock))
    await clock.advance(1)
    with pytest.raises(TimedOut):
        await waiting
    work.set_result("late")
    assert await work == "late"


def test_the_environment_is_lambdas_and_the_functions_own() -> None:
    function = Function("chat", "app.handler", Path("/code"), "python3.12", {"TABLE": "t", "TZ": "Europe/Vienna"})
    environment = lambda_environment(function, "eu-west-1")
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "chat"
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert environment["_HANDLER"] == "app.handler"
    assert environment["LAMBDA_TASK_ROOT"] == "/code"
    assert environment["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.12"
    assert (environment["TABLE"], environment["TZ"]) == ("t", "Europe/Vienna")
    assert json.dumps(environment)
