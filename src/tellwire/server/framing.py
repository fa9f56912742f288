"""Text messages as WebSocket frames, encoded once for all their receivers.

A server's frames are not masked (RFC 6455 §5.1), so their bytes are the same for everybody.
"""

from struct import Struct
from typing import Final

from websockets.frames import Frame, Opcode

from tellwire.limits import MAX_FRAME_BYTES

_FIN_TEXT = 0x80 | Opcode.TEXT
_SHORT_HEADER = Struct("!BB").pack
_HEADER = Struct("!BBH").pack


PING: Final = bytes([0x80 | Opcode.PING, 0])
"""A ping without a payload (RFC 6455 §5.5.2)."""


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
