"""Processes of a peer: pinned to its core, with their output in a file, and ended by their ids."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import machine
from bench.peers.peer import HOST, Answers, Handshake, Place

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


class Processes:
    """The processes of a running peer. Base of `Running`s: each adds its handshakes and requests."""

    answers = Answers.HTTP
    opening = b""
    refusals: Sequence[bytes] = ()
    heartbeats: Mapping[bytes, bytes] = {}

    def __init__(self, place: Place) -> None:
        self._place = place
        self._processes: list[subprocess.Popen[bytes]] = []
        self.device_ports: Sequence[int] = place.ports
        self.publish_ports: Sequence[int] = place.ports

    @property
    def pids(self) -> Sequence[int]:
        """Return the ids of the processes, and of all that they have started."""
        found = [process.pid for process in self._processes]
        for pid in found:
            found += _children(pid)
        return found

    def run(
        self,
        command: Sequence[str | Path],
        ports: Sequence[int],
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """Start a process, and wait until it accepts connections at these ports.

        Raises:
            RuntimeError: it ended, or does not accept any.
        """
        log = self._place.folder / f"log-{len(self._processes)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["taskset", "-c", str(self._place.core), *command],
                cwd=directory or self._place.folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # No session of its own: the scheduler would take it out of the bench's group, and so from its priority.
                process_group=0,
            )
        self._processes.append(process)
        give_up_at = time.monotonic() + _START_SECONDS
        while not all(map(_accepts, ports)):
            if process.poll() is not None or time.monotonic() > give_up_at:
                self.stop()
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        for pid in self.pids:
            machine.require_core(pid, self._place.core)

    def resume(self, user: str, opened: bytes, last: bytes) -> Handshake:
        """Return no handshake: a peer with a history has its own."""
        raise NotImplementedError

    def publish_batch(self, messages: Sequence[tuple[str, bytes]]) -> bytes:
        """Return no request: a peer with batches has its own."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the processes with SIGTERM, or with SIGKILL those that do not end in time, and all they have started."""
        pids = self.pids
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in pids:
            if _is_of_group(pid, [process.pid for process in self._processes]):
                os.kill(pid, signal.SIGKILL)
        self._processes.clear()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, path.read_text().split())
    return found


def _is_of_group(pid: int, leaders: Sequence[int]) -> bool:
    """Return True if a process still runs, in a group that one of these has begun."""
    try:
        return os.getpgid(pid) in leaders
    except ProcessLookupError:
        return False
