"""Making of HS256 tokens: for development, tests, and back ends that share a secret with the gateway."""

import time

import jwt

from tellwire.auth.jwt import Secret


def mint_token(
    secret: str,
    user_id: str,
    ttl_seconds: float = 3600,
    *,
    issuer: str | None = None,
    audience: str | None = None,
) -> str:
    """Return a token that opens a connection for `user_id` during `ttl_seconds` (negative: already expired).

    Raises:
        ConfigError: the secret is shorter than 32 bytes.
    """
    Secret(secret)
    now = int(time.time())
    claims: dict[str, str | int] = {"sub": user_id, "iat": now, "exp": now + int(ttl_seconds)}
    if issuer is not None:
        claims["iss"] = issuer
    if audience is not None:
        claims["aud"] = audience
    return jwt.encode(claims, secret, algorithm="HS256")
