"""The application on the sockets that makes them an API Gateway: clients are let in, heard and let go by functions.

    authorize   stage ─▶ identity sources ─▶ authorizer ─▶ API key ─▶ $connect ─▶ 101
    received    selection expression ─▶ route ─▶ model ─▶ function ─▶ nothing │ a body │ an error frame
    closed      $disconnect, whose answer nobody hears

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
from tellwire.apigateway import choices, events
from tellwire.apigateway.answers import ERROR_TYPES, answer_headers
from tellwire.apigateway.authorizer import NoVerdict, Verdict, missing_source, read_verdict
from tellwire.apigateway.definition import CONNECT, DISCONNECT, Api, Authorizer, Event, Route
from tellwire.apigateway.events import Caller, Opening
from tellwire.apigateway.integration import (
    FORBIDDEN,
    INTERNAL_SERVER_ERROR,
    TIMED_OUT,
    Malformed,
    ProxyResponse,
    bad_request_frame,
    error_frame,
    read_response,
)
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


class Routes:
    """An `Application` (see `gateway.socket`) whose connections are served by functions.

    Raises:
        ConfigError: the route selection expression is not one.
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
            raise self._refusal(choices.THROTTLED_CONNECT_STATUS, "Too Many Requests", connection.connection_id)
        opening = Opening.read(
            request, now, source_ip=connection.peer_address, port=connection.local_port, is_secure=connection.is_secure
        )
        agent = request.headers.get("user-agent")
        caller = Caller(connection.connection_id, connection.connected_at, connection.peer_address, agent)
        if self._connect is not None:
            caller = await self._authorized(caller, opening)
            self._require_api_key(request, self._connect, caller)
        connection.state = caller
        return await self._connected(caller, opening)

    def opened(self, connection: Connection) -> None:
        self._hub.attach(connection)

    def received(self, connection: Connection, text: str) -> None:
        caller: Caller = connection.state
        route = self._router.route(text)
        if route is None:
            logger.info("%s: no route for a message, and no $default", caller.connection_id)
            self._send(caller, error_frame(FORBIDDEN, caller.connection_id, events.new_request_id()))
            return
        if not self._models[route.key].accept(text):
            logger.info("%s: a message is not what the model of %s says", caller.connection_id, route.key)
            self._send(caller, bad_request_frame(caller.connection_id, events.new_request_id()))
            return
        self._spawn(self._message(caller, route, text))

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        caller: Caller = connection.state
        self._hub.detach(caller.connection_id)
        logger.info("%s: closed with %d %r", caller.connection_id, code, reason)
        if self._disconnect is not None:
            event = events.disconnect_event(self._api, caller, code, reason, self._clock.now())
            self._spawn(self._disconnected(caller, self._disconnect, event))

    async def drain(self, seconds: float) -> None:
        """Let the invocations that run, the last `$disconnect`s among them, end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        for task in list(self._tasks):
            task.cancel()

    # --- connecting ---------------------------------------------------------------------------------------------------

    def _require_address(self, request: UpgradeRequest, connection_id: str) -> None:
        if len(request.path) + len(request.query) > limits.MAX_URL_CHARACTERS:
            raise self._refusal(choices.LONG_URL_STATUS, "URI Too Long", connection_id)
        if request.path.removesuffix("/") != f"/{self._api.stage}":
            logger.info("refused a connection: got the path %.100s; allowed: /%s", request.path, self._api.stage)
            raise self._refusal(HTTPStatus.FORBIDDEN, FORBIDDEN, connection_id)

    def _require_api_key(self, request: UpgradeRequest, connect: Route, caller: Caller) -> None:
        key = request.headers.get("x-api-key", "")
        if connect.api_key_required and (not key or (self._api.api_keys and key not in self._api.api_keys)):
            logger.info("refused %s: no valid x-api-key", caller.connection_id)
            raise self._refusal(choices.API_KEY_MISSING_STATUS, FORBIDDEN, caller.connection_id)

    async def _authorized(self, caller: Caller, opening: Opening) -> Caller:
        """Ask the authorizer, if there is one, and return the caller with what it says of them."""
        authorizer = self._api.authorizer
        if authorizer is None:
            return caller
        started = self._clock.now()
        event = events.authorizer_event(self._api, caller, opening, started)
        missing = missing_source(authorizer.identity_sources, event)
        if missing is not None:
            logger.info("refused %s: no %s; the authorizer was not asked", caller.connection_id, missing.expression)
            raise self._refusal(HTTPStatus.UNAUTHORIZED, UNAUTHORIZED, caller.connection_id)
        verdict = await self._verdict(authorizer, event, caller)
        if not verdict.allows(self._api):
            logger.info(
                "refused %s: the policy of %s does not allow %s",
                caller.connection_id,
                authorizer.function,
                self._api.connect_arn,
            )
            raise self._refusal(HTTPStatus.FORBIDDEN, FORBIDDEN, caller.connection_id)
        context = verdict.as_context(int((self._clock.now() - started) * 1000))
        return replace(caller, authorizer=context)

    async def _verdict(self, authorizer: Authorizer, event: Event, caller: Caller) -> Verdict:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            result = await self._ask("authorizer", authorizer.function, limits.INTEGRATION_TIMEOUT_SECONDS, event)
            return read_verdict(result)
        except HandlerFailed as error:
            if error.message == UNAUTHORIZED:
                raise self._refusal(HTTPStatus.UNAUTHORIZED, UNAUTHORIZED, caller.connection_id) from None
        except NoVerdict as error:
            logger.warning("refused %s: %s %s", caller.connection_id, authorizer.function, error)
        except TimedOut:
            status = choices.AUTHORIZER_TIMEOUT_STATUS
        raise self._refusal(status, INTERNAL_SERVER_ERROR, caller.connection_id)

    async def _connected(self, caller: Caller, opening: Opening) -> str | None:
        """Ask `$connect`, if there is one, and return the subprotocol it chose."""
        if self._connect is None:
            return None
        event = events.connect_event(self._api, caller, opening, self._clock.now())
        try:
            response, subprotocol = await self._invoke(self._connect, event, _subprotocol)
        except TimedOut:
            raise self._refusal(choices.CONNECT_TIMEOUT_STATUS, TIMED_OUT, caller.connection_id) from None
        except (HandlerFailed, Malformed):
            raise self._refusal(HTTPStatus.BAD_GATEWAY, INTERNAL_SERVER_ERROR, caller.connection_id) from None
        if not response.is_success:
            raise HandshakeRefused(response.status_code, (response.body or "").encode("utf-8", "replace"))
        return subprotocol

    def _refusal(self, status: int, message: str, connection_id: str) -> Refusal:
        return HandshakeRefused(status, choices.handshake_body(status, message, connection_id, events.new_request_id()))

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _message(self, caller: Caller, route: Route, text: str) -> None:
        event = events.message_event(self._api, caller, route.key, text, self._clock.now())
        request_id = event["requestContext"]["requestId"]
        try:
            _, payload = await self._invoke(route, event, _payload if route.answers else _nothing)
        except TimedOut:
            self._send(caller, error_frame(TIMED_OUT, caller.connection_id, request_id))
        except (HandlerFailed, Malformed):
            self._send(caller, error_frame(INTERNAL_SERVER_ERROR, caller.connection_id, request_id))
        else:
            if payload is not None:
                self._send(caller, choices.posted_text(payload))

    async def _disconnected(self, caller: Caller, route: Route, event: Event) -> None:
        # The log has how it went, and nobody else is left to hear of it.
        with contextlib.suppress(HandlerFailed, TimedOut):
            await self._ask(route.key, route.function, route.timeout_seconds, event)

    # --- functions ----------------------------------------------------------------------------------------------------

    async def _invoke(self, route: Route, event: Event, pick: Callable[[ProxyResponse], T]) -> tuple[ProxyResponse, T]:
        """Invoke a route's function; return its response and what matters of it."""
        result = await self._ask(route.key, route.function, route.timeout_seconds, event)
        try:
            response = read_response(result)
            return response, pick(response)
        except Malformed as error:
            logger.warning("%s: %s %s %s", _connection_id(event), route.key, route.function, error)
            raise

    async def _ask(self, what: str, function: str, seconds: float, event: Event) -> Any:
        """Invoke a function within a time, and say in the log how it went."""
        invocation_id = str(uuid.uuid4())
        ids = f"(request {event['requestContext']['requestId']}, invocation {invocation_id})"
        started = self._clock.now()
        try:
            result = await within(seconds, self._functions.invoke(function, event, invocation_id), self._clock)
        except TimedOut:
            logger.warning(
                "%s: %s %s took over %g s: timed out %s", _connection_id(event), what, function, seconds, ids
            )
            raise
        except HandlerFailed as error:
            logger.warning("%s: %s %s failed: %s %s", _connection_id(event), what, function, error, ids)
            raise
        took_ms = (self._clock.now() - started) * 1000
        logger.info("%s: %s %s%s, %.0f ms", _connection_id(event), what, function, _status(result), took_ms)
        return result

    def _send(self, caller: Caller, payload: bytes) -> None:
        connection = self._hub.get(caller.connection_id)
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
        return answer_headers(ERROR_TYPES.get(self.status)) | {"Content-Type": "application/json"}

    @property
    def body(self) -> bytes:
        return self._body
