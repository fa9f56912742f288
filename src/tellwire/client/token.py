"""What a client reads in a token, as pure code. It trusts nothing of it: the server is the one that checks."""

import base64
import binascii
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct


class _Claims(Struct):
    exp: float


_claims: Final = msgspec.json.Decoder(_Claims)


def expiry_of(token: str) -> float | None:
    """Return when a token expires, in epoch seconds, if it is a JWT that says so."""
    _, _, rest = token.partition(".")
    claims, _, _ = rest.partition(".")
    try:
        return _claims.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))).exp
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        return None


def expiry_in(data: object) -> float | None:
    """Return when the token that an `auth_ok` is about expires, in epoch seconds, if it says so."""
    match data:
        case {"expiresAt": str(text)}:
            try:
                return datetime.fromisoformat(text).timestamp()
            except ValueError:
                return None
    return None
