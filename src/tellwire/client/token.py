"""The expiry and the claims of a token, as pure code. Nothing in a token is trusted: checking is the server's part."""

import base64
import binascii
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from tellwire.client.decode import ReceivedMessage


class _Claims(Struct):
    exp: float


_claims: Final = msgspec.json.Decoder(_Claims)
_NO_JWT: Final = (msgspec.DecodeError, binascii.Error, ValueError, RecursionError)


def expiry_of(token: str) -> float | None:
    """Return the expiry of a token, in epoch seconds; None if it is no JWT, or says none."""
    try:
        return _claims.decode(_payload(token)).exp
    except _NO_JWT:
        return None


def claim_of(token: str, name: str) -> str | None:
    """Return a claim of a token as text; None if it is no JWT, or has no such text or number."""
    try:
        claims = msgspec.json.decode(_payload(token))
    except _NO_JWT:
        return None
    value = claims.get(name) if isinstance(claims, dict) else None
    is_id = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if is_id else None


def _payload(token: str) -> bytes:
    claims = token.partition(".")[2].partition(".")[0]
    return base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))


def expiry_told(answer: ReceivedMessage, now: float) -> float | None:
    """Return the expiry that an `auth_ok` or a `welcome` tells, in epoch seconds by the clock that shows `now`."""
    match answer.data:
        case {"expiresAt": str(text)}:
            expires_at, said_at = _seconds(text), _seconds(answer.timestamp or "")
            if expires_at is None or said_at is None:
                return expires_at
            # Both are times of the server, so what is between them is right even if our clock is not.
            return now + expires_at - said_at
    return None


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
