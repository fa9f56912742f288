"""The carrier of producers: publications go to a gateway over its HTTP API.

Rules:
- A publish is tried again, with full jitter, until its time is used up, where that is safe. One that did not reach the
  gateway may always be sent again; so may one for a user, because the history recognises its id. Another one that may
  have arrived is not sent again, nor is a refused one. `answers` knows the answers of proxies.
- Publishes that are concurrent leave as one batch (`gathering`), and each has its own answer, error, attempts and time.
- After a publish that used up its time, others fail at once until the gateway answers again (`circuit`). The messages
  of a job, and the last state of every upload, are always tried.
"""

import asyncio
import functools
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.json import Decoder, Encoder

from tellwire.carriers.answers import Failure, failure_in_line, failure_of, not_a_gateway
from tellwire.carriers.circuit import Circuit, is_urgent
from tellwire.carriers.gathering import REFUSED, Gatherings
from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import ConfigError, GatewayRefused, GatewayUnreachable, PublishError, shown
from tellwire.http_client import HttpClient, HttpFailed, full_jitter, http_base_url
from tellwire.http_messages import HttpResponse
from tellwire.limits import (
    CIRCUIT_PROBE_SECONDS,
    MAX_ANSWER_BYTES,
    MAX_LINE_ANSWER_BYTES,
    MAX_LIST_BYTES,
    MAX_PUBLISH_TIMEOUT_SECONDS,
    PUBLISH_TIMEOUT_SECONDS,
)
from tellwire.messages import Escalation
from tellwire.model import ConnectionInfo, Delivery, Target, require_api_key
from tellwire.numeric import finite_number
from tellwire.publication import Publication, given_key, is_own_state
from tellwire.row_errors import RowErrorChunk
from tellwire.wire import without_topic

T = TypeVar("T")

_Attempt = Callable[[float], Awaitable[T | Failure]]
"""One attempt of a request, within so many seconds."""

_FIRST_WAIT_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 2.0
_ATTEMPT_SECONDS: Final = 5.0
_SHORTEST_SECONDS: Final = 0.05
_LONG_SECONDS: Final = 1.0

_NO_CONTENT: Final = 204
_GONE: Final = 410


class _Publish(Struct, rename="camel", omit_defaults=True):
    target: Target
    message: msgspec.Raw
    ttl_seconds: float | None = None
    key: str | None = None
    escalate: Escalation | None = None
    trace_context: str | None = None


class _Connections(Struct):
    connections: list[ConnectionInfo]


class _Online(Struct):
    connections: int


_publish = Encoder().encode
_delivery = Decoder(Delivery)
_connections = Decoder(_Connections)
_online = Decoder(_Online)


def _body(publication: Publication, message: msgspec.Raw) -> _Publish:
    trace = publication.trace_context
    if not is_own_state(publication.key):
        return _Publish(publication.target, message, publication.ttl_seconds, None, publication.escalation, trace)
    key = given_key(publication.type, publication.key or "")
    return _Publish(publication.target, message, publication.lease_seconds, key, None, trace)


