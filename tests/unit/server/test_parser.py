"""The parser of a client's frames, beside websockets' own as an oracle."""

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets import protocol as ws
from websockets.frames import Close as WsClose
from websockets.frames import Frame

from tellwire.server.parser import BadFrame, Close, Fragment, FrameParser, Ping, Pong, Text

MAX_MESSAGE_BYTES, MAX_FRAME_BYTES = 1000, 300


def parser() -> FrameParser:
    return FrameParser(MAX_MESSAGE_BYTES, MAX_FRAME_BYTES)


def all_events(parser: FrameParser) -> list[Any]:
    """Return the events that there are, and the close code of a bad frame."""
    events: list[Any] = []
    while True:
        try:
            event = parser.next_event()
        except BadFrame as bad:
            events.append(bad.close_code)
            continue
        if event is None:
            return events
        events.append(event)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """Return a masked frame, also one that is not allowed."""
    size, mask = len(payload), b"\x11\x22\x33\x44"
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([0x80 * fin | opcode]) + length + mask + masked


def test_each_kind_of_frame_is_an_event() -> None:
    parsing = parser()
    parsing.feed(frame(1, b"hi") + frame(9, b"p") + frame(10) + frame(8, WsClose(4000, "bye").serialize()))
    assert all_events(parsing) == [Text("hi", 2), Ping(b"p", 1), Pong(0), Close(4000, "bye", b"\x0f\xa0bye")]


def test_a_character_may_be_in_two_fragments_with_a_control_frame_between_them() -> None:
    parsing = parser()
    text = "größe".encode()
    parsing.feed(frame(1, text[:3], fin=False) + frame(9) + frame(0, text[3:4], fin=False) + frame(0, text[4:]))
    assert all_events(parsing) == [Fragment(3), Ping(b"", 0), Fragment(1), Text("größe", 3)]


def test_a_close_between_two_fragments_is_a_close() -> None:
    parsing = parser()
    parsing.feed(frame(1, b"a", fin=False) + frame(8, b"\x03\xe8") + frame(0, b"b"))
    assert all_events(parsing) == [Fragment(1), Close(1000, "", b"\x03\xe8")]
    assert parsing.is_discarding


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (frame(2, b"x"), 1003),
        (frame(2, b"x", fin=False) + frame(0, b"y"), 1003),
        (frame(1, b"\xff"), 1007),
        (frame(1, b"\xff", fin=False) + frame(0, b"\xff"), 1007),
    ],
)
def test_after_a_message_that_is_not_accepted_the_close_of_the_client_is_seen(first: bytes, code: int) -> None:
    parsing = parser()
    parsing.feed(first + frame(8, b"\x03\xe8"))
    events = all_events(parsing)
    assert code in events
    assert events[-1] == Close(1000, "", b"\x03\xe8")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xc1\x80\x00\x00\x00\x00", 1002),
        (b"\x83\x80\x00\x00\x00\x00", 1002),
        (b"\x8b\x80\x00\x00\x00\x00", 1002),
        (b"\x81\x00", 1002),
        (b"\x09\x80\x00\x00\x00\x00", 1002),
        (b"\x89\xfe\x00\x7e", 1002),
        (b"\x88\xfe\x00\x7e", 1002),
        (b"\x80\x80\x00\x00\x00\x00", 1002),
        (frame(1, fin=False) + frame(1), 1002),
        (frame(8, b"\x03"), 1002),
        (frame(8, b"\x03\xed"), 1002),
        (frame(8, b"\x03\xee"), 1002),
        (frame(8, b"\x0b\xb7"), 1002),
        (frame(8, b"\x13\x88"), 1002),
        (frame(8, b"\x03\xe8\xff"), 1007),
        (b"\x81\xfe\x01\x2d", 1009),
        (b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1009),
        (frame(1, b"x" * 300, fin=False) + frame(0, b"x" * 300, fin=False) * 2 + frame(0, b"x" * 101), 1009),
    ],
)
def test_a_frame_that_breaks_the_protocol_is_refused_by_its_header(data: bytes, code: int) -> None:
    parsing = parser()
    parsing.feed(data)
    assert all_events(parsing)[-1] == code
    assert parsing.is_discarding
    parsing.feed(frame(1, b"more"))
    assert all_events(parsing) == []


