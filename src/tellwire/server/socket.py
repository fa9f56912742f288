"""One WebSocket: the shell between a transport and an application. Its only rules are those of RFC 6455.

    data_received ─▶ handshake ─▶ application.authorize ─▶ 101 ─▶ application.opened
                  └▶ websockets' sans-I/O Protocol ─▶ frames ─▶ application.received(text)
    send ─▶ outbox ─▶ once per turn of the event loop ─▶ transport

uvicorn makes one `Connection` per upgrade request (its `ws=` extension point). Incoming frames go through websockets'
`Protocol`; outgoing ones are bytes that the hub framed once for everybody, so they go to the transport as they are.

Writes are coalesced: a `send()` call costs about as much as all other work for a message, so the frames of one turn of
the event loop leave in one write.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets import protocol as ws
from websockets.frames import Frame, Opcode

from tellwire import limits
from tellwire.carriers.hub import Sent
from tellwire.errors import TellwireError
from tellwire.model import ConnectionInfo, Identity, new_connection_id, timestamp
from tellwire.ports import Clock, NullObserver, Observer
from tellwire.server import handshake
from tellwire.server.framing import PING
from tellwire.server.outbox import Outbox, OutboxBounds
from tellwire.server.timer_wheel import TimerWheel

logger = logging.getLogger("tellwire.gateway")

# websockets logs every connection's end at INFO, a logger looked up by name each time.
_protocol_logger = logging.getLogger("tellwire.server.framing")
_protocol_logger.setLevel(logging.WARNING)

# Read once per message and device; on the class the lookup goes through the enumeration's metaclass.
_DELIVERED = Sent.DELIVERED

GOING_AWAY = (1001, "Going away")
TOO_SLOW = (1013, "Too slow: come back")
RESTARTING = (1012, "Service restart")
TOKEN_EXPIRED = (4401, "Token expired")


class Application(Protocol):
    """The application behind the connections. All calls come from the event loop; only `authorize` may wait."""

    async def authorize(self, connection: "Connection", request: handshake.UpgradeRequest) -> str | None:
        """Accept the connection and return the subprotocol to answer, or raise `Refusal` or a `TellwireError`."""
        ...

    def opened(self, connection: "Connection") -> None:
        """Handle a connection whose 101 has been written."""
        ...

    def received(self, connection: "Connection", text: str) -> None:
        """Handle one text message of the client."""
        ...

    def closed(self, connection: "Connection", code: int, reason: str) -> None:
        """Handle the end of a connection. `code` is the close code that came first, 1006 if there was none."""
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


class Sockets:
    """The parts that all connections share: the application, the clock, the timers, and the connections to flush."""

    def __init__(
        self,
        application: Application,
        clock: Clock,
        socket_limits: SocketLimits | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.application = application
        self.clock = clock
        self.limits = socket_limits or SocketLimits()
        self.observer = observer or NullObserver()
        self.timers: TimerWheel[Connection] = TimerWheel(clock.now())
        self.slow_closed = 0
        self.unanswered_closed = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self._to_flush: list[Connection] = []

    def make_connection(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> "Connection":
        """Make the protocol for one upgrade request, with the arguments uvicorn gives its `ws=` class."""
        return Connection(self, server_state)

    def flush_soon(self, connection: "Connection") -> None:
        """Write the connection's outbox at the end of this turn of the event loop."""
        if not self._to_flush:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_flush.append(connection)

    def _flush(self) -> None:
        waiting, self._to_flush = self._to_flush, []
        for connection in waiting:
            connection.flush()

    async def watch(self) -> None:
        """Check the deadlines of the connections that are due, once a second. It never returns."""
        while True:
            await self.clock.sleep(1.0)
            now = self.clock.now()
            for number, connection in enumerate(self.timers.due(now), 1):
                connection.check_deadlines(now)
                if number % limits.CONNECTIONS_PER_TURN == 0:
                    await asyncio.sleep(0)


