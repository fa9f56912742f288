"""Invocation of functions as Lambda does it: by name, with timeouts, a concurrency limit and a log.

Timeouts follow the `Clock`, so a test can move it by 29 seconds while a handler waits.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from tellwire.apigateway.definition import ACCOUNT_ID, Function
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.host import Environment, Host
from tellwire.apigateway.runner.invocation import VERSION, Invocation
from tellwire.apigateway.runner.log_tail import LogTail
from tellwire.errors import ConfigError
from tellwire.limits import CONCURRENT_INVOCATIONS
from tellwire.ports import Clock

logger = logging.getLogger("tellwire.lambda")

T = TypeVar("T")


class TimedOut(Exception):
    """The work did not end within its time limit."""


class NotInvoked(HandlerFailed):
    """A function was not invoked at all: it is left out, or too many run."""


@dataclass(frozen=True, slots=True)
class DeployedFunction:
    """A function and the execution environment it runs in."""

    name: str
    host: Host
    timeout_seconds: float
    memory_mb: int
    is_on_demand: bool = False


class Functions:
    """The functions of APIs. `left_out` are those that cannot run here, with the reason of each.

    Raises:
        HandlerFailed: from `invoke`, if there is no result for any reason; the reason is in the log. It is `NotInvoked`
            if the handler was not called.
    """

    def __init__(
        self,
        deployed: Mapping[str, DeployedFunction],
        clock: Clock,
        region: str,
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        self._deployed = deployed
        self._left_out = dict(left_out or {})
        self._clock = clock
        self._region = region
        self._running = 0
        self._invoked: set[str] = set()
        self._tasks: set[asyncio.Task[bytes]] = set()

    async def start(self) -> None:
        """Load all code now instead of at the first invocations.

        Raises:
            ConfigError: a function cannot be run here.
        """
        now = (each for each in self._deployed.values() if not each.is_on_demand)
        await asyncio.gather(*(function.host.start() for function in now))

    async def invoke(
        self,
        name: str,
        event: Any,
        request_id: str,
        qualifier: str = "",
        client_context: str | None = None,
        tail: LogTail | None = None,
    ) -> Any:
        """Invoke a function, by a version or an alias if there is a `qualifier`, and return its handler's result.

        `client_context` is JSON; the lines of the invocation are added to `tail`.
        The function's own timeout is applied here; API Gateway's is the caller's.
        """
        self.require(name)
        function = self._deployed[name]
        self._invoked.add(name)
        invocation = Invocation(
            function.name,
            function.timeout_seconds,
            function.memory_mb,
            self._region,
            request_id,
            qualifier,
            client_context,
            tail,
        )
        if self._running >= CONCURRENT_INVOCATIONS:
            logger.error("%s: throttled, %d invocations are running", name, self._running)
            raise NotInvoked("TooManyRequestsException", "Rate exceeded")
        environment = await _acquired(function)
        self._running += 1
        task = asyncio.create_task(environment.run(msgspec.json.encode(event), invocation))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        try:
            result = await within(function.timeout_seconds, task, self._clock)
        except TimedOut:
            logger.error(  # noqa: TRY400 - no traceback of ours belongs there
                "%s %s: Task timed out after %.2f seconds", name, invocation.request_id, function.timeout_seconds
            )
            environment.give_up(invocation.request_id)
            raise HandlerFailed("Sandbox.Timedout", "Task timed out") from None
        return _decoded(result, name)

    def require(self, name: str) -> None:
        """Do nothing if a function can be invoked.

        Raises:
            NotInvoked: it is left out.
        """
        if name in self._left_out:
            raise NotInvoked("LeftOut", self._left_out[name])

    def _done(self, task: "asyncio.Task[bytes]") -> None:
        # Counted until it really ends: after a timeout the handler still runs.
        self._running -= 1
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def wait_idle(self, at_most_seconds: float) -> None:
        """Wait until no invocation runs, for at most this real time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=at_most_seconds)

    async def reload(self) -> None:
        """Load the code from disk again. A function that cannot be loaded is logged, and fails until it can."""
        hosts = [
            function.host
            for name, function in self._deployed.items()
            if name in self._invoked or not function.is_on_demand
        ]
        for outcome in await asyncio.gather(*(host.reload() for host in hosts), return_exceptions=True):
            if isinstance(outcome, ConfigError):
                logger.error("%s", outcome)
            elif isinstance(outcome, BaseException):
                raise outcome

    async def close(self) -> None:
        """Cancel all invocations and close the execution environments."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*(function.host.close() for function in self._deployed.values()))


async def _acquired(function: DeployedFunction) -> Environment:
    try:
        return await function.host.acquire()
    except ConfigError as error:
        raise HandlerFailed("Runtime.ImportModuleError", str(error)) from None


def _decoded(result: bytes, name: str) -> Any:
    try:
        return json.loads(result or b"null")
    except ValueError:
        # Only a custom runtime can do that: those of Lambda encode the result themselves.
        logger.error("%s: its result is not JSON: %.100r", name, result)  # noqa: TRY400 - no traceback of ours
        raise HandlerFailed("Runtime.MarshalError", "the result is not JSON") from None


async def within(seconds: float, running: Awaitable[T], clock: Clock) -> T:
    """Wait for an awaitable with a time limit on this clock. It is not cancelled if it takes longer.

    Raises:
        TimedOut: it did not end in time.
    """
    work = asyncio.ensure_future(running)
    # Its outcome is retrieved even after a timeout: asyncio would log an exception that nobody retrieved.
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({work, timer}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise TimedOut
        return work.result()
    finally:
        timer.cancel()


def lambda_environment(function: Function, region: str) -> dict[str, str]:
    """Return the environment of a function: the variables Lambda sets, and over them the function's own."""
    return {
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCOUNT_ID": ACCOUNT_ID,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": VERSION,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "LAMBDA_TASK_ROOT": str(function.code_dir),
        "_HANDLER": function.handler,
        "TZ": ":UTC",
        **function.environment,
    }
