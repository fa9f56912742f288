"""The application that makes a WebSocket server an API Gateway: functions serve its connections.

    authorize   stage ─▶ identity sources ─▶ authorizer ─▶ API key ─▶ $connect ─▶ 101
    received    selection expression ─▶ route ─▶ model ─▶ function ─▶ nothing │ a body │ an error frame
    closed      $disconnect, whose response is not used

Every message is an invocation of its own and none waits for another, also on one connection.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

from tellwire import limits
from tellwire.apigateway import assumptions, events
from tellwire.apigateway.authorizer import (
    AuthorizerResult,
    InvalidAuthorizerResult,
    missing_source,
    read_authorizer_result,
)
from tellwire.apigateway.definition import CONNECT, DISCONNECT, Api, Authorizer, Event, Route
from tellwire.apigateway.events import ClientContext, HandshakeInput
from tellwire.apigateway.integration import (
    FORBIDDEN,
    INTERNAL_SERVER_ERROR,
    TIMED_OUT,
    MalformedResponse,
    ProxyResponse,
    bad_request_frame,
    error_frame,
    read_response,
)
from tellwire.apigateway.response_headers import ERROR_TYPES, response_headers
from tellwire.apigateway.routing import Router
from tellwire.apigateway.runner.functions import Functions, TimedOut, within
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.validation import Models
from tellwire.carriers.hub import Hub
from tellwire.gateway.admission import HandshakeLimiter
from tellwire.ports import Clock
from tellwire.server.framing import text_frames
from tellwire.server.handshake import Refusal, UpgradeRequest
from tellwire.server.socket import Connection

logger = logging.getLogger("tellwire.apigateway")

UNAUTHORIZED = "Unauthorized"

T = TypeVar("T")


class ApiGatewayApplication:
    """An `Application` (see `server.socket`) whose connections are served by functions.

    Raises:
        ConfigError: the route selection expression is not valid.
    """

    def __init__(self, api: Api, functions: Functions, hub: Hub, clock: Clock) -> None:
        self._api = api
        self._functions = functions
        self._hub = hub
        self._clock = clock
        self._router = Router(api)
        self._models = {route.key: Models(route) for route in api.routes}
        self._connect, self._disconnect = api.route(CONNECT), api.route(DISCONNECT)
        self._limiter = HandshakeLimiter(limits.NEW_CONNECTIONS_PER_SECOND, int(limits.NEW_CONNECTIONS_PER_SECOND))
        self._tasks: set[asyncio.Task[None]] = set()

    # --- Application --------------------------------------------------------------------------------------------------

    async def authorize(self, connection: Connection, request: UpgradeRequest) -> str | None:
        now = self._clock.now()
        self._require_address(request, connection.connection_id)
        if not self._limiter.allows(self._api.account_id, now):
            raise self._refusal(assumptions.THROTTLED_CONNECT_STATUS, "Too Many Requests", connection.connection_id)
        handshake = HandshakeInput.read(
            request, now, source_ip=connection.peer_address, port=connection.local_port, is_secure=connection.is_secure
        )
        agent = request.headers.get("user-agent")
        client = ClientContext(connection.connection_id, connection.connected_at, connection.peer_address, agent)
        if self._connect is not None:
            client = await self._authorized(client, handshake)
            self._require_api_key(request, self._connect, client)
        connection.state = client
        return await self._connected(client, handshake)

    def opened(self, connection: Connection) -> None:
        self._hub.attach(connection)

    def received(self, connection: Connection, text: str) -> None:
        client: ClientContext = connection.state
        route = self._router.route(text)
        if route is None:
            logger.info("%s: a message has no route, and there is no $default", client.connection_id)
            self._send(client, error_frame(FORBIDDEN, client.connection_id, events.new_request_id()))
            return
        if not self._models[route.key].accept(text):
            logger.info("%s: a message does not match the model of route %s", client.connection_id, route.key)
            self._send(client, bad_request_frame(client.connection_id, events.new_request_id()))
            return
        self._spawn(self._message(client, route, text))

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        client: ClientContext = connection.state
        self._hub.detach(client.connection_id)
        logger.info("%s: closed with %d %r", client.connection_id, code, reason)
        if self._disconnect is not None:
            event = events.disconnect_event(self._api, client, code, reason, self._clock.now())
            self._spawn(self._disconnected(client, self._disconnect, event))

    async def drain(self, seconds: float) -> None:
        """Wait until all invocations have ended, the last `$disconnect`s among them; then cancel the rest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        for task in list(self._tasks):
            task.cancel()

    # --- connecting ---------------------------------------------------------------------------------------------------

    def _require_address(self, request: UpgradeRequest, connection_id: str) -> None:
        if len(request.path) + len(request.query) > limits.MAX_URL_CHARACTERS:
            raise self._refusal(assumptions.LONG_URL_STATUS, "URI Too Long", connection_id)
        if request.path.removesuffix("/") != f"/{self._api.stage}":
            logger.info("refused a connection: got the path %.100s; allowed: /%s", request.path, self._api.stage)
            raise self._refusal(HTTPStatus.FORBIDDEN, FORBIDDEN, connection_id)

    def _require_api_key(self, request: UpgradeRequest, connect: Route, client: ClientContext) -> None:
        key = request.headers.get("x-api-key", "")
        if connect.api_key_required and (not key or (self._api.api_keys and key not in self._api.api_keys)):
            logger.info("refused %s: no valid x-api-key", client.connection_id)
            raise self._refusal(assumptions.API_KEY_MISSING_STATUS, FORBIDDEN, client.connection_id)

    async def _authorized(self, client: ClientContext, handshake: HandshakeInput) -> ClientContext:
        """Invoke the authorizer, if there is one, and return the client with its context."""
        authorizer = self._api.authorizer
        if authorizer is None:
            return client
        started = self._clock.now()
        event = events.authorizer_event(self._api, client, handshake, started)
        missing = missing_source(authorizer.identity_sources, event)
        if missing is not None:
            logger.info("refused %s: no %s; the authorizer was not invoked", client.connection_id, missing.expression)
            raise self._refusal(HTTPStatus.UNAUTHORIZED, UNAUTHORIZED, client.connection_id)
        result = await self._authorizer_result(authorizer, event, client)
        if not result.allows(self._api):
            logger.info(
                "refused %s: the policy of %s does not allow %s",
                client.connection_id,
                authorizer.function,
                self._api.connect_arn,
            )
            raise self._refusal(HTTPStatus.FORBIDDEN, FORBIDDEN, client.connection_id)
        context = result.as_context(int((self._clock.now() - started) * 1000))
        return replace(client, authorizer=context)

    async def _authorizer_result(self, authorizer: Authorizer, event: Event, client: ClientContext) -> AuthorizerResult:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            result = await self._ask("authorizer", authorizer.function, limits.INTEGRATION_TIMEOUT_SECONDS, event)
            return read_authorizer_result(result)
        except HandlerFailed as error:
            if error.message == UNAUTHORIZED:
                raise self._refusal(HTTPStatus.UNAUTHORIZED, UNAUTHORIZED, client.connection_id) from None
        except InvalidAuthorizerResult as error:
            logger.warning("refused %s: %s %s", client.connection_id, authorizer.function, error)
        except TimedOut:
            status = assumptions.AUTHORIZER_TIMEOUT_STATUS
        raise self._refusal(status, INTERNAL_SERVER_ERROR, client.connection_id)

    async def _connected(self, client: ClientContext, handshake: HandshakeInput) -> str | None:
        """Invoke `$connect`, if there is one, and return the subprotocol it chose."""
        if self._connect is None:
            return None
        event = events.connect_event(self._api, client, handshake, self._clock.now())
        try:
            response, subprotocol = await self._invoke(self._connect, event, _subprotocol)
        except TimedOut:
            raise self._refusal(assumptions.CONNECT_TIMEOUT_STATUS, TIMED_OUT, client.connection_id) from None
        except (HandlerFailed, MalformedResponse):
            raise self._refusal(HTTPStatus.BAD_GATEWAY, INTERNAL_SERVER_ERROR, client.connection_id) from None
        if not response.is_success:
            raise HandshakeRefused(response.status_code, (response.body or "").encode("utf-8", "replace"))
        return subprotocol

    def _refusal(self, status: int, message: str, connection_id: str) -> Refusal:
        return HandshakeRefused(
            status, assumptions.handshake_body(status, message, connection_id, events.new_request_id())
        )

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _message(self, client: ClientContext, route: Route, text: str) -> None:
        event = events.message_event(self._api, client, route.key, text, self._clock.now())
        request_id = event["requestContext"]["requestId"]
        try:
            _, payload = await self._invoke(route, event, _payload if route.has_response else _nothing)
        except TimedOut:
            self._send(client, error_frame(TIMED_OUT, client.connection_id, request_id))
        except (HandlerFailed, MalformedResponse):
            self._send(client, error_frame(INTERNAL_SERVER_ERROR, client.connection_id, request_id))
        else:
            if payload is not None:
                self._send(client, assumptions.posted_text(payload))

    async def _disconnected(self, client: ClientContext, route: Route, event: Event) -> None:
        # `_ask` has logged the failure, and the client that could be told is gone.
        with contextlib.suppress(HandlerFailed, TimedOut):
            await self._ask(route.key, route.function, route.timeout_seconds, event)

    # --- functions ----------------------------------------------------------------------------------------------------

    async def _invoke(self, route: Route, event: Event, pick: Callable[[ProxyResponse], T]) -> tuple[ProxyResponse, T]:
        """Invoke a route's function; return its response, and the part of it that `pick` returns."""
        result = await self._ask(route.key, route.function, route.timeout_seconds, event)
        try:
            response = read_response(result)
            return response, pick(response)
        except MalformedResponse as error:
            logger.warning("%s: %s %s %s", _connection_id(event), route.key, route.function, error)
            raise

    async def _ask(self, purpose: str, function: str, seconds: float, event: Event) -> Any:
        """Invoke a function with a time limit, and log its outcome."""
        invocation_id = str(uuid.uuid4())
        ids = f"(request {event['requestContext']['requestId']}, invocation {invocation_id})"
        started = self._clock.now()
        try:
            result = await within(seconds, self._functions.invoke(function, event, invocation_id), self._clock)
        except TimedOut:
            logger.warning(
                "%s: %s %s took over %g s: timed out %s", _connection_id(event), purpose, function, seconds, ids
            )
            raise
        except HandlerFailed as error:
            logger.warning("%s: %s %s failed: %s %s", _connection_id(event), purpose, function, error, ids)
            raise
        took_ms = (self._clock.now() - started) * 1000
        logger.info("%s: %s %s%s, %.0f ms", _connection_id(event), purpose, function, _status(result), took_ms)
        return result

    def _send(self, client: ClientContext, payload: bytes) -> None:
        connection = self._hub.get(client.connection_id)
        if connection is not None:
            connection.send(text_frames(payload), self._clock.now())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _subprotocol(response: ProxyResponse) -> str | None:
    return response.subprotocol


def _payload(response: ProxyResponse) -> bytes | None:
    return response.payload


def _nothing(response: ProxyResponse) -> None:
    return None


def _connection_id(event: Event) -> str:
    return str(event["requestContext"]["connectionId"])


def _status(result: Any) -> str:
    return f" {result['statusCode']}" if isinstance(result, dict) and "statusCode" in result else ""


class HandshakeRefused(Refusal):
    """A refused handshake, in API Gateway's form."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, ERROR_TYPES.get(status, str(status)), "refused")
        self._body = body

    @property
    def headers(self) -> dict[str, str]:
        return response_headers(ERROR_TYPES.get(self.status)) | {"Content-Type": "application/json"}

    @property
    def body(self) -> bytes:
        return self._body
