"""The HTTP API, for producers and operators.

    POST   /v1/publish                  {"target": …, "message": …} → Delivery
    POST   /v1/publish/batch            the same, one JSON object a line (NDJSON) → one answer a line, in order
    GET    /v1/connections?user=…       the live connections of a user; also /v1/users/{user}/connections
    DELETE /v1/connections?connection=… close one with 1000; also /v1/connections/{connection}
    GET    /v1/stats                    counters of this node, and the connections of all
    GET    /v1/backup                   a copy of what the engine keeps in files
    POST   /v1/drain                    let all clients go, and end
    GET    /healthz  /readyz  /openapi.json

Those of users and topics are in `users_api` and `topics_api`, and the script for pages in `client_script`. Everything
under /v1 needs `Authorization: Bearer <api key>`: a key with the scope `publish` for the first two, with `admin` for
the others. An error is `{"code": …, "message": …}`.
"""

import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from msgspec import Struct
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tellwire.api_keys import Scope
from tellwire.carriers.hub import Hub
from tellwire.engine import Engine
from tellwire.gateway.admission import Network
from tellwire.gateway.api_key import ApiKeyGuard, Guard, key_of
from tellwire.gateway.backup import BackupEndpoint
from tellwire.gateway.batch import Batches, DirectBatch, tell_batch
from tellwire.gateway.bodies import read_body
from tellwire.gateway.client_script import ScriptAddress, script_routes
from tellwire.gateway.http import EXCEPTION_HANDLERS, NDJSON, Endpoint, json_response, problem
from tellwire.gateway.openapi import openapi_document
from tellwire.gateway.paths import ForwardedClient, IdRoute, OtherSlash, SlashAtEnd, client_of, id_of
from tellwire.gateway.publish import DirectPublish, GuardedDirect, tell_published
from tellwire.gateway.publish_rates import PublishRates
from tellwire.gateway.row_errors import RowErrorsApi
from tellwire.gateway.topics_api import TYPES as TOPICS_TYPES
from tellwire.gateway.topics_api import TopicsApi
from tellwire.gateway.users_api import TYPES as USERS_TYPES
from tellwire.gateway.users_api import UsersApi
from tellwire.gateway.watching import TYPES as WATCHING_TYPES
from tellwire.gateway.watching import WatchingApi
from tellwire.http_problems import LineProblem, Problem
from tellwire.limits import (
    MAX_BATCH_BYTES,
    MAX_BATCH_LINES,
    MAX_CONNECTION_ID_BYTES,
    MAX_PUBLISH_BYTES,
    MAX_USER_ID_BYTES,
)
from tellwire.model import ConnectionInfo, Delivery
from tellwire.publication import with_trace
from tellwire.publish_requests import PublishRequest, count_lines, joined, read_publish
from tellwire.row_errors import RowErrorChunk
from tellwire.server.drain import Drain

logger = logging.getLogger("tellwire.gateway")


class Connections(Struct, frozen=True):
    """A user's live connections, oldest first."""

    connections: list[ConnectionInfo]


class Stats(Struct, frozen=True, rename="camel"):
    """The connections of this node, how many it has closed since it started, and the publishes that it has refused
    because their API key sent too many; a batch counts as one. `presence_told` are the changes of members of topics
    that this node has told by name, `presence_untold` those that it has told only as a number. Then the nodes that run,
    and the connections on all of them; null: nobody knows, just now. At last the
    escalations that have ended here: the target was called, the user had acknowledged it before, or it failed.
    """

    connections: int
    slow_closed: int
    unanswered_closed: int
    publishes_refused: int = 0
    presence_told: int = 0
    presence_untold: int = 0
    nodes: int | None = None
    connections_on_all_nodes: int | None = None
    escalations_called: int = 0
    escalations_acknowledged: int = 0
    escalations_failed: int = 0


class Draining(Struct, frozen=True, rename="camel"):
    """The time after which the gateway has ended."""

    within_seconds: float


