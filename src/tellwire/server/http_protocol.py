"""One HTTP/1.1 connection: uvicorn's protocol with bounds, turns, and offers of upgrades that it does not take.

    data_received ─▶ unread ─▶ a turn: a bounded piece ─▶ httptools ─▶ a request ─▶ its answer ─▶ the next turn

uvicorn leaves bounds to a proxy. Here a head and a body must arrive in time, a head has a bound in bytes and in lines,
and a client that does not read its answer is cut. Requests of one connection are read one after the other, each after
the answer to the one before, and in one turn of the event loop never more than a few milliseconds of work: so nobody
who floods a connection delays the others. What is not read yet stays in the kernel.

An upgrade to anything but WebSocket is an offer that is ignored (RFC 9110 §7.8): the parser would take the request's
body for another protocol, so it reads the head again without the offer.
"""

import asyncio
import contextvars
import logging
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tellwire import limits
from tellwire.server.direct import Answer, Answers, Direct, DirectEndpoint, KnownHead, encoded
from tellwire.server.drain import Drain
from tellwire.server.handshake import read_request
from tellwire.server.http_cycle import AnswerTransport, Cycle, Flow
from tellwire.server.refusal import STOPPING, Refusal, refused
from tellwire.server.timer import Timer
from tellwire.server.turns import Turns

logger = logging.getLogger("tellwire.gateway")

