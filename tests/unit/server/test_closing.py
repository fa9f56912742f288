"""The end of a connection, whatever client and application do at the same time: one close frame, and no traceback."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from tellwire.model import Identity
from tellwire.server.framing import text_frames
from tellwire.server.lifetime import RESTARTING
from tellwire.server.socket import Connection
from tellwire.server.sockets import SocketLimits, Sockets
from tellwire.testing import FakeClock
from tests.unit.server.test_parser import CONVERSATIONS, frame


class Transport:
    """A transport that raises where a real one does."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = self.has_ended = False
        self.is_reading = True

    def write(self, data: bytes) -> None:
        assert not self.has_ended, "written after write_eof"
        if not self.is_closed:
            self.written += data

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.has_ended = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def pause_reading(self) -> None:
        assert not self.is_closed
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_closed
        self.is_reading = True

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 1234) if name == "peername" else None


class Echo:
    """An application that answers each message, and counts the ends."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.ends: list[tuple[int, str]] = []
        self.overran_count = 0

    async def authorize(self, connection: Connection, request: Any) -> str | None:
        return None

    def abandoned(self, connection: Connection) -> None:
        pass

    def opened(self, connection: Connection) -> None:
        connection.identify(Identity("user-1", self.clock.now() + 60))

    def received(self, connection: Connection, text: str) -> None:
        connection.send(text_frames(text.encode()), self.clock.now())

    def close_when_idle(self, connection: Connection) -> None:
        connection.close(*RESTARTING)

    def overran(self, connection: Connection) -> None:
        self.overran_count += 1
        connection.close(4429, "TOO_MANY_REQUESTS")

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        self.ends.append((code, reason))


class Line:
    """A connection on a fake transport."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.application = Echo(self.clock)
        self.sockets = Sockets(self.application, self.clock, SocketLimits())
        self.transport = Transport()
        self.connection = Connection(self.sockets, ServerState())
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]
        self.connection._accept("accept", None)
        self.transport.written = b""

    def receives(self, data: bytes) -> None:
        if not self.transport.is_closed and self.transport.is_reading:
            self.connection.data_received(data)

    def loses(self) -> None:
        self.transport.is_closed = True
        self.connection.connection_lost(None)

    @property
    def close_codes(self) -> list[int]:
        """The codes of the close frames that were sent. Only short frames are sent here."""
        codes, data = [], self.transport.written
        while data:
            opcode, size = data[0] & 0x0F, data[1]
            start = 2
            if size == 126:
                size, start = int.from_bytes(data[2:4]), 4
            if opcode == 8:
                codes.append(int.from_bytes(data[2:4]) if size else 1005)
            data = data[start + size :]
        return codes


def in_a_loop(play: Callable[[], Any]) -> None:
    """Run a coroutine function in an event loop in which a failing callback fails the test."""
    failures: list[Any] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await play()

    asyncio.run(run())
    assert failures == []


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def ends_with(data: bytes) -> tuple[list[int], list[tuple[int, str]]]:
    """Return the close frames that bytes of a client lead to, and the end that the application is told."""
    line = Line()
    line.receives(data)
    await turns()
    line.loses()
    return line.close_codes, line.application.ends


CLOSE = frame(8, b"\x03\xe8")


async def test_a_binary_message_and_a_close_in_one_segment_are_answered_with_1003() -> None:
    assert await ends_with(frame(2, b"x") + CLOSE) == ([1003], [(1003, "Only text messages are accepted")])


async def test_invalid_utf_8_and_a_close_or_a_bad_frame_are_answered_with_1007() -> None:
    for second in (CLOSE, b"\x83\x80\x00\x00\x00\x00", b"\x81\xff" + b"\xff" * 8):
        codes, _ = await ends_with(frame(1, b"\xff") + second)
        assert codes == [1007]


async def test_a_close_between_two_fragments_is_answered_with_its_code() -> None:
    assert await ends_with(frame(1, b"a", fin=False) + CLOSE + frame(0, b"b")) == ([1000], [(1000, "")])


async def test_a_ping_and_a_close_after_the_token_has_expired_are_answered_with_4401() -> None:
    line = Line()
    line.clock.step(61)
    line.receives(frame(1, b'{"type":"ping"}') + CLOSE)
    await turns()
    line.loses()
    assert line.close_codes == [4401]


async def test_nothing_is_written_after_a_bad_frame() -> None:
    line = Line()
    line.receives(b"\x83\x80\x00\x00\x00\x00")
    line.connection.send(text_frames(b"late"), line.clock.now())
    line.connection.close(1000, "late")
    line.connection.shutdown()
    await turns()
    assert (line.close_codes, line.transport.has_ended) == ([1002], True)
    for _ in range(10):
        line.connection.check_deadlines(line.clock.monotonic() + 1)
    line.connection.check_deadlines(line.clock.monotonic() + 6)
    assert line.transport.is_closed


async def test_a_reason_that_is_too_long_for_a_close_frame_is_cut() -> None:
    line = Line()
    line.connection.close(1008, "ü" * 100)
    assert (line.close_codes, len(line.transport.written)) == ([1008], 2 + 2 + 122)


# Whatever happens, in any order.
EVENTS = st.one_of(
    CONVERSATIONS.map(lambda data: ("receives", data)),
    st.just(("receives", frame(9) * 60)),
    st.sampled_from(["close", "expire", "pause", "resume", "eof", "send", "shutdown", "tick", "turn", "slow"]).map(
        lambda name: (name, b"")
    ),
)


async def play(events: list[tuple[str, bytes]]) -> None:
    line = Line()
    connection = line.connection
    acts: dict[str, Callable[[], object]] = {
        "close": lambda: connection.close(1000, "bye"),
        "expire": lambda: line.clock.step(3600),
        "pause": connection.pause_writing,
        "resume": connection.resume_writing,
        "send": lambda: connection.send(text_frames(b"hello"), line.clock.now()),
        "shutdown": connection.shutdown,
        "tick": lambda: connection.check_deadlines(line.clock.monotonic()),
        "slow": lambda: line.clock.skip(10),
    }
    for name, data in events:
        if name == "receives":
            line.receives(data)
        elif name == "eof":
            if line.transport.is_reading and not line.transport.is_closed:
                connection.eof_received()
                line.transport.close()
        elif name == "turn":
            await turns()
        else:
            acts[name]()
    await turns(20)
    line.loses()
    await turns()
    assert len(line.close_codes) <= 1
    assert len(line.application.ends) == 1
    assert not line.sockets.timers._slots
    assert not line.sockets.turns._waiting


@settings(max_examples=200)
@given(st.lists(EVENTS, max_size=12))
def test_in_whatever_order_things_happen_there_is_one_close_frame_and_no_traceback(
    events: list[tuple[str, bytes]],
) -> None:
    in_a_loop(lambda: play(events))