class Connection(asyncio.Protocol):
    """One WebSocket connection, from the upgrade request to the end of the socket."""

    __slots__ = (
        "_close_by",
        "_drained",
        "_fragments",
        "_outbox",
        "_paused",
        "_pinged_at",
        "_protocol",
        "_server_state",
        "_sockets",
        "_transport",
        "_unanswered_pings",
        "connected_at",
        "connection_id",
        "due_slot",
        "expires_at",
        "is_open",
        "last_active_at",
        "state",
        "user_id",
    )

    _transport: asyncio.Transport

    def __init__(self, sockets: Sockets, server_state: ServerState) -> None:
        self._sockets = sockets
        self._server_state = server_state
        self._protocol: ws.Protocol | None = None
        self._outbox = Outbox(sockets.limits.outbox, sockets.observer.frame_conflated)
        self._paused = False
        self._drained: asyncio.Future[None] | None = None
        self._fragments: bytearray | None = None
        self._close_by = float("inf")
        self._pinged_at = 0.0
        self._unanswered_pings = 0
        self.connection_id = new_connection_id()
        self.user_id = ""
        # Set and used by the application alone.
        self.state: Any = None
        self.is_open = False
        self.expires_at = float("inf")
        self.connected_at = self.last_active_at = sockets.clock.now()
        self.due_slot = 0

    # --- for the application ------------------------------------------------------------------------------------------

    @property
    def peer_address(self) -> str:
        """The address at the other end of the TCP connection; empty if the system does not know it."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    @property
    def local_port(self) -> int:
        """The port the client connected to."""
        return int(self._transport.get_extra_info("sockname")[1])

    @property
    def is_secure(self) -> bool:
        """True if the connection uses TLS."""
        return self._transport.get_extra_info("sslcontext") is not None

    def identify(self, identity: Identity) -> None:
        """Set the user of this connection, and the time at which it expires."""
        self.user_id = identity.user_id
        self.expires_at = identity.expires_at
        if self.is_open:
            self._set_deadline()

    def info(self) -> ConnectionInfo:
        return ConnectionInfo(
            self.connection_id,
            self.user_id,
            timestamp(self.connected_at),
            timestamp(self.last_active_at),
            timestamp(self.expires_at),
        )

    def send(self, frames: bytes, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        if not self.is_open:
            return Sent.GONE
        if now >= self.expires_at:
            self._expire()
            return Sent.GONE
        outbox = self._outbox
        # An outbox that is not empty has a flush scheduled: at the end of this turn, or when the transport resumes.
        is_first = not outbox.size_bytes
        if not self._paused:
            key = None  # no conflation: the client is not behind
        if not outbox.offer(frames, key, is_final=is_final):
            # The outbox may be full only because this turn had many messages: flush it, and try once more.
            self.flush()
            if not outbox.offer(frames, key, is_final=is_final):
                self._sockets.observer.frame_dropped()
                if self._sockets.limits.closes_slow:
                    self._close_slow()
                return Sent.FAILED
        self.last_active_at = now
        if is_first and not self._paused:
            self._sockets.flush_soon(self)
        return _DELIVERED

    async def drained(self) -> None:
        """Wait until the outbox is empty, or the client is gone."""
        while self.is_open and (self._paused or self._outbox.size_bytes):
            self._drained = self._drained or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, after the frames in the outbox. Does nothing if the connection is closing."""
        if not self.is_open or self._protocol is None:
            return
        if len(self._outbox):
            # All of it, even to a paused transport: the outbox is bounded, and no later flush will come.
            self._transport.writelines(self._outbox.take(self._outbox.size_bytes))
        self._protocol.send_close(code, reason)
        self._after_protocol()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # The transport pauses as soon as bytes are left, so that messages wait in the outbox, where they can still be
        # counted and dropped. Not 0: a TLS transport pauses at the mark, the others above it.
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._server_state.connections.add(cast("Any", self))

    def data_received(self, data: bytes) -> None:
        if self._protocol is not None:
            self._receive(data)
            return
        # A client sends no frames before the 101, so reading can pause.
        self._transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._open(handshake.read_request(data)))
        self._sockets.tasks.add(task)
        task.add_done_callback(self._sockets.tasks.discard)

    def eof_received(self) -> None:
        if self._protocol is not None:
            self._protocol.receive_eof()
            self._after_protocol()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server_state.connections.discard(cast("Any", self))
        self._sockets.timers.discard(self)
        self._outbox.clear()
        self.is_open = False
        self._resolve_drained()
        protocol = self._protocol
        if protocol is None:
            return
        # The parser is a generator and refers to the protocol, which refers to the parser. Closing it breaks the cycle.
        with contextlib.suppress(RuntimeError):
            protocol.parser.close()
        first = protocol.close_rcvd if protocol.close_rcvd_then_sent is not False else protocol.close_sent
        first = first or protocol.close_sent
        code, reason = (first.code, first.reason) if first is not None else (1006, "")
        self._sockets.observer.connection_closed(int(code))
        self._sockets.application.closed(self, int(code), reason)

    def pause_writing(self) -> None:
        self._paused = True
        # Pongs to a client that does not read would pile up beside the outbox, so its frames are not read either.
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._sockets.clock.now() >= self.expires_at:
            self._expire()
        self._paused = False
        self.flush()
        if not self._transport.is_closing() and self._protocol is not None:
            self._transport.resume_reading()

    def shutdown(self) -> None:
        """Close the connection because the server stops; uvicorn calls this."""
        if self._protocol is None:
            self._refuse(handshake.Refusal(503, "RESTARTING", "The server is restarting; come back"))
        else:
            self.close(*RESTARTING)

    def abort(self) -> None:
        """Cut the socket."""
        self._transport.abort()

    # --- opening ------------------------------------------------------------------------------------------------------

    async def _open(self, request: handshake.UpgradeRequest) -> None:
        try:
            accept_value = handshake.accept(request)
            subprotocol = await self._sockets.application.authorize(self, request)
        except handshake.Refusal as refusal:
            self._refuse(refusal)
        except TellwireError as error:
            self._refuse(handshake.Refusal.of(error))
        except Exception:
            logger.exception("a handshake failed")
            self._refuse(handshake.Refusal(500, "INTERNAL_ERROR", "The handshake failed; the server's log has more"))
        else:
            if not self._transport.is_closing():
                self._accept(accept_value, subprotocol)

    def _accept(self, accept_value: str, subprotocol: str | None) -> None:
        self._protocol = ws.Protocol(
            ws.SERVER, max_size=(limits.MAX_MESSAGE_BYTES, limits.MAX_FRAME_BYTES), logger=_protocol_logger
        )
        self.is_open = True
        self._transport.write(handshake.accepted(accept_value, subprotocol))
        self._sockets.observer.connection_opened()
        self._sockets.application.opened(self)
        self._set_deadline()
        if not self._paused:
            self._transport.resume_reading()

    def _refuse(self, refusal: handshake.Refusal) -> None:
        if not self._transport.is_closing():
            logger.info("refused a connection from %s: %s %s", self.peer_address, refusal.status, refusal.code)
            self._sockets.observer.connection_refused(refusal.code)
            self._transport.write(handshake.refused(refusal))
            self._transport.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        assert self._protocol is not None  # noqa: S101 - checked in data_received
        self.last_active_at = self._sockets.clock.now()
        self._unanswered_pings = 0
        self._protocol.receive_data(data)
        for frame in self._protocol.events_received():
            if self.is_open:
                self._receive_frame(frame)
        self._after_protocol()

    def _receive_frame(self, frame: Any) -> None:
        assert isinstance(frame, Frame)  # noqa: S101 - this side of the protocol emits frames only
        if frame.opcode is Opcode.BINARY:
            self.close(1003, "Only text messages are accepted")
            return
        if frame.opcode is Opcode.TEXT:
            self._fragments = bytearray()
        elif frame.opcode is not Opcode.CONT:
            return
        fragments = self._fragments
        if fragments is None:
            return
        fragments += frame.data
        if frame.fin:
            self._fragments = None
            self._receive_text(fragments)

    def _receive_text(self, data: bytearray) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.close(1007, "A text message must be UTF-8")
            return
        self._sockets.application.received(self, text)

    # --- writing ------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the frames in the outbox, until the transport pauses."""
        outbox = self._outbox
        while outbox.size_bytes and not self._paused and self.is_open:
            self._transport.writelines(outbox.take())
        if self._drained is not None and not (outbox.size_bytes or self._paused):
            self._resolve_drained()

    def _resolve_drained(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _after_protocol(self) -> None:
        assert self._protocol is not None  # noqa: S101
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            elif self._protocol.close_rcvd is not None:
                self._transport.close()
            elif self._transport.can_write_eof():
                # A client that sent too much may be sending still. Closing with unread bytes would reset the connection
                # before the client reads the close frame. TLS has no half-close: there the deadline ends it.
                self._transport.write_eof()
        if self.is_open and self._protocol.state is not ws.OPEN:
            self.is_open = False
            self._outbox.clear()
            self._close_by = self._sockets.clock.now() + limits.CLOSE_TIMEOUT_SECONDS
            self._sockets.timers.put(self, self._close_by)

    def _expire(self) -> None:
        if self._paused:
            # A slow client would receive the frames in the outbox after its token has expired.
            self._outbox.clear()
        self.close(*TOKEN_EXPIRED)

    def _close_slow(self) -> None:
        self._sockets.slow_closed += 1
        logger.warning("closing %s: %d messages behind", self.connection_id, len(self._outbox))
        self._outbox.clear()
        self.close(*TOO_SLOW)

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def check_deadlines(self, now: float) -> None:
        """Ping the connection if a ping is due; end it if it is idle, too old, expired or dead."""
        if now >= self._close_by:
            self._transport.abort()
            return
        if now >= self.expires_at:
            self._expire()
        elif now >= self._ends_at():
            self.close(*GOING_AWAY)
        elif now >= self._ping_at():
            self._ping(now)
        if self.is_open:
            self._set_deadline()

    def _ping(self, now: float) -> None:
        """Send a ping, or cut a connection that left the last pings unanswered: its device is gone."""
        self._pinged_at = now
        if self._paused:
            # Bytes on their way are traffic. And nothing is read from a paused connection, so no pong would be seen.
            return
        if self._unanswered_pings >= limits.MAX_UNANSWERED_PINGS:
            self._sockets.unanswered_closed += 1
            logger.info("cutting %s: no answer to %d pings", self.connection_id, self._unanswered_pings)
            self._transport.abort()
            return
        self._unanswered_pings += 1
        self._transport.write(PING)

    def _ping_at(self) -> float:
        seconds = self._sockets.limits.ping_after_seconds
        return max(self.last_active_at, self._pinged_at) + seconds if seconds else float("inf")

    def _ends_at(self) -> float:
        bounds = self._sockets.limits
        return min(self.last_active_at + bounds.idle_timeout_seconds, self.connected_at + bounds.max_connection_seconds)

    def _set_deadline(self) -> None:
        self._sockets.timers.put(self, min(self.expires_at, self._ends_at(), self._ping_at()))
