"""Bodies of requests, read within bounds: of bytes on the wire, of bytes when decompressed, and of lines.

`Content-Encoding: gzip` and `deflate` are taken. A few kilobytes can stand for gigabytes, so a body is decompressed in
pieces, and no further than its bound.
"""

import asyncio
import zlib
from collections.abc import Iterator
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

_PIECE_BYTES: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_MOST_MEMBERS: Final = 100
"""Members of one gzip body: files that were joined. An empty one has 20 bytes, and costs as much as a large one."""

_NAMES: Final = {"gzip": True, "x-gzip": True, "deflate": False}


async def read_body(request: Request, max_bytes: int, max_lines: int | None = None) -> bytes:
    """Return a request's body, decompressed.

    Raises:
        HTTPException: it is over `max_bytes`, compressed or not, or over `max_lines` (413), its `Content-Encoding` is
            another one (415), or it cannot be decompressed (400).
    """
    _check_length(request, max_bytes)
    inflater = _inflater(request)
    received = lines = 0
    body = bytearray()
    async for chunk in request.stream():
        received += len(chunk)
        for piece in (chunk,) if inflater is None else inflater.feed(chunk):
            body += piece
            if len(body) > max_bytes or received > max_bytes:
                raise _too_big(max_bytes)
            if max_lines is not None:
                lines += piece.count(b"\n")
                if lines > max_lines:
                    raise HTTPException(413, f"body: got over {max_lines:,} lines; allowed: at most {max_lines:,}")
            if inflater is not None:
                # A chunk may become a thousand pieces.
                await asyncio.sleep(0)
    if inflater is not None and not inflater.is_complete:
        raise _not_compressed("its end is missing")
    return bytes(body)


def _check_length(request: Request, max_bytes: int) -> None:
    # Before the first byte of it: a client that waits with `Expect: 100-continue` need not send it.
    if int(request.headers.get("content-length", "0")) > max_bytes:
        raise _too_big(max_bytes)


def _too_big(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"body: got over {max_bytes:,} bytes; allowed: at most {max_bytes:,}")


def _inflater(request: Request) -> "_Inflater | None":
    given = ", ".join(request.headers.getlist("content-encoding"))
    match [name for each in given.lower().split(",") if (name := each.strip()) not in ("", "identity")]:
        case []:
            return None
        case [name] if name in _NAMES:
            return _Inflater(is_gzip=_NAMES[name])
        case _:
            text = f"Content-Encoding: got {given[:80]!r}; allowed: gzip, deflate, or none"
            raise HTTPException(415, text, {"accept-encoding": "gzip, deflate"})


class _Inflater:
    """Decompresses a body piece by piece."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._stream: zlib._Decompress | None = None
        self._members = 0

    @property
    def is_complete(self) -> bool:
        return self._stream is not None and self._stream.eof

    def feed(self, data: bytes) -> Iterator[bytes]:
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


def _not_compressed(reason: str) -> HTTPException:
    return HTTPException(400, f"body: it cannot be decompressed: {reason}")
