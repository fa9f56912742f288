"""Lambda Invoke of the functions of a template: synchronous, and `Event`, by name and by ARN.

Source: Lambda API reference, "Invoke"; Lambda developer guide, "Invoking a Lambda function asynchronously".
"""

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.refusal import Answer, error_answer
from tellwire.limits import (
    ASYNCHRONOUS_RETRY_SECONDS,
    MAX_ASYNCHRONOUS_EVENT_BYTES,
    MAX_INVOCATION_BYTES,
    MAX_WAITING_EVENTS,
)
from tellwire.ports import Clock

logger = logging.getLogger("tellwire.lambda")

_NAME = re.compile(
    r"(?:arn:[\w-]+:lambda:[\w-]+:\d{12}:function:|\d{12}:function:|(?:\d{12}:)?)(?P<name>[\w-]{1,64})(?::[\w$-]+)?",
    re.ASCII,
)
_VERSION_HEADER: Final = ("X-Amz-Executed-Version", "$LATEST")


class Invoker(Protocol):
    """The functions, as this needs them: `runner.functions.Functions`."""

    async def invoke(self, name: str, event: Any, request_id: str) -> Any: ...


class LambdaApi:
    """Lambda Invoke. Functions are given by the names that they have on AWS, with the names that they have here."""

    def __init__(self, functions: Invoker, names: Mapping[str, str], clock: Clock) -> None:
        self._functions = functions
        self._names = names
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, call: AwsCall, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request. It is known to be an Invoke."""
        function = self._function(call.resource)
        if function is None:
            text = (
                f"Function not found: {call.resource}; functions of this template: {', '.join(self._names) or 'none'}"
            )
            return error_answer(call, 404, "ResourceNotFoundException", text)
        kind = headers.get("x-amz-invocation-type", "RequestResponse")
        most = MAX_ASYNCHRONOUS_EVENT_BYTES if kind == "Event" else MAX_INVOCATION_BYTES
        if len(body) > most:
            text = f"{len(body)} byte payload is too large for the {kind} invocation type (limit {most} bytes)"
            return error_answer(call, 413, "RequestTooLargeException", text)
        try:
            event = json.loads(body or b"{}")
        except (ValueError, RecursionError) as error:
            text = f"Could not parse request body into json: {error}"
            return error_answer(call, 400, "InvalidRequestContentException", text)
        match kind:
            case "RequestResponse":
                return await self._synchronous(function, event)
            case "Event":
                return self._event(call, function, event)
            case "DryRun":
                return Answer(204, b"", "application/json", (_VERSION_HEADER,))
            case _:
                return error_answer(call, 400, "InvalidParameterValueException", f"InvocationType: got {kind}")

    def _function(self, named: str) -> str | None:
        found = _NAME.fullmatch(named)
        return self._names.get(found["name"]) if found is not None else None

    async def _synchronous(self, function: str, event: Any) -> Answer:
        try:
            result = await self._functions.invoke(function, event, str(uuid.uuid4()))
        except HandlerFailed as error:
            headers = (_VERSION_HEADER, ("X-Amz-Function-Error", "Unhandled"))
            return Answer(200, msgspec.json.encode(error.payload), "application/json", headers)
        return Answer(200, msgspec.json.encode(result), "application/json", (_VERSION_HEADER,))

    def _event(self, call: AwsCall, function: str, event: Any) -> Answer:
        if not self.start(function, event, "Invoke"):
            return error_answer(call, 429, "TooManyRequestsException", "too many events wait for functions")
        return Answer(202, b"", "application/json")

    def start(self, function: str, event: Any, purpose: str) -> bool:
        """Invoke a function without waiting for it, up to three times as Lambda does; False if too many wait."""
        if len(self._tasks) >= MAX_WAITING_EVENTS:
            logger.error("%s: an event of %s is dropped: %d wait", function, purpose, len(self._tasks))
            return False
        task = asyncio.create_task(self._tried(function, event, purpose))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def start_by_name(self, named: str, event: Any) -> None:
        """Invoke a function by its name or ARN on AWS, as `start` does; one that is not there is logged."""
        function = self._function(named)
        if function is None:
            logger.error("topic: the function %s is not in this template", named)
        else:
            self.start(function, event, "topic")

    async def _tried(self, function: str, event: Any, purpose: str) -> None:
        # All attempts have one request id, by which functions can tell a repeated event.
        request_id = str(uuid.uuid4())
        for seconds in (*ASYNCHRONOUS_RETRY_SECONDS, None):
            try:
                await self._functions.invoke(function, event, request_id)
            except HandlerFailed as error:
                if seconds is None:
                    logger.error(  # noqa: TRY400 - the function's own traceback is on the terminal
                        "%s: %s failed: %s; the event is dropped (%s)", purpose, function, error, request_id
                    )
                    return
                logger.warning(
                    "%s: %s failed: %s; again in %g seconds (%s)", purpose, function, error, seconds, request_id
                )
                await self._clock.sleep(seconds)
            else:
                logger.info("%s: %s (invocation %s)", purpose, function, request_id)
                return

    async def close(self) -> None:
        """Drop the events that wait."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
