"""The HTTP API: what producers publish to, and what operators ask.

    POST   /v1/publish                  {"target": …, "message": …} → Delivery
    POST   /v1/publish/batch            the same, one JSON object a line (NDJSON) → one answer a line, in order
    GET    /v1/users/{id}/connections   who of a user is here
    DELETE /v1/connections/{id}         close one with 1000
    GET    /v1/stats                    counters of this node
    GET    /healthz  /readyz  /openapi.json

Everything under /v1 wants `Authorization: Bearer <api key>`. An error is `{"code": …, "message": …}`.
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tellwire.errors import TellwireError
from tellwire.gateway.admission import Origins
from tellwire.gateway.openapi import openapi_document
from tellwire.gateway.row_errors import RowErrorsApi, RowErrorStreams
from tellwire.limits import MAX_BATCH_BYTES, MAX_PUBLISH_BYTES
from tellwire.messages import CustomMessage, KnownMessage, MessageDecoder, encode_message
from tellwire.model import ConnectionInfo, Delivery, Target, is_loopback
from tellwire.ports import Authenticator
from tellwire.row_errors import RowErrorChunk

logger = logging.getLogger("tellwire.gateway")

_JSON: Final = "application/json"
_NDJSON: Final = "application/x-ndjson"
_LINES_PER_TURN: Final = 200


class PublishRequest(Struct, forbid_unknown_fields=True):
    """A message and whom it is for."""

    target: Target
    message: KnownMessage


class _CustomPublishRequest(Struct, forbid_unknown_fields=True):
    target: Target
    message: CustomMessage


class Problem(Struct, frozen=True):
    """Why something was refused. `code` is for programs, `message` for people."""

    code: str
    message: str


class Connections(Struct, frozen=True):
    """A user's live connections, oldest first."""

    connections: list[ConnectionInfo]


class Stats(Struct, frozen=True, rename="camel"):
    """Counters of this node since it started."""

    connections: int
    slow_closed: int


_publish_request = MessageDecoder[PublishRequest, _CustomPublishRequest](PublishRequest, _CustomPublishRequest)
_encoder = msgspec.json.Encoder()

Endpoint = Callable[[Request], Awaitable[Response]]


