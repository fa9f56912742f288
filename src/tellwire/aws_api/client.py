"""Requests to one AWS service: signed, sent over pooled connections, and retried where that is safe.

    busy (429, 5xx, throttling)      retried with backoff and full jitter
    our clock is wrong               retried at once, with the clock of AWS from then on
    no response                      retried if the service has not acted on the request, or may act on it twice
    any other response               returned to the caller

No attempt begins after the deadline (`deadline`), and none lasts longer.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from tellwire.aws_api.credentials import CredentialsSource
from tellwire.aws_api.deadline import remaining_seconds
from tellwire.aws_api.sigv4 import Signer, sha256_hex
from tellwire.decode_errors import DECODE_ERRORS
from tellwire.errors import AwsRefused, AwsUnreachable
from tellwire.http_client import HttpClient, HttpFailed, full_jitter
from tellwire.http_messages import HttpResponse, host_header
from tellwire.limits import (
    AWS_ATTEMPT_SECONDS,
    AWS_ATTEMPTS,
    AWS_FIRST_WAIT_SECONDS,
    AWS_LONGEST_WAIT_SECONDS,
)

_THROTTLED: Final = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
        # DynamoDB refuses a write to an item that a transaction is writing at the moment.
        "TransactionConflictException",
    }
)
_CLOCK_ERRORS: Final = frozenset(
    {
        "AuthFailure",
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
# AWS allows five minutes. A clock with a smaller difference than this is not the cause of an error.
_WRONG_CLOCK_SECONDS: Final = 240.0


class Retries(Struct, frozen=True):
    """The number of attempts and the bounds of the backoff between them. Tests make it short."""

    attempts: int = AWS_ATTEMPTS
    first_wait_seconds: float = AWS_FIRST_WAIT_SECONDS
    longest_wait_seconds: float = AWS_LONGEST_WAIT_SECONDS


DEFAULT_RETRIES: Final = Retries()


class Payload(Struct, frozen=True):
    """A body and its hash, computed once for all requests with this body."""

    body: bytes | None
    hash: str

    @classmethod
    def of(cls, body: bytes | None) -> "Payload":
        return cls(body, sha256_hex(body or b""))


class AwsRequest(Struct, frozen=True):
    """One request. `action` names it in errors, such as "DynamoDB Query". `path` is percent-encoded and is appended to
    the service's URL; names of `headers` are in lower case. `may_repeat`: the service may act on it twice.
    """

    action: str
    method: str
    path: str
    payload: Payload
    headers: Mapping[str, str] = {}
    may_repeat: bool = True


class _Retryable(Exception):
    """A failed attempt; the same request may succeed a moment later."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AwsClient:
    """A client of one service, for every event loop of the process.

    `url` is the service's, without a slash at its end; its path is signed, too. `ca_bundle` is a PEM file of
    certificates to trust in addition to the system's.
    """

    def __init__(
        self,
        service: str,
        url: str,
        region: str,
        credentials: CredentialsSource,
        *,
        ca_bundle: str | None = None,
        retries: Retries = DEFAULT_RETRIES,
        now: Callable[[], float] = time.time,
    ) -> None:
        parts = urlsplit(url)
        self._http = HttpClient(f"{parts.scheme}://{parts.netloc}", AWS_ATTEMPT_SECONDS, ca_bundle=ca_bundle)
        self._host = host_header(parts)
        self._path = parts.path
        self._credentials = credentials
        self._signer = Signer(service, region)
        self._retries = retries
        self._now = now
        self._clock_offset_seconds = 0.0

    async def call(self, request: AwsRequest) -> HttpResponse:
        """Send a request and return its response: 2xx, or an error that is not to be retried.

        Raises:
            AwsUnreachable: no response, or only busy ones, or no time left.
            ConfigError: there are no credentials.
        """
        retries = self._retries
        waits = islice(full_jitter(retries.first_wait_seconds, retries.longest_wait_seconds), retries.attempts - 1)
        while True:
            try:
                return await self._send(request)
            except _Retryable as retryable:
                reason = retryable.reason
            wait_seconds = next(waits, math.inf)
            if wait_seconds >= remaining_seconds():
                raise AwsUnreachable(request.action, reason)
            await asyncio.sleep(wait_seconds)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._http.close()

    async def _send(self, request: AwsRequest) -> HttpResponse:
        used_offset_seconds = self._clock_offset_seconds
        try:
            response = await self._attempt(request)
            if self._corrects_clock(response, used_offset_seconds):
                response = await self._attempt(request)
        except HttpFailed as failed:
            if failed.not_sent or request.may_repeat:
                raise _Retryable(failed.reason) from failed
            raise AwsUnreachable(request.action, failed.reason) from failed
        if is_busy(response):
            raise _Retryable(f"it was busy ({response.status} {error_type_of(response)})")
        return response

    async def _attempt(self, request: AwsRequest) -> HttpResponse:
        credentials = await self._credentials.current()
        seconds_left = remaining_seconds()  # only now, as loading the credentials may take a while
        if seconds_left <= 0:
            raise AwsUnreachable(request.action, "there is no time left to ask")
        path = self._path + request.path
        headers = self._signer.sign(
            credentials,
            method=request.method,
            path=path,
            headers={"host": self._host, **request.headers},
            payload_hash=request.payload.hash,
            now=self._now() + self._clock_offset_seconds,
        )
        del headers["host"]  # the HTTP client sends it
        timeout_seconds = seconds_left if seconds_left < AWS_ATTEMPT_SECONDS else None
        return await self._http.send(request.method, path, request.payload.body, headers, timeout_seconds)

    def _corrects_clock(self, response: HttpResponse, used_offset_seconds: float) -> bool:
        """Adopt the clock of AWS if the response says that the clock of the request was wrong. False: it was not.

        Another request that was signed with the same wrong clock may have corrected it in the meantime.
        """
        if response.status not in (400, 401, 403) or error_type_of(response) not in _CLOCK_ERRORS:
            return False
        # Imported here: it takes a twentieth of a cold start, and hardly any process needs it.
        from email.utils import parsedate_to_datetime

        try:
            aws_now = parsedate_to_datetime(response.headers.get("date", "")).replace(tzinfo=UTC).timestamp()
        except ValueError:
            return False
        offset_seconds = aws_now - self._now()
        if abs(offset_seconds - used_offset_seconds) < _WRONG_CLOCK_SECONDS:
            return False
        self._clock_offset_seconds = offset_seconds
        return True


def is_busy(response: HttpResponse) -> bool:
    """Return True if the same request may succeed a moment later."""
    return (
        response.status == 429
        or response.status >= 500
        or (response.status == 400 and error_type_of(response) in _THROTTLED)
    )


def error_type_of(response: HttpResponse) -> str:
    """Return AWS's name of an error, such as `GoneException`; "Unknown" if it has none."""
    named = response.headers.get("x-amzn-errortype") or str(_error_body(response).get("__type") or "")
    # `com.amazonaws.dynamodb.v20120810#ThrottlingException`, or `GoneException:http://internal…`
    return named.partition(":")[0].rpartition("#")[2] or "Unknown"


def refused(action: str, response: HttpResponse) -> AwsRefused:
    """Return the exception for an error response."""
    body = _error_body(response)
    message = str(body.get("message") or body.get("Message") or "no reason given")
    # From the second line on, AWS explains a wrong signature with all signed headers, the session's token among them.
    return AwsRefused(action, response.status, error_type_of(response), message.splitlines()[0])


def _error_body(response: HttpResponse) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(response.body)
    except DECODE_ERRORS:
        return {}
    return body if isinstance(body, dict) else {}
