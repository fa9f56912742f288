"""Execution environments: processes of a function, each from its start to its end.

    start ─▶ the runtime loads the code ─▶ asks for the next invocation ─▶ runs it ─▶ asks again ─▶ …
               └▶ reports that it cannot, or dies                           └▶ dies: the invocation has failed

`Runtime` says how the process is started. Its output goes to the terminal, each line with the function and the request.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Callable
from typing import Final

from tellwire.apigateway.runner.exchange import Exchange
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.invocation import Invocation
from tellwire.apigateway.runner.log_tail import LogTail
from tellwire.apigateway.runner.process_output import ProcessOutput
from tellwire.apigateway.runner.reaper import Reaper
from tellwire.apigateway.runner.runtimes import Command

BETWEEN_SECONDS: Final = 0.5
"""Time for a runtime to ask for the next invocation, after one. An invocation waits that long before another process is
started for it: starting one takes about as long."""

_END_SECONDS: Final = 1.0


class ProcessEnvironment:
    """An execution environment in a process of its own; a `Runtime` to the Runtime API.

    It runs one invocation at a time, and is loaded once its runtime asks for the first one. `changed` is called when it
    may have become free, and at its end.
    """

    def __init__(self, function_name: str, command: Command, changed: "Callable[[ProcessEnvironment], None]") -> None:
        self._name = function_name
        self._command = command
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._output: ProcessOutput | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_reserved = False
        self._asking: Exchange | None = None
        self._request_id = ""
        self._outcome: asyncio.Future[bytes] | None = None
        self.is_loaded = False
        self.is_ended = False
        self.is_retired = False
        self.failure: HandlerFailed | None = None
        """The reason for which the code could not be loaded, once the process has ended."""
        self.exit_text: str | None = None
        """The end of the process in Lambda's words, unless it had told a reason itself."""
        self.idle_since = 0.0

    # --- its process --------------------------------------------------------------------------------------------------

    async def start(self, api_address: str, reaper: Reaper) -> None:
        """Start the process. Its success and its end are told by `changed`."""
        reading, writing = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                cwd=self._command.directory,
                env={**self._command.environment, "AWS_LAMBDA_RUNTIME_API": api_address},
                # Ctrl-C in the terminal must reach us only: we still have `$disconnect`s to run before we end it.
                start_new_session=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        reaper.watch(self._process.pid)
        self._output = ProcessOutput(reading, f"{self._name} INIT")
        self._watching = asyncio.create_task(self._watch(self._process, reaper))

    async def _watch(self, process: asyncio.subprocess.Process, reaper: Reaper) -> None:
        code = await process.wait()
        # What it has started ends with it, as on Lambda.
        _signal(process, signal.SIGKILL)
        reaper.forget(process.pid)
        if self._output is not None:
            self._output.close()
        self._over(_exit(code))

    def _over(self, text: str) -> None:
        self.is_ended = True
        if self.failure is None:
            self.exit_text = text
            self.failure = HandlerFailed("Runtime.ExitError", text)
        if self._outcome is not None and not self._outcome.done():
            failure = HandlerFailed("Runtime.ExitError", f"RequestId: {self._request_id} Error: {text}")
            self._outcome.set_exception(failure)
        self._changed(self)

    async def end(self) -> None:
        """End the process and all that it has started: it is asked to, and then killed."""
        self.is_retired = True
        if self._process is None or self._watching is None:
            return
        _signal(self._process, signal.SIGTERM)
        done, _ = await asyncio.wait({self._watching}, timeout=_END_SECONDS)
        if not done:
            _signal(self._process, signal.SIGKILL)
            await asyncio.wait({self._watching})

    def _kill(self) -> None:
        if self._process is not None and not self.is_ended:
            _signal(self._process, signal.SIGKILL)

    # --- for the functions --------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        return self._is_reserved or self._outcome is not None

    @property
    def is_free(self) -> bool:
        """True if an invocation can begin here now."""
        asks = self._asking is not None and self._asking.is_open
        return asks and not (self.is_ended or self.is_retired or self.is_busy)

    @property
    def is_between(self) -> bool:
        """True shortly after an invocation, before the runtime asks for the next one."""
        is_waited_for = self.is_loaded and not (self.is_ended or self.is_retired or self.is_busy or self.is_free)
        return is_waited_for and time.monotonic() - self.idle_since < BETWEEN_SECONDS

    def reserve(self) -> "ProcessEnvironment":
        """Keep it for an invocation, until `run` or `give_back`."""
        self._is_reserved = True
        return self

    def give_back(self) -> None:
        """Keep it no longer."""
        self._is_reserved = False
        self._released()

    async def run(self, event: bytes, invocation: Invocation) -> bytes:
        self._is_reserved = False
        if self.is_ended or self._asking is None:
            raise HandlerFailed("Runtime.ExitError", "the function's process has ended")
        exchange, self._asking = self._asking, None
        self._request_id = invocation.request_id
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._outcome = outcome
        self._tag_with(f"{invocation.function_name} {invocation.request_id}", invocation.tail)
        exchange.answer(200, event, _headers(invocation))
        try:
            return await outcome
        finally:
            self._outcome = None
            self._released()

    def give_up(self, request_id: str) -> None:
        self.is_retired = True
        self._kill()

    def _tag_with(self, tag: str, tail: LogTail | None) -> None:
        if self._output is not None:
            self._output.tag_with(tag, tail)

    def _released(self) -> None:
        self.idle_since = time.monotonic()
        if not self.is_ended:
            self._changed(self)

    # --- for the Runtime API ------------------------------------------------------------------------------------------

    def wants_next(self, exchange: Exchange) -> None:
        self._asking = exchange
        self.is_loaded = True
        self._changed(self)

    def ends(self, request_id: str, outcome: bytes | HandlerFailed) -> bool:
        if self._outcome is None or self._outcome.done() or request_id != self._request_id:
            return False
        if self._output is not None:
            # What it has printed comes before its result.
            self._output.read()
        if isinstance(outcome, HandlerFailed):
            self._outcome.set_exception(outcome)
        else:
            self._outcome.set_result(outcome)
        return True

    def cannot_start(self, failure: HandlerFailed) -> bool:
        if self.is_loaded:
            return False
        self.failure = failure
        # Its process should exit now. One that does not is in the way of the next attempt.
        asyncio.get_running_loop().call_later(_END_SECONDS, self._kill)
        return True


def _headers(invocation: Invocation) -> dict[str, str]:
    now = time.time()
    headers = {
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(int((now + invocation.timeout_seconds) * 1000)),
        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        "Lambda-Runtime-Trace-Id": (
            f"Root=1-{int(now):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"
        ),
    }
    if invocation.client_context is not None:
        headers["Lambda-Runtime-Client-Context"] = invocation.client_context
    return headers


def _exit(code: int) -> str:
    """Return the end of a process in Lambda's words."""
    if code == 0:
        return "Runtime exited without providing a reason"
    if code < 0:
        return f"Runtime exited with error: signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"Runtime exited with error: exit status {code}"


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to a process and to all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
