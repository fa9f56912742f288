"""Accepted connections until their first bytes: a plain handshake is the same one that `HttpProtocol` reads."""

import asyncio
from functools import partial
from typing import Any

import pytest
import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from tellwire import limits
from tellwire.server.arrival import Arrival, read_handshake
from tellwire.server.direct import Answers
from tellwire.server.drain import Drain
from tellwire.server.handshake import UpgradeRequest
from tellwire.server.http_protocol import HttpProtocol
from tellwire.server.turns import Turns
from tests.unit.server.test_closing import Transport
from tests.virtual_time import VirtualTimeLoop

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
PLAIN = [
    b"Host: 127.0.0.1",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Key: " + KEY,
    b"Sec-WebSocket-Version: 13",
]
HEALTH = b"GET /healthz HTTP/1.1\r\n\r\n"


def head(*lines: bytes, first: bytes = b"GET /?token=t HTTP/1.1", end: bytes = b"\r\n\r\n") -> bytes:
    return b"\r\n".join([first, *lines]) + end


class Socket(Transport):
    """A transport with the other methods that protocols call."""

    protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Opened(asyncio.Protocol):
    """A `Connection` that only keeps its handshake."""

    def __init__(self, opened: list[UpgradeRequest]) -> None:
        self._opened = opened

    def open(self, request: UpgradeRequest) -> None:
        self._opened.append(request)


class Line:
    """An arrival on a fake transport."""

    def __init__(self) -> None:
        self.opened: list[UpgradeRequest] = []
        self.transport = Socket()
        self.state = ServerState()

        def connect(*_: Any, **__: Any) -> Opened:
            return Opened(self.opened)

        async def answered(scope: Any, receive: Any, send: Any) -> None:
            pass

        make_http = partial(HttpProtocol, turns=Turns(), drain=Drain(0.0, 0.0), direct={}, answers=Answers())
        config = uvicorn.Config(answered, ws=connect, lifespan="off", log_config=None)  # type: ignore[arg-type]
        config.load()
        arrival = Arrival(make_http=make_http, config=config, server_state=self.state, app_state={})
        self.transport.protocol = arrival
        arrival.connection_made(self.transport)  # type: ignore[arg-type]

    def receives(self, data: bytes) -> None:
        self.transport.protocol.data_received(data)


def opened_by(data: bytes, *, is_whole: bool) -> tuple[list[UpgradeRequest], bytes]:
    """Return the handshake in these bytes, and the answer: by the fast way, or by `HttpProtocol` alone."""

    async def run() -> tuple[list[UpgradeRequest], bytes]:
        line = Line()
        if not is_whole:
            line.transport.protocol.become_http()
        line.receives(data)
        for _ in range(3):
            await asyncio.sleep(0)
        return line.opened, line.transport.written

    return asyncio.run(run())


LINES = st.sampled_from(
    [
        *PLAIN,
        b"upgrade: websocket",
        b"Upgrade: WebSocket",
        b"Upgrade: h2c, websocket",
        b"Upgrade: h2c",
        b"Upgrade:websocket",
        b"connection: keep-alive, Upgrade",
        b"Connection: keep-alive",
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Content-Length: x",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Expect: 100-continue",
        b"X-Odd:  a: b ",
        b"X-Odd: \xe9\xff",
        b"x-odd: twice",
        b"X-Folded: a\r\n b",
        b"X Odd: space",
        b": no name",
        b"no colon",
        b"X-Upgrade: websocket",
        b"X-Nul: \0",
        b"Sec-WebSocket-Protocol: tellwire.v1, token.abc",
        b"Cookie: " + b"c" * 3000,
        b"Authorization: Bearer abc",
    ]
)
FIRST = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"GET /dev%20/?a=1&token=t%2B&token=u HTTP/1.1",
        b"GET ws://host/path?x HTTP/1.1",
        b"GET /?\xc3\xa9 HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET / HTTP/2.0",
        b"GET /",
        b"GET / x HTTP/1.1",
        b"POST / HTTP/1.1",
        b"HEAD / HTTP/1.1",
        b"CONNECT x:1 HTTP/1.1",
        b"get / HTTP/1.1",
        b"\r\nGET / HTTP/1.1",
    ]
)
ENDS = st.sampled_from([b"", b"\r\n", b"\n\n", *(b"\r\n\r\n" + rest for rest in (b"", b"\r\n", HEALTH, b"\x81\x80"))])


