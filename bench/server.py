"""A real `tellwire serve` process on the server's core, configured by its environment."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from bench import machine

API_KEY = "bench-api-key-0123456789"
_SERVE = "from tellwire.cli import main; main()"
_START_SECONDS = 20.0
_STOP_SECONDS = 20.0


class Server:
    """The gateway under test. Environment names are `tellwire serve`'s, without `TELLWIRE_`.

    Example:
        with Server(cores, JWT_SECRET=secret) as server:
            ... server.port ...
    """

    command: Sequence[str] = ("-c", _SERVE, "serve", "--port", "0", "--log-level", "warning")

    def __init__(self, cores: machine.Cores, **settings: str) -> None:
        self._cores = cores
        # Thousands of connections with one token are many users, as far as the measurements are concerned.
        limits = {"CONNECTIONS_PER_USER": "1000000", "MAX_CONNECTIONS": "1000000"}
        self._settings = {f"TELLWIRE_{name}": value for name, value in (limits | settings).items()}
        self.port = 0

    def __enter__(self) -> Self:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TELLWIRE_")}
        # An empty working directory: no tellwire.toml is read.
        self._directory = tempfile.TemporaryDirectory()
        self._log = Path(self._directory.name, "log").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, *self.command],
            cwd=self._directory.name,
            env={**inherited, "TELLWIRE_API_KEY": API_KEY, "TELLWIRE_ENGINE": "memory", **self._settings},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        machine.pin(self._process.pid, self._cores.server)
        try:
            self.port = self._announced_port()
            machine.require_core(self._process.pid, self._cores.server)
            machine.require_core(0, self._cores.load)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process with SIGTERM, or with SIGKILL if it does not end in time."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
        self._log.seek(0)
        sys.stderr.write(self._log.read())
        self._log.close()
        self._directory.cleanup()

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process. The kernel's socket buffers are not included."""
        return machine.rss_bytes(self._process.pid)

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the process, all threads, user and system."""
        return machine.cpu_seconds(self._process.pid)

    @property
    def precise_cpu_seconds(self) -> float:
        """CPU time of the threads that it has now, in nanoseconds."""
        return machine.precise_cpu_seconds(self._process.pid)

    def connections(self) -> int:
        """Return the gateway's own count of connections."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/stats", headers={"Authorization": f"Bearer {API_KEY}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            stats: dict[str, Any] = json.load(answer)
        return int(stats["connections"])

    def wait_for_connections(self, count: int, timeout_seconds: float = 30.0) -> None:
        """Wait until the gateway has exactly this number of connections.

        Raises:
            TimeoutError: it does not have them in time.
        """
        give_up_at = time.monotonic() + timeout_seconds
        while (found := self.connections()) != count:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the server has {found} connections, not {count}")
            time.sleep(0.05)

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _announced_port(self) -> int:
        ready = select.poll()
        ready.register(self._output, select.POLLIN)
        if ready.poll(_START_SECONDS * 1000):
            found = re.search(r"ws://127\.0\.0\.1:(\d+)", self._output.readline())
            if found is not None:
                return int(found[1])
        raise RuntimeError("tellwire serve did not start")


class MountedServer(Server):
    """The same gateway, mounted in a FastAPI program on uvicorn."""

    command = (str(Path(__file__).with_name("mounted_host.py")),)
