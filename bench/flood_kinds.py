"""Floods: the bytes that one hostile client sends without a pause, by name. Pure.

Each begins with a WebSocket handshake, or is plain HTTP.
"""

import json
import zlib
from dataclasses import dataclass
from typing import Final

from websockets.frames import Frame, Opcode

from bench.server import API_KEY

_CHUNK_BYTES: Final = 256 * 1024
_MANY_HEADERS: Final = 15_000
_FRAME_BYTES: Final = 32 * 1024
_RSV1: Final = 0x40
# Two blocks of DEFLATE with tables of their own, and no text: the most work for the fewest bytes.
_EMPTY_BLOCKS: Final = bytes.fromhex("04c0810800000000207feb43001c880000000000f2b73e")
_EMPTY_STREAM: Final = b"\x03\x00"


@dataclass(frozen=True, slots=True)
class Flood:
    """`data` is sent over and over, on each of `connections`.

    With `is_socket` the handshake comes first. `once`: the connection is closed after each, and opened again.
    `pause_seconds` is the least time between two sends of one connection. With `is_compressed` its frames are, and the
    gateway has compression.
    """

    name: str
    data: bytes
    connections: int = 1
    is_socket: bool = True
    once: bool = False
    first: bytes = b""
    pause_seconds: float = 0.0
    is_compressed: bool = False


def _frames(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    frame = Frame(opcode, payload, fin=fin).serialize(mask=True)
    return frame * max(1, _CHUNK_BYTES // len(frame))


def _texts(text: str) -> bytes:
    return _frames(Opcode.TEXT, text.encode())


def _message(message: dict[str, object]) -> bytes:
    return _texts(json.dumps(message))


def _compressed(payload: bytes) -> bytes:
    """Return one compressed message, in frames of at most 32 KiB."""
    pieces = [payload[at : at + _FRAME_BYTES] for at in range(0, len(payload), _FRAME_BYTES)]
    frames = [
        Frame(Opcode.CONT if number else Opcode.TEXT, piece, fin=number == len(pieces) - 1).serialize(mask=True)
        for number, piece in enumerate(pieces)
    ]
    message = b"".join([bytes([frames[0][0] | _RSV1]), frames[0][1:], *frames[1:]])
    return message * max(1, _CHUNK_BYTES // len(message))


def _bomb(size: int) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return _compressed((compressor.compress(b"x" * size) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4])


def _largest() -> bytes:
    piece = b"x" * (32 * 1024 - 1)
    message = [Frame(Opcode.TEXT, b'"' + piece, fin=False)]
    message += [Frame(Opcode.CONT, piece, fin=False), Frame(Opcode.CONT, piece, fin=False)]
    return b"".join(each.serialize(mask=True) for each in [*message, Frame(Opcode.CONT, piece + b'"')])


def _request(path: str, headers: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()


def _upgrade_with_many_headers() -> bytes:
    return _request("/", "Upgrade: websocket\r\nConnection: Upgrade\r\n" + "a:\r\n" * _MANY_HEADERS)


def _batch() -> bytes:
    body = b"{}\n" * (16 * 1024 * 1024 // 3)
    head = f"Authorization: Bearer {API_KEY}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n"
    return _request("/v1/publish/batch", head, "POST") + body


_CHUNKED: Final = _request("/v1/publish", "Transfer-Encoding: chunked\r\n", "POST")
_FIRST_FRAGMENT: Final = Frame(Opcode.TEXT, b'"', fin=False).serialize(mask=True)
_PIPELINED: Final = _request("/healthz") * 1000

FLOODS: Final = {
    flood.name: flood
    for flood in (
        Flood("ws-pings", _frames(Opcode.PING, b"")),
        Flood("ws-pongs", _frames(Opcode.PONG, b"")),
        Flood("pings", _message({"type": "ping"})),
        Flood("hellos", _message({"type": "hello", "cursor": "0"})),
        Flood("hellos-8", _message({"type": "hello", "cursor": "0"}), connections=8),
        Flood("cancels", _message({"type": "cancel", "uploadId": "unknown"})),
        Flood("acks", _message({"type": "ack", "cursor": "x:1"})),
        Flood("auths", _message({"type": "auth", "token": "a.b.c"})),
        Flood("unknown", _message({"type": "dance"})),
        Flood("empty", _texts("")),
        Flood("junk", _texts("}")),
        Flood("deep", _texts("[" * 1000)),
        Flood("fragments", _frames(Opcode.CONT, b"", fin=False), first=_FIRST_FRAGMENT),
        Flood("fragments-8", _frames(Opcode.CONT, b"", fin=False), connections=8, first=_FIRST_FRAGMENT),
        Flood("largest", _largest()),
        Flood("bombs", _bomb(128 * 1024), is_compressed=True),
        Flood("bombs-8", _bomb(128 * 1024), connections=8, is_compressed=True),
        Flood("bombs-large", _bomb(10_000_000), connections=8, is_compressed=True),
        Flood("blocks", _compressed(_EMPTY_BLOCKS * 5000), is_compressed=True),
        Flood("blocks-8", _compressed(_EMPTY_BLOCKS * 5000), connections=8, is_compressed=True),
        Flood("streams", _compressed(_EMPTY_STREAM * 60_000), is_compressed=True),
        Flood("handshakes", _request("/?token=a.b.c", "Upgrade: websocket\r\nConnection: Upgrade\r\n"), 8, False, True),
        Flood("pipelined", _PIPELINED, is_socket=False),
        Flood("pipelined-100", _PIPELINED, connections=100, is_socket=False),
        Flood("headers", _upgrade_with_many_headers(), 1, is_socket=False, once=True, pause_seconds=0.05),
        Flood("chunks-401", b"1\r\nx\r\n" * 40_000, is_socket=False, first=_CHUNKED),
        Flood("batch", _batch(), is_socket=False),
    )
}
"""By name."""
