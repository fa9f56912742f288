"""One WebSocket: the shell between a transport and an application. Its only rules are those of RFC 6455.

    open ─▶ handshake ─▶ application.authorize, at once or in a task ─▶ 101 ─▶ application.opened
    data_received ─▶ parser ─▶ in this turn of the event loop, or a later one (reading) ─▶ application.received(text)
    send ─▶ outbox ─▶ once per turn of the event loop ─▶ transport
    a message to many ─▶ link.write_ready ─▶ at once, past the outbox of those that are ready

`HttpProtocol` makes one `Connection` for each handshake, and hands it the transport. Outgoing frames are bytes that the
hub framed once for everybody, so they go to the transport as they are.

Writes are coalesced: a `send()` call costs about as much as all other work for a message, so the frames of one turn of
the event loop leave in one write.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, Final, cast

from uvicorn.server import ServerState

from tellwire import limits
from tellwire.carriers.hub import Sent
from tellwire.model import NO_STAMP
from tellwire.protocol import SUBPROTOCOL
from tellwire.rate import Rate
from tellwire.server import handshake
from tellwire.server.framing import PING, close_frame, echoed_close, pong_frame, text_frames
from tellwire.server.lifetime import FAILED, GOING_AWAY, RESTARTING, Lifetime
from tellwire.server.link import IS_FAST, Link
from tellwire.server.outbox import Outbox
from tellwire.server.parser import BadFrame, Close, Event, Fragment, FrameParser, Ping, Pong, Text
from tellwire.server.refusal import DRAINING, STOPPING, Refusal, refused, refusing_close
from tellwire.server.sockets import Sockets

logger = logging.getLogger("tellwire.gateway")

# Read once per message and device; on the class the lookup goes through the enumeration's metaclass.
_DELIVERED = Sent.DELIVERED

_LOST: Final = (1006, "")


class Connection(Link, Lifetime, asyncio.Protocol):
    """One WebSocket connection, from the upgrade request to the end of the socket."""

    __slots__ = (
        "_accept_value",
        "_close_by",
        "_closed_with",
        "_control_full_at",
        "_drained",
        "_expires_by",
        "_is_behind",
        "_is_in_line",
        "_outbox",
        "_parser",
        "_pinged_at",
        "_server_state",
        "_sockets",
        "_transport",
        "_unanswered_pings",
        "client_address",
        "connected_at",
        "connection_id",
        "due_slot",
        "is_open",
        "is_refused",
        "stamp",
        "state",
        "user_id",
    )

    _transport: asyncio.Transport

    def __init__(self, sockets: Sockets, server_state: ServerState) -> None:
        self._sockets = sockets
        self._server_state = server_state
        # None until the 101 has been written.
        self._parser: FrameParser | None = None
        self._outbox = Outbox(sockets.limits.outbox, sockets.observer.frame_conflated)
        self._is_behind = False
        self._drained: asyncio.Future[None] | None = None
        # Of the 101 that comes before a refusing close; None: a refusal is an HTTP status.
        self._accept_value: str | None = None
        # The close frame that came first: the client's, or ours.
        self._closed_with: tuple[int, str] | None = None
        self._close_by = float("inf")
        self._control_full_at = 0.0
        self._is_in_line = False
        self._pinged_at = 0.0
        self._unanswered_pings = 0
        self.connection_id = sockets.new_connection_id()
        self.user_id = ""
        # The address of the client behind a proxy, if the application knows it.
        self.client_address = ""
        self.stamp = NO_STAMP
        # Set and used by the application alone.
        self.state: Any = None
        self.is_open = self.is_ready = False
        self.fd = -1
        # Refused by a close, and waiting for that of the client. The application knows nothing of it.
        self.is_refused = False
        self.expires_at = self._expires_by = float("inf")
        self.connected_at = self.last_active_at = sockets.clock.monotonic()
        self.due_slot = 0

    # --- for the application ------------------------------------------------------------------------------------------

    @property
    def peer_address(self) -> str:
        """The address at the other end of the TCP connection; empty if the system does not know it."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else ""

    @property
    def waiting(self) -> tuple[int, int]:
        """The messages, and the bytes, that wait for the client."""
        return len(self._outbox), self._outbox.size_bytes

    @property
    def control_frames(self) -> Rate:
        """The rate of pings and pongs that the client may send."""
        return self._sockets.limits.control_frames

    @property
    def local_port(self) -> int:
        """The port the client connected to."""
        return int(self._transport.get_extra_info("sockname")[1])

    @property
    def is_secure(self) -> bool:
        """True if the connection uses TLS."""
        return self._transport.get_extra_info("sslcontext") is not None

    def send(self, frames: bytes, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        if not self.is_open:
            return Sent.GONE
        if now >= self.expires_at:
            self._expire()
            return Sent.GONE
        outbox = self._outbox
        # An outbox that is not empty has a flush scheduled: at the end of this turn, or when the transport resumes.
        is_first = not outbox.size_bytes
        if not self._is_behind:
            key = None  # no conflation: the client is not behind
        if not outbox.offer(frames, key, is_final=is_final):
            # The outbox may be full only because this turn had many messages: flush it, and try once more.
            self.flush()
            if not outbox.offer(frames, key, is_final=is_final):
                self._sockets.observer.frame_dropped()
                if self._sockets.limits.closes_slow:
                    self._close_slow()
                return Sent.FAILED
        self.is_ready = False
        if is_first and not self._is_behind:
            self._sockets.flush_soon(self)
        return _DELIVERED

    def send_text(self, payload: bytes, now: float) -> Sent:
        """Send a message that is for this client alone. `send` has the details."""
        return self.send(text_frames(payload), now)

    def write_now(self, frames: bytes) -> None:
        """Give frames to the transport, past the outbox: only while `is_ready`."""
        self._transport.write(frames)

    async def drained(self) -> None:
        """Wait until the outbox is empty, or the client is gone."""
        while self.is_open and (self._is_behind or self._outbox.size_bytes):
            self._drained = self._drained or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, after the frames in the outbox. Does nothing if the connection is closing."""
        if not self.is_open:
            return
        if len(self._outbox):
            # All of it, even to a paused transport: the outbox is bounded, and no later flush will come.
            self._transport.writelines(self._outbox.take(self._outbox.size_bytes))
        self._begin_closing(code, reason, close_frame(code, reason))

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # The transport pauses as soon as bytes are left, so that messages wait in the outbox, where they can still be
        # counted and dropped. A TLS transport pauses at the mark, the others above it.
        self._transport.set_write_buffer_limits(high=1 if self.is_secure else 0, low=0)
        self._server_state.connections.add(cast("Any", self))

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return  # from a client that does not wait for the 101
        self.last_active_at = self._sockets.clock.monotonic()
        self._unanswered_pings = 0
        self._parser.feed(data)
        self._sockets.turns.received(self)

    def eof_received(self) -> None:
        # The transport closes now.
        self._outbox.clear()
        self.is_open = self.is_ready = False

    def connection_lost(self, exc: Exception | None) -> None:
        # First of all: from now on the descriptor may be that of another connection.
        self.is_open = self.is_ready = False
        self.fd = -1
        self._sockets.behind.discard(self)
        self._server_state.connections.discard(cast("Any", self))
        self._sockets.timers.discard(self)
        self._sockets.turns.forget(self)
        self._outbox.clear()
        self._resolve_drained()
        if self._parser is None:
            return
        self._parser.discard()
        if self.is_refused:
            self._sockets.forget_refused(self)
            return
        code, reason = self._closed_with or _LOST
        self._sockets.observer.connection_closed(code)
        self._sockets.application.closed(self, code, reason)

    def pause_writing(self) -> None:
        self._is_behind = True
        self.is_ready = False
        self._sockets.behind.add(self)
        # Pongs to a client that does not read would pile up beside the outbox, so its frames are not read either.
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._has_expired(self._sockets.clock.monotonic()):
            self._expire()
        self._is_behind = False
        self._sockets.behind.discard(self)
        self.flush()
        if self._parser is not None:
            self._resume_reading()
            if self._parser.has_bytes:
                # They came before the pause.
                self._sockets.turns.received(self)

    def close_when_idle(self) -> None:
        """Close the connection because the server drains, when the application is ready for it."""
        if self.is_open:
            self._sockets.application.close_when_idle(self)

    def shutdown(self) -> None:
        """Close the connection, or refuse it, because the server stops now."""
        if self._parser is None:
            self._refuse(STOPPING)
        else:
            self.close(*RESTARTING)

    def abort(self) -> None:
        """Cut the socket."""
        self._transport.abort()

    # --- opening ------------------------------------------------------------------------------------------------------

    def open(self, request: handshake.UpgradeRequest) -> None:
        """Answer the handshake that came on the transport."""
        try:
            accept_value = handshake.accept(request)
            self._extend(request)
            if self._sockets.refuses_by_close and request.chosen_subprotocol is not None:
                self._accept_value = accept_value
            if self._sockets.drain.has_begun:
                self._refuse(DRAINING)
                return
            answer = self._sockets.application.authorize(self, request)
        except Exception as error:  # noqa: BLE001 - it is the answer
            self._refuse(Refusal.for_any(error))
            return
        if answer is None or isinstance(answer, str):
            self._accept(accept_value, answer)
            return
        # A client sends no frames before the 101, so reading can pause.
        self._transport.pause_reading()
        task = asyncio.get_running_loop().create_task(self._open_later(accept_value, answer))
        self._sockets.tasks.add(task)
        task.add_done_callback(self._sockets.tasks.discard)

    async def _open_later(self, accept_value: str, answer: Awaitable[str | None]) -> None:
        try:
            subprotocol = await answer
        except Exception as error:  # noqa: BLE001 - it is the answer
            self._refuse(Refusal.for_any(error))
            return
        if self._transport.is_closing() or self.is_refused:
            self._sockets.application.abandoned(self)
        else:
            self._accept(accept_value, subprotocol)

    def _accept(self, accept_value: str, subprotocol: str | None) -> None:
        self._parser = self._new_parser()
        self._accept_value = None
        self.is_open = True
        self._transport.write(handshake.accepted(accept_value, subprotocol, self._extensions))
        self.is_ready = not self._is_behind
        plain_socket = self._transport.get_extra_info("socket") if IS_FAST and not self.is_secure else None
        if plain_socket is not None:
            self.fd = plain_socket.fileno()
        self._sockets.observer.connection_opened()
        self._sockets.application.opened(self)
        self._set_deadline()
        self._resume_reading()
        if self._sockets.drain.has_begun:
            self.close_when_idle()

    def _extend(self, request: handshake.UpgradeRequest) -> None:
        """Negotiate extensions. There are none here.

        Raises:
            Refusal: the request for them is malformed.
        """

    @property
    def _extensions(self) -> str | None:
        """The header of the answer that says which extensions were agreed; None: there is none."""
        return None

    def _new_parser(self) -> FrameParser:
        return FrameParser(limits.MAX_MESSAGE_BYTES, limits.MAX_FRAME_BYTES)

    def _refuse(self, refusal: Refusal) -> None:
        if not (self._transport.is_closing() or self.is_refused):
            address = self.client_address or self.peer_address
            detail = f" ({refusal.detail})" if refusal.detail else ""
            self._sockets.refusals.write(
                "refused a connection from %s: %s %s%s", address, refusal.status, refusal.code, detail
            )
            self._sockets.observer.connection_refused(refusal.code)
            if self._accept_value is None or refusal.close_code is None:
                self._transport.write(refused(refusal))
                self._transport.close()
            else:
                opening = handshake.accepted(self._accept_value, SUBPROTOCOL)
                self._transport.write(opening + refusing_close(refusal, refusal.close_code))
                self._wait_for_close()

    def _wait_for_close(self) -> None:
        """Wait for the close of a client that was refused by one: unread words of it would take back ours."""
        self._accept_value = None
        self.is_refused = True
        self._parser = FrameParser(limits.MAX_FRAME_BYTES, limits.MAX_FRAME_BYTES)
        self._close_by = self._sockets.clock.monotonic() + limits.REFUSED_SECONDS
        self._sockets.timers.put(self, self._close_by)
        self._sockets.add_refused(self)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._resume_reading()

    def end_refused(self) -> None:
        """End a socket that was refused by a close: others wait."""
        self._transport.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, budget_bytes: int) -> int:
        """Handle frames until their cost reaches the budget. Return the cost; less than the budget: nothing is left."""
        assert self._parser is not None  # noqa: S101 - checked in data_received
        cost = 0
        # The frames of a client that does not read wait, too: their answers would pile up beside the outbox.
        while cost < budget_bytes and not self._is_behind:
            try:
                event = self._parser.next_event()
            except BadFrame as bad:
                cost += limits.READ_FRAME_COST_BYTES
                self._refuse_frame(bad)
                continue
            if event is None:
                break
            cost += limits.READ_FRAME_COST_BYTES + event.size_bytes
            self._handle(event)
        return cost

    def wait(self) -> None:
        """Read nothing from the socket until `go_on`."""
        self._is_in_line = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read from the socket again."""
        self._is_in_line = False
        self._resume_reading()

    def _resume_reading(self) -> None:
        if not (self._is_in_line or self._is_behind or self._transport.is_closing()):
            self._transport.resume_reading()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Close):
            self._closed_by_client(event)
        elif not self.is_open:
            pass  # Only the client's close matters now.
        elif isinstance(event, Text):
            self._receive_text(event.text)
        elif not isinstance(event, Fragment):
            self._control(event)

    def _receive_text(self, text: str) -> None:
        try:
            self._sockets.application.received(self, text)
        except Exception:
            logger.exception("%s: a message could not be handled", self.connection_id)
            self.close(*FAILED)

    def _control(self, frame: Ping | Pong) -> None:
        now = self.last_active_at
        full_at = self.control_frames.take(self._control_full_at, now)
        if full_at is None:
            self._sockets.application.overran(self)
            return
        self._control_full_at = full_at
        if isinstance(frame, Ping):
            self._transport.write(pong_frame(frame.payload))

    def _refuse_frame(self, bad: BadFrame) -> None:
        assert self._parser is not None  # noqa: S101 - checked in data_received
        self.close(bad.close_code, bad.reason)
        if self._parser.is_discarding and not self._transport.is_closing() and self._transport.can_write_eof():
            # The client may be sending still. Closing with unread bytes would reset the connection before it reads the
            # close frame, and its own close will not be seen. TLS has no half-close: there the deadline ends it.
            self._transport.write_eof()

    def _closed_by_client(self, frame: Close) -> None:
        if self.is_open:
            self._begin_closing(frame.code, frame.reason, echoed_close(frame.payload))
        self._transport.close()

    # --- writing ------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the frames in the outbox, until the transport pauses."""
        outbox = self._outbox
        while outbox.size_bytes and not self._is_behind and self.is_open:
            self._transport.writelines(outbox.take())
        if not (outbox.size_bytes or self._is_behind):
            self.is_ready = self.is_open
            self._resolve_drained()

    def _resolve_drained(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _begin_closing(self, code: int, reason: str, frame: bytes) -> None:
        self.is_open = self.is_ready = False
        self._closed_with = (code, reason)
        self._outbox.clear()
        self._resolve_drained()
        self._transport.write(frame)
        self._close_by = self._sockets.clock.monotonic() + limits.CLOSE_TIMEOUT_SECONDS
        self._sockets.timers.put(self, self._close_by)

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def check_deadlines(self, now: float) -> None:
        """Ping the connection if a ping is due; end it if it is idle, too old, expired or dead."""
        if now >= self._close_by:
            self._transport.abort()
        if not self.is_open:
            return
        if self._has_expired(now):
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
        if self._is_behind:
            # Bytes on their way are traffic. And nothing is read from a paused connection, so no pong would be seen.
            return
        if self._unanswered_pings >= limits.MAX_UNANSWERED_PINGS:
            self._sockets.unanswered_closed += 1
            self._sockets.dead_endings.write(
                "cutting %s: no answer to %d pings", self.connection_id, self._unanswered_pings
            )
            self._transport.abort()
            return
        self._unanswered_pings += 1
        self._transport.write(PING)

    def _ping_at(self) -> float:
        seconds = self._sockets.limits.ping_after_seconds
        return max(self.last_active_at, self._pinged_at) + seconds if seconds else float("inf")

    def _set_deadline(self) -> None:
        self._sockets.timers.put(self, min(self._due_at(), self._ping_at()))
