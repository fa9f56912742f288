"""Publishing over HTTP to connected devices: timed, with what came of it checked to the byte."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.native import Fleet, LoadError, Sockets
from bench.server import Server


@dataclass(frozen=True, slots=True)
class Run:
    """Messages a second, and how busy the two sides were meanwhile (1: all the time, the one that limits)."""

    rate: float
    load_busy: float
    server_busy: float


@dataclass(slots=True)
class Publisher:
    """A server, its devices, and the size of a message on the wire.

    `is_kept`: the messages are for the users of these devices, so each has its place in it, which grows with it.
    """

    server: Server
    fleet: Fleet
    message_bytes: int
    is_kept: bool = False
    told_each: int = 0

    def run(
        self,
        clients: Sockets,
        requests: Sequence[bytes],
        *,
        lines: int = 1,
        receivers: int,
        one_at_a_time: bool = False,
    ) -> Run:
        """Send requests of `lines` messages, each of them for so many receivers, evenly spread over the fleet.

        Raises:
            LoadError: a device has one too few or too many, or the gateway counted differently.
        """
        busy_before = self.server.cpu_seconds
        load = self.fleet.publish(clients, requests, lines * receivers, one_at_a_time=one_at_a_time)
        busy_seconds = self.server.cpu_seconds - busy_before
        expected = len(requests) * lines * receivers
        each = expected // len(self.fleet)
        self.fleet.settle(each, sum(self._bytes(self.told_each + number) for number in range(1, each + 1)))
        self.told_each += each
        if load.delivered != expected:
            raise LoadError(f"the gateway counted {load.delivered} delivered, not {expected}")
        # To nobody, the messages themselves are what is counted.
        messages = expected or len(requests) * lines
        return Run(messages / load.seconds, load.cpu_seconds / load.seconds, busy_seconds / load.seconds)

    def _bytes(self, number: int) -> int:
        """Return the size of a device's message with this number, from that of the first."""
        return self.message_bytes + (len(str(number)) - 1 if self.is_kept else 0)


def busy(runs: Sequence[Run]) -> dict[str, Any]:
    """Return how busy both sides were at most, for a figure's details."""
    return {
        "load_busy": round(max(run.load_busy for run in runs), 2),
        "server_busy": round(max(run.server_busy for run in runs), 2),
    }