class HttpApi:
    """The endpoints. `key` guards everything under /v1. `begin_drain` begins the drain that `drain` shows."""

    def __init__(
        self,
        engine: Engine,
        hub: Hub,
        stats: Callable[[], Awaitable[Stats]],
        drain: Drain,
        begin_drain: Callable[[], None],
        row_errors: RowErrorsApi,
        users: UsersApi,
        topics: TopicsApi,
        key: ApiKeyGuard,
        rates: PublishRates,
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self._broker = engine.broker
        self._carrier = engine.carrier
        self._stats = stats
        self._drain = drain
        self._begin_drain = begin_drain
        self._trouble = engine.trouble
        self._backup = BackupEndpoint(engine.backups)
        self._watching = WatchingApi(hub, engine.history, lambda: drain.has_begun)
        self._row_errors = row_errors
        self._users = users
        self._topics = topics
        self._key = key
        self._rates = rates
        self._trusted_proxies = trusted_proxies
        self._batches = Batches(engine, lambda: drain.is_ending)
        publish, batch = DirectPublish(engine.broker), DirectBatch(self._batches, engine.broker, engine.topics)
        self.direct: Final = {
            b"/v1/publish": GuardedDirect(publish.answer, publish.max_bytes, key, trusted_proxies, rates),
            b"/v1/publish/batch": GuardedDirect(
                batch.answer, batch.max_bytes, key, trusted_proxies, rates, count_lines
            ),
        }

    def application(self, routes: Sequence[BaseRoute] = ()) -> Starlette:
        """Return the ASGI application. `routes` are another program's; they may take any path that is not the API's."""
        own = [
            *self.guarded_routes(self._key),
            *self._row_errors.routes(self._key),
            *script_routes(),
            Route("/healthz", self.healthy, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]
        application = Starlette(
            routes=[*own, *routes, Route("/", self.upgrade_required, methods=["GET"])],
            exception_handlers=EXCEPTION_HANDLERS,
            middleware=[
                Middleware(ForwardedClient, trusted=self._trusted_proxies),
                Middleware(SlashAtEnd, routes=own),
            ],
        )
        application.router.redirect_slashes = False
        application.router.default = OtherSlash(application.router)
        return application

    def guarded_routes(self, guard: Guard) -> list[BaseRoute]:
        """Return the endpoints for producers and operators."""
        for_publishing = functools.partial(guard.guarded, scope=Scope.PUBLISH)
        for_admin = functools.partial(guard.guarded, scope=Scope.ADMIN)
        return [
            Route("/v1/publish", for_publishing(self._rated(self.publish)), methods=["POST"]),
            Route("/v1/publish/batch", for_publishing(self._rated(self.publish_batch)), methods=["POST"]),
            *self._watching.routes(guard),
            *self._users.routes(guard),
            *self._topics.routes(guard),
            Route("/v1/connections", for_admin(self.connections), methods=["GET"]),
            Route("/v1/connections", for_admin(self.disconnect), methods=["DELETE"]),
            IdRoute("/v1/users/{user:path}/connections", for_admin(self.connections), methods=["GET"]),
            IdRoute("/v1/connections/{connection:path}", for_admin(self.disconnect), methods=["DELETE"]),
            Route("/v1/stats", for_admin(self.stats), methods=["GET"]),
            Route("/v1/backup", for_admin(self._backup), methods=["GET"]),
            Route("/v1/drain", for_admin(self.drain), methods=["POST"]),
        ]

    # --- endpoints ----------------------------------------------------------------------------------------------------

    def _rated(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint that refuses the publishes of a key that sends too many."""

        async def rated(request: Request) -> Response:
            key, rate = key_of(request), self._rates.rate
            if rate is None or self._rates.allows(key):
                return await endpoint(request)
            headers = {"retry-after": str(self._rates.refuse(rate, key))}
            who = f"The API key {key}" if key else "Whoever has no API key"
            text = f"{who} publishes too much; allowed: {rate}"
            return problem(429, "TOO_MANY_PUBLISHES", text, headers)

        return rated

    async def publish(self, request: Request) -> Response:
        self._rates.spend(key_of(request))
        publication = read_publish(await read_body(request, MAX_PUBLISH_BYTES))
        if publication.trace_context is None and (traceparent := request.headers.get("traceparent")):
            publication = with_trace(publication, traceparent)
        published = await self._broker.publish(publication)
        tell_published(client_of(request), publication, published)
        return json_response(published.delivery)

    async def publish_batch(self, request: Request) -> Response:
        body = await read_body(request, MAX_BATCH_BYTES, MAX_BATCH_LINES)
        self._rates.spend(key_of(request), count_lines(body))
        answers = await self._batches.publish(body, request)
        tell_batch(client_of(request), len(answers))
        return Response(joined(answers), media_type=NDJSON)

    async def connections(self, request: Request) -> Response:
        user_id = id_of(request, "user", MAX_USER_ID_BYTES)
        return json_response(Connections(await self._carrier.connections(user_id)))

    async def disconnect(self, request: Request) -> Response:
        if not await self._carrier.disconnect(id_of(request, "connection", MAX_CONNECTION_ID_BYTES)):
            return problem(410, "GONE", "There is no connection with this id (any more)")
        return Response(status_code=204)

    async def stats(self, request: Request) -> Response:
        return json_response(await self._stats())

    async def drain(self, request: Request) -> Response:
        logger.info("%s asks for a drain", client_of(request))
        self._begin_drain()
        return json_response(Draining(self._drain.seconds), 202)

    async def healthy(self, request: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        if self._drain.has_begun:
            return json_response({"status": "draining"}, 503)
        if self._trouble() is not None:
            return json_response({"status": "unavailable"}, 503)
        return json_response({"status": "ready"})

    async def openapi(self, request: Request) -> Response:
        root = request.scope.get("root_path", "")
        # Below a mount, generated clients and pages must find the paths there.
        return json_response(describe() | ({"servers": [{"url": root}]} if root else {}))

    async def upgrade_required(self, request: Request) -> Response:
        text = "This is a WebSocket: connect with ws:// and a token"
        return problem(426, "UPGRADE_REQUIRED", text, {"upgrade": "websocket"})


def describe() -> dict[str, Any]:
    """Return the OpenAPI document of these endpoints."""
    return openapi_document(
        (
            PublishRequest,
            Delivery,
            Problem,
            LineProblem,
            Connections,
            Stats,
            Draining,
            ScriptAddress,
            RowErrorChunk,
            *WATCHING_TYPES,
            *USERS_TYPES,
            *TOPICS_TYPES,
        )
    )
