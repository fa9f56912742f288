"""Processes of a play or a test that can be killed, frozen and started again: a gateway, a Redis, a forwarder.

Each keeps its port and its files over a start. They are in process groups of their own, so that Ctrl-C reaches the play
alone, which then ends them by their process ids. Not in sessions: the scheduler would give them another priority.
"""

import asyncio
import itertools
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

API_KEY = "bench-api-key-0123456789"
SECRET = "bench-secret-of-thirty-two-bytes-or-more"

EACH_WRITE = ("--appendonly", "yes", "--appendfsync", "always")
"""Options of a Redis with an append-only file that is synced at every write."""

_ROOT = Path(__file__).parent.parent
_START_SECONDS = 20.0
_COMMAND_SECONDS = 5.0
_INSTALL = """there is no redis-server on this machine. Install it:
  Debian, Ubuntu   sudo apt-get install redis-server
  Fedora           sudo dnf install redis      (or valkey)
  macOS            brew install redis
Redis 7 or newer is needed. Nothing has to be configured: the play starts its own, on a free port."""


class MissingProgram(Exception):
    """A program is not installed. The text says how to install it."""


class _Process:
    """A child process. `log` is the file of its errors."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[str] | None = None
        self._is_frozen = False

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return None if self._process is None else self._process.pid

    def kill(self) -> None:
        """Kill the process with SIGKILL, without any cleanup."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the process with SIGTERM, and wait until it has ended."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Stop the process in its tracks with SIGSTOP. Its connections stay open, and are silent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            self._is_frozen = True

    def thaw(self) -> None:
        """Continue the process after `freeze`."""
        if self._process is not None and self._is_frozen:
            self._process.send_signal(signal.SIGCONT)
        self._is_frozen = False

    def log_lines(self) -> list[str]:
        """Return the lines that it has written to its log."""
        return self.log.read_text(errors="replace").splitlines() if self.log.exists() else []

    def _spawn(self, command: list[str], directory: Path, environment: Mapping[str, str] | None = None) -> None:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,
            )

    def _first_line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        ready = select.poll()
        ready.register(self._process.stdout, select.POLLIN)
        return self._process.stdout.readline() if ready.poll(_START_SECONDS * 1000) else ""

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if how is not signal.SIGKILL:
            self.thaw()
        self._is_frozen = False
        process, self._process = self._process, None
        process.send_signal(how)
        try:
            process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


class _Listener(_Process):
    """A process that listens on a port of loopback, and keeps it."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _listen(self, name: str, announced: str) -> None:
        """Wait until the process announces its port, in a line that has this pattern.

        Raises:
            RuntimeError: it does not.
        """
        found = re.search(announced, self._first_line())
        if found is None:
            self.kill()
            raise RuntimeError("\n".join([f"{name} did not start", *self.log_lines()[-20:]]))
        self.port = int(found[1])


class Gateway(_Listener):
    """A `tellwire serve` process. `settings` are named as in the environment, without `TELLWIRE_`.

    Without settings it keeps its history in SQLite, in `directory`.
    """

    def __init__(self, directory: Path, name: str = "gateway", settings: Mapping[str, str] | None = None) -> None:
        super().__init__(directory / f"{name}.log")
        self.name = name
        self._directory = directory
        self._settings = {f"TELLWIRE_{key}": value for key, value in (settings or {}).items()}

    def start(self) -> None:
        """Start the process, and wait until it listens.

        Raises:
            RuntimeError: it did not start.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TELLWIRE_")}
        settings = {"TELLWIRE_API_KEY": API_KEY, "TELLWIRE_JWT_SECRET": SECRET} | self._settings
        command = "from tellwire.cli import main; main()"
        options = ["serve", "--port", str(self.port), "--log-level", "error"]
        self._spawn([sys.executable, "-c", command, *options], self._directory, inherited | settings)
        self._listen(f"tellwire serve ({self.name})", r"ws://127\.0\.0\.1:(\d+)")


