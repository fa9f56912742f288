"""Compressed messages: the forms of one for many clients, and inflating in bounded steps."""

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets import protocol as ws
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from tellwire.limits import (
    DEFLATE_MIN_BYTES,
    INFLATE_INPUT_PER_STEP,
    INFLATE_OUTPUT_PER_STEP,
    MAX_FRAME_BYTES,
    MAX_MESSAGE_BYTES,
)
from tellwire.server.deflate import NOT_COMPRESSED, Deflater, Frames, Inflation, TooLong, join
from tellwire.server.extensions import WINDOWS
from tellwire.server.framing import text_frames

TAIL = b"\x00\x00\xff\xff"


class CountingDeflater(Deflater):
    """A deflater that notes the window of each compression."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: list[int] = []

    def compressed(self, payload: bytes, window_bits: int) -> bytes:
        self.windows.append(window_bits)
        return super().compressed(payload, window_bits)


@pytest.fixture
def deflater() -> CountingDeflater:
    return CountingDeflater()


def text_of(size: int) -> bytes:
    """Return a text of this size that can be compressed, whose parts recur at all distances."""
    words = (json.dumps({"row": number, "column": number * 7 % 13}) for number in range(size // 20 + 1))
    return "".join(words).encode()[:size]


def no_text(size: int) -> bytes:
    """Return bytes that cannot be compressed."""
    found = b"".join(zlib.crc32(number.to_bytes(4)).to_bytes(4) for number in range(size // 4 + 1))
    return found[:size]


def frames_of(message: bytes | Frames) -> Frames:
    assert not isinstance(message, bytes)
    return message


def read(data: bytes, window_bits: int) -> list[bytes]:
    """Return the messages that a client of `websockets` reads, which keeps no state, with this window alone."""
    client = ws.Protocol(ws.CLIENT, max_size=None)
    if window_bits:
        client.extensions = [PerMessageDeflate(True, True, window_bits, 15)]
    client.receive_data(data)
    assert client.parser_exc is None
    messages: list[bytes] = []
    for frame in client.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.TEXT:
            messages.append(b"")
        messages[-1] += bytes(frame.data)
    return messages


@pytest.mark.parametrize("window_bits", WINDOWS)
@pytest.mark.parametrize("size", [256, 512, 513, 5000, 40_000, MAX_MESSAGE_BYTES])
def test_a_client_with_this_window_reads_each_message_by_itself(size: int, window_bits: int) -> None:
    deflater = Deflater()
    payload = text_of(size)
    for _ in range(3):
        form = frames_of(deflater.frames(payload)).form(window_bits)
        assert len(form) < size
        assert form[0] & 0x70 == 0x40
        assert read(form, window_bits) == [payload]


@pytest.mark.parametrize("window_bits", WINDOWS)
def test_a_client_needs_no_more_than_its_window(window_bits: int) -> None:
    payload = text_of(100_000)
    rest = Deflater().compressed(payload, window_bits) + TAIL
    # In small pieces, so that zlib has nothing of the message but its window.
    inflater, pieces = zlib.decompressobj(-window_bits), []
    while rest:
        pieces.append(inflater.decompress(rest, 64))
        rest = inflater.unconsumed_tail
    assert b"".join([*pieces, inflater.decompress(b"", len(payload))]) == payload


def test_a_message_that_compresses_badly_leaves_in_frames_of_at_most_32_kib() -> None:
    payload = no_text(70_000).hex().encode()[:MAX_MESSAGE_BYTES]
    form = frames_of(Deflater().frames(payload)).form(15)
    client = ws.Protocol(ws.CLIENT, max_size=(None, MAX_FRAME_BYTES))
    client.extensions = [PerMessageDeflate(True, True, 15, 15)]
    # The second byte of a header of 4 says that the first frame has the largest size.
    assert form[:4] == b"\x41\x7e" + MAX_FRAME_BYTES.to_bytes(2)
    assert form[4 + MAX_FRAME_BYTES] in (0x00, 0x80)
    assert read(form, 15) == [payload]


def test_a_form_is_made_when_it_is_wanted_and_once(deflater: CountingDeflater) -> None:
    message = frames_of(deflater.frames(text_of(1000)))
    assert message.form(NOT_COMPRESSED) == text_frames(text_of(1000))
    assert deflater.windows == []
    assert message.form(15) is message.form(15)
    assert deflater.windows == [15]
    assert message.form(9) != message.form(15)
    assert message.form(9) is message.form(9)
    assert deflater.windows == [15, 9]


def test_a_message_that_is_no_longer_than_a_window_is_compressed_once_for_all(deflater: CountingDeflater) -> None:
    message = frames_of(deflater.frames(text_of(512)))
    assert message.form(15) is message.form(12) is message.form(9)
    assert deflater.windows == [15]


def test_a_short_message_is_never_compressed(deflater: CountingDeflater) -> None:
    payload = text_of(DEFLATE_MIN_BYTES - 1)
    assert deflater.frames(payload) == text_frames(payload)
    assert deflater.windows == []


def test_a_message_that_gets_no_smaller_goes_as_it_is(deflater: CountingDeflater) -> None:
    payload = no_text(300)
    message = frames_of(deflater.frames(payload))
    assert message.form(15) is message.form(NOT_COMPRESSED)
    assert message.form(15) == text_frames(payload)
    assert deflater.windows == [15]


def test_joined_messages_have_their_forms_in_order(deflater: CountingDeflater) -> None:
    payloads = [b"short", text_of(5000), b"other", text_of(600)]
    joined = frames_of(join([deflater.frames(each) for each in payloads]))
    assert len(joined) >= len(joined.form(15))
    for window_bits in (NOT_COMPRESSED, 15, 9):
        assert read(joined.form(window_bits), window_bits) == payloads
        assert joined.form(window_bits) is joined.form(window_bits)
    assert deflater.windows == [15, 15, 9, 9]


def test_short_messages_are_joined_as_bytes(deflater: CountingDeflater) -> None:
    assert join([deflater.frames(b"a"), deflater.frames(b"b")]) == text_frames(b"a") + text_frames(b"b")


def test_after_an_error_a_message_does_not_begin_within_another(deflater: CountingDeflater) -> None:
    payload = text_of(1000)
    expected = deflater.compressed(payload, 15)

    class Broken:
        def compress(self, payload: bytes) -> bytes:
            raise MemoryError

    deflater._compressors[15] = Broken()
    with pytest.raises(MemoryError):
        deflater.compressed(payload, 15)
    assert deflater.compressed(payload, 15) == expected


# --- inflating --------------------------------------------------------------------------------------------------------


def deflated(message: bytes, *, level: int = 6, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    """Return a message as a client compresses it."""
    compressor = zlib.compressobj(level, wbits=-15)
    return (compressor.compress(message) + compressor.flush(mode)).removesuffix(TAIL)


def inflated(compressed: bytes, max_bytes: int = MAX_MESSAGE_BYTES) -> tuple[bytes, list[int]]:
    """Return the message, and the cost of each step."""
    inflation = Inflation(compressed, max_bytes)
    costs = []
    while not inflation.is_done:
        costs.append(inflation.step())
    return inflation.message, costs


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("size", [0, 1, 300, INFLATE_OUTPUT_PER_STEP, 2 * INFLATE_OUTPUT_PER_STEP, MAX_MESSAGE_BYTES])
def test_a_message_is_inflated_up_to_the_limit(size: int, level: int) -> None:
    for message in (b"x" * size, text_of(size), no_text(size)):
        assert inflated(deflated(message, level=level))[0] == message


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES + 1, 20 * MAX_MESSAGE_BYTES])
def test_a_message_above_the_limit_is_given_up_there(size: int) -> None:
    inflation = Inflation(deflated(b"x" * size), MAX_MESSAGE_BYTES)
    made = 0
    with pytest.raises(TooLong):
        while True:
            made += inflation.step()
    assert made <= 2 * MAX_MESSAGE_BYTES


def test_a_step_has_bounded_input_and_output() -> None:
    message, costs = inflated(deflated(b"x" * MAX_MESSAGE_BYTES))
    assert len(costs) >= MAX_MESSAGE_BYTES // INFLATE_OUTPUT_PER_STEP
    message, costs = inflated(deflated(no_text(MAX_MESSAGE_BYTES)))
    assert len(costs) >= MAX_MESSAGE_BYTES // INFLATE_INPUT_PER_STEP
    assert message == no_text(MAX_MESSAGE_BYTES)


def test_input_that_makes_nothing_costs_too() -> None:
    empty_blocks = b"\x00\x00\x00\xff\xff" * 10_000
    message, costs = inflated(empty_blocks)
    assert message == b""
    assert sum(costs) > len(empty_blocks)


def test_a_block_that_says_it_is_the_last_ends_a_stream_but_no_message() -> None:
    # RFC 7692 §7.2.3.4 has this one for "Hello".
    assert inflated(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00")[0] == b"Hello"
    ended = deflated(b"a" * 300, mode=zlib.Z_FINISH)
    assert inflated(ended + ended + deflated(b"b"))[0] == b"a" * 600 + b"b"
    message, costs = inflated(deflated(b"", mode=zlib.Z_FINISH) * 1000)
    assert (message, len(costs)) == (b"", 1001)


@pytest.mark.parametrize("compressed", [b"\x07", b"\xff" * 20, deflated(text_of(300))[5:]])
def test_what_is_not_deflate_is_an_error(compressed: bytes) -> None:
    with pytest.raises(zlib.error):
        inflated(compressed)


EXAMPLES: list[Any] = [
    # RFC 7692 §7.2.3: one block, no compression, two blocks, an empty message.
    (b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"Hello"),
    (b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", b"Hello"),
    (b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", b"Hello"),
    (b"\x00", b""),
]


@pytest.mark.parametrize(("compressed", "message"), EXAMPLES)
def test_the_examples_of_the_rfc_are_read(compressed: bytes, message: bytes) -> None:
    assert inflated(compressed)[0] == message


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 3000)), max_size=6), st.sampled_from([0, 1, 6]))
def test_any_message_comes_back_whatever_was_compressed_before_it(parts: Any, level: int) -> None:
    message = b"".join(piece * times for piece, times in parts)[:MAX_MESSAGE_BYTES]
    assert inflated(deflated(message, level=level))[0] == message
    form = Deflater().compressed(message + b"!", 15)
    assert inflated(form)[0] == message + b"!"
