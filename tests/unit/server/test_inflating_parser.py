"""The parser of frames that may be compressed, beside websockets' own with its extension as an oracle."""

import logging
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets import protocol as ws
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame

from tellwire.limits import DEFLATE_OVERHEAD_BYTES, INFLATE_OUTPUT_PER_STEP, READ_BYTES_AT_ONCE
from tellwire.server.inflating_parser import InflatingParser
from tellwire.server.parser import Close, Fragment, Ping, Text
from tests.unit.server.test_parser import all_events, frame

MAX_MESSAGE_BYTES, MAX_FRAME_BYTES = 1000, 300
RSV1 = 0x40
TEXT, BINARY, CONTINUATION = 1, 2, 0


def parser(max_message_bytes: int = MAX_MESSAGE_BYTES, max_frame_bytes: int = MAX_FRAME_BYTES) -> InflatingParser:
    return InflatingParser(max_message_bytes, max_frame_bytes)


def deflated(message: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def fragmented(payload: bytes, count: int, between: bytes = b"") -> bytes:
    """Return a compressed message in fragments, with other frames between them."""
    size = -(-len(payload) // count)
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    opcodes = [TEXT | RSV1] + [CONTINUATION] * (len(pieces) - 1)
    frames = [
        frame(opcode, piece, fin=number == len(pieces))
        for number, (opcode, piece) in enumerate(zip(opcodes, pieces, strict=True), 1)
    ]
    return between.join(frames)


def texts(parsing: InflatingParser) -> list[str]:
    return [event.text for event in all_events(parsing) if isinstance(event, Text)]


def test_messages_that_are_compressed_and_others_come_in_order() -> None:
    parsing = parser()
    words = ["größe", "", "plain", "x" * MAX_MESSAGE_BYTES]
    parsing.feed(frame(TEXT | RSV1, deflated(words[0].encode())) + frame(TEXT | RSV1, b"\x00"))
    parsing.feed(frame(TEXT, words[2].encode()) + frame(TEXT | RSV1, deflated(words[3].encode())))
    assert texts(parsing) == words
    assert not parsing.has_bytes


def test_control_frames_come_between_the_fragments_of_a_compressed_message() -> None:
    parsing = parser()
    text = "".join(map(str, range(200)))
    parsing.feed(fragmented(deflated(text.encode()), 3, frame(9, b"p")))
    kinds = [type(event) for event in all_events(parsing)]
    assert kinds == [Fragment, Ping, Fragment, Ping, Text]


def test_a_message_that_is_not_compressed_may_have_fragments_after_one_that_is() -> None:
    parsing = parser()
    parsing.feed(frame(TEXT | RSV1, deflated(b"one")) + frame(TEXT, b"tw", fin=False) + frame(CONTINUATION, b"o"))
    assert texts(parsing) == ["one", "two"]


def test_fragments_are_held_as_they_come() -> None:
    parsing = parser(128 * 1024)
    bomb = deflated(b"x" * 128 * 1024)
    parsing.feed(frame(TEXT | RSV1, bomb[:100], fin=False) + frame(CONTINUATION, bomb[100:-1], fin=False))
    all_events(parsing)
    assert parsing._message is not None
    assert len(parsing._message) == len(bomb) - 1 < 200


@pytest.mark.parametrize(
    ("data", "code"),
    [
        # Bits and opcodes.
        (frame(TEXT | 0x20, b"x"), 1002),
        (frame(TEXT | 0x10, b"x"), 1002),
        (frame(TEXT | RSV1 | 0x20, b"x"), 1002),
        (frame(9 | RSV1), 1002),
        (frame(10 | RSV1), 1002),
        (frame(8 | RSV1), 1002),
        (frame(3 | RSV1), 1002),
        (frame(CONTINUATION | RSV1, b"x"), 1002),
        (frame(TEXT | RSV1, b"\x00", fin=False) + frame(CONTINUATION | RSV1, b"\x00"), 1002),
        (frame(TEXT, b"x", fin=False) + frame(CONTINUATION | RSV1, b"\x00"), 1002),
        (frame(TEXT | RSV1, b"\x00", fin=False) + frame(TEXT | RSV1, b"\x00"), 1002),
        # Contents.
        (frame(TEXT | RSV1, b"\xff" * 20), 1002),
        (frame(TEXT | RSV1, deflated(b"x" * (MAX_MESSAGE_BYTES + 1))), 1009),
        (frame(TEXT | RSV1, deflated(b"x" * 100_000)), 1009),
        (fragmented(deflated(b"x" * (MAX_MESSAGE_BYTES + 1)), 3), 1009),
        (b"\xc1\xfe\x01\x2d", 1009),
    ],
)
def test_a_frame_that_breaks_the_protocol_ends_the_conversation(data: bytes, code: int) -> None:
    parsing = parser()
    parsing.feed(data)
    assert all_events(parsing)[-1] == code
    assert parsing.is_discarding
    assert not parsing.has_bytes
    parsing.feed(frame(TEXT, b"more"))
    assert all_events(parsing) == []


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (frame(BINARY | RSV1, deflated(b"x")), 1003),
        (frame(BINARY | RSV1, deflated(b"x"), fin=False) + frame(CONTINUATION, b"y"), 1003),
        (frame(TEXT | RSV1, deflated(b"\xff")), 1007),
    ],
)
def test_after_a_message_that_is_not_accepted_the_close_of_the_client_is_seen(first: bytes, code: int) -> None:
    parsing = parser()
    parsing.feed(first + frame(8, b"\x03\xe8"))
    events = all_events(parsing)
    assert code in events
    assert events[-1] == Close(1000, "", b"\x03\xe8")