def test_a_frame_that_comes_byte_by_byte_is_collected() -> None:
    parsing = parser()
    for byte in frame(1, b"x" * 200):
        parsing.feed(bytes([byte]))
        found = all_events(parsing)
    assert found == [Text("x" * 200, 200)]
    assert not parsing.has_bytes


# --- the oracle ------------------------------------------------------------------------------------------------------

OPCODES = st.sampled_from([0, 1, 1, 1, 2, 8, 9, 10])
PAYLOADS = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.binary(max_size=20),
    st.sampled_from([b"x" * size for size in (125, 126, 127, 200, 300, 301)]),
    st.integers(0, 5100).map(lambda code: code.to_bytes(2)),
)
FRAMES = st.builds(frame, OPCODES, PAYLOADS, fin=st.booleans())
ODD = st.builds(
    lambda one, at, value: one[: at % len(one)] + bytes([value]) + one[at % len(one) + 1 :],
    FRAMES,
    st.sampled_from([0, 0, 0, 1, 1, 2]),
    st.integers(0, 255),
)
CONVERSATIONS = st.lists(st.one_of(FRAMES, FRAMES, FRAMES, ODD), max_size=8).map(b"".join)


def by_ours(pieces: list[bytes]) -> tuple[list[tuple[int, bytes]], int | None]:
    """Return the same of our parser: a text without an opcode of its own, since fragments are put together."""
    parsing = parser()
    found: list[tuple[int, bytes]] = []
    for piece in pieces:
        parsing.feed(piece)
        for event in all_events(parsing):
            match event:
                case Ping(payload):
                    found.append((9, payload))
                case Pong():
                    found.append((10, b""))
                case Close(code, _, payload):
                    return [*found, (8, payload)], code
                case Text(text):
                    found.append((1, text.encode()))
                case int(code):
                    return found, code
    return found, None


def put_together(frames: list[tuple[int, bytes]], finals: list[bool]) -> tuple[list[tuple[int, bytes]], int | None]:
    """Put the oracle's fragments together as ours does, up to the first message that is not accepted."""
    found: list[tuple[int, bytes]] = []
    message = b""
    for (opcode, payload), is_last in zip(frames, finals, strict=True):
        if opcode == 2:
            return found, 1003
        if opcode > 2:
            found.append((opcode, payload if opcode != 10 else b""))
            continue
        message = payload if opcode == 1 else message + payload
        if is_last:
            try:
                message.decode()
            except UnicodeDecodeError:
                return found, 1007
            found.append((1, message))
    return found, None


@settings(max_examples=300)
@given(CONVERSATIONS, st.lists(st.integers(1, 40), max_size=30))
def test_any_bytes_in_any_pieces_mean_the_same_as_to_websockets(data: bytes, sizes: list[int]) -> None:
    pieces, rest = [], data
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    pieces.append(rest)
    oracle = ws.Protocol(ws.SERVER, max_size=(MAX_MESSAGE_BYTES, MAX_FRAME_BYTES), logger=_quiet())
    oracle.receive_data(data)
    frames = [each for each in oracle.events_received() if isinstance(each, Frame)]
    expected, code = put_together([(int(f.opcode), bytes(f.data)) for f in frames], [f.fin for f in frames])
    if code is None and oracle.close_sent is not None:
        code = int(oracle.close_sent.code)
    found, our_code = by_ours(pieces)
    if isinstance(oracle.parser_exc, Exception) and "incomplete fragmented message" in str(oracle.parser_exc):
        # RFC 6455 §5.4 lets a close come between fragments; websockets does not.
        assert found[-1][0] == 8
        return
    assert found == expected
    if code is None and our_code is not None:
        # Ours need not wait for all of a bad frame. With the rest of it, the oracle finds the same.
        oracle.receive_data(bytes(400))
        code = None if oracle.close_sent is None else int(oracle.close_sent.code)
    # A frame that is out of place and too big: either is right.
    assert our_code == code or {our_code, code} == {1002, 1009}


def _quiet() -> logging.Logger:
    logger = logging.getLogger("oracle")
    logger.setLevel(logging.CRITICAL)
    return logger
