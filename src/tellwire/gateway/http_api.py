"""The HTTP API, for producers and operators.

    POST   /v1/publish                  {"target": …, "message": …} → Delivery
    POST   /v1/publish/batch            the same, one JSON object a line (NDJSON) → one answer a line, in order
    GET    /v1/users/{id}/connections   the live connections of a user
    DELETE /v1/connections/{id}         close one with 1000
    GET    /v1/stats                    counters of this node
    GET    /healthz  /readyz  /openapi.json

Everything under /v1 needs `Authorization: Bearer <api key>`. An error is `{"code": …, "message": …}`.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tellwire.engine import Engine
from tellwire.errors import TellwireError
from tellwire.gateway.http import EXCEPTION_HANDLERS, ApiKey, Problem, json_response, problem, read_body
from tellwire.gateway.openapi import openapi_document
from tellwire.gateway.row_errors import RowErrorsApi
from tellwire.limits import MAX_BATCH_BYTES, MAX_PUBLISH_BYTES
from tellwire.messages import CustomMessage, KnownMessage, MessageDecoder
from tellwire.model import ConnectionInfo, Delivery, Target
from tellwire.ports import Published
from tellwire.publication import Publication
from tellwire.row_errors import RowErrorChunk

logger = logging.getLogger("tellwire.gateway")

_NDJSON: Final = "application/x-ndjson"
_LINES_PER_TURN: Final = 200


class PublishRequest(Struct, forbid_unknown_fields=True):
    """A message and its target."""

    target: Target
    message: KnownMessage


class _CustomPublishRequest(Struct, forbid_unknown_fields=True):
    target: Target
    message: CustomMessage


class Connections(Struct, frozen=True):
    """A user's live connections, oldest first."""

    connections: list[ConnectionInfo]


class Stats(Struct, frozen=True, rename="camel"):
    """Counters of this node since it started."""

    connections: int
    slow_closed: int
    unanswered_closed: int


_publish_request = MessageDecoder[PublishRequest, _CustomPublishRequest](PublishRequest, _CustomPublishRequest)
_encoder = msgspec.json.Encoder()


class HttpApi:
    """The endpoints. `api_key` None refuses everything under /v1, unless `is_open` (development)."""

    def __init__(
        self,
        engine: Engine,
        stats: Callable[[], Stats],
        is_ready: Callable[[], bool],
        row_errors: RowErrorsApi,
        *,
        api_key: str | None,
        is_open: bool = False,
    ) -> None:
        self._broker = engine.broker
        self._carrier = engine.carrier
        self._stats = stats
        self._is_ready = is_ready
        self._row_errors = row_errors
        self._key = ApiKey(api_key, is_open=is_open)

    def application(self, routes: Sequence[BaseRoute] = ()) -> Starlette:
        """Return the ASGI application. `routes` are another program's; they may take any path that is not the API's."""
        guarded = self._key.guarded
        return Starlette(
            routes=[
                Route("/v1/publish", guarded(self.publish), methods=["POST"]),
                Route("/v1/publish/batch", guarded(self.publish_batch), methods=["POST"]),
                *self._row_errors.routes(self._key),
                Route("/v1/users/{user_id:path}/connections", guarded(self.connections), methods=["GET"]),
                Route("/v1/connections/{connection_id}", guarded(self.disconnect), methods=["DELETE"]),
                Route("/v1/stats", guarded(self.stats), methods=["GET"]),
                Route("/healthz", self.healthy, methods=["GET"]),
                Route("/readyz", self.ready, methods=["GET"]),
                Route("/openapi.json", self.openapi, methods=["GET"]),
                *routes,
                Route("/", self.upgrade_required, methods=["GET"]),
            ],
            exception_handlers=EXCEPTION_HANDLERS,
        )

    # --- endpoints ----------------------------------------------------------------------------------------------------

    async def publish(self, request: Request) -> Response:
        publish_request = _publish_request.decode(await read_body(request, MAX_PUBLISH_BYTES))
        published = await self._broker.publish(Publication.of(publish_request.target, publish_request.message))
        return json_response(published.delivery)

    async def publish_batch(self, request: Request) -> Response:
        lines = [line for line in (await read_body(request, MAX_BATCH_BYTES)).split(b"\n") if line.strip()]
        answers: list[bytes] = []
        for start in range(0, len(lines), _LINES_PER_TURN):
            answers += await self._answers(lines[start : start + _LINES_PER_TURN])
            # A long batch must not block the event loop.
            await asyncio.sleep(0)
        return Response(b"\n".join([*answers, b""]), media_type=_NDJSON)

    async def connections(self, request: Request) -> Response:
        user_id = request.path_params["user_id"]
        return json_response(Connections(await self._carrier.connections(user_id)))

    async def disconnect(self, request: Request) -> Response:
        if not await self._carrier.disconnect(request.path_params["connection_id"]):
            return problem(410, "GONE", "There is no connection with this id (any more)")
        return Response(status_code=204)

    async def stats(self, request: Request) -> Response:
        return json_response(self._stats())

    async def healthy(self, request: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        if not self._is_ready():
            return json_response({"status": "draining"}, 503)
        return json_response({"status": "ready"})

    async def openapi(self, request: Request) -> Response:
        return json_response(describe())

    async def upgrade_required(self, request: Request) -> Response:
        response = problem(426, "UPGRADE_REQUIRED", "This is a WebSocket: connect with ws:// and a token")
        response.headers["upgrade"] = "websocket"
        return response

    async def _answers(self, lines: Sequence[bytes]) -> list[bytes]:
        read = [_read_line(line) for line in lines]
        outcomes = iter(await self._broker.publish_all([each for each in read if isinstance(each, Publication)]))
        return [_answer(next(outcomes) if isinstance(each, Publication) else each) for each in read]


def _read_line(line: bytes) -> Publication | TellwireError:
    try:
        publish_request = _publish_request.decode(line)
        return Publication.of(publish_request.target, publish_request.message)
    except TellwireError as error:
        return error


def _answer(outcome: Published | Exception) -> bytes:
    match outcome:
        case Published(delivery=delivery):
            return _encoded(delivery)
        case TellwireError():
            return _encoder.encode(Problem(outcome.code, str(outcome)))
        case _:
            # Earlier lines are delivered, so an unexpected error must not lose their answers.
            logger.error("a line of a batch failed", exc_info=outcome)
            return _encoder.encode(Problem("INTERNAL_ERROR", "Something went wrong; the server's log has more"))


# Most deliveries of a batch are the same few.
@functools.lru_cache(maxsize=64)
def _encoded(delivery: Delivery) -> bytes:
    return _encoder.encode(delivery)


def describe() -> dict[str, Any]:
    """Return the OpenAPI document of these endpoints."""
    return openapi_document((PublishRequest, Delivery, Problem, Connections, Stats, RowErrorChunk))