def test_the_fragments_of_a_compressed_message_are_bounded_too() -> None:
    parsing = parser()
    empty_blocks = b"\x00\x00\x00\xff\xff" * 60
    parsing.feed(frame(TEXT | RSV1, empty_blocks, fin=False))
    count = (MAX_MESSAGE_BYTES + DEFLATE_OVERHEAD_BYTES) // len(empty_blocks)
    parsing.feed(frame(CONTINUATION, empty_blocks, fin=False) * (count - 1))
    assert all_events(parsing) == [Fragment(len(empty_blocks))] * count
    parsing.feed(frame(CONTINUATION, empty_blocks, fin=False))
    assert all_events(parsing) == [1009]


def test_a_long_message_is_an_event_for_each_part_of_it() -> None:
    parsing = parser(128 * 1024, 32 * 1024)
    parsing.feed(frame(TEXT | RSV1, deflated(b"x" * 128 * 1024)) + frame(9))
    costs = []
    while not isinstance(event := parsing.next_event(), Text):
        assert isinstance(event, Fragment)
        costs.append(event.size_bytes)
        assert parsing.has_bytes
    assert len(costs) == 128 * 1024 // INFLATE_OUTPUT_PER_STEP
    assert max(costs) <= INFLATE_OUTPUT_PER_STEP + READ_BYTES_AT_ONCE / 2
    assert event.text == "x" * 128 * 1024
    assert parsing.next_event() == Ping(b"", 0)


def test_a_connection_that_ends_in_the_middle_of_a_message_lets_go_of_it() -> None:
    parsing = parser(128 * 1024, 32 * 1024)
    parsing.feed(frame(TEXT | RSV1, deflated(b"x" * 128 * 1024)))
    assert isinstance(parsing.next_event(), Fragment)
    parsing.discard()
    assert not parsing.has_bytes
    assert parsing.next_event() is None


# --- the oracle -------------------------------------------------------------------------------------------------------


def is_one_stream(payload: bytes) -> bool:
    """Return False for a stream that ends before its bytes do: ours reads on there (RFC 7692 §7.2.3.4)."""
    inflater = zlib.decompressobj(-15)
    try:
        inflater.decompress(payload + b"\x00\x00\xff\xff")
    except zlib.error:
        return True
    return not inflater.unused_data


MESSAGES = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.binary(max_size=6),
    st.builds(
        lambda piece, times: piece * times, st.sampled_from([b"a", b"ab" * 9, "é".encode()]), st.integers(0, 500)
    ),
)
COMPRESSED = st.one_of(
    MESSAGES.map(deflated),
    MESSAGES.map(deflated),
    st.binary(max_size=20),
    st.builds(lambda one, at: one[: at % (len(one) + 1)], MESSAGES.map(deflated), st.integers(0, 99)),
).filter(is_one_stream)
FRAMES = st.one_of(
    COMPRESSED.map(lambda payload: frame(TEXT | RSV1, payload)),
    st.builds(fragmented, COMPRESSED.filter(bool), st.integers(1, 4), st.sampled_from([b"", frame(9, b"p")])),
    MESSAGES.filter(lambda message: len(message) < 126).map(lambda payload: frame(TEXT, payload)),
    st.builds(frame, st.sampled_from([0, 1, 9, 0x40, 0x41, 0x49, 0x61]), st.just(b""), fin=st.booleans()),
)
CONVERSATIONS = st.lists(FRAMES, max_size=6).map(b"".join)


def by_ours(pieces: list[bytes]) -> tuple[list[tuple[int, bytes]], int | None]:
    parsing = parser()
    found: list[tuple[int, bytes]] = []
    for piece in pieces:
        parsing.feed(piece)
        for event in all_events(parsing):
            match event:
                case Ping(payload):
                    found.append((9, payload))
                case Text(text):
                    found.append((TEXT, text.encode()))
                case int(code):
                    return found, code
    return found, None


def by_websockets(data: bytes) -> tuple[list[tuple[int, bytes]], int | None]:
    oracle = ws.Protocol(ws.SERVER, max_size=(MAX_MESSAGE_BYTES, None), logger=_quiet())
    oracle.extensions = [PerMessageDeflate(True, True, 15, 15)]
    oracle.receive_data(data)
    found: list[tuple[int, bytes]] = []
    message = b""
    for each in oracle.events_received():
        assert isinstance(each, Frame)
        if each.opcode == 9:
            found.append((9, bytes(each.data)))
            continue
        message = bytes(each.data) if each.opcode == TEXT else message + bytes(each.data)
        if each.fin:
            try:
                message.decode()
            except UnicodeDecodeError:
                return found, 1007
            found.append((TEXT, message))
    return found, None if oracle.close_sent is None else int(oracle.close_sent.code)


@settings(max_examples=200)
@given(CONVERSATIONS, st.lists(st.integers(1, 60), max_size=20))
def test_any_bytes_in_any_pieces_mean_the_same_as_to_websockets(data: bytes, sizes: list[int]) -> None:
    pieces, rest = [], data
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    expected, code = by_websockets(data)
    found, our_code = by_ours([*pieces, rest])
    if code in (1002, 1009):
        # The oracle inflates each fragment as it comes, and so refuses some messages before their last one.
        assert found[: len(expected)] == expected
        assert our_code in (None, 1002, 1009)
        return
    assert found == expected
    assert our_code == code


def _quiet() -> logging.Logger:
    logger = logging.getLogger("oracle")
    logger.setLevel(logging.CRITICAL)
    return logger
