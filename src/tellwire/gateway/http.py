"""The parts that the HTTP endpoints share: answers and errors."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tellwire.errors import TellwireError
from tellwire.gateway.paths import client_of
from tellwire.http_problems import INTERNAL_ERROR, Problem, code_of, headers_of
from tellwire.server.direct import Answer

logger = logging.getLogger("tellwire.gateway")

_JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
_encoder = msgspec.json.Encoder()

Endpoint = Callable[[Request], Awaitable[Response]]


def json_response(content: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(_encoder.encode(content), status, media_type=_JSON)


def problem(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a refusal."""
    response = json_response(Problem(code, message), status)
    response.headers.update(headers or {})
    return response


def error_response(error: TellwireError) -> Response:
    """Return the response for an error."""
    return problem(error.http_status, error.code, str(error), headers_of(error))


def _tell(request: Request, status: int, reason: str) -> None:
    # The message may quote the body, and the query may hold a token.
    path = request.scope["path"]
    logger.debug("refused %s %r from %s: %d %s", request.method, path, client_of(request), status, reason)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TellwireError)  # noqa: S101 - registered for it
    response = error_response(error)
    _tell(request, response.status_code, error.code)
    return response


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    code = code_of(error.status_code)
    _tell(request, error.status_code, code)
    return problem(error.status_code, code, str(error.detail), error.headers)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    _tell(request, 400, "the client has gone")
    return problem(400, "BAD_REQUEST", "The request ended before its body did")


def internal_error() -> Response:
    """Return the response for an error that nobody expected."""
    return json_response(INTERNAL_ERROR, 500)


def answer_of(response: Response) -> Answer:
    """Return a response as the answer of a direct endpoint."""
    headers = tuple(each for each in response.raw_headers if each[0] != b"content-length")
    return Answer(response.status_code, bytes(response.body), headers)


async def _on_crash(request: Request, error: Exception) -> Response:
    # Starlette also raises it to the server, which logs it.
    return internal_error()


EXCEPTION_HANDLERS: Final[dict[Any, Callable[[Request, Exception], Awaitable[Response]]]] = {
    TellwireError: _on_error,
    HTTPException: _on_http_error,
    ClientDisconnect: _on_disconnect,
    Exception: _on_crash,
}
