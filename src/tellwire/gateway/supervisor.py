"""The supervisor of several workers at one address.

    start ─▶ the first worker ─▶ ready ─▶ the others ─▶ all ready
    a worker ends ─▶ it is started again, at once or after a wait (restarts)
    a worker answers nothing for half a minute ─▶ it is killed, and so has ended
    SIGTERM, SIGINT, a drain that a worker was asked for ─▶ all drain ─▶ exit code 0

Workers are processes of their own, in sessions of their own: Ctrl-C reaches the supervisor alone. It tells them over a
channel (worker), so that a signal which a service manager sends to all processes is not a second one. One that ends
before any was ready, because of its settings, ends all: its own line says why.
"""

import asyncio
import contextlib
import logging
import math
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from tellwire import limits
from tellwire.errors import ConfigError
from tellwire.gateway.hangup import on_hangup
from tellwire.gateway.listeners import Listeners
from tellwire.gateway.restarts import Restarts
from tellwire.gateway.service_manager import ServiceManager
from tellwire.gateway.worker import ALIVE, DRAIN, END, READY, Worker

logger = logging.getLogger("tellwire.gateway")

FAILED: Final = 1
WRONG_SETTINGS: Final = 2


class Supervisor:
    """Runs `count` workers. `command` with `--worker …` behind it is one of them. `manager` is told of all of them.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def __init__(
        self,
        command: Sequence[str],
        host: str,
        port: int,
        *,
        count: int,
        drain_seconds: float,
        manager: ServiceManager | None = None,
    ) -> None:
        self._command = command
        self._manager = manager or ServiceManager()
        self._drain_seconds = drain_seconds
        self._listeners = Listeners(host, port)
        self._children = [_Child(number, self._heard) for number in range(1, count + 1)]
        self._is_announced = False
        self._first_is_ready = asyncio.Event()
        self._stops = asyncio.Event()
        self._ends = asyncio.Event()
        self._exit_code = 0
        self._signals = 0

    @property
    def authority(self) -> str:
        """The address as it stands in a URL."""
        return self._listeners.authority

    async def run(self, started: Callable[["Supervisor"], None]) -> int:
        """Run until a signal or a drain, and return the exit code. `started` is called once, when all are ready."""
        async with self._manager.watching(self._status):
            return await self._run(started)

    async def _run(self, started: Callable[["Supervisor"], None]) -> int:
        self._started = started
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._signalled)
        keeping = [asyncio.create_task(self._keep(self._children[0]))]
        try:
            with on_hangup(self._manager.reloads(self._reload), self.drain):
                await _first_of(self._first_is_ready.wait(), self._stops.wait())
                if not self._stops.is_set():
                    keeping += [asyncio.create_task(self._keep(each)) for each in self._children[1:]]
                await self._stops.wait()
                await self._drained(keeping)
        finally:
            for child in self._children:
                child.kill()
            await asyncio.wait(keeping)
            self._listeners.close()
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)
        return self._exit_code

    def drain(self) -> None:
        """Drain all workers, and end."""
        self._stops.set()

    # --- what happens -------------------------------------------------------------------------------------------------

    def _status(self) -> str:
        serving = sum(child.is_ready for child in self._children)
        return f"{'draining' if self._stops.is_set() else 'serving'}: {serving} of {len(self._children)} workers"

    def _signalled(self) -> None:
        self._signals += 1
        self.drain()
        if self._signals > 1:
            self._ends.set()

    async def _reload(self) -> None:
        for child in self._children:
            child.reload()

    def _heard(self, word: bytes) -> None:
        if word == DRAIN:
            self.drain()
        elif word == READY:
            self._first_is_ready.set()
            if not self._is_announced and all(child.is_ready for child in self._children):
                self._is_announced = True
                self._manager.ready(self._status())
                self._started(self)

    # --- workers ------------------------------------------------------------------------------------------------------

    async def _keep(self, child: "_Child") -> None:
        """Start a worker, again and again, until all stop."""
        while not self._stops.is_set():
            try:
                code = await child.run(self._command, self._listeners.of(child.number), self._stops)
            except (OSError, ConfigError) as error:
                logger.error("worker-%d cannot be started: %s", child.number, error)  # noqa: TRY400 - the text says it all
                code = FAILED
            if self._stops.is_set():
                break
            wait_seconds = child.restarts.wait_seconds(child.served_seconds)
            if self._gives_up(child, code):
                self.drain()
                break
            again = f"in {wait_seconds:g} s" if wait_seconds else "now"
            logger.warning("worker-%d has ended (%s), and is started again %s", child.number, _in_words(code), again)
            if wait_seconds:
                self._listeners.give_up(child.number)
                await _first_of(self._stops.wait(), asyncio.sleep(wait_seconds))

    def _gives_up(self, child: "_Child", code: int) -> bool:
        if code == WRONG_SETTINGS and not self._first_is_ready.is_set():
            self._exit_code = WRONG_SETTINGS
            return True
        if not child.restarts.is_loop:
            return False
        loop = (
            f"worker-{child.number} has ended {child.restarts.in_a_row} times right after its start ({_in_words(code)})"
        )
        if any(each.is_ready for each in self._children):
            logger.error("%s; the others go on", loop)
            return False
        logger.error("%s, and no other worker runs: giving up", loop)
        self._exit_code = FAILED
        return True

    async def _drained(self, keeping: Sequence["asyncio.Task[None]"]) -> None:
        self._manager.stopping()
        logger.info("stopping: %d workers drain", sum(child.is_running for child in self._children))
        # A worker that has ended before the others must not be sent connections.
        self._listeners.close()
        for child in self._children:
            child.tell(DRAIN)
        all_done = asyncio.gather(*keeping)
        seconds = self._drain_seconds + limits.WORKER_MARGIN_SECONDS
        await _first_of(asyncio.shield(all_done), self._ends.wait(), asyncio.sleep(seconds))
        if not all_done.done():
            for child in self._children:
                child.tell(END)
            await asyncio.wait([all_done], timeout=limits.WORKER_END_SECONDS)
        for child in self._children:
            if child.is_running:
                logger.error("worker-%d did not end, and is killed", child.number)
                self._exit_code = self._exit_code or FAILED
                child.kill()
        await all_done
        logger.info("stopped")


class _Child:
    """A worker as its supervisor has it: the process, if one runs, and the channel to it."""

    def __init__(self, number: int, heard: Callable[[bytes], None]) -> None:
        self.number = number
        self.restarts = Restarts()
        self.is_ready = False
        self.served_seconds = 0.0
        self._heard = heard
        self._ready_at = math.inf
        self._unanswered = 0
        self._process: asyncio.subprocess.Process | None = None
        self._channel: socket.socket | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None

    async def run(self, command: Sequence[str], listener: socket.socket, stops: asyncio.Event) -> int:
        """Start a process, and return its exit code when it has ended; below 0: the signal."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            process = self._process = await asyncio.create_subprocess_exec(
                *command,
                *("--worker", Worker.argument(self.number, listener, theirs)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(listener.fileno(), theirs.fileno()),
                start_new_session=True,
            )
            theirs.close()
            self._channel = ours
            self._ready_at = math.inf
            self._unanswered = 0
            tasks = [asyncio.create_task(self._listen(ours)), asyncio.create_task(self._ask())]
            try:
                if stops.is_set():
                    self.tell(DRAIN)
                return await process.wait()
            finally:
                self._process = self._channel = None
                self.is_ready = False
                self.served_seconds = max(0.0, time.monotonic() - self._ready_at)
                for each in tasks:
                    each.cancel()
                await asyncio.wait(tasks)

    async def _listen(self, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while words := await loop.sock_recv(channel, 1024):
                self._unanswered = 0
                for word in words.splitlines(keepends=True):
                    if word == READY:
                        self.is_ready = True
                        self._ready_at = time.monotonic()
                    self._heard(word)

    async def _ask(self) -> None:
        """Ask the process for a sign of life, and kill it when it has given none for long: its clients wait in vain."""
        while self._unanswered < limits.WORKER_UNANSWERED:
            # Counted, and not timed: a pause of the machine is one question.
            await asyncio.sleep(limits.WORKER_ASK_SECONDS)
            if self.is_ready:
                self._unanswered += 1
                self.tell(ALIVE)
        logger.error("worker-%d hangs: it has not answered %d times, and is killed", self.number, self._unanswered)
        self.kill()

    def tell(self, word: bytes) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.send(word)

    def reload(self) -> None:
        self._signal(signal.SIGHUP)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


async def _first_of(*waits: Any) -> None:
    """Wait for the first of several, and cancel the others."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in tasks:
            each.cancel()


def _in_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
