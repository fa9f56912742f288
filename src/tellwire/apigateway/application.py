"""The application that makes a WebSocket server an API Gateway: functions serve its connections.

    authorize   stage ─▶ identity sources ─▶ authorizer ─▶ API key ─▶ $connect ─▶ 101
    received    selection expression ─▶ route ─▶ model ─▶ integration ─▶ nothing │ a body │ an error frame
    closed      $disconnect, whose response is not used

Every message is an invocation of its own and none waits for another, also on one connection.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Coroutine
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import msgspec

from tellwire import limits
from tellwire.apigateway import assumptions, events
from tellwire.apigateway.answer import Answer, custom_answer, custom_input, custom_text, mock_status, proxy_answer
from tellwire.apigateway.authorizer import (
    AuthorizerResult,
    InvalidAuthorizerResult,
    missing_source,
    read_authorizer_result,
)
from tellwire.apigateway.definition import CONNECT, DISCONNECT, Api, Authorizer, Event, Integration, Route
from tellwire.apigateway.events import ClientContext, HandshakeInput
from tellwire.apigateway.integration import (
    FORBIDDEN,
    INTERNAL_SERVER_ERROR,
    TIMED_OUT,
    MalformedResponse,
    bad_request_frame,
    error_frame,
)
from tellwire.apigateway.mapping import Mapper
from tellwire.apigateway.response_headers import ERROR_TYPES, response_headers
from tellwire.apigateway.routing import Router
from tellwire.apigateway.runner.functions import Functions, NotInvoked, TimedOut, within
from tellwire.apigateway.runner.handlers import HandlerFailed
from tellwire.apigateway.services.actions import ServiceCaller, ServiceResponse
from tellwire.apigateway.validation import Models
from tellwire.carriers.hub import Hub
from tellwire.gateway.admission import HandshakeLimiter
from tellwire.ports import Clock
from tellwire.server.framing import text_frames
from tellwire.server.handshake import UpgradeRequest
from tellwire.server.lifetime import RESTARTING
from tellwire.server.refusal import Refusal
from tellwire.server.socket import Connection

logger = logging.getLogger("tellwire.apigateway")

UNAUTHORIZED = "Unauthorized"


class ApiGatewayApplication:
    """An `Application` (see `server.sockets`) whose connections are served by functions.

    Raises:
        ConfigError: the route selection expression is not valid.
    """

    def __init__(
        self, api: Api, functions: Functions, hub: Hub, clock: Clock, services: ServiceCaller | None = None
    ) -> None:
        self._api = api
        self._services = services
        self._functions = functions
        self._hub = hub
        self._clock = clock
        self._router = Router(api)
        self._models = {route.key: Models(route) for route in api.routes}
        self._mappers = {route.key: Mapper(route) for route in api.routes}
        self._connect, self._disconnect = api.route(CONNECT), api.route(DISCONNECT)
        self._limiter = HandshakeLimiter(limits.NEW_CONNECTIONS_PER_SECOND, int(limits.NEW_CONNECTIONS_PER_SECOND))
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def api_id(self) -> str:
        """The id of the API, as `ClientContext.api_id`."""
        return self._api.api_id

    # --- Application --------------------------------------------------------------------------------------------------

    async def authorize(self, connection: Connection, request: UpgradeRequest) -> str | None:
        now = self._clock.now()
        self._require_address(request, connection.connection_id)
        if not self._limiter.allows(self._api.account_id, self._clock.monotonic()):
            raise self._refusal(assumptions.THROTTLED_CONNECT_STATUS, "Too Many Requests", connection.connection_id)
        handshake = HandshakeInput.read(
            request, now, source_ip=connection.peer_address, port=connection.local_port, is_secure=connection.is_secure
        )
        agent = request.headers.get("user-agent")
        client = ClientContext(connection.connection_id, now, connection.peer_address, agent, api_id=self._api.api_id)
        if self._connect is not None:
            client = await self._authorized(client, handshake)
            self._require_api_key(request, self._connect, client)
        connection.state = client
        return await self._connected(client, handshake)

    def abandoned(self, connection: Connection) -> None:
        pass  # API Gateway does not tell a function that its `$connect` was in vain

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

    def overran(self, connection: Connection) -> None:
        connection.close(1008, "Too many control frames")

    def close_when_idle(self, connection: Connection) -> None:
        connection.close(*RESTARTING)

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        client: ClientContext = connection.state
        self._hub.detach(client.connection_id)
        logger.info("%s: closed with %d %r", client.connection_id, code, reason)
        if self._disconnect is not None:
            event = events.disconnect_event(self._api, client, code, reason, self._clock.now())
            self._spawn(self._disconnected(self._disconnect, event))

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
        if request.path.removesuffix("/") != self._api.path:
            logger.info("refused a connection: got the path %.100s; allowed: %s", request.path, self._api.path)
            raise self._refusal(HTTPStatus.FORBIDDEN, FORBIDDEN, connection_id)

    def _require_api_key(self, request: UpgradeRequest, connect: Route, client: ClientContext) -> None:
        key = request.headers.get("x-api-key", "")
        if connect.api_key_required and key not in self._api.api_keys:
            logger.info("refused %s: no valid x-api-key", client.connection_id)
            raise self._refusal(assumptions.API_KEY_MISSING_STATUS, FORBIDDEN, client.connection_id)

    async def _authorized(self, client: ClientContext, handshake: HandshakeInput) -> ClientContext:
        """Invoke the authorizer, if there is one, and return the client with its context."""
        authorizer = self._api.authorizer
        if authorizer is None:
            return client
        started = self._clock.monotonic()
        event = events.authorizer_event(self._api, client, handshake, self._clock.now())
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
        context = result.as_context(int((self._clock.monotonic() - started) * 1000))
        return replace(client, authorizer=context)

    async def _authorizer_result(self, authorizer: Authorizer, event: Event, client: ClientContext) -> AuthorizerResult:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            result = await self._ask(Route("authorizer", authorizer.function), event, event)
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
            answer = await self._invoke(self._connect, event)
        except TimedOut:
            raise self._refusal(assumptions.CONNECT_TIMEOUT_STATUS, TIMED_OUT, client.connection_id) from None
        except (HandlerFailed, MalformedResponse):
            raise self._refusal(HTTPStatus.BAD_GATEWAY, INTERNAL_SERVER_ERROR, client.connection_id) from None
        if not answer.is_success:
            raise HandshakeRefused(answer.status, answer.refusal)
        return answer.subprotocol

    def _refusal(self, status: int, message: str, connection_id: str) -> Refusal:
        return HandshakeRefused(
            status, assumptions.handshake_body(status, message, connection_id, events.new_request_id())
        )

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _message(self, client: ClientContext, route: Route, text: str) -> None:
        event = events.message_event(self._api, client, route.key, text, self._clock.now())
        request_id = event["requestContext"]["requestId"]
        try:
            answer = await self._invoke(route, event)
        except TimedOut:
            self._send(client, error_frame(TIMED_OUT, client.connection_id, request_id))
        except (HandlerFailed, MalformedResponse):
            self._send(client, error_frame(INTERNAL_SERVER_ERROR, client.connection_id, request_id))
        else:
            if answer.payload is not None:
                self._send(client, assumptions.posted_text(answer.payload))

    async def _disconnected(self, route: Route, event: Event) -> None:
        # The failure is in the log, and the client that could be told is gone.
        with contextlib.suppress(HandlerFailed, TimedOut, MalformedResponse):
            await self._result(route, event)

    # --- integrations -------------------------------------------------------------------------------------------------

    async def _invoke(self, route: Route, event: Event) -> Answer:
        """Invoke a route's integration, and return the answer in its result.

        Raises:
            TimedOut, HandlerFailed, MalformedResponse: there is no result, or none that can be used.
        """
        try:
            return await self._result(route, event)
        except MalformedResponse as error:
            logger.warning("%s: %s %s %s", _connection_id(event), route.key, route.function or route.service, error)
            raise

    async def _result(self, route: Route, event: Event) -> Answer:
        if route.integration is Integration.PROXY:
            return proxy_answer(route, await self._ask(route, event, event))
        mapper = self._mappers[route.key]
        text = custom_text(mapper, event)
        match route.integration:
            case Integration.MOCK:
                status = mock_status(text)
                return replace(custom_answer(route, mapper, event, None, status), status=status)
            case Integration.SERVICE:
                response = await self._called(route, event, text)
                return custom_answer(route, mapper, event, response.text, response.status)
            case _:
                result = await self._custom_result(route, event, custom_input(text))
                return custom_answer(route, mapper, event, msgspec.json.encode(result).decode())

    async def _custom_result(self, route: Route, event: Event, given: Any) -> Any:
        if route.integration is Integration.EVENT:
            self._functions.require(route.function)
            self._spawn(self._in_background(route, event, given))
            return None
        try:
            return await self._ask(route, event, given)
        except NotInvoked:
            raise
        except HandlerFailed as error:
            # Without a mapping template an error is a result like others.
            return {"errorMessage": error.message, "errorType": error.error_type}

    async def _called(self, route: Route, event: Event, text: str) -> ServiceResponse:
        """Call the service of a route with a time limit, and log its outcome."""
        if self._services is None or route.service is None:
            raise MalformedResponse("is a service of AWS, and none is on this machine")
        about = _connection_id(event), route.key, route.service
        try:
            response = await within(route.timeout_seconds, self._services.call(route.service, text), self._clock)
        except OSError as error:
            raise MalformedResponse(f"does not answer: {error}") from error
        except TimedOut:
            logger.warning("%s: %s %s took over %g s: timed out", *about, route.timeout_seconds)
            raise
        if response.is_success:
            logger.info("%s: %s %s %d", *about, response.status)
        else:
            logger.warning("%s: %s %s %d: %.300s", *about, response.status, response.text)
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise MalformedResponse(f"failed with {response.status}")
        return response

    async def _in_background(self, route: Route, event: Event, given: Any) -> None:
        # API Gateway does not wait, so only the function's own timeout counts.
        patient = replace(route, timeout_seconds=limits.MAX_FUNCTION_TIMEOUT_SECONDS)
        with contextlib.suppress(HandlerFailed, TimedOut):
            await self._ask(patient, event, given)

    async def _ask(self, route: Route, event: Event, given: Any) -> Any:
        """Invoke a function with a time limit, and log its outcome. `given` is its input: the event, or a message."""
        invocation_id = str(uuid.uuid4())
        about = _connection_id(event), route.key, route.function
        ids = f"(request {event['requestContext']['requestId']}, invocation {invocation_id})"
        started = self._clock.monotonic()
        invoked = self._functions.invoke(route.function, given, invocation_id, route.qualifier)
        try:
            result = await within(route.timeout_seconds, invoked, self._clock)
        except TimedOut:
            logger.warning("%s: %s %s took over %g s: timed out %s", *about, route.timeout_seconds, ids)
            raise
        except HandlerFailed as error:
            logger.warning("%s: %s %s failed: %s %s", *about, error, ids)
            raise
        took_ms = (self._clock.monotonic() - started) * 1000
        logger.info("%s: %s %s%s, %.0f ms", *about, _status(result), took_ms)
        return result

    def _send(self, client: ClientContext, payload: bytes) -> None:
        connection = self._hub.get(client.connection_id)
        if connection is not None:
            connection.send(text_frames(payload), self._clock.now())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


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
