"""Bodies of requests, read within their bound: in bytes, decompressed, and in lines."""

import asyncio
from collections.abc import Iterator

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tellwire.compressed_bodies import Inflater, inflater_for, too_big, too_many_lines
from tellwire.http_problems import RequestRefused


async def read_body(request: Request, max_bytes: int, max_lines: int | None = None) -> bytes:
    """Return a request's body, decompressed.

    Raises:
        HTTPException: it is over `max_bytes`, compressed or not, or over `max_lines` (413), its `Content-Encoding` is
            another one (415), or it cannot be decompressed (400).
    """
    try:
        return await _read(request, max_bytes, max_lines)
    except RequestRefused as refused:
        raise HTTPException(refused.status, str(refused), refused.headers) from refused


async def _read(request: Request, max_bytes: int, max_lines: int | None) -> bytes:
    _check_length(request, max_bytes)
    inflater = inflater_for(", ".join(request.headers.getlist("content-encoding")))
    received = lines = 0
    body = bytearray()
    async for chunk in request.stream():
        received += len(chunk)
        for piece in _pieces(chunk, inflater):
            body += piece
            if len(body) > max_bytes or received > max_bytes:
                raise too_big(max_bytes)
            if max_lines is not None:
                lines += piece.count(b"\n")
                if lines > max_lines:
                    raise too_many_lines(max_lines)
            if inflater is not None:
                # A chunk may become a thousand pieces.
                await asyncio.sleep(0)
    if inflater is not None:
        inflater.end()
    return bytes(body)


def _check_length(request: Request, max_bytes: int) -> None:
    # Before the first byte of it: a client that waits with `Expect: 100-continue` need not send it.
    if int(request.headers.get("content-length", "0")) > max_bytes:
        raise too_big(max_bytes)


def _pieces(chunk: bytes, inflater: Inflater | None) -> Iterator[bytes]:
    return iter((chunk,)) if inflater is None else inflater.feed(chunk)
