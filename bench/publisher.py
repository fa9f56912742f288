"""Timed publishing over HTTP to connected devices, which checks every received byte."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.native import Fleet, LoadError, Sockets
from bench.server import Server


@dataclass(frozen=True, slots=True)
class Run:
    """Messages per second, and the CPU load of both sides (at 1, that side is the limit)."""

    rate: float
    load_busy: float
    server_busy: float


@dataclass(slots=True)
class Publisher:
    """A server, its devices, and the size of a message on the wire.

    `is_kept`: the messages are for users, so each has a cursor with an offset, whose number of digits grows.
    """

    server: Server
    fleet: Fleet
    message_bytes: int
    is_kept: bool = False
    sent_each: int = 0

    def run(
        self,
        clients: Sockets,
        requests: Sequence[bytes],
        *,
        lines: int = 1,
        receivers: int,
        one_at_a_time: bool = False,
    ) -> Run:
        """Send requests of `lines` messages, each for `receivers` devices, evenly spread over the fleet.

        Raises:
            LoadError: a device has a message too few or too many, or the gateway counted differently.
        """
        busy_before = self.server.cpu_seconds
        load = self.fleet.publish(clients, requests, lines * receivers, one_at_a_time=one_at_a_time)
        busy_seconds = self.server.cpu_seconds - busy_before
        expected = len(requests) * lines * receivers
        each = expected // len(self.fleet)
        self.fleet.settle(each, sum(self._bytes(self.sent_each + number) for number in range(1, each + 1)))
        self.sent_each += each
        if load.delivered != expected:
            raise LoadError(f"the gateway counted {load.delivered} delivered, not {expected}")
        # Without receivers, the messages themselves are counted.
        messages = expected or len(requests) * lines
        return Run(messages / load.seconds, load.cpu_seconds / load.seconds, busy_seconds / load.seconds)

    def _bytes(self, number: int) -> int:
        """Return the size of a device's message with this number, computed from the size of the first."""
        return self.message_bytes + (len(str(number)) - 1 if self.is_kept else 0)


def busy(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the highest CPU load of both sides, for a figure's details."""
    return {
        "load_busy": round(max(run.load_busy for run in runs), 2),
        "server_busy": round(max(run.server_busy for run in runs), 2),
    }
