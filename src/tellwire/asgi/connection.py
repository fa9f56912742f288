"""One WebSocket of another program's server, as the events of ASGI.

    serve ─▶ authorize ─▶ accept ─▶ opened ─▶ receive, again and again ─▶ application.received(text)
    send ─▶ outbox ─▶ the writer: a task while anything waits ─▶ the server's send, which waits for a slow client

An idle connection is one task, the server's, and a few fields. The server answers pings and closing handshakes; it has
no way to cut a socket, so a client that takes no close is left to it: its task ends, and with it our part.

States are conflated as on our own server: while a client is behind, which is while a send of the server waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from tellwire import limits
from tellwire.asgi.handshake import Event, refusing_events
from tellwire.carriers.hub import Sent
from tellwire.gateway.connection import GatewayConnection
from tellwire.model import NO_STAMP
from tellwire.rate import Rate
from tellwire.server.framing import cut_reason
from tellwire.server.handshake import UpgradeRequest
from tellwire.server.lifetime import FAILED, GOING_AWAY, RESTARTING, Lifetime
from tellwire.server.outbox import Outbox
from tellwire.server.refusal import DRAINING, Refusal
from tellwire.server.sockets import Sockets

logger = logging.getLogger("tellwire.gateway")

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_LOST: Final = (1006, "")
_MESSAGES_PER_TURN: Final = 16


class TextMessage:
    """A message as ASGI sends it, decoded once for all its receivers. Its length is that of its bytes."""

    __slots__ = ("_size_bytes", "text")

    def __init__(self, payload: bytes) -> None:
        self.text = payload.decode()
        self._size_bytes = len(payload)

    def __len__(self) -> int:
        return self._size_bytes


class AsgiApplication(Protocol):
    """The application behind the connections; see `server.sockets.Application`."""

    def authorize(
        self, connection: GatewayConnection, request: UpgradeRequest
    ) -> str | Awaitable[str | None] | None: ...

    def abandoned(self, connection: GatewayConnection) -> None: ...

    def opened(self, connection: GatewayConnection) -> None: ...

    def received(self, connection: GatewayConnection, text: str) -> None: ...

    def close_when_idle(self, connection: GatewayConnection) -> None: ...

    def closed(self, connection: GatewayConnection, code: int, reason: str) -> None: ...


class AsgiConnection(Lifetime):
    """One connection, from the handshake to its end."""

    __slots__ = (
        "_application",
        "_close_by",
        "_closed_with",
        "_expires_by",
        "_hand",
        "_is_behind",
        "_is_cut",
        "_outbox",
        "_scope",
        "_send",
        "_sockets",
        "_task",
        "_writer",
        "client_address",
        "connected_at",
        "connection_id",
        "due_slot",
        "expires_at",
        "is_open",
        "last_active_at",
        "peer_address",
        "stamp",
        "state",
        "user_id",
    )

    def __init__(self, sockets: Sockets, application: AsgiApplication, scope: Any, send: Send) -> None:
        self._sockets = sockets
        self._application = application
        # Until the handshake is answered.
        self._scope: Any = scope
        self._send = send
        self._outbox = Outbox(sockets.limits.outbox, sockets.observer.frame_conflated)
        # Messages that have left the outbox for the writer.
        self._hand: list[Any] = []
        self._writer: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_behind = self._is_cut = False
        self._closed_with: tuple[int, str] | None = None
        self._close_by = float("inf")
        self.connection_id = sockets.new_connection_id()
        self.user_id = ""
        client = scope.get("client")
        self.peer_address = str(client[0]) if client else ""
        self.client_address = ""
        self.stamp = NO_STAMP
        self.state: Any = None
        self.is_open = False
        self.expires_at = self._expires_by = float("inf")
        self.connected_at = self.last_active_at = sockets.clock.monotonic()
        self.due_slot = 0

    # --- for the application ------------------------------------------------------------------------------------------

    @property
    def control_frames(self) -> Rate:
        """The rate of pings and pongs that the client may send. The server answers them, and nobody counts them."""
        return self._sockets.limits.control_frames

    @property
    def waiting(self) -> tuple[int, int]:
        """The messages, and the bytes, that wait for the client."""
        return len(self._hand) + len(self._outbox), sum(map(len, self._hand)) + self._outbox.size_bytes

    def send(self, frames: Any, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        if not self.is_open:
            return Sent.GONE
        if now >= self.expires_at:
            self._expire()
            return Sent.GONE
        if self._is_behind:
            self._sockets.behind.add(self)
        else:
            key = None  # no conflation: the client is not behind
        if not self._offer(frames, key, is_final=is_final):
            self._sockets.observer.frame_dropped()
            if self._sockets.limits.closes_slow:
                self._close_slow()
            return Sent.FAILED
        self._write_soon()
        return Sent.DELIVERED

    def send_text(self, payload: bytes, now: float) -> Sent:
        """Send a message that is for this client alone. `send` has the details."""
        return self.send(TextMessage(payload), now)

    async def drained(self) -> None:
        """Wait until all that waited was sent, or the client is gone."""
        while self.is_open and self._writer is not None:
            await asyncio.wait([self._writer])

    def close(self, code: int, reason: str) -> None:
        """Close the connection, after the messages that wait. Does nothing if it is closing."""
        if not self.is_open:
            return
        self.is_open = False
        self._closed_with = (code, reason)
        self._close_by = self._sockets.clock.monotonic() + limits.CLOSE_TIMEOUT_SECONDS
        self._sockets.timers.put(self, self._close_by)
        self._write_soon()

    # --- for the drain ------------------------------------------------------------------------------------------------

    def close_when_idle(self) -> None:
        """Close the connection because the node drains, when the application is ready for it."""
        if self.is_open:
            self._application.close_when_idle(self)

    def shutdown(self) -> None:
        """Close the connection because the node ends now."""
        self.close(*RESTARTING)

    def cut(self) -> None:
        """End our part of the connection, whatever its client does."""
        if self._task is not None and not self._is_cut:
            self._is_cut = True
            self._task.cancel()

    # --- from the handshake to the end --------------------------------------------------------------------------------

    async def serve(self, request: UpgradeRequest, receive: Receive) -> None:
        """Answer the handshake, and handle the client's messages until it is gone."""
        self._task = asyncio.current_task()
        try:
            try:
                subprotocol = await self._authorized(request)
            except Exception as error:  # noqa: BLE001 - it is the answer
                await self._refuse(request, Refusal.for_any(error))
                return
            await self._accept(subprotocol)
            try:
                await self._receive_all(receive)
            finally:
                self._ended()
        except asyncio.CancelledError:
            if not self._is_cut or self._task is None or self._task.uncancel():
                raise
        finally:
            self._task = None

    async def _authorized(self, request: UpgradeRequest) -> str | None:
        if self._sockets.drain.has_begun:
            raise DRAINING
        answer = self._application.authorize(self, request)
        return answer if answer is None or isinstance(answer, str) else await answer

    async def _refuse(self, request: UpgradeRequest, refusal: Refusal) -> None:
        detail = f" ({refusal.detail})" if refusal.detail else ""
        self._sockets.refusals.write(
            "refused a connection from %s: %s %s%s",
            self.client_address or self.peer_address,
            refusal.status,
            refusal.code,
            detail,
        )
        self._sockets.observer.connection_refused(refusal.code)
        for event in refusing_events(self._scope, request, refusal):
            if not await self._put(event):
                break

    async def _accept(self, subprotocol: str | None) -> None:
        event: Event = {"type": "websocket.accept", "subprotocol": subprotocol}
        self._scope = None
        try:
            is_there = await self._put(event)
        except BaseException:
            self._application.abandoned(self)
            raise
        self.is_open = is_there
        self._sockets.observer.connection_opened()
        self._application.opened(self)
        self._set_deadline()
        if self._sockets.drain.has_begun:
            self.close_when_idle()

    async def _receive_all(self, receive: Receive) -> None:
        count = 0
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                self._closed_with = self._closed_with or (event.get("code") or _LOST[0], event.get("reason") or "")
                return
            self.last_active_at = self._sockets.clock.monotonic()
            self._receive(event.get("text"))
            count += 1
            if not count % _MESSAGES_PER_TURN:
                await asyncio.sleep(0)  # the server may have many more, and would hand them over at once

    def _receive(self, text: str | None) -> None:
        if not self.is_open:
            pass  # only the end matters now
        elif text is None:
            self.close(1003, "Only text messages are accepted")
        elif _is_too_long(text):
            self.close(1009, f"message: over {limits.MAX_MESSAGE_BYTES:,} bytes")
        else:
            try:
                self._application.received(self, text)
            except Exception:
                logger.exception("%s: a message could not be handled", self.connection_id)
                self.close(*FAILED)

    def _ended(self) -> None:
        self.is_open = False
        self._outbox.clear()
        if self._writer is not None:
            self._writer.cancel()
        self._sockets.timers.discard(self)
        code, reason = self._closed_with or _LOST
        self._sockets.observer.connection_closed(code)
        self._application.closed(self, code, reason)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _offer(self, frames: Any, key: str | None, *, is_final: bool) -> bool:
        outbox = self._outbox
        if outbox.offer(frames, key, is_final=is_final):
            return True
        # The outbox may be full only because this turn had many messages, and the writer could not begin yet. Give them
        # to it, once as many bytes as the outbox takes, and try once more.
        if self._is_behind or sum(map(len, self._hand)) > self._sockets.limits.outbox.max_bytes:
            return False
        self._hand += outbox.take(outbox.size_bytes)
        return outbox.offer(frames, key, is_final=is_final)

    def _write_soon(self) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._hand or len(self._outbox):
                hand: list[Any] = self._hand or self._outbox.take()
                self._hand = []
                for message in hand:
                    self._is_behind = True
                    is_there = await self._put({"type": "websocket.send", "text": message.text})
                    self._is_behind = False
                    if not is_there:
                        return
            if self._closed_with is not None:
                code, reason = self._closed_with
                await self._put({"type": "websocket.close", "code": code, "reason": cut_reason(reason)})
        finally:
            self._is_behind = False
            self._sockets.behind.discard(self)
            self._writer = None

    async def _put(self, event: Event) -> bool:
        """Give an event to the server. False: the client is gone; `receive` says so, too."""
        try:
            await self._send(event)
        except Exception as error:  # noqa: BLE001 - each server raises its own
            logger.debug("%s: the client is gone: %r", self.connection_id, type(error).__name__)
            self.is_open = False
            self._outbox.clear()
            return False
        self.last_active_at = self._sockets.clock.monotonic()
        return True

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def check_deadlines(self, now: float) -> None:
        """End the connection if it is idle, too old or expired, or takes no close."""
        if now >= self._close_by:
            self.cut()
        if not self.is_open:
            return
        if self._has_expired(now):
            self._expire()
        elif now >= self._ends_at():
            self.close(*GOING_AWAY)
        else:
            self._set_deadline()

    def _set_deadline(self) -> None:
        self._sockets.timers.put(self, self._due_at())


def _is_too_long(text: str) -> bool:
    most = limits.MAX_MESSAGE_BYTES
    # A character has at most four bytes.
    return len(text) > most or (4 * len(text) > most and len(text.encode("utf-8", "surrogatepass")) > most)
