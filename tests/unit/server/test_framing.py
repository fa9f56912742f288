"""Frames on the wire, read by the client of `websockets`."""

import pytest
from websockets import protocol as ws
from websockets.frames import Frame

from tellwire.limits import MAX_FRAME_BYTES, MAX_MESSAGE_BYTES
from tellwire.server.framing import text_frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, MAX_FRAME_BYTES, MAX_FRAME_BYTES + 1, MAX_MESSAGE_BYTES])
def test_a_client_reads_one_text_message_in_frames_of_at_most_32_kib(size: int) -> None:
    payload = bytes(65 + number % 26 for number in range(size))
    client = ws.Protocol(ws.CLIENT)
    client.receive_data(text_frames(payload))
    frames = [frame for frame in client.events_received() if isinstance(frame, Frame)]
    assert b"".join(bytes(frame.data) for frame in frames) == payload
    assert [frame.fin for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert frames[0].opcode.name == "TEXT"
    assert {frame.opcode.name for frame in frames[1:]} <= {"CONT"}
    assert max(len(frame.data) for frame in frames) <= MAX_FRAME_BYTES
    assert client.parser_exc is None
