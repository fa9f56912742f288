"""Lambda Invoke of the functions of a template: synchronous, and `Event`, by name and by ARN.

Source: Lambda API reference, "Invoke"; Lambda developer guide, "Invoking a Lambda function asynchronously".
"""

import asyncio
import base64
import json
import logging
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.invocation import VERSION
from tellwire.apigateway.runner.log_tail import LogTail
from tellwire.apigateway.services.calls import AwsCall
from tellwire.apigateway.services.refusal import Answer, error_answer
from tellwire.limits import (
    ASYNCHRONOUS_RETRY_SECONDS,
    MAX_ASYNCHRONOUS_EVENT_BYTES,
    MAX_CLIENT_CONTEXT_BYTES,
    MAX_INVOCATION_BYTES,
    MAX_WAITING_EVENTS,
)
from tellwire.ports import Clock

logger = logging.getLogger("tellwire.lambda")

_NAME = re.compile(
    r"(?:arn:[\w-]+:lambda:[\w-]+:\d{12}:function:|\d{12}:function:|(?:\d{12}:)?)(?P<name>[\w-]{1,64})"
    r"(?::(?P<qualifier>[\w$-]+))?",
    re.ASCII,
)
_VERSION_HEADER: Final = ("X-Amz-Executed-Version", VERSION)


class Invoker(Protocol):
    """The functions, as this needs them: `runner.functions.Functions`."""

    async def invoke(
        self,
        name: str,
        event: Any,
        request_id: str,
        qualifier: str = "",
        client_context: str | None = None,
        tail: LogTail | None = None,
    ) -> Any: ...


