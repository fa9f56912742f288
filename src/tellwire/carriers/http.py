"""The carrier of producers: publications go to a gateway over its HTTP API.

A restarting gateway is away for a second, so a publish that did not reach it is retried, with full jitter, until its
timeout. A publish for a user is retried even if the gateway may have received it: the history removes doubles by their
id. Another publish that may have been received is not retried, since it could arrive twice; nor is a refused one.
"""

import asyncio
import time
from typing import Final, TypeVar, cast
from urllib.parse import quote

import msgspec
from msgspec import Struct

from tellwire.errors import GatewayRefused, GatewayUnreachable
from tellwire.http_client import HttpClient, HttpFailed, HttpResponse, full_jitter, http_base_url
from tellwire.limits import PUBLISH_TIMEOUT_SECONDS
from tellwire.model import ConnectionInfo, Delivery, Target, require_api_key
from tellwire.publication import Publication
from tellwire.row_errors import RowErrorChunk

T = TypeVar("T")

_NOT_ACCEPTED: Final = frozenset({429, 503})
_NOT_A_GATEWAY: Final = "the answer is not a gateway's; is this its address?"

_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 2.0
_ATTEMPT_SECONDS: Final = 5.0


class _Publish(Struct):
    target: Target
    message: msgspec.Raw


class _Refusal(Struct):
    code: str = "UNKNOWN"
    message: str = ""


class _Connections(Struct):
    connections: list[ConnectionInfo]


_delivery = msgspec.json.Decoder(Delivery)
_connections = msgspec.json.Decoder(_Connections)
_refusal = msgspec.json.Decoder(_Refusal)


class HttpCarrier:
    """A `Carrier` over `POST /v1/publish`. Connections are pooled and shared by every event loop of the process.

    Raises:
        ConfigError: the URL is not a gateway's.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS) -> None:
        self.url = http_base_url(url)
        self._timeout_seconds = timeout_seconds
        headers = {"content-type": "application/json"}
        if api_key is not None:
            require_api_key(api_key)
            headers["authorization"] = f"Bearer {api_key}"
        self._client = HttpClient(self.url, min(_ATTEMPT_SECONDS, timeout_seconds), headers)

    async def deliver(self, publication: Publication) -> Delivery:
        body = msgspec.json.encode(_Publish(publication.target, msgspec.Raw(publication.payload)))
        # The history recognises the id of a kept publication, so sending it again is safe.
        return await self._call(_delivery, "POST", "/v1/publish", body, may_repeat=publication.stream is not None)

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        response = await self._call(_connections, "GET", f"/v1/users/{quote(user_id, safe='')}/connections")
        return response.connections

    async def disconnect(self, connection_id: str) -> bool:
        try:
            await self._call(None, "DELETE", f"/v1/connections/{quote(connection_id, safe='')}")
        except GatewayRefused as refused:
            if refused.status == 410:
                return False
            raise
        return True

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        await self._call(None, "POST", "/v1/uploads/row-errors", msgspec.json.encode(chunk), may_repeat=True)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()

    async def _call(
        self,
        decoder: msgspec.json.Decoder[T] | None,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        may_repeat: bool = False,
    ) -> T:
        give_up_at = time.monotonic() + self._timeout_seconds
        waits = full_jitter(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
        while True:
            try:
                return _decoded(decoder, await self._attempt(method, path, body))
            except GatewayUnreachable as error:
                wait_seconds = next(waits)
                is_safe = may_repeat or error.not_sent
                if not is_safe or time.monotonic() + wait_seconds >= give_up_at:
                    raise
            await asyncio.sleep(wait_seconds)

    async def _attempt(self, method: str, path: str, body: bytes | None) -> HttpResponse:
        try:
            response = await self._client.send(method, path, body)
        except HttpFailed as failed:
            raise GatewayUnreachable(self.url, failed.reason, not_sent=failed.not_sent) from failed
        if response.status in _NOT_ACCEPTED:
            raise GatewayUnreachable(self.url, f"it answered {response.status}", not_sent=True)
        if not 200 <= response.status < 300:
            raise _refused(response)
        return response


def _decoded(decoder: msgspec.json.Decoder[T] | None, response: HttpResponse) -> T:
    try:
        return decoder.decode(response.body) if decoder is not None else cast("T", None)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GatewayRefused(response.status, "UNKNOWN", _NOT_A_GATEWAY) from error


def _refused(response: HttpResponse) -> GatewayRefused:
    try:
        refusal = _refusal.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refusal = _Refusal(message=_NOT_A_GATEWAY)
    return GatewayRefused(response.status, refusal.code, refusal.message)
