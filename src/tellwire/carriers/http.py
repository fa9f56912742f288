"""The carrier of producers: messages are handed to a gateway elsewhere, over its HTTP API.

A gateway that restarts is gone for a second; a publish that finds nobody tries again, with full jitter, until its time
is up. What may have gone out is not tried again, lest it arrive twice; nor is what the gateway refuses. (After a pause,
a connection that turns out to be closed was closed during the pause, by a gateway that never saw the request.)
"""

import asyncio
import atexit
import functools
import math
import random
import time
from datetime import timedelta
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from tellwire.errors import ConfigError, GatewayRefused, GatewayUnreachable, InvalidMessage, shown
from tellwire.limits import PUBLISH_TIMEOUT_SECONDS
from tellwire.model import ConnectionInfo, Delivery, Target, is_loopback, require_api_key

T = TypeVar("T")

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_NOT_TAKEN: Final = frozenset({429, 503})
_NOT_A_GATEWAY: Final = "the answer is not a gateway's; is this its address?"

# How the HTTP client says so. Its ConnectError also stands for a connection lost after the request was written.
_NEVER_CONNECTED: Final = "client error (Connect)"
_CONNECTION_LOST: Final = "client error (SendRequest)"

_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 2.0
_ATTEMPT_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 1.0
_REST_SECONDS: Final = 0.05

# Below the gateway's own keep-alive, so that we are the one to let an idle connection go.
_POOL_IDLE: Final = timedelta(seconds=50)


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


def http_base_url(url: str) -> str:
    """Return the HTTP address of a gateway given as http(s):// or ws(s)://, without a slash at the end.

    Raises:
        ConfigError: neither, or with a user name, query or fragment in it.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in _SCHEMES or not parts.hostname or set(url) & set("@?# \t\r\n"):
        # A user name, a query or a fragment may be a secret.
        given = "one that may hold a secret" if set(url) & set("@?#") else shown(url)
        raise ConfigError(
            f"gateway URL: got {given}; allowed: http://host[:port][/path], https, ws or wss, without user or query"
        )
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}"


class HttpCarrier:
    """A `Carrier` over `POST /v1/publish`. Connections are pooled and shared by every event loop of the process.

    Raises:
        ConfigError: the URL is not a gateway's.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS) -> None:
        self.url = http_base_url(url)
        self._timeout_seconds = timeout_seconds
        self._used_at = math.inf
        self._woke_at = -math.inf
        headers = {"content-type": "application/json"}
        if api_key is not None:
            require_api_key(api_key)
            headers["authorization"] = f"Bearer {api_key}"
        builder = (
            ClientBuilder()
            .default_headers(headers)
            .user_agent("tellwire")
            .follow_redirects(False)
            .pool_idle_timeout(_POOL_IDLE)
            .timeout(timedelta(seconds=min(_ATTEMPT_SECONDS, timeout_seconds)))
        )
        # HTTP_PROXY is for the world outside; a proxy cannot reach our loopback.
        try:
            self._client = (builder.no_proxy() if is_loopback(urlsplit(self.url).hostname) else builder).build()
        except RuntimeError as error:
            raise ConfigError("this process was forked after a first publish: fork before it, or spawn") from error
        _rest_before_exit()

    async def deliver(self, target: Target, payload: bytes) -> Delivery:
        try:
            body = msgspec.json.encode(_Publish(target, msgspec.Raw(payload)))
        except UnicodeEncodeError as error:
            raise InvalidMessage("target", target, "text that UTF-8 can carry") from error
        return await self._call(_delivery, "POST", "/v1/publish", body)

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        answer = await self._call(_connections, "GET", f"/v1/users/{quote(user_id, safe='')}/connections")
        return answer.connections

    async def disconnect(self, connection_id: str) -> bool:
        try:
            await self._call(None, "DELETE", f"/v1/connections/{quote(connection_id, safe='')}")
        except GatewayRefused as refused:
            if refused.status == 410:
                return False
            raise
        return True

    async def close(self) -> None:
        """Let the pooled connections go."""
        await self._client.close()

    async def _call(
        self, decoder: msgspec.json.Decoder[T] | None, method: str, path: str, body: bytes | None = None
    ) -> T:
        give_up_at = time.monotonic() + self._timeout_seconds
        longest_wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                status, answer = await self._attempt(method, path, body)
            except GatewayUnreachable as error:
                wait_seconds = random.uniform(0, longest_wait)  # noqa: S311 - jitter
                if not error.not_sent or time.monotonic() + wait_seconds >= give_up_at:
                    raise
            else:
                return _decoded(decoder, status, answer)
            await asyncio.sleep(wait_seconds)
            longest_wait = min(2 * longest_wait, _LONGEST_WAIT_SECONDS)

    async def _attempt(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        request = self._client.request(method, self.url + path)
        after_pause = self._wakes()
        try:
            response = await (request if body is None else request.body_bytes(body)).build().send()
            answer = bytes(await response.bytes())
        except PyreqwestError as error:
            causes = _causes(error)
            not_sent = _NEVER_CONNECTED in causes or (after_pause and _CONNECTION_LOST in causes)
            raise GatewayUnreachable(self.url, causes[-1], not_sent=not_sent) from error
        if response.status in _NOT_TAKEN:
            raise GatewayUnreachable(self.url, f"it answered {response.status}", not_sent=True)
        if not 200 <= response.status < 300:
            raise _refused(response.status, answer)
        return response.status, answer

    def _wakes(self) -> bool:
        """Tell whether an attempt made now comes right after a pause, in which any pooled connection may have died."""
        now = time.monotonic()
        if now - self._used_at > _PAUSE_SECONDS:
            self._woke_at = now
        self._used_at = now
        return now - self._woke_at <= _PAUSE_SECONDS


@functools.cache
def _rest_before_exit() -> None:
    # The HTTP client's threads touch Python objects for a moment after an answer is in; a process that ends within that
    # moment is aborted by the interpreter (pyreqwest 0.15, PyO3 threads during finalization).
    atexit.register(time.sleep, _REST_SECONDS)


def _decoded(decoder: msgspec.json.Decoder[T] | None, status: int, answer: bytes) -> T:
    try:
        return decoder.decode(answer) if decoder is not None else cast("T", None)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GatewayRefused(status, "UNKNOWN", _NOT_A_GATEWAY) from error


def _refused(status: int, answer: bytes) -> GatewayRefused:
    try:
        refusal = _refusal.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refusal = _Refusal(message=_NOT_A_GATEWAY)
    return GatewayRefused(status, refusal.code, refusal.message)


def _causes(error: PyreqwestError) -> list[str]:
    """Return the chain of causes, outermost first: the last says "Connection refused", the first "connection error"."""
    details: Any = error.args[1] if len(error.args) > 1 else None
    causes = details.get("causes") if isinstance(details, dict) else None
    return [str(cause["message"]) for cause in causes or ()] or [str(error.args[0] if error.args else error)]
