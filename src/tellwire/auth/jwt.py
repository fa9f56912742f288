"""Verification of JSON Web Tokens (RFC 7519): the signature with a trusted key, then the claims by configured rules.

A token does not choose its own verification: the key source pins the algorithm, and `jku`, `x5u`, `jwk` and `x5c` in
the header are ignored (RFC 8725 §3.1, §3.10).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jwt
from jwt.types import Options

from tellwire.errors import ConfigError, TokenExpired, TokenInvalid, TokenMissing
from tellwire.limits import MIN_SECRET_BYTES
from tellwire.model import Identity, is_text
from tellwire.ports import Clock, SystemClock

# The claims are checked here, on our clock and with our errors; PyJWT checks the signature.
_SIGNATURE_ONLY: Options = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


class KeySource(Protocol):
    """A source of keys for tokens."""

    async def key_for(self, header: Mapping[str, Any]) -> tuple[Any, str]:
        """Return the key for this token header, and the one algorithm it may be used with.

        Raises:
            TokenInvalid: no key fits.
            KeysUnavailable: the keys cannot be fetched at the moment.
        """
        ...


class ClaimRules(Protocol):
    """Rules for claims beyond `sub`, `exp` and `nbf`."""

    def check(self, claims: Mapping[str, Any]) -> None:
        """Raise `TokenInvalid` if the token was not made for us."""
        ...


class Secret:
    """One HS256 secret, shared with the program that makes the tokens.

    Raises:
        ConfigError: the secret is shorter than 32 bytes.
    """

    def __init__(self, secret: str) -> None:
        self._key = secret.encode()
        if len(self._key) < MIN_SECRET_BYTES:
            raise ConfigError(
                f"JWT secret: got {len(self._key)} bytes; allowed: at least {MIN_SECRET_BYTES} (RFC 7518)"
            )

    async def key_for(self, header: Mapping[str, Any]) -> tuple[bytes, str]:
        if header.get("alg") != "HS256":
            raise TokenInvalid("its algorithm is not HS256")
        return self._key, "HS256"


@dataclass(frozen=True, slots=True)
class StandardRules:
    """Required values of `iss` and `aud`. None means that the claim is not checked."""

    issuer: str | None = None
    audience: str | None = None

    def check(self, claims: Mapping[str, Any]) -> None:
        if self.issuer is not None and claims.get("iss") != self.issuer:
            raise TokenInvalid("it comes from another issuer")
        if self.audience is not None and self.audience not in _as_list(claims.get("aud")):
            raise TokenInvalid("it is for another audience")


class JwtAuthenticator:
    """An `Authenticator` for JWTs. The user is the token's `sub`; a token without `exp` is refused."""

    def __init__(self, keys: KeySource, rules: ClaimRules, clock: Clock | None = None) -> None:
        self._keys = keys
        self._rules = rules
        self._clock = clock or SystemClock()

    async def authenticate(self, token: str) -> Identity:
        if not token:
            raise TokenMissing
        key, algorithm = await self._keys.key_for(_header(token))
        try:
            claims = jwt.decode(token, key, algorithms=[algorithm], options=_SIGNATURE_ONLY)
        except jwt.InvalidSignatureError as error:
            raise TokenInvalid("its signature is not by our key") from error
        except jwt.InvalidTokenError as error:
            raise TokenInvalid("it is malformed") from error
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        now = self._clock.now()
        expires_at, not_before = _time(claims, "exp"), _time(claims, "nbf", 0.0)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject or not is_text(subject):
            raise TokenInvalid("its sub is missing or not a text, so it names no user")
        self._rules.check(claims)
        if now >= expires_at:
            raise TokenExpired
        if now < not_before:
            raise TokenInvalid("it is not valid yet")
        return Identity(subject, expires_at, claims)


def _header(token: str) -> dict[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, UnicodeError, RecursionError) as error:
        raise TokenInvalid("it is malformed") from error


def _time(claims: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = claims.get(name, default)
    # The bound rejects NaN, infinity and years after 9999, which would break comparisons and dates.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 253_402_300_800:
        return float(value)
    raise TokenInvalid(f"its {name} is missing or not a time")


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
