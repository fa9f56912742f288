"""The parent's side of a worker process, which runs one function. The process itself is in `worker`."""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tellwire.apigateway.definition import Function
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.invocation import Invocation, new_log_stream
from tellwire.apigateway.runner.worker import Call, Result, Setup
from tellwire.errors import ConfigError

logger = logging.getLogger("tellwire.lambda")

MAX_RESULT_BYTES: Final = 6 * 1024 * 1024
"""Largest result of an invocation (Lambda developer guide, "Lambda quotas")."""

_END_SECONDS: Final = 2.0
_LAST_RESULTS_SECONDS: Final = 0.5

_INHERITED: Final = ("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
"""Variables that a worker inherits from our environment. Others would work here and be missing on Lambda."""


@dataclass(eq=False)
class _Running:
    """A started process, and the outcomes that are awaited from it by request id."""

    process: asyncio.subprocess.Process
    waiting: dict[str, "asyncio.Future[bytes]"] = field(default_factory=dict)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    reading: "asyncio.Task[None] | None" = None


class WorkerProcess:
    """A `Host` in a process of its own. The process starts with the first invocation or with `start`."""

    def __init__(self, function: Function, environment: Mapping[str, str]) -> None:
        self._function = function
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._environment = inherited | dict(environment)
        self._running: _Running | None = None
        self._alive: set[_Running] = set()
        self._starting = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def run(self, event: bytes, invocation: Invocation) -> bytes:
        outcome: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        running = await self._started()
        running.waiting[invocation.request_id] = outcome
        try:
            await _send(running, Call(invocation, msgspec.Raw(event)))
            return await outcome
        except ConnectionError:
            raise HandlerFailed("Runtime.ExitError", "the function's process is gone") from None
        finally:
            running.waiting.pop(invocation.request_id, None)

    async def start(self) -> None:
        await self._started()

    async def _started(self) -> _Running:
        """Start the process unless it is running, and wait until it has loaded the handler."""
        async with self._starting:
            running = self._running
            if running is None or running.process.returncode is not None:
                running = self._running = await self._start()
        await running.loaded.wait()
        return running

    async def _start(self) -> _Running:
        runtime = self._function.runtime
        if not runtime.startswith("python"):
            raise ConfigError(f"function {self._function.name}: got the runtime {runtime!r}; allowed: Python runtimes")
        if not self._function.code_dir.is_dir():
            raise ConfigError(f"function {self._function.name}: its code is gone from {self._function.code_dir}")
        log_stream = new_log_stream()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Without the working directory on the import path until our own modules are imported: a function may have
            # a file named logging.py.
            "-P",
            "-m",
            "tellwire.apigateway.runner.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=self._function.code_dir,
            env=self._environment | {"AWS_LAMBDA_LOG_STREAM_NAME": log_stream},
            # Ctrl-C in the terminal must reach us only: we still have `$disconnect`s to run before we end it.
            start_new_session=True,
            limit=2 * MAX_RESULT_BYTES,
        )
        running = _Running(process)
        paths = (self._function.code_dir, *self._function.layers)
        # `_read` notices a process that died at once.
        with contextlib.suppress(ConnectionError):
            await _send(
                running,
                Setup(
                    self._function.name,
                    self._function.handler,
                    str(self._function.code_dir),
                    log_stream,
                    tuple(str(path) for path in paths),
                ),
            )
        self._alive.add(running)
        running.reading = asyncio.create_task(self._read(running))
        return running

    async def _read(self, running: _Running) -> None:
        """Resolve outcomes until the process ends. Its own child processes may outlive it and keep the pipe open."""
        results = asyncio.create_task(self._results(running))
        ended = asyncio.create_task(running.process.wait())
        await asyncio.wait({results, ended}, return_when=asyncio.FIRST_COMPLETED)
        code = await _end(running.process)
        await asyncio.wait({results}, timeout=_LAST_RESULTS_SECONDS)
        results.cancel()
        self._alive.discard(running)
        running.loaded.set()
        for outcome in running.waiting.values():
            if not outcome.done():
                outcome.set_exception(HandlerFailed("Runtime.ExitError", f"the process ended with exit code {code}"))
        if code and not self._is_closing:
            logger.error("%s: its process ended with exit code %s", self._function.name, code)

    async def _results(self, running: _Running) -> None:
        assert running.process.stdout is not None  # noqa: S101 - asked for a pipe
        decode = msgspec.json.Decoder(Result)
        with contextlib.suppress(ValueError):  # a line over the limit: the lines after it can no longer be separated
            while line := await running.process.stdout.readline():
                _resolve(running, decode.decode(line))

    async def reload(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            # Running invocations may finish; new ones go to the next process.
            task = asyncio.create_task(self._retire(running))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        await self.start()

    async def _retire(self, running: _Running) -> None:
        if running.waiting:
            await asyncio.wait(running.waiting.values(), timeout=self._function.timeout_seconds)
        await _end(running.process)

    async def close(self) -> None:
        self._is_closing = True
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        for running in list(self._alive):
            await _end(running.process)
            if running.reading is not None:
                await running.reading


async def _send(running: _Running, message: Setup | Call) -> None:
    assert running.process.stdin is not None  # noqa: S101 - asked for a pipe
    running.process.stdin.write(msgspec.json.encode(message) + b"\n")
    await running.process.stdin.drain()


def _resolve(running: _Running, result: Result) -> None:
    if not result.request_id:
        running.loaded.set()
    outcome = running.waiting.get(result.request_id)
    if outcome is None or outcome.done():
        return
    if result.error is not None:
        outcome.set_exception(HandlerFailed(*result.error))
    else:
        outcome.set_result(bytes(result.result))


async def _end(process: asyncio.subprocess.Process) -> int | None:
    """End a process: close its standard input, and kill it if it does not exit in time."""
    assert process.stdin is not None  # noqa: S101 - asked for a pipe
    process.stdin.close()
    try:
        async with asyncio.timeout(_END_SECONDS):
            return await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()
