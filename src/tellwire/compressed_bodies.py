"""Compressed bodies of requests, decompressed within their bound. Pure.

`Content-Encoding: gzip` and `deflate` are taken. A few kilobytes can stand for gigabytes, so a body is decompressed in
pieces, and whoever takes them stops at the bound.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from tellwire.http_problems import RequestRefused

_PIECE_BYTES: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_MOST_MEMBERS: Final = 100
"""Members of one gzip body: files that were joined. An empty one has 20 bytes, and costs as much as a large one."""

_NAMES: Final = {"gzip": True, "x-gzip": True, "deflate": False}


def too_big(max_bytes: int) -> RequestRefused:
    """Return the refusal of a body over its bound."""
    return RequestRefused(413, f"body: got over {max_bytes:,} bytes; allowed: at most {max_bytes:,}")


def too_many_lines(max_lines: int) -> RequestRefused:
    """Return the refusal of a body of too many lines."""
    return RequestRefused(413, f"body: got over {max_lines:,} lines; allowed: at most {max_lines:,}")


def inflater_for(content_encoding: str) -> "Inflater | None":
    """Return the way to decompress a body; None: it is not compressed.

    Raises:
        RequestRefused: it is compressed in another way (415).
    """
    match [name for each in content_encoding.lower().split(",") if (name := each.strip()) not in ("", "identity")]:
        case []:
            return None
        case [name] if name in _NAMES:
            return Inflater(is_gzip=_NAMES[name])
        case _:
            text = f"Content-Encoding: got {content_encoding[:80]!r}; allowed: gzip, deflate, or none"
            raise RequestRefused(415, text, {"accept-encoding": "gzip, deflate"})


def inflated(body: bytes, content_encoding: str, max_bytes: int) -> bytes:
    """Return a body that is here as a whole, decompressed.

    Raises:
        RequestRefused: it is over `max_bytes`, compressed or not, its encoding is another one, or it cannot be
            decompressed.
    """
    inflater = inflater_for(content_encoding)
    if len(body) > max_bytes:
        raise too_big(max_bytes)
    if inflater is None:
        return body
    whole = bytearray()
    for piece in inflater.feed(body):
        whole += piece
        if len(whole) > max_bytes:
            raise too_big(max_bytes)
    inflater.end()
    return bytes(whole)


class Inflater:
    """Decompresses a body piece by piece."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._stream: zlib._Decompress | None = None
        self._members = 0

    def end(self) -> None:
        """End the body.

        Raises:
            RequestRefused: a part of it is missing.
        """
        if self._stream is None or not self._stream.eof:
            raise _not_compressed("its end is missing")

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the next part of the body, decompressed.

        Raises:
            RequestRefused: it cannot be decompressed.
        """
        while data:
            if self._stream is None or self._stream.eof:
                if self._members and not (self._is_gzip and data.strip(b"\0")):
                    # Padding is allowed after gzip, and nothing after deflate.
                    if self._is_gzip:
                        return
                    raise _not_compressed("something follows its end")
                self._begin(data)
            assert self._stream is not None  # noqa: S101 - begun above
            try:
                piece = self._stream.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise _not_compressed(str(error)) from error
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            yield piece

    def _begin(self, data: bytes) -> None:
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise _not_compressed(f"it has over {_MOST_MEMBERS} members")
        # Some send deflate without the wrapper of RFC 1950, whose first byte has an 8 in its lower half.
        is_raw = not self._is_gzip and data[0] & 0x0F != 8
        self._stream = zlib.decompressobj(_GZIP if self._is_gzip else -zlib.MAX_WBITS if is_raw else zlib.MAX_WBITS)


def _not_compressed(reason: str) -> RequestRefused:
    return RequestRefused(400, f"body: it cannot be decompressed: {reason}")
