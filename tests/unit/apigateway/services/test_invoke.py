"""Lambda Invoke of functions, and schedules: both call functions, without a network."""

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.log_tail import LogTail
from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.definition import Schedule
from tellwire.apigateway.services.invoke import LambdaApi
from tellwire.apigateway.services.refusal import Answer
from tellwire.apigateway.services.schedules import Schedules
from tellwire.limits import MAX_ASYNCHRONOUS_EVENT_BYTES, MAX_INVOCATION_BYTES
from tellwire.testing import FakeClock


class Functions:
    """Functions that answer with their event, or fail as often as told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, str]] = []
        self.details: list[tuple[str, str | None]] = []
        self.failures = 0

    async def invoke(
        self,
        name: str,
        event: Any,
        request_id: str,
        qualifier: str = "",
        client_context: str | None = None,
        tail: LogTail | None = None,
    ) -> Any:
        self.calls.append((name, event, request_id))
        self.details.append((qualifier, client_context))
        if tail is not None:
            tail.add("a line of the handler")
        if self.failures:
            self.failures -= 1
            raise HandlerFailed("ValueError", "not today")
        return {"got": event}


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


Ask = Callable[..., Any]


@pytest.fixture
def ask(functions: Functions, clock: FakeClock) -> Ask:
    api = LambdaApi(functions, {"greet": "GreetFunction"}, clock, {"GreetFunction": frozenset({"live", "1"})})

    async def ask(name: str = "greet", body: bytes = b"{}", qualifier: str = "", **headers: str) -> Answer:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return await api.answer(
            AwsCall("lambda", "InvokeFunction", "us-east-1", name, qualifier=qualifier), named, body
        )

    return ask


@pytest.mark.parametrize(
    "name",
    [
        "greet",
        "greet:live",
        "123456789012:function:greet",
        "arn:aws:lambda:us-east-1:123456789012:function:greet",
        "arn:aws:lambda:us-east-1:123456789012:function:greet:live",
    ],
)
async def test_a_function_is_invoked_by_name_and_by_arn(ask: Ask, functions: Functions, name: str) -> None:
    answer = await ask(name, b'{"a": 1}')
    assert (answer.status, json.loads(answer.body)) == (200, {"got": {"a": 1}})
    assert functions.calls[0][:2] == ("GreetFunction", {"a": 1})
    assert ("X-Amz-Executed-Version", "$LATEST") in answer.headers


@pytest.mark.parametrize(
    ("name", "qualifier", "passed"),
    [
        ("greet", "", ""),
        ("greet", "live", "live"),
        ("greet:1", "", "1"),
        ("greet:live", "live", "live"),
        ("greet", "$LATEST", "$LATEST"),
    ],
)
async def test_the_version_or_alias_is_that_of_the_name_or_the_qualifier(
    ask: Ask, functions: Functions, name: str, qualifier: str, passed: str
) -> None:
    assert (await ask(name, qualifier=qualifier)).status == 200
    assert functions.details == [(passed, None)]


async def test_a_version_that_is_not_there_is_not_found_and_two_that_differ_are_refused(
    ask: Ask, functions: Functions
) -> None:
    unknown, differing = await ask(qualifier="beta"), await ask("greet:live", qualifier="1")
    assert (unknown.status, differing.status) == (404, 400)
    assert b"versions and aliases here: $LATEST, 1, live" in unknown.body
    assert b"does not match the specified qualifier" in differing.body
    assert functions.calls == []


async def test_the_client_context_is_passed_on_as_json_of_ascii(ask: Ask, functions: Functions) -> None:
    context = base64.b64encode('{"custom": {"who": "Zoë"}}'.encode()).decode()
    await ask(x_amz_client_context=context)
    assert functions.details == [("", '{"custom": {"who": "Zo\\u00eb"}}')]


@pytest.mark.parametrize("context", ["no base64!", "bm8ganNvbg==", "WzFd", "e30" + "A" * 4000])
async def test_another_client_context_is_refused(ask: Ask, functions: Functions, context: str) -> None:
    answer = await ask(x_amz_client_context=context)
    assert answer.status == 400
    assert b"Client context must be a valid Base64-encoded JSON object" in answer.body
    assert functions.calls == []


async def test_the_end_of_the_log_comes_with_the_result_if_it_is_asked_for(ask: Ask, functions: Functions) -> None:
    functions.failures = 1
    for _ in range(2):
        headers = dict((await ask(x_amz_log_type="Tail")).headers)
        lines = base64.b64decode(headers["X-Amz-Log-Result"]).decode().splitlines()
        request_id = functions.calls[-1][2]
        assert lines[:3] == [
            f"START RequestId: {request_id} Version: $LATEST",
            "a line of the handler",
            f"END RequestId: {request_id}",
        ]
    assert "X-Amz-Log-Result" not in dict((await ask()).headers)


def test_of_a_long_log_the_last_four_kilobytes_are_kept() -> None:
    tail = LogTail()
    for number in range(5000):
        tail.add(f"line {number}")
    tail.add("x" * 3000)
    assert len(tail.content) == 4096
    assert tail.content.endswith(b"x" * 3000 + b"\n")
    assert b"line 4999" in tail.content


async def test_an_empty_payload_is_an_empty_object(ask: Ask, functions: Functions) -> None:
    await ask("greet", b"")
    assert functions.calls[0][1] == {}


async def test_a_handler_that_fails_is_a_function_error(ask: Ask, functions: Functions) -> None:
    functions.failures = 1
    answer = await ask()
    assert answer.status == 200
    assert ("X-Amz-Function-Error", "Unhandled") in answer.headers
    assert json.loads(answer.body) | {"errorType": "ValueError", "errorMessage": "not today"} == json.loads(answer.body)


async def test_an_unknown_function_is_not_found_and_the_others_are_named(ask: Ask) -> None:
    answer = await ask("other")
    assert answer.status == 404
    assert ("x-amzn-ErrorType", "ResourceNotFoundException") in answer.headers
    assert b"functions here: greet" in answer.body


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"nonsense", "RequestResponse", 400),
        (b"[" * 100_000, "RequestResponse", 400),
        (b'"' + b"x" * MAX_INVOCATION_BYTES + b'"', "RequestResponse", 413),
        (b'"' + b"x" * MAX_ASYNCHRONOUS_EVENT_BYTES + b'"', "Event", 413),
        (b"{}", "Whatever", 400),
        (b"{}", "DryRun", 204),
    ],
)
async def test_an_event_that_lambda_refuses_is_refused(ask: Ask, body: bytes, kind: str, status: int) -> None:
    answer = await ask("greet", body, x_amz_invocation_type=kind)
    assert answer.status == status


async def test_an_event_is_answered_before_it_is_run(ask: Ask, functions: Functions) -> None:
    answer = await ask("greet", b'{"a": 1}', x_amz_invocation_type="Event")
    assert (answer.status, answer.body) == (202, b"")
    await asyncio.sleep(0)
    assert functions.calls[0][:2] == ("GreetFunction", {"a": 1})


async def test_an_event_that_fails_is_tried_three_times_under_one_id(
    ask: Ask, functions: Functions, clock: FakeClock
) -> None:
    functions.failures = 5
    await ask("greet", b"{}", x_amz_invocation_type="Event")
    await clock.advance(59)
    assert len(functions.calls) == 1
    await clock.advance(1)
    assert len(functions.calls) == 2
    await clock.advance(600)
    assert len(functions.calls) == 3
    assert len({request_id for _, _, request_id in functions.calls}) == 1


async def schedules(functions: Functions, clock: FakeClock, *given: Schedule) -> Schedules:
    running = Schedules(given, LambdaApi(functions, {}, clock), clock, "eu-west-1")
    running.start()
    await asyncio.sleep(0)
    return running


async def test_a_schedule_follows_the_clock(functions: Functions, clock: FakeClock) -> None:
    running = await schedules(functions, clock, Schedule("rule tick", "Sweep", "rate(1 minute)", "arn:rule"))
    await clock.advance(59)
    assert functions.calls == []
    await clock.advance(121)
    assert [name for name, _, _ in functions.calls] == ["Sweep"] * 3
    event = functions.calls[0][1]
    assert (event["source"], event["detail-type"], event["detail"]) == ("aws.events", "Scheduled Event", {})
    assert (event["resources"], event["region"], event["time"]) == (["arn:rule"], "eu-west-1", "2023-11-14T22:14:20Z")
    await running.close()
    await clock.advance(600)
    assert len(functions.calls) == 3


async def test_a_schedule_passes_its_input(functions: Functions, clock: FakeClock) -> None:
    given = Schedule("s", "Sweep", "rate(1 minute)", "arn", source="aws.scheduler", payload='{"job": 7}')
    running = await schedules(functions, clock, given)
    await clock.advance(60)
    assert functions.calls[0][1] == {"job": 7}
    await running.close()


async def test_times_that_were_missed_are_not_made_up_for(functions: Functions, clock: FakeClock) -> None:
    running = await schedules(functions, clock, Schedule("rule tick", "Sweep", "rate(1 minute)", "arn"))
    clock.skip(3600)
    await clock.advance(1)
    assert len(functions.calls) == 1
    await running.close()
