"""AWS Signature Version 4, the part both sides share and the signer's. Pure.

A request is brought into one canonical form, hashed, and signed by a key that is good for one day, region and service.
The path is encoded once more than it is on the wire (`/prod/@connections/abc%3D` is signed as
`/prod/%40connections/abc%253D`), as all services but S3 have it. `apigateway.sigv4` checks what this signs.

Source: IAM user guide, "Create a signed AWS API request".
"""

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key. Its secret, and the token of a session, never show."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


def sha256_hex(data: bytes) -> str:
    """Return the hash of a payload, as it is signed."""
    return hashlib.sha256(data).hexdigest()


def canonical_request(
    method: str, path: str, query: str, headers: Iterable[tuple[str, str]], payload_hash: str
) -> bytes:
    """Return the one form in which a request is signed.

    `path` and `query` are as on the wire, undecoded. `headers` are those that are signed: lower-case names, in order.
    """
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    query = "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))
    kept = list(headers)
    lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in kept)
    names = ";".join(name for name, _ in kept)
    return f"{method}\n{quote(path, safe='/~')}\n{query}\n{lines}\n{names}\n{payload_hash}".encode()


def scope_of(date: str, region: str, service: str) -> str:
    """Return what a signature is good for. `date` is `YYYYMMDD`."""
    return f"{date}/{region}/{service}/aws4_request"


def signing_key(secret_access_key: str, scope: str) -> bytes:
    """Return the key of a scope."""
    key = f"AWS4{secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def signature_of(key: bytes, signed_at: str, scope: str, canonical: bytes) -> str:
    """Return the signature of a canonical request. `signed_at` is `YYYYMMDDTHHMMSSZ`."""
    to_sign = f"{ALGORITHM}\n{signed_at}\n{scope}\n{sha256_hex(canonical)}"
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()


class Signer:
    """Signs requests to one service in one region. The day's key is remembered: it is half of the work."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._key: tuple[str, str, bytes] = ("", "", b"")

    def sign(
        self,
        credentials: Credentials,
        *,
        method: str,
        path: str,
        headers: Mapping[str, str],
        payload_hash: str,
        query: str = "",
        now: float,
    ) -> dict[str, str]:
        """Return the headers to send: the given ones and those that sign them.

        `headers` have lower-case names and hold `host`; `now` is in epoch seconds, by the clock of AWS.
        """
        signed_at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        scope = scope_of(signed_at[:8], self._region, self._service)
        sent = {**headers, "x-amz-date": signed_at}
        if credentials.session_token:
            sent["x-amz-security-token"] = credentials.session_token
        kept = sorted(sent.items())
        key = self._key_of(credentials.secret_access_key, scope)
        signature = signature_of(key, signed_at, scope, canonical_request(method, path, query, kept, payload_hash))
        names = ";".join(name for name, _ in kept)
        sent["authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return sent

    def _key_of(self, secret_access_key: str, scope: str) -> bytes:
        known_secret, known_scope, key = self._key
        if known_scope != scope or known_secret != secret_access_key:
            key = signing_key(secret_access_key, scope)
            self._key = (secret_access_key, scope, key)
        return key