class HttpApi:
    """The endpoints. `api_key` None refuses everything under /v1, unless `is_open` (development)."""

    def __init__(
        self,
        carrier: RowErrorStreams,
        stats: Callable[[], Stats],
        is_ready: Callable[[], bool],
        *,
        authenticator: Authenticator,
        origins: Origins,
        api_key: str | None,
        is_open: bool = False,
    ) -> None:
        self._carrier = carrier
        self._stats = stats
        self._is_ready = is_ready
        # Compared as digests: equal length whatever was sent, so the time tells nothing.
        self._key_digest = None if api_key is None else sha256(api_key.encode()).digest()
        self._is_open = is_open
        self._row_errors = RowErrorsApi(
            carrier,
            authenticator,
            origins,
            self._refusal,
            lambda request: _body(request, MAX_PUBLISH_BYTES),
            _tell_error,
        )

    def application(self, routes: Sequence[BaseRoute] = ()) -> Starlette:
        """Return the ASGI application. `routes` are another program's; they may take any path that is not the API's."""
        return Starlette(
            routes=[
                Route("/v1/publish", self._guarded(self.publish), methods=["POST"]),
                Route("/v1/publish/batch", self._guarded(self.publish_batch), methods=["POST"]),
                *self._row_errors.routes,
                Route("/v1/users/{user_id:path}/connections", self._guarded(self.connections), methods=["GET"]),
                Route("/v1/connections/{connection_id}", self._guarded(self.disconnect), methods=["DELETE"]),
                Route("/v1/stats", self._guarded(self.stats), methods=["GET"]),
                Route("/healthz", self.healthy, methods=["GET"]),
                Route("/readyz", self.ready, methods=["GET"]),
                Route("/openapi.json", self.openapi, methods=["GET"]),
                *routes,
                Route("/", self.upgrade_required, methods=["GET"]),
            ],
            exception_handlers={
                TellwireError: _tell_error,
                HTTPException: _tell_http_error,
                ClientDisconnect: _tell_nobody,
                Exception: _tell_crash,
            },
        )

    # --- endpoints ----------------------------------------------------------------------------------------------------

    async def publish(self, request: Request) -> Response:
        wanted = _publish_request.decode(await _body(request, MAX_PUBLISH_BYTES))
        return _json(await self._carrier.deliver(wanted.target, encode_message(wanted.message)))

    async def publish_batch(self, request: Request) -> Response:
        lines = [line for line in (await _body(request, MAX_BATCH_BYTES)).split(b"\n") if line.strip()]
        answers: list[bytes] = []
        for start in range(0, len(lines), _LINES_PER_TURN):
            answers += await self._answers(lines[start : start + _LINES_PER_TURN])
            # A long batch is not to hold up everybody else.
            await asyncio.sleep(0)
        return Response(b"\n".join([*answers, b""]), media_type=_NDJSON)

    async def connections(self, request: Request) -> Response:
        user_id = request.path_params["user_id"]
        return _json(Connections(await self._carrier.connections(user_id)))

    async def disconnect(self, request: Request) -> Response:
        if not await self._carrier.disconnect(request.path_params["connection_id"]):
            return _problem(410, "GONE", "Nobody has this connection id (any more)")
        return Response(status_code=204)

    async def stats(self, request: Request) -> Response:
        return _json(self._stats())

    async def healthy(self, request: Request) -> Response:
        return _json({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        if not self._is_ready():
            return _json({"status": "draining"}, 503)
        return _json({"status": "ready"})

    async def openapi(self, request: Request) -> Response:
        return _json(describe())

    async def upgrade_required(self, request: Request) -> Response:
        response = _problem(426, "UPGRADE_REQUIRED", "This is a WebSocket: connect with ws:// and a token")
        response.headers["upgrade"] = "websocket"
        return response

    # --- publishing ---------------------------------------------------------------------------------------------------

    async def _answers(self, lines: Sequence[bytes]) -> list[bytes]:
        read = [_read_line(line) for line in lines]
        outcomes = iter(await self._carrier.deliver_all([each for each in read if not isinstance(each, Exception)]))
        return [_answer(each if isinstance(each, Exception) else next(outcomes)) for each in read]

    # --- who may ------------------------------------------------------------------------------------------------------

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            return self._refusal(request) or await endpoint(request)

        return guarded

    def _refusal(self, request: Request) -> Response | None:
        if self._is_open:
            return _development_refusal(request)
        if self._key_digest is None:
            return _problem(
                403, "API_KEY_NOT_CONFIGURED", "The HTTP API is closed: the gateway has no TELLWIRE_API_KEY"
            )
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        digest = sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        if scheme.lower() == "bearer" and hmac.compare_digest(digest, self._key_digest):
            return None
        response = _problem(401, "API_KEY_WRONG", "Send the header Authorization: Bearer <api key>")
        response.headers["www-authenticate"] = "Bearer"
        return response


def _read_line(line: bytes) -> tuple[Target, bytes] | TellwireError:
    try:
        wanted = _publish_request.decode(line)
        return wanted.target, encode_message(wanted.message)
    except TellwireError as error:
        return error


def _answer(outcome: Delivery | Exception) -> bytes:
    match outcome:
        case Delivery():
            return _encoder.encode(outcome)
        case TellwireError():
            return _encoder.encode(Problem(outcome.code, str(outcome)))
        case _:
            # What came before it is delivered; those answers must not be lost to a fault of ours.
            logger.error("a line of a batch failed", exc_info=outcome)
            return _encoder.encode(Problem("INTERNAL_ERROR", "Something went wrong; the server's log has more"))


def describe() -> dict[str, Any]:
    """Return the OpenAPI document of these endpoints."""
    return openapi_document((PublishRequest, Delivery, Problem, Connections, Stats, RowErrorChunk))


def _development_refusal(request: Request) -> Response | None:
    # Without a key, what keeps strangers out is that they are not on this machine; a page in its browser would be.
    if "origin" in request.headers or not is_loopback(request.url.hostname):
        return _problem(403, "NOT_FROM_A_PAGE", "In development mode pages may not publish; set TELLWIRE_API_KEY")
    return None


async def _body(request: Request, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise HTTPException(413, f"body: got over {max_bytes:,} bytes; allowed: at most {max_bytes:,}")
    return bytes(body)


def _json(content: Any, status: int = 200) -> Response:
    return Response(_encoder.encode(content), status, media_type=_JSON)


def _problem(status: int, code: str, message: str) -> Response:
    return _json(Problem(code, message), status)


async def _tell_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TellwireError)  # noqa: S101 - registered for it
    return _problem(error.http_status, error.code, str(error))


async def _tell_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    codes = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "BODY_TOO_BIG"}
    response = _problem(error.status_code, codes.get(error.status_code, "BAD_REQUEST"), str(error.detail))
    response.headers.update(error.headers or {})
    return response


async def _tell_nobody(request: Request, error: Exception) -> Response:
    return _problem(400, "BAD_REQUEST", "The request ended before its body did")


async def _tell_crash(request: Request, error: Exception) -> Response:
    # Starlette raises it on to the server, which logs it.
    return _problem(500, "INTERNAL_ERROR", "Something went wrong; the server's log has more")
