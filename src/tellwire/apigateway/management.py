"""The management API, with which functions send to clients: POST, GET and DELETE of `/{stage}/@connections/{id}`.

A plain ASGI application, because paths must be split before they are decoded: SDKs write `@` or `%40`, `=` or `%3D`,
and sign the path as they wrote it.

Source: API reference, "API Gateway Management API". SDKs choose an exception's class by `x-amzn-ErrorType`.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tellwire import limits
from tellwire.apigateway import assumptions
from tellwire.apigateway.definition import Api
from tellwire.apigateway.events import ClientContext
from tellwire.apigateway.response_headers import ERROR_TYPES, response_headers
from tellwire.apigateway.sigv4 import BadSignature, SignedRequest, is_signed, verify
from tellwire.aws_api.sigv4 import Credentials
from tellwire.carriers.hub import Hub, Sent
from tellwire.ports import Clock
from tellwire.server.framing import text_frames
from tellwire.server.socket import Connection

logger = logging.getLogger("tellwire.apigateway")

_CONNECTION_ID = re.compile(r"[A-Za-z0-9_-]{14}[AEIMQUYcgkosw048]=")
"""A connection id: eleven bytes in URL-safe base64."""


class RefusedRequest(Exception):
    """A request is refused with a status, an error type for SDKs, and a message or an empty body."""

    def __init__(self, status: int, message: str | None, error_type: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type or ERROR_TYPES[status]
        self.body = b"" if message is None else msgspec.json.encode({"message": message})


@dataclass(frozen=True, slots=True)
class ManagementRequest:
    """A request with a valid path from an authorized sender."""

    method: str
    connection_id: str
    body: bytes


class ManagementApi:
    """The management API of one stage, as an ASGI application.

    Requests must be signed, as on AWS; the signature is verified only if there are `credentials`.
    """

    def __init__(self, api: Api, hub: Hub, clock: Clock, credentials: Credentials | None = None) -> None:
        self._api = api
        self._hub = hub
        self._clock = clock
        self._credentials = credentials

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except RefusedRequest as refused:
            response = _response(refused.status, refused.body, refused.error_type)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode("latin-1")
        # A request to the API's own host has no prefix. It is signed as it was sent.
        is_host_of_aws = request.headers.get("host", "").endswith(".amazonaws.com")
        connection_id = self._connection_id(request.scope.get("tellwire.prefix", "") + path, is_host_of_aws)
        if connection_id is None:
            return self._other_path(request.method, path)
        body = await _body(request)
        self._require_signature(request, path, body)
        if _CONNECTION_ID.fullmatch(connection_id) is None:
            raise RefusedRequest(HTTPStatus.BAD_REQUEST, f"Invalid connectionId: {connection_id}")
        return await self._perform(ManagementRequest(request.method, connection_id, body))

    def _connection_id(self, path: str, is_host_of_aws: bool) -> str | None:
        # At a host that is not AWS's the API is as at a custom domain, where code leaves out the stage.
        allowed = [self._api.path] if is_host_of_aws else [self._api.path, self._api.prefix]
        # Split first: an id may hold an encoded slash.
        match [unquote(part) for part in path.split("/")]:
            case [*before, "@connections", connection_id] if "/".join(before) in allowed:
                return connection_id
            case _:
                return None

    def _other_path(self, method: str, path: str) -> Response:
        if path in ("/ping", "/sping"):
            return _response(HTTPStatus.OK, b"healthy", media_type="text/plain")
        if method == "GET" and path.removesuffix("/") == self._api.path:
            response = _response(HTTPStatus.UPGRADE_REQUIRED, msgspec.json.encode({"message": "Upgrade Required"}))
            response.headers["upgrade"] = "websocket"
            return response
        logger.info("no such path: got %s %.100s; allowed: %s/@connections/<id>", method, path, self._api.path)
        raise RefusedRequest(HTTPStatus.FORBIDDEN, "Forbidden")

    def _require_signature(self, request: Request, path: str, body: bytes) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if not is_signed(headers):
            raise RefusedRequest(
                HTTPStatus.FORBIDDEN, "Missing Authentication Token", "MissingAuthenticationTokenException"
            )
        if self._credentials is None:
            return
        query = request.scope["query_string"].decode("latin-1")
        try:
            # By the real time: clients sign with the real time, also when a test moves our clock.
            verify(SignedRequest(request.method, path, query, headers, body), self._credentials)
        except BadSignature as error:
            raise RefusedRequest(HTTPStatus.FORBIDDEN, str(error), error.error_type) from error

    async def _perform(self, request: ManagementRequest) -> Response:
        match request.method:
            case "POST":
                return await self._post(request.connection_id, request.body)
            case "GET":
                return self._get(request.connection_id)
            case "DELETE":
                if not await self._hub.disconnect(request.connection_id):
                    raise _gone()
                return _response(assumptions.DELETE_STATUS)
            case _:
                raise RefusedRequest(HTTPStatus.FORBIDDEN, "Forbidden")

    async def _post(self, connection_id: str, body: bytes) -> Response:
        # Any bytes may be posted, so they are not a publication.
        connection = self._hub.get(connection_id)
        if connection is None:
            raise _gone()
        sent = connection.send(text_frames(assumptions.posted_text(body)), self._clock.now())
        match sent:
            case Sent.GONE:
                raise _gone()
            case Sent.FAILED:
                raise RefusedRequest(HTTPStatus.TOO_MANY_REQUESTS, "The client's buffer is full")
            case Sent.DELIVERED:
                return _response(HTTPStatus.OK)

    def _get(self, connection_id: str) -> Response:
        connection = self._hub.get(connection_id)
        if not isinstance(connection, Connection):
            raise _gone()
        client: ClientContext = connection.state
        # Times in ISO 8601: every SDK reads them, and JavaScript's reads no other form.
        info = {
            "connectedAt": connection.timestamp_of(connection.connected_at),
            "identity": dict(reversed(client.identity.items())),
            "lastActiveAt": connection.timestamp_of(connection.last_active_at),
        }
        return _response(HTTPStatus.OK, msgspec.json.encode(info))


def _gone() -> RefusedRequest:
    # AWS sends no body either, which is why some SDKs complain about its JSON.
    return RefusedRequest(HTTPStatus.GONE, None)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.MAX_MESSAGE_BYTES:
            raise RefusedRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, assumptions.PAYLOAD_TOO_LARGE_MESSAGE)
    return bytes(body)


def _response(
    status: int, body: bytes = b"", error_type: str | None = None, media_type: str = "application/json"
) -> Response:
    return Response(body, status, response_headers(error_type), media_type=media_type if body else None)
