"""Text messages as WebSocket frames, made once for all the connections they go to.

A server's frames are not masked (RFC 6455 §5.1), so their bytes are the same for everybody.
"""

from websockets.frames import Frame, Opcode

from tellwire.limits import MAX_FRAME_BYTES


def text_frames(payload: bytes) -> bytes:
    """Return `payload` as one text message: a single frame, or fragments of at most 32 KiB as API Gateway sends."""
    if len(payload) <= MAX_FRAME_BYTES:
        return Frame(Opcode.TEXT, payload).serialize(mask=False)
    starts = range(0, len(payload), MAX_FRAME_BYTES)
    return b"".join(
        Frame(
            Opcode.TEXT if start == 0 else Opcode.CONT,
            payload[start : start + MAX_FRAME_BYTES],
            fin=start == starts[-1],
        ).serialize(mask=False)
        for start in starts
    )