_END_OF_HEAD: Final = b"\r\n\r\n"
# A line of a head, a chunk of a body, or a publish may have a few bytes, and each of them is work.
_WEIGHT: Final = limits.HTTP_BODY_BYTES_PER_TURN // limits.HTTP_HEAD_BYTES_PER_TURN


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection. Handshakes leave from here to `socket.Connection`. All share `turns` and `drain`.

    `direct` has the endpoints of POST requests that are answered without ASGI, by their target.
    """

    def __init__(
        self,
        *args: Any,
        turns: Turns,
        drain: Drain,
        direct: Mapping[bytes, DirectEndpoint],
        answers: Answers,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._direct_endpoints = direct
        self._answers = answers
        # The direct endpoint of the request that is read, or waits for its answer.
        self._direct: Direct | None = None
        self._is_waiting_for_direct = False
        self._direct_body = bytearray()
        self._known_head: KnownHead | None = None
        self._whole_head: bytes | None = None
        self._answered_at = 0.0
        self._context = contextvars.copy_context()
        self._unread = bytearray()
        self._turns = turns
        self._drain = drain
        self._waits_for_turn = False
        self._is_reading = True
        self._is_reading_request = False
        # No further request is read: the connection ends after an answer, or has become a WebSocket.
        self._is_over = False
        self._is_stopping = False
        self._head_timer = Timer(self.loop)
        self._body_timer = Timer(self.loop)
        self._write_timer = Timer(self.loop)
        self._idle_timer = Timer(self.loop)
        self._begin_head()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport, self._go_on)
        self._start_head_timer()

    def expect_head_within(self, seconds: float) -> None:
        """Bound the time of the first head: the connection was there before this object."""
        self._head_timer.start(seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._let_go()

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self._unread += data
        if not self._waits_for_turn:
            self._take_turn()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer.start(limits.WRITE_TIMEOUT_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._write_timer.stop()
        super().resume_writing()
        self._go_on()

    def last_answer(self) -> None:
        """End the connection after the answer in progress, if there is one: the server drains."""
        if self._is_answering and not self._is_waiting_for_direct:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Answer the request in progress, and end the connection: the server accepts no others any more."""
        self._is_stopping = True
        self.last_answer()
        if self._is_idle:
            # A request may be on its way, on this connection or as the first of a new one.
            self._idle_timer.start(limits.DRAIN_IDLE_SECONDS, self._close_idle)

    def refuse(self) -> None:
        """Refuse the request that has not arrived as a whole: the server ends now, and nobody knows when it will."""
        if self._is_over or self._is_complete:
            return
        if self._in_head or self._is_answering:
            self._answer_and_close(STOPPING)
        else:
            self.transport.close()

    def cut_short(self) -> None:
        """Refuse the request whose direct answer is late: the server ends, and its outcome is unknown."""
        if self._is_waiting_for_direct:
            self._is_waiting_for_direct = False
            self.transport.write(refused(STOPPING))
            self.transport.close()

    @property
    def _is_answering(self) -> bool:
        return self._is_waiting_for_direct or (self.cycle is not None and not self.cycle.response_complete)

    @property
    def _is_idle(self) -> bool:
        """True between two requests, and before the first byte."""
        return not (self._is_reading_request or self._unread or self._is_over or self._is_answering)

    def _close_idle(self) -> None:
        if self._is_idle:
            self.transport.close()

    # --- turns --------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Continue to read in another turn, if something is unread."""
        if self._unread and not self._waits_for_turn:
            self._waits_for_turn = True
            self._turns.add(self._take_turn)
        self._set_reading()

    def _take_turn(self) -> None:
        self._waits_for_turn = False
        budget = limits.HTTP_BODY_BYTES_PER_TURN
        while self._unread and budget > 0 and not self._must_wait():
            cost = 0 if self._known_head is None else self._take_known(self._known_head)
            if not cost:
                piece, cost = self._next_piece(budget)
                self._feed(piece)
            budget -= cost
        if self._is_over or (self._is_complete and self._is_reading and not (self._unread or self.flow.read_paused)):
            # The usual end: all of one request, and nothing of the next one.
            return
        if not (self._is_complete or self._in_head or self._body_timer.runs):
            self._body_timer.start(limits.BODY_GRACE_SECONDS, self._check_body, self.loop.time())
        if not self._must_wait():
            self._go_on()
        self._set_reading()

    def _must_wait(self) -> bool:
        """Return True while the request that was read is not answered, or its body waits to be taken."""
        if self._is_over or self.flow.read_paused or self.flow.write_paused or self.transport.is_closing():
            return True
        return self._is_complete and self._is_answering

    def _next_piece(self, budget: int) -> tuple[bytes, int]:
        """Take a piece for the parser: with the end of one head, or of one body, at most. Return it and its cost."""
        missing = self._body_missing
        if missing:
            size, weight = min(missing, budget), 1
        else:
            end = self._unread.find(_END_OF_HEAD, 0, limits.HTTP_HEAD_BYTES_PER_TURN)
            size = limits.HTTP_HEAD_BYTES_PER_TURN if end < 0 else end + len(_END_OF_HEAD)
            weight = _WEIGHT
        piece = self._taken(size)
        return piece, weight * len(piece)

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    def _feed(self, piece: bytes) -> None:
        if self._head_timer.runs:
            self._head_bytes += len(piece)
        elif not self._body_missing:
            # Extensions of chunks, and trailers: the parser keeps a header until its end.
            self._bytes_between += len(piece)
        is_whole = not self._is_reading_request and piece.endswith(_END_OF_HEAD)
        self._whole_head = piece if is_whole else None
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._on_upgrade(piece[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            own = error.__context__
            if not isinstance(own, Refusal):
                own = Refusal(400, "BAD_REQUEST", "This is not an HTTP/1.1 request")
            self._answer_and_close(own)
        else:
            # With the timer still running, all these bytes are one unfinished head.
            unfinished = self._head_bytes if self._head_timer.runs else 0 if self._is_complete else self._bytes_between
            if unfinished > limits.MAX_HEAD_BYTES:
                self._answer_and_close(_head_too_big())

    def _set_reading(self) -> None:
        reads = self._is_over or not (self._unread or self.flow.read_paused)
        if reads == self._is_reading or self.transport.is_closing():
            return
        self._is_reading = reads
        if reads:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    # --- the parser's events ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_reading_request = True
        self._begin_head()
        self._start_head_timer()

    def _begin_head(self) -> None:
        self._names: list[bytes] = []
        self._connection: list[bytes] = []
        self._upgrade: list[bytes] = []
        self._in_head = True
        self._is_complete = False
        self._is_plain = True
        self._body_missing = 0
        self._body_bytes = 0
        self._bytes_between = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._names) >= limits.MAX_HEADERS:
            raise _head_too_big()
        self._names.append(name)
        if not self._in_head:
            # A trailer is not merged into the head (RFC 9110 §6.5.1).
            return
        super().on_header(name, value)
        match name.lower():
            case b"connection":
                self._connection += _tokens(value)
            case b"upgrade":
                self._upgrade += _tokens(value)
            case b"content-length" if value.isdigit():
                self._body_missing = int(value)
            case b"transfer-encoding" if _tokens(value) != [b"chunked"]:
                text = "Transfer-Encoding: allowed: chunked. For a compressed body: Content-Encoding"
                raise Refusal(501, "NOT_IMPLEMENTED", text)
            case b"transfer-encoding" | b"content-encoding" | b"expect":
                self._is_plain = False

    def on_headers_complete(self) -> None:
        self._head_timer.stop()
        self._in_head = False
        version = self.parser.get_http_version()
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = version
        if self.parser.should_upgrade():
            return
        url = httptools.parse_url(self.url)
        # `GET http://host HTTP/1.1`, as a proxy may send it, has no path.
        path = url.path.decode("ascii") if url.path else "/"
        self.scope["path"] = self.root_path + (urllib.parse.unquote(path) if "%" in path else path)
        self.scope["raw_path"] = (self.root_path + path).encode("ascii")
        self.scope["query_string"] = url.query or b""
        self._direct = self._admitted()
        if self._direct is None:
            self._begin_cycle()

    def _begin_cycle(self) -> None:
        before = self.cycle
        self.cycle = Cycle(
            scope=self.scope,
            transport=cast("Any", AnswerTransport(self.transport, self._close_after_answer)),
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=self._may_keep_alive() and not self._drain.has_begun,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start(self.cycle)
        else:
            self.pipeline.appendleft((self.cycle, self.app))

    def _may_keep_alive(self) -> bool:
        return bool(self.scope["http_version"] != "1.0" and self.parser.should_keep_alive())

    def _start(self, cycle: RequestResponseCycle) -> None:
        # In the connection's context: this may run in that of the request before.
        task = self.loop.create_task(cycle.run_asgi(self.app), context=self._context.copy())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._bytes_between = 0
        self._body_missing = max(0, self._body_missing - len(body))
        if self._direct is None:
            super().on_body(body)
        else:
            self._direct_body += body

    def on_message_complete(self) -> None:
        self._is_reading_request = False
        self._body_timer.stop()
        if self.parser.should_upgrade():
            return
        self._is_complete = True
        if self._direct is not None:
            self._answer_directly(self._direct)
            return
        super().on_message_complete()
        if self.cycle.response_complete:
            self._start_keep_alive()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self._is_over or self.transport.is_closing():
            return
        if self._is_stopping:
            self.transport.close()
        elif self.pipeline:
            self._start(self.pipeline.pop()[0])
        elif self._is_complete:
            self._start_keep_alive()
        elif not self._in_head:
            # Nobody needs the rest of its body. It is read for a while: who is cut while sending reads no answer.
            self._body_timer.start(limits.UNREAD_BODY_SECONDS, self.transport.abort)
        self.flow.resume_reading()
        self._go_on()

    # --- direct answers -----------------------------------------------------------------------------------------------

    def _admitted(self) -> Direct | None:
        """Return the answerer of the request whose head was read; None: the ASGI application answers it."""
        endpoint = self._direct_endpoints.get(self.url)
        if endpoint is None or self.scope["method"] != "POST" or not self._is_plain or self._drain.has_begun:
            return None
        if self._is_answering or self._body_missing > endpoint.max_bytes or not self._may_keep_alive():
            return None
        direct = endpoint.admit(self.headers, self.client[0] if self.client else "")
        if direct is not None and self._whole_head is not None:
            self._known_head = KnownHead.of(self._whole_head, direct, endpoint.max_bytes)
        return direct

    def _answer_directly(self, direct: Direct) -> None:
        """Answer a request that the parser has read."""
        body = bytes(self._direct_body)
        self._direct = None
        self._direct_body.clear()
        if not self._responded(direct, body):
            self._begin_cycle()
            if body:
                super().on_body(body)
            super().on_message_complete()

    def _take_known(self, known: KnownHead) -> int:
        """Answer the next request without parsing it, if its head came before. Return its cost; 0: it is not taken."""
        place = None if self._is_reading_request or self._drain.has_begun else known.body(self._unread)
        if place is None:
            return 0
        start, end = place
        body = bytes(self._unread[start:end])
        request = self._taken(end)
        self._is_complete = True
        if not self._responded(known.direct, body):
            self._known_head = None
            self._unread[:0] = request
            return 0
        return _WEIGHT * end

    def _responded(self, direct: Direct, body: bytes) -> bool:
        self._is_waiting_for_direct = True
        is_taken = direct(body, self._respond)
        if not is_taken:
            self._is_waiting_for_direct = False
        return is_taken

    def _respond(self, answer: Answer) -> None:
        if not self._is_waiting_for_direct:
            # The server has refused it, because it ends.
            return
        self._is_waiting_for_direct = False
        if self.transport.is_closing():
            return
        is_last = self._drain.has_begun or self._is_stopping
        headers = self.server_state.default_headers
        if is_last:
            self.transport.write(encoded(answer, headers, is_last=True))
            self._close_after_answer()
        else:
            self.transport.write(self._answers.encoded(answer, headers))
        self.on_response_complete()

    # --- upgrades -----------------------------------------------------------------------------------------------------

    def _on_upgrade(self, rest: bytes) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
        elif self.scope["method"] == "CONNECT":
            self._answer_and_close(Refusal(405, "METHOD_NOT_ALLOWED", "This is not a proxy"))
        elif b"websocket" in self._upgrade and self.scope["http_version"] == "1.1":
            self._end()
            self.handle_websocket_upgrade()
            self._let_go()
        else:
            self._unread[:0] = self._head_without_upgrade() + rest
            self.parser = httptools.HttpRequestParser(self)

    def _head_without_upgrade(self) -> bytes:
        """Return the head as if nothing had been offered."""
        kept = b", ".join(token for token in self._connection if token not in (b"upgrade", b"http2-settings"))
        lines = [b"%b %b HTTP/%b" % (self.scope["method"].encode(), self.url, self.scope["http_version"].encode())]
        hidden = (b"connection", b"upgrade", b"http2-settings")
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name not in hidden]
        return b"\r\n".join([*lines, *([b"connection: " + kept] if kept else []), b"", b""])

    def _should_upgrade(self) -> bool:
        # A server ignores an upgrade of HTTP/1.0 (RFC 9110 §7.8): what follows the request would be another request.
        return self.parser.get_http_version() != "1.0" and super()._should_upgrade()

    def handle_websocket_upgrade(self) -> None:
        # API Gateway's events have header names as the client wrote them.
        sent = [(name, value) for name, (_, value) in zip(self._names, self.headers, strict=True)]
        self.connections.discard(self)
        connection: Any = cast("Any", self.ws_protocol_class)(self.config, self.server_state, self.app_state)
        connection.connection_made(self.transport)
        self.transport.set_protocol(connection)
        connection.open(read_request(self.scope["method"], self.url, sent))

    # --- time ---------------------------------------------------------------------------------------------------------

    def _start_head_timer(self) -> None:
        if not self._head_timer.runs:
            self._head_bytes = 0
            self._head_timer.start(limits.HEAD_TIMEOUT_SECONDS, self.transport.close)

    def _start_keep_alive(self) -> None:
        # One timer for all requests: a timer for each costs more than many an answer.
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._end_if_unused)

    def _end_if_unused(self) -> None:
        self.timeout_keep_alive_task = None
        if self._is_reading_request or self._is_answering or self._is_over:
            return
        # Only a request counts as use, and no stray byte.
        seconds_left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if seconds_left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(seconds_left, self._end_if_unused)
        else:
            self.transport.close()

    def _check_body(self, began_at: float) -> None:
        """End a request whose body comes too slowly."""
        seconds = self.loop.time() - began_at
        is_late = self._body_bytes < seconds * limits.MIN_BODY_BYTES_PER_SECOND or seconds > limits.MAX_BODY_SECONDS
        # What waits for us is not late.
        if is_late and self._is_reading:
            text = f"The body did not arrive within {seconds:.0f} seconds"
            self._answer_and_close(Refusal(408, "REQUEST_TIMEOUT", text))
        else:
            self._body_timer.start(limits.BODY_GRACE_SECONDS / 2, self._check_body, began_at)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _answer_and_close(self, refusal: Refusal) -> None:
        """Answer the request that is being read, and end the connection when the client has had time to read it."""
        self._end()
        logger.debug(
            "refused a request from %s: %d %s", self.client[0] if self.client else "?", refusal.status, refusal.code
        )
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            is_own = not (self.pipeline or cycle.response_started or self._is_complete or self._in_head)
            cycle.disconnected = True
            cycle.message_event.set()
            if not is_own:
                self.transport.close()
                return
        self.transport.write(refused(refusal))
        self._linger(limits.LINGER_SECONDS)

    def _close_after_answer(self) -> None:
        if self._is_complete and not self._unread:
            self.transport.close()
        elif not self._is_over:
            self._end()
            self._linger(limits.UNREAD_BODY_SECONDS)

    def _linger(self, seconds: float) -> None:
        """End the connection, and read on for a while: closing with unread bytes would take back the answer."""
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._set_reading()
            self._body_timer.start(seconds, self.transport.abort)
        else:
            self.transport.close()

    def _end(self) -> None:
        """Read no further request."""
        self._is_over = True
        self._unread.clear()
        self._head_timer.stop()
        self._body_timer.stop()
        self._write_timer.stop()
        self._idle_timer.stop()

    def _let_go(self) -> None:
        """Drop the parts that hold this object: otherwise it stays until the garbage collector finds it."""
        self.parser = self.flow = self.cycle = None  # type: ignore[assignment]
        self.pipeline.clear()


def _head_too_big() -> Refusal:
    text = f"The request's head is too big; allowed: {limits.MAX_HEAD_BYTES:,} bytes and {limits.MAX_HEADERS} headers"
    return Refusal(431, "HEAD_TOO_BIG", text)


def _tokens(value: bytes) -> list[bytes]:
    return [token for each in value.lower().split(b",") if (token := each.strip())]
