"""Verification of AWS Signature Version 4 on requests to the management API. Pure.

`aws_api.sigv4` computes signatures; this module decides which are accepted: complete, with the right key and service,
and signed by a clock that is at most five minutes off.
"""

import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tellwire.aws_api.sigv4 import (
    ALGORITHM,
    Credentials,
    canonical_request,
    scope_of,
    sha256_hex,
    signature_of,
    signing_key,
)

MAX_SKEW_SECONDS: Final = 300.0

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<key>[^/,\s]+)/(?P<date>\d{{8}})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request\s*,\s*SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]{64})\s*"
)
_UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came: `path` and `query` undecoded, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class BadSignature(Exception):
    """The signature of a request is not valid. `error_type` is AWS's name for the error."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def is_signed(headers: Mapping[str, str]) -> bool:
    """Return whether a request has a signature, valid or not."""
    return headers.get("authorization", "").startswith(ALGORITHM)


def verify(request: SignedRequest, credentials: Credentials, now: float | None = None) -> None:
    """Check the signature of a request at a time, in epoch seconds; None means now.

    Raises:
        BadSignature: the signature is missing, wrong, too old, or made with another key or for another service.
    """
    found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        raise BadSignature("IncompleteSignatureException", "The Authorization header is not a complete signature")
    if found["key"] != credentials.access_key_id:
        raise BadSignature("UnrecognizedClientException", "The security token included in the request is invalid.")
    if found["service"] != "execute-api":
        raise BadSignature("InvalidSignatureException", "Credential should be scoped to service: 'execute-api'")
    if "host" not in found["headers"].split(";"):
        raise BadSignature("InvalidSignatureException", "'Host' must be a 'SignedHeader' in the Authorization")
    signed_at = request.headers.get("x-amz-date", "")
    _require_fresh(signed_at, found["date"], time.time() if now is None else now)
    scope = scope_of(found["date"], found["region"], found["service"])
    key = signing_key(credentials.secret_access_key, scope)
    expected = signature_of(key, signed_at, scope, _canonical(request, found["headers"].split(";")))
    if not hmac.compare_digest(expected, found["signature"]):
        raise BadSignature(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )


def _require_fresh(signed_at: str, date: str, now: float) -> None:
    try:
        moment = datetime.strptime(signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise BadSignature("IncompleteSignatureException", "X-Amz-Date is missing or not a date") from error
    if not signed_at.startswith(date):
        raise BadSignature("InvalidSignatureException", "Date in Credential scope does not match X-Amz-Date")
    if abs(now - moment) > MAX_SKEW_SECONDS:
        raise BadSignature("InvalidSignatureException", f"Signature not current: {signed_at}")


def _canonical(request: SignedRequest, signed_headers: list[str]) -> bytes:
    headers = [(name, request.headers.get(name, "")) for name in signed_headers]
    is_unsigned = request.headers.get("x-amz-content-sha256") == _UNSIGNED_PAYLOAD
    payload_hash = _UNSIGNED_PAYLOAD if is_unsigned else sha256_hex(request.body)
    return canonical_request(request.method, request.path, request.query, headers, payload_hash)
