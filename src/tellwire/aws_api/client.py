"""Requests to one AWS service: signed, sent over pooled connections, and tried again when that can help.

    busy (429, 5xx, throttling)      again, with full jitter
    our clock is wrong               again at once, by the clock of AWS from then on
    no answer                        again if the request cannot have been acted on, or may be acted on twice
    any other answer                 is the caller's to read

No attempt begins after the deadline of the function around it (`deadline`), nor goes on past it.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from itertools import islice
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct

from tellwire.aws_api.credentials import CredentialsSource
from tellwire.aws_api.deadline import remaining_seconds
from tellwire.aws_api.sigv4 import Signer, sha256_hex
from tellwire.errors import AwsRefused, AwsUnreachable
from tellwire.http_client import Answer, HttpClient, HttpFailed, full_jitter
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
    }
)
_MAY_BE_THE_CLOCK: Final = frozenset(
    {
        "AuthFailure",
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
# AWS takes five minutes either way; a clock that is less than this off is not what is wrong.
_WRONG_CLOCK_SECONDS: Final = 240.0

NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading an answer raises that is none of AWS's."""


class Retries(Struct, frozen=True):
    """How often, and after which waits, a request is made again. Tests make it quick."""

    attempts: int = AWS_ATTEMPTS
    first_wait_seconds: float = AWS_FIRST_WAIT_SECONDS
    longest_wait_seconds: float = AWS_LONGEST_WAIT_SECONDS


DEFAULT_RETRIES: Final = Retries()


class Payload(Struct, frozen=True):
    """A body and its hash, which is made once however many requests carry it."""

    body: bytes | None
    hash: str

    @classmethod
    def of(cls, body: bytes | None) -> "Payload":
        return cls(body, sha256_hex(body or b""))


class AwsRequest(Struct, frozen=True):
    """One request. `action` is what errors call it, such as "DynamoDB Query"; `path` is undecoded, after the service's
    URL; names of `headers` are in lower case. `may_repeat`: it does no harm if the service acts on it twice.
    """

    action: str
    method: str
    path: str
    payload: Payload
    headers: Mapping[str, str] = {}
    may_repeat: bool = True


class _Again(Exception):
    """The same request may succeed a moment later."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AwsClient:
    """One service's client, for every event loop of the process.

    `url` is the service's, without a slash at its end; its path is part of what is signed. `ca_bundle` is a file of
    certificates to trust beside the system's.
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
        self._host = _host_header(parts)
        self._path = parts.path
        self._credentials = credentials
        self._signer = Signer(service, region)
        self._retries = retries
        self._now = now
        self._clock_is_off_by = 0.0

    async def call(self, request: AwsRequest) -> Answer:
        """Make a request and return its answer: 2xx, or one that says no.

        Raises:
            AwsUnreachable: no answer, or only busy ones, or no time left.
            ConfigError: there are no credentials.
        """
        retries = self._retries
        waits = islice(full_jitter(retries.first_wait_seconds, retries.longest_wait_seconds), retries.attempts - 1)
        while True:
            try:
                return await self._ask(request)
            except _Again as again:
                reason = again.reason
            wait_seconds = next(waits, math.inf)
            if wait_seconds >= remaining_seconds():
                raise AwsUnreachable(request.action, reason)
            await asyncio.sleep(wait_seconds)

    async def close(self) -> None:
        """Let the pooled connections go."""
        await self._http.close()

    async def _ask(self, request: AwsRequest) -> Answer:
        was_off_by = self._clock_is_off_by
        try:
            answer = await self._attempt(request)
            if self._corrects_clock(answer, was_off_by):
                answer = await self._attempt(request)
        except HttpFailed as failed:
            if failed.not_sent or request.may_repeat:
                raise _Again(failed.reason) from failed
            raise AwsUnreachable(request.action, failed.reason) from failed
        if is_busy(answer):
            raise _Again(f"it was busy ({answer.status} {error_type_of(answer)})")
        return answer

    async def _attempt(self, request: AwsRequest) -> Answer:
        credentials = await self._credentials.current()
        seconds_left = remaining_seconds()  # now, as credentials may be a while in coming
        if seconds_left <= 0:
            raise AwsUnreachable(request.action, "there is no time left to ask")
        path = self._path + request.path
        headers = self._signer.sign(
            credentials,
            method=request.method,
            path=path,
            headers={"host": self._host, **request.headers},
            payload_hash=request.payload.hash,
            now=self._now() + self._clock_is_off_by,
        )
        del headers["host"]  # the HTTP client says it
        timeout_seconds = seconds_left if seconds_left < AWS_ATTEMPT_SECONDS else None
        return await self._http.send(request.method, path, request.payload.body, headers, timeout_seconds)

    def _corrects_clock(self, answer: Answer, was_off_by: float) -> bool:
        """Take the answer's clock for ours if it says that the one it was asked by is wrong.

        Others that were asked by that one may have set it right in the meantime.
        """
        if answer.status not in (400, 401, 403) or error_type_of(answer) not in _MAY_BE_THE_CLOCK:
            return False
        # Hardly any process needs it, and it takes a twentieth of a cold start.
        from email.utils import parsedate_to_datetime

        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", "")).replace(tzinfo=UTC).timestamp()
        except ValueError:
            return False
        off_by = theirs - self._now()
        if abs(off_by - was_off_by) < _WRONG_CLOCK_SECONDS:
            return False
        self._clock_is_off_by = off_by
        return True


def is_busy(answer: Answer) -> bool:
    """Tell whether the same request may succeed a moment later."""
    return (
        answer.status == 429 or answer.status >= 500 or (answer.status == 400 and error_type_of(answer) in _THROTTLED)
    )


def error_type_of(answer: Answer) -> str:
    """Return AWS's name for what went wrong, such as `GoneException`; "Unknown" if it has none."""
    named = answer.headers.get("x-amzn-errortype") or str(_error_body(answer).get("__type") or "")
    # `com.amazonaws.dynamodb.v20120810#ThrottlingException`, or `GoneException:http://internal…`
    return named.partition(":")[0].rpartition("#")[2] or "Unknown"


def refused(action: str, answer: Answer) -> AwsRefused:
    """Return the error that an answer stands for."""
    body = _error_body(answer)
    message = str(body.get("message") or body.get("Message") or "no reason given")
    # A wrong signature is explained with all that was signed, the session's token among it, from the second line on.
    return AwsRefused(action, answer.status, error_type_of(answer), message.splitlines()[0])


def _host_header(parts: SplitResult) -> str:
    """Return what the HTTP client says for a host: in lower case, without a port that goes without saying."""
    return parts.netloc.lower().removesuffix({"http": ":80", "https": ":443"}[parts.scheme])


def _error_body(answer: Answer) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(answer.body)
    except NOT_JSON:
        return {}
    return body if isinstance(body, dict) else {}
