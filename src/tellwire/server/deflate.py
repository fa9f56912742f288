"""Compressed messages (permessage-deflate, RFC 7692 §7.2), as pure code: to many clients, and from one.

    payload ─▶ Deflater.frames ─▶ the bytes of the wire, where nobody compresses it: it is short
                               └▶ MessageFrames ─▶ form(window), made when the first client wants it, for all that do
    a compressed message ─▶ Inflation.step, again and again ─▶ its bytes

Each message is compressed by itself, so it is the same bytes for all clients with the same window. A `Deflater` has one
compressor for each window, whose state is reset after a message: to make one for each message costs more than most
messages do.
"""

import zlib
from typing import Any, Final, Protocol

from tellwire.limits import (
    DEFLATE_MIN_BYTES,
    INFLATE_INPUT_COST,
    INFLATE_INPUT_PER_STEP,
    INFLATE_OUTPUT_PER_STEP,
)
from tellwire.server.extensions import WINDOWS
from tellwire.server.framing import compressed_text_frames, text_frames

NOT_COMPRESSED: Final = 0
"""In place of a window: of a client that has not negotiated compression."""

# Higher levels make messages of a few KB smaller by 2 to 6 percent, and cost up to four times as much for long ones.
_LEVEL: Final = 1
# The empty block that ends a flush. It is not sent (RFC 7692 §7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"


class Frames(Protocol):
    """Frames that differ between clients."""

    def __len__(self) -> int:
        """Return about as many bytes as the longest form has."""
        ...

    def form(self, window_bits: int) -> bytes:
        """Return the bytes for clients with this window, or `NOT_COMPRESSED`."""
        ...


class Deflater:
    """The compressors of an event loop. One for a window is 256 KiB, and made when it is first needed."""

    def __init__(self) -> None:
        self._compressors: dict[int, Any] = {}

    def frames(self, payload: bytes) -> bytes | Frames:
        """Return a text message as frames: the bytes themselves, if they are the same for every client."""
        return text_frames(payload) if len(payload) < DEFLATE_MIN_BYTES else MessageFrames(payload, self)

    def compressed(self, payload: bytes, window_bits: int) -> bytes:
        """Return the payload of a compressed message."""
        # After an error the next message must not begin in the middle of this one.
        compressor = self._compressors.pop(window_bits, None)
        if compressor is None:
            compressor = zlib.compressobj(_LEVEL, wbits=-window_bits)
        parts = compressor.compress(payload), compressor.flush(zlib.Z_FULL_FLUSH)
        self._compressors[window_bits] = compressor
        return b"".join(parts)[: -len(_TAIL)]


class MessageFrames:
    """One message in as many forms as its receivers want. A form is made once."""

    __slots__ = ("_deflater", "_forms", "_payload")

    def __init__(self, payload: bytes, deflater: Deflater) -> None:
        self._payload = payload
        self._deflater = deflater
        self._forms: dict[int, bytes] = {}

    def __len__(self) -> int:
        return len(self._payload)

    def form(self, window_bits: int) -> bytes:
        if window_bits and len(self._payload) <= 1 << window_bits:
            # Nothing in it is farther away than the smaller window reaches.
            window_bits = WINDOWS[0]
        form = self._forms.get(window_bits)
        if form is None:
            form = self._forms[window_bits] = self._made(window_bits)
        return form

    def _made(self, window_bits: int) -> bytes:
        if window_bits != NOT_COMPRESSED:
            compressed = self._deflater.compressed(self._payload, window_bits)
            if len(compressed) < len(self._payload):
                return compressed_text_frames(compressed)
            return self.form(NOT_COMPRESSED)
        return text_frames(self._payload)


class JoinedFrames:
    """Several messages in a row, joined once for each form."""

    __slots__ = ("_forms", "_parts")

    def __init__(self, parts: list[bytes | Frames]) -> None:
        self._parts = parts
        self._forms: dict[int, bytes] = {}

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def form(self, window_bits: int) -> bytes:
        form = self._forms.get(window_bits)
        if form is None:
            forms = [each if isinstance(each, bytes) else each.form(window_bits) for each in self._parts]
            form = self._forms[window_bits] = b"".join(forms)
        return form


def join(parts: list[bytes | Frames]) -> bytes | Frames:
    """Return the frames of several messages as one."""
    plain = [each for each in parts if isinstance(each, bytes)]
    return b"".join(plain) if len(plain) == len(parts) else JoinedFrames(parts)


class TooLong(Exception):
    """A message that is longer than allowed when it is inflated."""


class Inflation:
    """A compressed message of a client, which is inflated in steps of bounded work.

    The length is bounded while it is inflated: no more than that and a byte is ever made of a message. A message may
    consist of several streams of DEFLATE, which count as a step each (RFC 7692 §7.2.3.4).
    """

    __slots__ = ("_at", "_compressed", "_inflater", "_parts", "_room", "is_done")

    def __init__(self, compressed: bytes | bytearray, max_bytes: int) -> None:
        self._compressed = compressed + _TAIL
        self._at = 0
        # One byte more than allowed tells a message that is too long.
        self._room = max_bytes + 1
        self._parts: list[bytes] = []
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self.is_done = False

    @property
    def message(self) -> bytes:
        """The message, when it is done."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def step(self) -> int:
        """Inflate a part of it. Return the cost, in bytes of the budget of a turn.

        Raises:
            TooLong: it has more than `max_bytes`.
            zlib.error: it is not DEFLATE.
        """
        inflater = self._inflater
        given = self._compressed[self._at : self._at + INFLATE_INPUT_PER_STEP]
        most = min(self._room, INFLATE_OUTPUT_PER_STEP)
        made = inflater.decompress(given, most)
        used = len(given) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
        self._at += used
        self._room -= len(made)
        if not self._room:
            raise TooLong
        self._parts.append(made)
        is_at_end = self._at == len(self._compressed)
        if inflater.eof and not is_at_end:
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        # With all the room used, some may be left in the inflater.
        self.is_done = is_at_end and len(made) < most
        return used * INFLATE_INPUT_COST + len(made)