class HttpCarrier:
    """A `Carrier` over `POST /v1/publish`, and `/v1/publish/batch` for several. Connections are pooled and shared by
    every event loop of the process.

    `timeout_seconds` is the time of one publish, with all its attempts.

    Raises:
        ConfigError: the URL is not a gateway's, or an argument is not valid.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS) -> None:
        self.url = http_base_url(url)
        seconds = finite_number(timeout_seconds)
        if seconds is None or not 0 < seconds <= MAX_PUBLISH_TIMEOUT_SECONDS:
            allowed = f"a number of seconds above 0, and at most {MAX_PUBLISH_TIMEOUT_SECONDS:,}"
            raise ConfigError(f"timeout_seconds: got {shown(timeout_seconds)}; allowed: {allowed}")
        self._api_key = api_key
        self._timeout_seconds = float(seconds)
        self._attempt_seconds = min(_ATTEMPT_SECONDS, self._timeout_seconds)
        headers = {"content-type": "application/json"}
        if api_key is not None:
            require_api_key(api_key)
            headers["authorization"] = f"Bearer {api_key}"
        self._client = HttpClient(self.url, self._attempt_seconds, headers)
        self._requests = _Requests(self.url, self._client)
        self._circuit = Circuit()
        self._gatherings = Gatherings(self._requests)

    def __reduce__(self) -> tuple[Any, ...]:
        # For `multiprocessing`: the other process makes connections of its own.
        return HttpCarrier, (self.url, self._api_key, self._timeout_seconds)

    async def deliver(self, publication: Publication) -> Delivery:
        topic = publication.target.topic
        # The gateway puts the name of the topic into the message again, since no producer may write it there.
        message = publication.payload if topic is None else without_topic(publication.payload, topic)
        body = _publish(_body(publication, msgspec.Raw(message)))
        # The history recognises the id of a kept publication, so sending it again is safe. A message of a topic that is
        # not kept may then come twice, with the same id, which clients know.
        may_repeat = publication.stream is not None
        attempt = functools.partial(self._gatherings.here().publish, body, publication.stream)
        return await self._publish(attempt, may_repeat, is_last=publication.is_final)

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        body = msgspec.json.encode(chunk)
        attempt = functools.partial(self._requests.attempt, None, "POST", "/v1/uploads/row-errors", body)
        await self._publish(attempt, may_repeat=True)

    async def connections(self, user_id: str) -> list[ConnectionInfo]:
        path = f"/v1/connections?user={quote(user_id, safe='')}"
        attempt = functools.partial(self._requests.attempt, _connections, "GET", path, None)
        return (await self._call(attempt, may_repeat=True)).connections

    async def count(self, user_id: str) -> int:
        path = f"/v1/users?user={quote(user_id, safe='')}"
        attempt = functools.partial(self._requests.attempt, _online, "GET", path, None)
        return (await self._call(attempt, may_repeat=True)).connections

    async def disconnect(self, connection_id: str) -> bool:
        path = f"/v1/connections?connection={quote(connection_id, safe='')}"
        try:
            await self._call(functools.partial(self._requests.attempt, None, "DELETE", path, None), may_repeat=True)
        except GatewayRefused as refused:
            if refused.status == _GONE:
                return False
            raise
        return True

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.close()

    async def _publish(self, attempt: _Attempt[T], may_repeat: bool, *, is_last: bool = False) -> T:
        """Publish, unless the circuit is open."""
        passage = "free" if is_last or is_urgent() else self._circuit.enter(CIRCUIT_PROBE_SECONDS)
        match passage:
            case "free":
                return await self._call(attempt, may_repeat=may_repeat)
            case "probe":
                seconds = min(CIRCUIT_PROBE_SECONDS, self._timeout_seconds)
                return await self._call(attempt, attempts=1, seconds=seconds)
            case "stop":
                again = f"it did not answer before, and is tried again in {self._circuit.seconds_left:.1f} s"
                raise GatewayUnreachable(self.url, again, not_sent=True)

    async def _call(
        self,
        attempt: _Attempt[T],
        *,
        may_repeat: bool = False,
        attempts: float = math.inf,
        seconds: float | None = None,
    ) -> T:
        began = time.monotonic()
        give_up_at = began + (self._timeout_seconds if seconds is None else seconds)
        waits = full_jitter(_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS)
        may_have_arrived = False
        while True:
            answer = await attempt(min(give_up_at - time.monotonic(), self._attempt_seconds))
            if not isinstance(answer, Failure):
                self._circuit.succeeded()
                return answer
            may_have_arrived = may_have_arrived or not answer.not_sent
            attempts -= 1
            wait_seconds = next(waits)
            is_safe = answer.may_repeat and (may_repeat or answer.not_sent)
            is_late = time.monotonic() + wait_seconds >= give_up_at
            if not is_safe or is_late or not attempts:
                self._note(answer, used_up=is_late or not attempts or time.monotonic() - began >= _LONG_SECONDS)
                raise _error(answer, may_have_arrived)
            await asyncio.sleep(wait_seconds)

    def _note(self, failure: Failure, *, used_up: bool) -> None:
        if failure.is_of_gateway:
            self._circuit.succeeded()
        elif used_up:
            self._circuit.failed()


class _Requests:
    """Single requests to a gateway, each sent once: a `Way` of publishes."""

    def __init__(self, url: str, client: HttpClient) -> None:
        self._url = url
        self._client = client

    async def one(self, body: bytes, seconds: float) -> Delivery | Failure:
        return await self.attempt(_delivery, "POST", "/v1/publish", body, seconds)

    async def batch(self, bodies: Sequence[bytes], seconds: float) -> Sequence[Delivery | Failure] | None:
        max_bytes = MAX_ANSWER_BYTES + len(bodies) * MAX_LINE_ANSWER_BYTES
        try:
            response = await self._send("POST", "/v1/publish/batch", b"\n".join(bodies), seconds, max_bytes)
        except HttpFailed as failed:
            return [self._failure(failed) for _ in bodies]
        failure = self._failure_in(response)
        if failure is not None:
            if 400 <= response.status < 500 and not failure.not_sent:
                return REFUSED
            # One for each: an error that several raise has the traces of all.
            return [self._failure_in(response) or failure for _ in bodies]
        answers = response.body.removesuffix(b"\n").split(b"\n")
        if len(answers) != len(bodies):
            return [not_a_gateway(response.status) for _ in bodies]
        return [self._delivery_in(line, response.status) for line in answers]

    def late(self, *, was_sent: bool) -> Failure:
        return Failure(GatewayUnreachable(self._url, "operation timed out", not_sent=not was_sent), may_repeat=True)

    async def attempt(
        self, decoder: Decoder[T] | None, method: str, path: str, body: bytes | None, seconds: float
    ) -> T | Failure:
        max_bytes = MAX_LIST_BYTES if decoder is _connections else MAX_ANSWER_BYTES
        try:
            response = await self._send(method, path, body, seconds, max_bytes)
        except HttpFailed as failed:
            return self._failure(failed)
        failure = self._failure_in(response)
        if failure is not None:
            return failure
        return _decoded(decoder, response)

    def _delivery_in(self, line: bytes, status: int) -> Delivery | Failure:
        return _delivery_of(line) or failure_in_line(self._url, line) or not_a_gateway(status)

    def _failure_in(self, response: HttpResponse) -> Failure | None:
        return failure_of(self._url, response.status, response.headers, response.body)

    def _failure(self, failed: HttpFailed) -> Failure:
        return Failure(GatewayUnreachable(self._url, failed.reason, not_sent=failed.not_sent), may_repeat=True)

    async def _send(self, method: str, path: str, body: bytes | None, seconds: float, max_bytes: int) -> HttpResponse:
        seconds = max(seconds, _SHORTEST_SECONDS)
        return await self._client.send(method, path, body, timeout_seconds=seconds, max_bytes=max_bytes)


def _decoded(decoder: Decoder[T] | None, response: HttpResponse) -> T | Failure:
    if decoder is None:
        return cast("T", None) if response.status == _NO_CONTENT else not_a_gateway(response.status)
    if decoder is _delivery:
        return cast("T | None", _delivery_of(response.body)) or not_a_gateway(response.status)
    try:
        return decoder.decode(response.body)
    except DECODE_ERRORS:
        return not_a_gateway(response.status)


# Most deliveries are the same few.
@functools.lru_cache(maxsize=64)
def _delivery_of(line: bytes) -> Delivery | None:
    """Return the delivery in an answer; None: it has none."""
    # All fields of a delivery have a default, and other servers answer with objects, too.
    if b'"delivered"' not in line:
        return None
    try:
        return _delivery.decode(line)
    except DECODE_ERRORS:
        return None


def _error(failure: Failure, may_have_arrived: bool) -> PublishError:
    """Return the error of the last attempt, for all of them: an attempt before it may have arrived."""
    match failure.error:
        case GatewayUnreachable(url=url, reason=reason, not_sent=True) if may_have_arrived:
            return GatewayUnreachable(url, reason)
        case error:
            return error
