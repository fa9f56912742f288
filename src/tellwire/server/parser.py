"""The frames of a client (RFC 6455 §5), as pure code: bytes go in, events come out, one at a time.

    feed(bytes) ─▶ next_event() ─▶ Text │ Ping │ Pong │ Close │ Fragment; None: the rest of a frame is missing

One at a time, so that a connection can stop in the middle of many, and go on later with the rest.

A frame that breaks the protocol raises `BadFrame`, whose close code is the answer. After one that leaves the next frame
unknown everything is discarded; after others (a binary message, a text that is not UTF-8) the parser goes on, since a
close of the client may follow.
"""

from struct import Struct as Layout
from typing import Final, TypeAlias

from msgspec import Struct

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_OPCODES: Final = frozenset((_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG))
_MAX_CONTROL_BYTES: Final = 125
_MASK_BYTES: Final = 4
_LENGTH_16: Final = Layout("!H")
_LENGTH_64: Final = Layout("!Q")
_CODE: Final = Layout("!H")

NO_STATUS: Final = 1005
"""The code of a close frame without one. It is never on the wire (RFC 6455 §7.4.1)."""

_NOT_ON_THE_WIRE: Final = frozenset((1004, NO_STATUS, 1006))
_REGISTERED_CODES: Final = range(1000, 1015)
_FREE_CODES: Final = range(3000, 5000)


class Text(Struct, frozen=True, gc=False):
    """A whole text message."""

    text: str
    size_bytes: int


class Fragment(Struct, frozen=True, gc=False):
    """A part of a text message that is not complete yet."""

    size_bytes: int


class Ping(Struct, frozen=True, gc=False):
    payload: bytes
    size_bytes: int


class Pong(Struct, frozen=True, gc=False):
    size_bytes: int


class Close(Struct, frozen=True, gc=False):
    """A close frame; `payload` is its code and reason as sent. The parser discards everything after it."""

    code: int
    reason: str
    payload: bytes
    size_bytes: int = 0


Event: TypeAlias = Text | Fragment | Ping | Pong | Close


class BadFrame(Exception):
    """A frame that is not allowed, and the close that answers it."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason)
        self.close_code = close_code
        self.reason = reason


class FrameParser:
    """The parser of one connection. It holds the bytes of a frame that is not complete, and of those not asked for."""

    __slots__ = ("_at", "_data", "_is_discarding", "_max_frame_bytes", "_max_message_bytes", "_message")

    def __init__(self, max_message_bytes: int, max_frame_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._max_frame_bytes = max_frame_bytes
        self._data: bytes | bytearray = b""
        self._at = 0
        # The fragments of a message so far; None between messages.
        self._message: bytearray | None = None
        self._is_discarding = False

    @property
    def has_bytes(self) -> bool:
        """True if bytes are left that have not been parsed, maybe those of a frame that is not complete."""
        return self._at < len(self._data)

    @property
    def is_discarding(self) -> bool:
        """True after a close frame, or a frame that leaves the next one unknown."""
        return self._is_discarding

    def feed(self, data: bytes) -> None:
        """Add bytes of the client."""
        if self._is_discarding:
            return
        if self._at == len(self._data):
            self._data, self._at = data, 0
            return
        if not isinstance(self._data, bytearray) or self._at:
            # Collected in place from now on: a frame that comes byte by byte must not be copied for each of them.
            self._data, self._at = bytearray(memoryview(self._data)[self._at :]), 0
        self._data += data

    def discard(self) -> None:
        """Forget all bytes, and those to come."""
        self._data, self._at, self._message, self._is_discarding = b"", 0, None, True

    def next_event(self) -> Event | None:
        """Return the next event; None if the rest of a frame is missing.

        Raises:
            BadFrame: the client broke the protocol, or a limit.
        """
        data, at = self._data, self._at
        available = len(data) - at
        if available < 2:
            return None
        first, second = data[at], data[at + 1]
        opcode = first & 0x0F
        self._check(first, opcode, second)
        start, size_bytes = at + 2 + _MASK_BYTES, second & 0x7F
        if size_bytes > _MAX_CONTROL_BYTES:
            length = _LENGTH_16 if size_bytes == 126 else _LENGTH_64
            if available < 2 + length.size:
                return None
            (size_bytes,) = length.unpack_from(data, at + 2)
            start += length.size
            self._check_size(size_bytes)
        end = start + size_bytes
        if end > len(data):
            return None
        payload = apply_mask(bytes(data[start:end]), bytes(data[start - _MASK_BYTES : start])) if size_bytes else b""
        if end == len(data):
            self._data, self._at = b"", 0
        else:
            self._at = end
        if opcode <= _BINARY:
            return self._data_frame(opcode, payload, is_last=first > 0x7F)
        return self._control_frame(opcode, payload)

    def _check(self, first: int, opcode: int, second: int) -> None:
        """Check the first two bytes of a frame, before the others are waited for (RFC 6455 §5.2 to §5.5)."""
        if first & 0x70 or opcode not in _OPCODES:
            raise self._broken(1002, "reserved bits or opcode")
        if second < 0x80:
            raise self._broken(1002, "a client must mask its frames")
        if opcode >= _CLOSE:
            if second & 0x7F > _MAX_CONTROL_BYTES or first < 0x80:
                raise self._broken(1002, "a control frame is one frame of at most 125 bytes")
        elif (opcode == _CONTINUATION) is (self._message is None):
            raise self._broken(1002, "a continuation frame of nothing, or another message within a message")

    def _check_size(self, size_bytes: int) -> None:
        """Check the size of a frame, and of its message, before the payload is waited for."""
        if size_bytes > self._max_frame_bytes:
            raise self._broken(1009, f"frame: got {size_bytes:,} bytes; allowed: {self._max_frame_bytes:,}")

    def _data_frame(self, opcode: int, payload: bytes, *, is_last: bool) -> Event:
        if opcode == _BINARY:
            # Its fragments would have to be let through, up to the close that ends them.
            self._message = None if is_last else bytearray()
            raise BadFrame(1003, "Only text messages are accepted")
        message = self._message
        if message is None:
            if is_last:
                return Text(decoded(payload), len(payload))
            self._message = bytearray(payload)
            return Fragment(len(payload))
        message += payload
        if len(message) > self._max_message_bytes:
            raise self._broken(1009, f"message: over {self._max_message_bytes:,} bytes")
        if not is_last:
            return Fragment(len(payload))
        self._message = None
        return Text(decoded(message), len(payload))

    def _control_frame(self, opcode: int, payload: bytes) -> Event:
        if opcode == _PING:
            return Ping(payload, len(payload))
        if opcode == _PONG:
            return Pong(len(payload))
        if not payload:
            self.discard()
            return Close(NO_STATUS, "", b"")
        if len(payload) < _CODE.size:
            raise self._broken(1002, "a close frame of one byte")
        self.discard()
        (code,) = _CODE.unpack_from(payload)
        reason = decoded(payload[_CODE.size :])
        if code in _NOT_ON_THE_WIRE or not (code in _REGISTERED_CODES or code in _FREE_CODES):
            raise BadFrame(1002, f"close code: got {code}")
        return Close(code, reason, payload)

    def _broken(self, close_code: int, reason: str) -> BadFrame:
        self.discard()
        return BadFrame(close_code, reason)


def decoded(text: bytes | bytearray) -> str:
    """Return the text of a message.

    Raises:
        BadFrame: 1007; it is not UTF-8.
    """
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise BadFrame(1007, "A text message must be UTF-8") from None
