"""The frames of a client that may compress its messages (RFC 7692 §6.2), as pure code.

The fragments of a compressed message are kept as they come, and inflated when all are there. So a client that stops in
the middle of one holds no more memory than it has sent. A long message is inflated in several steps, each an event, so
that the connection can stop there as it does between frames.
"""

import zlib
from typing import Final

from tellwire.limits import DEFLATE_OVERHEAD_BYTES
from tellwire.server.deflate import Inflation, TooLong
from tellwire.server.parser import Event, Fragment, FrameParser, Text, decoded

_RSV1: Final = 0x40
_TEXT, _BINARY = 1, 2


class InflatingParser(FrameParser):
    """The parser of a connection that negotiated permessage-deflate."""

    __slots__ = ("_inflation", "_is_compressed", "_is_marked")

    def __init__(self, max_message_bytes: int, max_frame_bytes: int) -> None:
        super().__init__(max_message_bytes, max_frame_bytes)
        # The frame that was checked last begins a compressed message.
        self._is_marked = False
        # The message that began last is compressed.
        self._is_compressed = False
        self._inflation: Inflation | None = None

    @property
    def has_bytes(self) -> bool:
        return self._inflation is not None or self._at < len(self._data)

    def discard(self) -> None:
        super().discard()
        self._inflation = None

    def next_event(self) -> Event | None:
        return super().next_event() if self._inflation is None else self._inflate(self._inflation)

    def _check(self, first: int, opcode: int, second: int) -> None:
        if opcode in (_TEXT, _BINARY):
            self._is_marked = bool(first & _RSV1)
            first &= ~_RSV1
        super()._check(first, opcode, second)

    def _data_frame(self, opcode: int, payload: bytes, *, is_last: bool) -> Event:
        if opcode in (_TEXT, _BINARY):
            self._is_compressed = self._is_marked and opcode == _TEXT
        if not self._is_compressed:
            return super()._data_frame(opcode, payload, is_last=is_last)
        if self._message is None and is_last:
            return self._inflate(Inflation(payload, self._max_message_bytes))
        message = self._message = self._message or bytearray()
        message += payload
        if len(message) > self._max_message_bytes + DEFLATE_OVERHEAD_BYTES:
            raise self._broken(1009, f"message: over {self._max_message_bytes:,} bytes")
        if not is_last:
            return Fragment(len(payload))
        self._message = None
        return self._inflate(Inflation(message, self._max_message_bytes))

    def _inflate(self, inflation: Inflation) -> Event:
        try:
            cost_bytes = inflation.step()
        except TooLong:
            raise self._broken(1009, f"message: over {self._max_message_bytes:,} bytes") from None
        except zlib.error:
            raise self._broken(1002, "a compressed message that is not DEFLATE") from None
        if not inflation.is_done:
            self._inflation = inflation
            return Fragment(cost_bytes)
        self._inflation = None
        return Text(decoded(inflation.message), cost_bytes)