class RedisServer(_Process):
    """A `redis-server` in `directory`. `options` are those of its command line, such as `EACH_WRITE`."""

    start_seconds = _START_SECONDS

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(directory / "redis.log")
        self.directory = directory
        self.options = options
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def version(self) -> str:
        """Return its version, such as `7.0.15`."""
        found = re.search(r"redis_version:(\S+)", str(self.command("INFO", "server")))
        return found[1] if found else "of an unknown version"

    def start(self, *options: str) -> None:
        """Start the process, and wait until it has loaded its data and answers. `options` are of this start alone.

        Raises:
            MissingProgram: it is not installed.
            RuntimeError: it did not start.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        address = ("--port", str(self.port), "--bind", "127.0.0.1")
        files = ("--dir", str(self.directory), "--logfile", self.log.name)
        self._spawn([*self._program(), *address, *files, *self.options, *options], self.directory)
        give_up_at = time.monotonic() + self.start_seconds
        while not self._answers():
            if time.monotonic() > give_up_at or self._process is None or self._process.poll() is not None:
                self.kill()
                raise RuntimeError("\n".join(["redis-server did not start", *self.log_lines()[-20:]]))
            time.sleep(0.01)

    def command(self, *words: str) -> Any:
        """Send a command on a connection of its own, and return its answer: a text, a number or None.

        Raises:
            OSError: there is no answer.
        """
        return self._call(*words)

    def _program(self) -> Sequence[str]:
        """Return the program, with its first options."""
        return (redis_program(), "--save", "")

    def _call(self, *words: str) -> Any:
        request = b"*%d\r\n" % len(words)
        request += b"".join(b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words)
        with socket.create_connection(("127.0.0.1", self.port), _COMMAND_SECONDS) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as answer:
                kind, rest = answer.read(1), answer.readline().decode().strip()
                if kind == b"$" and rest != "-1":
                    return answer.read(int(rest)).decode(errors="replace")
        return {b"+": rest, b"-": rest, b":": int(rest) if kind == b":" else 0}.get(kind)

    def _answers(self) -> bool:
        try:
            return str(self._call("PING")).startswith(("PONG", "NOAUTH"))
        except OSError:
            return False


class ForwarderProcess(_Listener):
    """The one address before gateways on these ports (`forwarder`)."""

    def __init__(self, directory: Path, gateway_ports: Sequence[int]) -> None:
        super().__init__(directory / "forwarder.log")
        self._gateway_ports = gateway_ports

    def start(self) -> None:
        """Start the process, and wait until it listens.

        Raises:
            RuntimeError: it did not start.
        """
        ports = map(str, (self.port, *self._gateway_ports))
        self._spawn([sys.executable, "-m", "bench.forwarder", *ports], _ROOT)
        self._listen("the forwarder", r"forwarding from (\d+)")


async def in_thread(work: Callable[[], T]) -> T:
    """Call a function that blocks in a thread, and wait for its end also when cancelled.

    A thread cannot be stopped: it would start a process after all others have been ended.
    """
    thread = asyncio.create_task(asyncio.to_thread(work))
    try:
        await asyncio.wait([thread])
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        thread.exception()  # taken from it, so that nobody reports it as lost
        raise
    return await thread


def bypass_proxies() -> None:
    """Reach this machine without the proxy that the environment may name, in this process and those it starts."""
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"


def redis_program() -> str:
    """Return the path of `redis-server`.

    Raises:
        MissingProgram: it is not installed.
    """
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise MissingProgram(_INSTALL)
    return program


# Below those that the system gives to whoever asks for any: between a look and its use, nobody gets such a port.
_PORTS = itertools.count(10_000 + 13 * os.getpid() % 20_000)


def free_port() -> int:
    """Return a port of this machine for a program that cannot choose one itself."""
    for port in _PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("there are ports without end")
