"""The baseline: a bare C `send()` loop on the server's core, drained on the load's core by the same code as tellwire.

The drain runs in its own process, because one process may not open enough sockets for the devices of both servers.
"""

import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from bench import machine
from bench.native import TIMEOUT_SECONDS, Fleet, LoadError, compile_source, open_sockets

_REPORT = struct.Struct("qqq")
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """One measurement: `messages` sent in `seconds`, the last of them received. `stalls`: times a socket was full."""

    messages: int
    seconds: float
    stalls: int

    @property
    def rate(self) -> float:
        return self.messages / self.seconds


class Baseline:
    """A running send loop. Made by `send_loop`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def sweep(self, times: int, rounds: int = 1) -> Sweep:
        """Send `rounds` messages to every device, `times` times; each time waits until all have been received."""
        self._connection.send((times, rounds))
        return self.answer()

    def answer(self) -> Sweep:
        if not self._connection.poll(2 * TIMEOUT_SECONDS):
            raise LoadError("the send loop does not answer")
        try:
            answer = self._connection.recv()
        except EOFError as error:
            raise LoadError("the send loop's worker ended") from error
        if isinstance(answer, Sweep):
            return answer
        raise LoadError(f"the send loop: {answer}")


@contextmanager
def send_loop(cores: machine.Cores, connections: int, message: bytes) -> Iterator[Baseline]:
    """Run a send loop over this many connections. `message` are the bytes on the wire, including the frame."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, cores, connections, message), daemon=True)
    process.start()
    theirs.close()
    try:
        baseline = Baseline(ours)
        baseline.answer()
        yield baseline
    finally:
        # The worker ends when its end of the pipe does.
        ours.close()
        process.join(_STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


# --- in the worker's process -----------------------------------------------------------------------------------------


def _work(orders: Connection, cores: machine.Cores, connections: int, message: bytes) -> None:
    machine.pin(0, cores.load)
    machine.allow_many_sockets()
    try:
        with (
            _running_loop(cores, connections) as port,
            _control(port, message) as control,
            Fleet(open_sockets(port, [b""] * connections)) as fleet,
        ):
            _obey(orders, control, fleet, len(message))
    except (LoadError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        orders.send(str(error))


def _obey(orders: Connection, control: socket.socket, fleet: Fleet, message_bytes: int) -> None:
    if control.recv(1) != b"R":
        raise LoadError("it did not accept all connections")
    orders.send(Sweep(0, 1.0, 0))
    while True:
        try:
            times, rounds = orders.recv()
        except EOFError:
            return
        sweep = _sweep(control, fleet, times, rounds)
        fleet.settle(times * rounds, times * rounds * message_bytes)
        orders.send(sweep)


def _sweep(control: socket.socket, fleet: Fleet, times: int, rounds: int) -> Sweep:
    stalls = 0
    began = time.perf_counter()
    for done in range(1, times + 1):
        control.send(bytes([rounds]))
        fleet.drain(done * rounds * len(fleet))
        stalls += _REPORT.unpack(control.recv(_REPORT.size, socket.MSG_WAITALL))[1]
    return Sweep(times * rounds * len(fleet), time.perf_counter() - began, stalls)


@contextmanager
def _running_loop(cores: machine.Cores, connections: int) -> Iterator[int]:
    program = compile_source("send_loop.c")
    process = subprocess.Popen([program, str(connections)], stdout=subprocess.PIPE)
    machine.pin(process.pid, cores.server)
    machine.require_core(process.pid, cores.server)
    machine.require_core(0, cores.load)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)
        process.stdout.close()


@contextmanager
def _control(port: int, message: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as control:
        control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        control.sendall(struct.pack("I", len(message)) + message)
        yield control
