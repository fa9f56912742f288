"""Checking AWS Signature Version 4 on requests to the management API. Pure.

Only what `execute-api` uses: signed headers, an unsigned clock skew of five minutes, and a path that is encoded once
more in the canonical request than on the wire (`/prod/@connections/abc%3D` is signed as
`/prod/%40connections/abc%253D`), so it must be read undecoded.

Source: IAM user guide, "Create a signed AWS API request".
"""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

ALGORITHM: Final = "AWS4-HMAC-SHA256"
MAX_SKEW_SECONDS: Final = 300.0

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM}\s+Credential=(?P<key>[^/,\s]+)/(?P<date>\d{{8}})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request\s*,\s*SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]{64})\s*"
)
_UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key. Its secret never shows."""

    access_key_id: str
    secret_access_key: str

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id!r}, …)"


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came: `path` and `query` undecoded, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


class BadSignature(Exception):
    """The request is not signed by whom it says. `error_type` is the name AWS gives to it."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type


def is_signed(headers: Mapping[str, str]) -> bool:
    """Tell whether a request brings a signature at all, right or wrong."""
    return headers.get("authorization", "").startswith(ALGORITHM)


def verify(request: SignedRequest, credentials: Credentials, now: float | None = None) -> None:
    """Check the signature of a request at a time, in epoch seconds; None means now.

    Raises:
        BadSignature: it is not signed, by another key, for another service, too long ago, or the signature is wrong.
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
    scope = f"{found['date']}/{found['region']}/{found['service']}/aws4_request"
    to_sign = f"{ALGORITHM}\n{signed_at}\n{scope}\n{_sha256(_canonical(request, found['headers'].split(';')))}"
    key = _signing_key(credentials.secret_access_key, scope)
    expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
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
    pairs = (pair.partition("=") for pair in request.query.split("&") if pair)
    # As it is on the wire, which is how it was signed.
    query = "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signed_headers)
    is_unsigned = request.headers.get("x-amz-content-sha256") == _UNSIGNED_PAYLOAD
    payload = _UNSIGNED_PAYLOAD if is_unsigned else _sha256(request.body)
    path = "/".join(map(_encoded, request.path.split("/")))
    return "\n".join((request.method, path, query, headers, ";".join(signed_headers), payload)).encode()


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _encoded(text: str) -> str:
    # RFC 3986 leaves these and letters and digits as they are; quote knows no smaller set.
    return quote(text, safe="~")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
