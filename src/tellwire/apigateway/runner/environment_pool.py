"""The execution environments of one function: as many processes as are needed at a time, within a bound.

    invocation ─▶ a free environment │ else: in line, and one more is started ─▶ whichever is free first takes it

Each environment runs one invocation at a time, as on Lambda.
"""

import asyncio
import contextlib
import logging
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from tellwire import limits
from tellwire.apigateway.definition import Function
from tellwire.apigateway.runner.environment import BETWEEN_SECONDS, ProcessEnvironment
from tellwire.apigateway.runner.esbuild import build, entry_points
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.runner.invocation import new_log_stream
from tellwire.apigateway.runner.reaper import Reaper
from tellwire.apigateway.runner.runtime_api import RuntimeApi
from tellwire.apigateway.runner.runtimes import command_of
from tellwire.errors import ConfigError

logger = logging.getLogger("tellwire.lambda")


class EnvironmentPool:
    """A `Host` of processes. The first one starts with the first invocation or with `start`."""

    def __init__(self, function: Function, environment: Mapping[str, str], reaper: Reaper | None = None) -> None:
        self._function = function
        self._variables = dict(environment)
        self._api = RuntimeApi()
        self._reaper = reaper or Reaper()
        self._owns_reaper = reaper is None
        self._current: list[ProcessEnvironment] = []
        self._alive: set[ProcessEnvironment] = set()
        self._launching = 0
        self._building = asyncio.Lock()
        self._built: Path | None = None
        self._directories: list[Path] = []
        self._waiting: deque[asyncio.Future[ProcessEnvironment]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._trimming: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._has_told_bound = False

    # --- Host ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        if not self._current:
            # The reason is on the terminal, and the next invocation tries again.
            with contextlib.suppress(HandlerFailed):
                (await self._place()).give_back()

    async def acquire(self) -> ProcessEnvironment:
        free = next((each for each in self._current if each.is_free), None)
        if free is not None and not self._waiting:
            return free.reserve()
        if len(self._waiting) >= limits.WAITING_INVOCATIONS:
            logger.error("%s: throttled, %d invocations wait", self._function.name, len(self._waiting))
            raise HandlerFailed("TooManyRequestsException", "Rate exceeded")
        return await self._place()

    async def reload(self) -> None:
        before, self._current, self._built = self._current, [], None
        for environment in before:
            # Running invocations may finish; new ones go to the next process.
            environment.is_retired = True
            self._changed(environment)
        await self.start()

    async def close(self) -> None:
        self._is_closing = True
        if self._trimming is not None:
            self._trimming.cancel()
        self._refuse_all(HandlerFailed("Runtime.ExitError", "the function is closed"))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(environment.end() for environment in list(self._alive)))
        await self._api.close()
        for directory in self._directories:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        if self._owns_reaper:
            await self._reaper.close()

    # --- the line -----------------------------------------------------------------------------------------------------

    async def _place(self) -> ProcessEnvironment:
        """Wait in line for a free environment.

        Raises:
            HandlerFailed: the code cannot be loaded.
            ConfigError: the function cannot run on this machine.
        """
        waiting: asyncio.Future[ProcessEnvironment] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._start_for_waiting()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                waiting.result().give_back()
            raise

    def _next_waiting(self) -> "asyncio.Future[ProcessEnvironment] | None":
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                return waiting
        return None

    def _refuse_all(self, error: Exception) -> None:
        while (waiting := self._next_waiting()) is not None:
            waiting.set_exception(error)

    def _serve(self, environment: ProcessEnvironment) -> None:
        while environment.is_free and (waiting := self._next_waiting()) is not None:
            waiting.set_result(environment.reserve())

    # --- environments -------------------------------------------------------------------------------------------------

    def _start_for_waiting(self) -> None:
        """Start one more environment if more invocations wait than environments are about to be free."""
        starting = self._launching + sum(not each.is_loaded for each in self._current)
        between = sum(each.is_between for each in self._current)
        if self._is_closing or starting + between >= len(self._waiting):
            if between:
                # They ask again at once, unless their runtime is broken.
                asyncio.get_running_loop().call_later(BETWEEN_SECONDS, self._start_for_waiting)
            return
        if self._launching + len(self._current) < limits.FUNCTION_PROCESSES:
            self._launching += 1
            self._spawn(self._launch())
        elif not self._has_told_bound:
            self._has_told_bound = True
            logger.warning(
                "%s: %d invocations run at once, and more wait in line here; on AWS each would have its own process",
                self._function.name,
                limits.FUNCTION_PROCESSES,
            )

    async def _launch(self) -> None:
        try:
            await self._started()
        except (ConfigError, HandlerFailed) as error:
            self._refuse_all(error)
        except OSError as error:
            self._refuse_all(ConfigError(f"function {self._function.name}: its process cannot be started: {error}"))
        finally:
            self._launching -= 1

    async def _started(self) -> None:
        variables = self._variables | {"AWS_LAMBDA_LOG_STREAM_NAME": new_log_stream()}
        async with self._building:
            built = await self._build()
        command = command_of(self._function, variables, built)
        await self._api.start()
        self._reaper.start()
        environment = ProcessEnvironment(self._function.name, command, self._changed)
        # From here on `close` ends it, also if whoever starts it is cancelled.
        self._alive.add(environment)
        self._current.append(environment)
        try:
            await environment.start(self._api.admit(environment), self._reaper)
        except BaseException:
            self._forget(environment)
            raise

    async def _build(self) -> Path | None:
        """Build the code, unless it is built, and return its directory; None if it runs as it is."""
        if not self._function.runtime.startswith("nodejs") or not (entries := entry_points(self._function)):
            return None
        if self._built is None:
            directory = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="tellwire-"))
            self._directories.append(directory)
            await build(self._function, entries, directory)
            self._built = directory
        return self._built

    def _changed(self, environment: ProcessEnvironment) -> None:
        if environment.is_ended:
            self._ended(environment)
        elif not environment.is_retired:
            self._serve(environment)
            self._trim_later()
        elif not environment.is_busy:
            self._spawn(environment.end())

    def _ended(self, environment: ProcessEnvironment) -> None:
        self._forget(environment)
        if environment.is_retired or self._is_closing:
            self._start_for_waiting()
            return
        if environment.exit_text is not None:
            logger.error("%s: %s", self._function.name, environment.exit_text)
        if not environment.is_loaded:
            failure = environment.failure or HandlerFailed("Runtime.ExitError", "")
            if (waiting := self._next_waiting()) is not None:
                waiting.set_exception(failure)
        self._start_for_waiting()

    def _forget(self, environment: ProcessEnvironment) -> None:
        self._alive.discard(environment)
        self._api.dismiss(environment)
        with contextlib.suppress(ValueError):
            self._current.remove(environment)

    def _trim_later(self) -> None:
        if len(self._current) > 1 and self._trimming is None and not self._is_closing:
            loop = asyncio.get_running_loop()
            self._trimming = loop.call_later(limits.FUNCTION_PROCESS_IDLE_SECONDS, self._trim)

    def _trim(self) -> None:
        """End the environments that a burst has left, all but one."""
        self._trimming = None
        long_ago = time.monotonic() - limits.FUNCTION_PROCESS_IDLE_SECONDS
        for environment in self._current[1:]:
            if environment.is_free and environment.idle_since <= long_ago:
                self._current.remove(environment)
                environment.is_retired = True
                self._spawn(environment.end())
        self._trim_later()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
