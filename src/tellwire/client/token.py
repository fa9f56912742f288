"""The expiry of a token, as pure code. Nothing in a token is trusted: checking is the server's part."""

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


def expiry_of(token: str) -> float | None:
    """Return the expiry of a token, in epoch seconds; None if it is no JWT, or says none."""
    _, _, rest = token.partition(".")
    claims, _, _ = rest.partition(".")
    try:
        return _claims.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))).exp
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        return None


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
