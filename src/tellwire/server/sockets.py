"""The parts that all WebSockets of a server share: application, limits, deadlines, turns, the drain."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from tellwire import limits
from tellwire.limited_log import LimitedLog
from tellwire.model import new_connection_id
from tellwire.ports import Clock, NullObserver, Observer
from tellwire.rate import Rate
from tellwire.server import descriptors, handshake
from tellwire.server.deflate import Deflater
from tellwire.server.drain import Drain
from tellwire.server.outbox import OutboxBounds
from tellwire.server.reading import ReadingTurns
from tellwire.server.timer_wheel import Due, TimerWheel

if TYPE_CHECKING:
    from tellwire.server.socket import Connection

logger = logging.getLogger("tellwire.gateway")

CONTROL_FRAMES: Final = Rate(limits.CONTROL_FRAMES_PER_SECOND, limits.CONTROL_FRAME_BURST)
"""Pings and pongs that a client may send."""

_ONCE_A_MINUTE: Final = Rate(1 / 60, 1.0)


class Application(Protocol):
    """The application behind the connections. All calls come from the event loop; only `authorize` may wait."""

    def authorize(
        self, connection: "Connection", request: handshake.UpgradeRequest
    ) -> str | Awaitable[str | None] | None:
        """Accept the connection and return the subprotocol to answer, or raise `Refusal` or a `TellwireError`. Both may
        come at once, or from an awaitable where something must be waited for.
        """
        ...

    def abandoned(self, connection: "Connection") -> None:
        """Handle a client that was accepted, and had gone before the 101."""
        ...

    def opened(self, connection: "Connection") -> None:
        """Handle a connection whose 101 has been written."""
        ...

    def received(self, connection: "Connection", text: str) -> None:
        """Handle one text message of the client."""
        ...

    def overran(self, connection: "Connection") -> None:
        """Handle a control frame of a client that sends too many. It was not answered."""
        ...

    def close_when_idle(self, connection: "Connection") -> None:
        """Close a connection with `RESTARTING`, because the server drains: now, or when its requests are answered."""
        ...

    def closed(self, connection: "Connection", code: int, reason: str) -> None:
        """Handle the end of a connection. `code` is the close code that came first, 1006 if there was none."""
        ...


class Timed(Due, Protocol):
    """A connection with deadlines."""

    def check_deadlines(self, now: float) -> None:
        """Act on the deadlines that have passed by a time of the monotonic clock, and set the next one."""
        ...


class Waiting(Protocol):
    """A connection for which messages wait."""

    @property
    def waiting(self) -> tuple[int, int]:
        """The messages, and the bytes, that wait for the client."""
        ...


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """The limits of a connection. See `limits` for the sources.

    A slow consumer, whose outbox is full, is closed; with `closes_slow` false it stays, and the message counts as
    failed.

    After `ping_after_seconds` without traffic a connection gets a ping; 0: it gets none. The pong is traffic, so only a
    connection that gets no pings, or answers none, can be idle for long.
    """

    ping_after_seconds: float = limits.SERVER_PING_SECONDS
    idle_timeout_seconds: float = limits.IDLE_TIMEOUT_SECONDS
    max_connection_seconds: float = limits.MAX_CONNECTION_SECONDS
    outbox: OutboxBounds = field(default_factory=OutboxBounds)
    closes_slow: bool = True
    control_frames: Rate = CONTROL_FRAMES


class Sockets:
    """The parts that all connections share: the application, the clock, the timers, the connections to flush, and the
    drain (without one: that closes all sockets at once).

    With `refuses_by_close` a client that offers our subprotocol is refused by a close (see `refusal`). With the
    `deflater` of the hub, messages are compressed for clients that want it.
    """

    def __init__(
        self,
        application: Application,
        clock: Clock,
        socket_limits: SocketLimits | None = None,
        observer: Observer | None = None,
        new_connection_id: Callable[[], str] = new_connection_id,
        drain: Drain | None = None,
        *,
        refuses_by_close: bool = False,
        deflater: Deflater | None = None,
    ) -> None:
        self.new_connection_id = new_connection_id
        self.application = application
        self.refuses_by_close = refuses_by_close
        self.deflater = deflater
        self.drain = drain or Drain(limits.DRAIN_SECONDS, 0.0)
        self.clock = clock
        self.limits = socket_limits or SocketLimits()
        self.observer = observer or NullObserver()
        self.timers: TimerWheel[Timed] = TimerWheel(clock.monotonic())
        self.turns = ReadingTurns()
        self.refusals = LimitedLog(logger, logging.INFO, "refused connections", clock)
        self.slow_endings = LimitedLog(logger, logging.WARNING, "closed slow consumers", clock)
        self.dead_endings = LimitedLog(logger, logging.INFO, "cut connections", clock)
        self._no_descriptors = LimitedLog(logger, logging.WARNING, "descriptors", clock, _ONCE_A_MINUTE)
        self.slow_closed = 0
        self.unanswered_closed = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.behind: set[Waiting] = set()
        """The connections whose clients do not take their frames; those wait in the outboxes."""
        self._to_flush: list[Connection] = []
        self._is_observed = type(self.observer) is not NullObserver
        self._waiting_since = 0.0
        # In the order in which they were refused.
        self._refused: dict[Connection, None] = {}

    def flush_soon(self, connection: "Connection") -> None:
        """Write the connection's outbox at the end of this turn of the event loop."""
        if not self._to_flush:
            asyncio.get_running_loop().call_soon(self._flush)
            if self._is_observed:
                self._waiting_since = time.perf_counter()
        self._to_flush.append(connection)

    def _flush(self) -> None:
        waiting, self._to_flush = self._to_flush, []
        since = self._waiting_since
        now = self.clock.monotonic()
        for connection in waiting:
            connection.last_active_at = now
            connection.flush()
        if self._is_observed:
            self.observer.frames_written(time.perf_counter() - since)

    def add_refused(self, connection: "Connection") -> None:
        """Keep the socket of a client that was refused by a close until that is answered. The oldest make room."""
        self._refused[connection] = None
        if len(self._refused) > limits.REFUSED_AT_ONCE:
            oldest = next(iter(self._refused))
            del self._refused[oldest]
            oldest.end_refused()

    def forget_refused(self, connection: "Connection") -> None:
        """Forget a client that was refused by a close, and is gone."""
        self._refused.pop(connection, None)

    async def watch(self) -> None:
        """Check the deadlines of the connections that are due, once a second. It never returns."""
        while True:
            await self.clock.sleep(1.0)
            for log in (self.refusals, self.slow_endings, self.dead_endings):
                log.tell_left_out()
            if descriptors.is_exhausted():
                self._no_descriptors.write(
                    "no file descriptor is left (the limit is %s): new connections are closed at once. "
                    "Raise the limit: ulimit -n, or LimitNOFILE= of systemd",
                    descriptors.limit(),
                )
            now = self.clock.monotonic()
            for number, connection in enumerate(self.timers.due(now), 1):
                connection.check_deadlines(now)
                if number % limits.CONNECTIONS_PER_TURN == 0:
                    await asyncio.sleep(0)
