"""The parts that the HTTP endpoints share: the API key, bodies, answers and errors."""

import hmac
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tellwire.errors import TellwireError
from tellwire.model import is_loopback

_JSON: Final = "application/json"
_encoder = msgspec.json.Encoder()

Endpoint = Callable[[Request], Awaitable[Response]]


class Problem(Struct, frozen=True):
    """The body of a refusal. `code` is for programs, `message` for people."""

    code: str
    message: str


class ApiKey:
    """The key that producers and operators send. None refuses everybody, unless `is_open` (development)."""

    def __init__(self, key: str | None, *, is_open: bool = False) -> None:
        # Digests have one length, so the time of a comparison reveals nothing.
        self._digest = None if key is None else sha256(key.encode()).digest()
        self._is_open = is_open

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint that refuses requests without the key."""

        async def guarded(request: Request) -> Response:
            return self.refusal(request) or await endpoint(request)

        return guarded

    def refusal(self, request: Request) -> Response | None:
        """Return the refusal of a request; None: it is allowed."""
        if self._is_open:
            return _development_refusal(request)
        if self._digest is None:
            return problem(403, "API_KEY_NOT_CONFIGURED", "The HTTP API is closed: the gateway has no TELLWIRE_API_KEY")
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        digest = sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        if scheme.lower() == "bearer" and hmac.compare_digest(digest, self._digest):
            return None
        response = problem(401, "API_KEY_WRONG", "Send the header Authorization: Bearer <api key>")
        response.headers["www-authenticate"] = "Bearer"
        return response


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return a request's body.

    Raises:
        HTTPException: it is over `max_bytes` (413).
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HTTPException(413, f"body: got over {max_bytes:,} bytes; allowed: at most {max_bytes:,}")
    return bytes(body)


def json_response(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(_encoder.encode(content), status, media_type=_JSON)


def problem(status: int, code: str, message: str) -> Response:
    """Return a refusal."""
    return json_response(Problem(code, message), status)


def error_response(error: TellwireError) -> Response:
    """Return the response for an error."""
    return problem(error.http_status, error.code, str(error))


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TellwireError)  # noqa: S101 - registered for it
    return error_response(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    codes = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "BODY_TOO_BIG"}
    response = problem(error.status_code, codes.get(error.status_code, "BAD_REQUEST"), str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return problem(400, "BAD_REQUEST", "The request ended before its body did")


async def _on_crash(request: Request, error: Exception) -> Response:
    # Starlette also raises it to the server, which logs it.
    return problem(500, "INTERNAL_ERROR", "Something went wrong; the server's log has more")


EXCEPTION_HANDLERS: Final[dict[Any, Callable[[Request, Exception], Awaitable[Response]]]] = {
    TellwireError: _on_error,
    HTTPException: _on_http_error,
    ClientDisconnect: _on_disconnect,
    Exception: _on_crash,
}


def _development_refusal(request: Request) -> Response | None:
    # Without a key only requests from this machine are allowed, and not those of pages in its browser.
    if "origin" in request.headers or not is_loopback(request.url.hostname):
        return problem(403, "NOT_FROM_A_PAGE", "In development mode pages may not publish; set TELLWIRE_API_KEY")
    return None
