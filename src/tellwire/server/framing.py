"""Text messages as WebSocket frames, encoded once for all their receivers.

A server's frames are not masked (RFC 6455 §5.1), so their bytes are the same for everybody.
"""

from struct import Struct
from typing import Final

from websockets.frames import Frame, Opcode

from tellwire.limits import MAX_FRAME_BYTES

_FIN_TEXT = 0x80 | Opcode.TEXT
_RSV1 = 0x40
_SHORT_HEADER = Struct("!BB").pack
_HEADER = Struct("!BBH").pack
_CODE = Struct("!H").pack
_MAX_REASON_BYTES = 123  # A control frame has at most 125 bytes (RFC 6455 §5.5), and its code has two.


PING: Final = bytes([0x80 | Opcode.PING, 0])
"""A ping without a payload (RFC 6455 §5.5.2)."""


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping."""
    return _SHORT_HEADER(0x80 | Opcode.PONG, len(payload)) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame. A reason that is too long for one is cut."""
    return echoed_close(_CODE(code) + cut_reason(reason).encode())


def cut_reason(reason: str) -> str:
    """Return the reason of a close, cut to the size of its frame."""
    return reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")


def echoed_close(payload: bytes) -> bytes:
    """Return the answer to a client's close frame: its code and its reason."""
    return _SHORT_HEADER(0x80 | Opcode.CLOSE, len(payload)) + payload


def compressed_text_frames(compressed: bytes) -> bytes:
    """Return a compressed payload as one text message: its first frame is marked (RFC 7692 §6)."""
    frames = bytearray(text_frames(compressed))
    frames[0] |= _RSV1
    return bytes(frames)


def text_frames(payload: bytes) -> bytes:
    """Return `payload` as one text message: a single frame, or fragments of at most 32 KiB as API Gateway sends."""
    size_bytes = len(payload)
    # Nearly all messages are one such frame, and packing it by hand (RFC 6455 §5.2) saves a third of a publish.
    if size_bytes < 126:
        return _SHORT_HEADER(_FIN_TEXT, size_bytes) + payload
    if size_bytes <= MAX_FRAME_BYTES:
        return _HEADER(_FIN_TEXT, 126, size_bytes) + payload
    starts = range(0, len(payload), MAX_FRAME_BYTES)
    return b"".join(
        Frame(
            Opcode.TEXT if start == 0 else Opcode.CONT,
            payload[start : start + MAX_FRAME_BYTES],
            fin=start == starts[-1],
        ).serialize(mask=False)
        for start in starts
    )