class LambdaApi:
    """Lambda Invoke. Functions are given by the names that they have on AWS, with the names that they have here."""

    def __init__(
        self,
        functions: Invoker,
        names: Mapping[str, str],
        clock: Clock,
        qualifiers: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self._functions = functions
        self._names = names
        self._qualifiers = qualifiers or {}
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, call: AwsCall, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer a request. It is known to be an Invoke."""
        try:
            function, qualifier = self._invoked(call)
            return await self._answer(call, _Request.read(function, qualifier, headers, body))
        except _Refused as refused:
            return error_answer(call, refused.status, refused.code, refused.text)

    async def _answer(self, call: AwsCall, request: "_Request") -> Answer:
        match request.kind:
            case "RequestResponse":
                return await self._synchronous(request)
            case "Event":
                if not self.start(request.function, request.event, "Invoke", request.qualifier):
                    raise _Refused(429, "TooManyRequestsException", "too many events wait for functions")
                return Answer(202, b"", "application/json")
            case "DryRun":
                return Answer(204, b"", "application/json", (_VERSION_HEADER,))
            case kind:
                raise _Refused(
                    400,
                    "InvalidParameterValueException",
                    f"InvocationType: got {kind}; allowed: RequestResponse, Event, DryRun",
                )

    def _invoked(self, call: AwsCall) -> tuple[str, str]:
        """Return the function that a call names, and the version or alias, or ""."""
        found = _NAME.fullmatch(call.resource)
        function = self._names.get(found["name"]) if found is not None else None
        if found is None or function is None:
            names = ", ".join(self._names) or "none"
            text = f"Function not found: {call.resource}; functions here: {names}"
            raise _Refused(404, "ResourceNotFoundException", text)
        named = found["qualifier"] or ""
        if named and call.qualifier and named != call.qualifier:
            text = "The derived qualifier from the function name does not match the specified qualifier."
            raise _Refused(400, "InvalidParameterValueException", text)
        qualifier = named or call.qualifier
        known = self._qualifiers.get(function, frozenset())
        if qualifier not in ("", VERSION, *known):
            allowed = ", ".join((VERSION, *sorted(known)))
            text = f"Function not found: {call.resource}:{qualifier}; versions and aliases here: {allowed}"
            raise _Refused(404, "ResourceNotFoundException", text)
        return function, qualifier

    async def _synchronous(self, request: "_Request") -> Answer:
        request_id, began = str(uuid.uuid4()), self._clock.monotonic()
        tail = LogTail() if request.wants_log else None
        if tail is not None:
            tail.add(f"START RequestId: {request_id} Version: {VERSION}")
        headers = [_VERSION_HEADER]
        try:
            result = await self._functions.invoke(
                request.function, request.event, request_id, request.qualifier, request.client_context, tail
            )
        except HandlerFailed as error:
            result = error.payload
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        if tail is not None:
            tail.add(f"END RequestId: {request_id}")
            tail.add(f"REPORT RequestId: {request_id}\tDuration: {(self._clock.monotonic() - began) * 1000:.2f} ms")
            headers.append(("X-Amz-Log-Result", base64.b64encode(tail.content).decode()))
        return Answer(200, msgspec.json.encode(result), "application/json", tuple(headers))

    def name_of(self, function: str) -> str:
        """Return the name that a function has on AWS."""
        return next((name for name, logical_id in self._names.items() if logical_id == function), function)

    async def result(self, function: str, event: Any) -> Any:
        """Invoke a function, and return its result.

        Raises:
            HandlerFailed: it raised an error, or timed out.
        """
        return await self._functions.invoke(function, event, str(uuid.uuid4()))

    def start(self, function: str, event: Any, purpose: str, qualifier: str = "") -> bool:
        """Invoke a function without waiting for it, up to three times as Lambda does; False if too many wait."""
        if len(self._tasks) >= MAX_WAITING_EVENTS:
            logger.error("%s: an event of %s is dropped: %d wait", function, purpose, len(self._tasks))
            return False
        task = asyncio.create_task(self._tried(function, event, purpose, qualifier))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def start_by_name(self, named: str, event: Any) -> None:
        """Invoke a function by its name or ARN on AWS, as `start` does; one that is not there is logged."""
        found = _NAME.fullmatch(named)
        function = self._names.get(found["name"]) if found is not None else None
        if function is None:
            logger.error("topic: the function %s is not in this template", named)
        else:
            self.start(function, event, "topic", (found["qualifier"] or "") if found is not None else "")

    async def _tried(self, function: str, event: Any, purpose: str, qualifier: str) -> None:
        # All attempts have one request id, by which functions can tell a repeated event.
        request_id = str(uuid.uuid4())
        for seconds in (*ASYNCHRONOUS_RETRY_SECONDS, None):
            try:
                await self._functions.invoke(function, event, request_id, qualifier)
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


class _Refused(Exception):
    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


@dataclass(frozen=True, slots=True)
class _Request:
    """An Invoke, read from a request. Log and client context are for synchronous invocations only, as on AWS."""

    function: str
    qualifier: str
    kind: str
    event: Any
    client_context: str | None
    wants_log: bool

    @classmethod
    def read(cls, function: str, qualifier: str, headers: Mapping[str, str], body: bytes) -> "_Request":
        kind = headers.get("x-amz-invocation-type", "RequestResponse")
        most = MAX_ASYNCHRONOUS_EVENT_BYTES if kind == "Event" else MAX_INVOCATION_BYTES
        if len(body) > most:
            text = f"{len(body)} byte payload is too large for the {kind} invocation type (limit {most} bytes)"
            raise _Refused(413, "RequestTooLargeException", text)
        try:
            event = json.loads(body or b"{}")
        except (ValueError, RecursionError) as error:
            text = f"Could not parse request body into json: {error}"
            raise _Refused(400, "InvalidRequestContentException", text) from error
        context = _client_context(headers.get("x-amz-client-context", ""))
        return cls(function, qualifier, kind, event, context, headers.get("x-amz-log-type") == "Tail")


def _client_context(written: str) -> str | None:
    """Return the client context as JSON of ASCII characters, which fit into a header."""
    if not written:
        return None
    text = "Client context must be a valid Base64-encoded JSON object."
    if len(written) > MAX_CLIENT_CONTEXT_BYTES:
        raise _Refused(
            400,
            "InvalidRequestContentException",
            f"{text} Got {len(written)} bytes; allowed: {MAX_CLIENT_CONTEXT_BYTES}",
        )
    try:
        context = json.loads(base64.b64decode(written, validate=True))
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "InvalidRequestContentException", text) from error
    if not isinstance(context, dict):
        raise _Refused(400, "InvalidRequestContentException", text)
    return json.dumps(context)