@given(first=FIRST, lines=st.permutations(PLAIN), more=st.lists(LINES, max_size=3), end=ENDS)
@example(first=b"GET / HTTP/1.1", lines=PLAIN, more=[], end=b"\r\n\r\n")
@example(first=b"GET / HTTP/1.1", lines=PLAIN, more=[b"Transfer-Encoding: gzip"], end=b"\r\n\r\n")
@example(first=b"GET / HTTP/1.1", lines=PLAIN, more=[b"Content-Length: 5"], end=b"\r\n\r\nhello")
@example(
    first=b"GET / HTTP/1.1",
    lines=[b"Connection: upgrade", b"Upgrade: h2c", b"X-Upgrade: websocket"],
    more=[],
    end=b"\r\n\r\n",
)
@settings(max_examples=250, deadline=None)
def test_a_handshake_is_the_one_that_the_longer_way_reads(
    first: bytes, lines: list[bytes], more: list[bytes], end: bytes
) -> None:
    data = head(*lines, *more, first=first, end=end)
    assert opened_by(data, is_whole=True) == opened_by(data, is_whole=False)


@given(lines=st.lists(LINES, max_size=9), first=FIRST, cut=st.integers(0, 300))
@settings(max_examples=250, deadline=None)
def test_a_part_of_a_head_is_never_taken_for_a_handshake(lines: list[bytes], first: bytes, cut: int) -> None:
    data = head(*lines, first=first)
    part = data[: -cut - 1]
    assert read_handshake(part) is None or part.endswith(b"\r\n\r\n")
    assert opened_by(part, is_whole=True) == opened_by(part, is_whole=False)


def test_a_plain_handshake_needs_no_other_protocol() -> None:
    read = read_handshake(head(*PLAIN, b"X-Odd: 1"))
    assert read is not None
    assert (read.path, read.query, read.method, read.token) == ("/", "token=t", "GET", "t")
    assert read.sent_headers[-1] == (b"X-Odd", b"1")


@pytest.mark.parametrize(
    "data",
    [
        head(*PLAIN, *[b"X: y"] * limits.MAX_HEADERS),
        head(*PLAIN, b"X: " + b"y" * limits.HTTP_HEAD_BYTES_PER_TURN),
    ],
)
def test_a_head_that_needs_bounds_is_for_the_longer_way(data: bytes) -> None:
    assert read_handshake(data) is None


@pytest.mark.parametrize("before", [HEALTH, HEALTH * 2, b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"])
def test_a_request_before_the_handshake_is_for_the_longer_way(before: bytes) -> None:
    assert read_handshake(before + head(*PLAIN)) is None


async def test_a_handshake_leaves_nothing_behind() -> None:
    line = Line()
    assert len(line.state.connections) == 1
    line.receives(head(*PLAIN))
    assert isinstance(line.transport.protocol, Opened)
    assert not line.state.connections
    assert len(line.opened) == 1


async def test_a_client_that_goes_away_before_its_first_byte_is_forgotten() -> None:
    line = Line()
    line.transport.protocol.connection_lost(None)
    assert not line.state.connections


@pytest.mark.virtual_time
@pytest.mark.parametrize("pieces", [[], [b"G"], [b"GET / HT"], [b"GET / HTTP/1.1\r\n"]])
async def test_the_time_of_a_head_begins_with_the_connection(pieces: list[bytes]) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    line = Line()
    await asyncio.sleep(limits.HEAD_TIMEOUT_SECONDS - 0.5)
    for piece in pieces:
        line.receives(piece)
    await asyncio.sleep(0.4)
    assert not line.transport.is_closed
    await asyncio.sleep(0.2)
    assert line.transport.is_closed
