"""JWTs: user and expiry of accepted tokens, and all reasons for refusal."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tellwire.auth import Jwks, JwtAuthenticator, Secret, StandardRules, mint_token
from tellwire.errors import ConfigError, TokenExpired, TokenInvalid, TokenMissing
from tellwire.testing import FakeClock

SECRET = "a-secret-that-is-long-enough-for-hs256"
NOW = 1_700_000_000.0


def authenticator(rules: StandardRules | None = None) -> JwtAuthenticator:
    return JwtAuthenticator(Secret(SECRET), rules or StandardRules(), FakeClock(NOW))


def token(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    payload = {"sub": "user-1", "exp": NOW + 60} | claims
    return jwt.encode({k: v for k, v in payload.items() if v is not None}, key, algorithm, headers)


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join([*parts, ""])


async def test_the_user_is_the_tokens_sub() -> None:
    identity = await authenticator().authenticate(token(role="admin"))
    assert identity.user_id == "user-1"
    assert identity.expires_at == NOW + 60
    assert identity.claims["role"] == "admin"


async def test_a_token_is_expired_from_its_exp_on() -> None:
    await authenticator().authenticate(token(exp=NOW + 1))
    with pytest.raises(TokenExpired):
        await authenticator().authenticate(token(exp=NOW))


async def test_an_empty_token_is_missing() -> None:
    with pytest.raises(TokenMissing):
        await authenticator().authenticate("")


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": "half a character: \ud800"},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": 1e300},
        {"nbf": NOW + 1},
        {"nbf": "x"},
    ],
)
async def test_claims_that_make_no_sense_are_invalid(claims: dict[str, Any]) -> None:
    payload = {"sub": "user-1", "exp": NOW + 60} | claims
    payload = {k: v for k, v in payload.items() if v is not None}
    # PyJWT does not sign some of these; an attacker with the key would.
    signed = jwt.api_jws.encode(json.dumps(payload).encode(), SECRET, "HS256", {"typ": "JWT"})
    with pytest.raises(TokenInvalid):
        await authenticator().authenticate(signed)


@pytest.mark.parametrize("text", ["x", "a.b", "a.b.c", "....", "é.é.é", "\udcff", "eyJhbGciOiJIUzI1NiJ9..", "a" * 9000])
async def test_what_is_no_token_is_invalid_and_never_quoted(text: str) -> None:
    with pytest.raises(TokenInvalid) as caught:
        await authenticator().authenticate(text)
    assert text not in str(caught.value) or text == "x"


async def test_another_secrets_signature_is_invalid() -> None:
    with pytest.raises(TokenInvalid, match="signature"):
        await authenticator().authenticate(token("another-secret-that-is-long-enough-too!"))


async def test_a_changed_claim_is_invalid() -> None:
    head, _, signature = token().split(".")
    claims = base64.urlsafe_b64encode(json.dumps({"sub": "root", "exp": NOW + 60}).encode()).rstrip(b"=").decode()
    with pytest.raises(TokenInvalid, match="signature"):
        await authenticator().authenticate(f"{head}.{claims}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "RS256", ""])
async def test_only_the_pinned_algorithm_is_accepted(algorithm: str) -> None:
    with pytest.raises(TokenInvalid, match="its algorithm is not HS256"):
        await authenticator().authenticate(unsigned({"alg": algorithm, "typ": "JWT"}, {"sub": "u", "exp": NOW + 60}))


async def test_a_public_key_cannot_be_used_as_a_secret() -> None:
    private = rsa.generate_private_key(65537, 2048)
    public_jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key())) | {"kid": "k1"}
    public_pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    keys = Jwks(inline=json.dumps({"keys": [public_jwk]}))
    confused = unsigned({"alg": "HS256", "kid": "k1"}, {"sub": "u", "exp": NOW + 60})[:-1]
    import hashlib
    import hmac

    signature = base64.urlsafe_b64encode(hmac.new(public_pem, confused.encode(), hashlib.sha256).digest())
    with pytest.raises(TokenInvalid, match="algorithm"):
        await JwtAuthenticator(keys, StandardRules(), FakeClock(NOW)).authenticate(
            f"{confused}.{signature.rstrip(b'=').decode()}"
        )


async def test_issuer_and_audience_are_checked_when_configured() -> None:
    strict = authenticator(StandardRules("https://issuer", "app"))
    await strict.authenticate(token(iss="https://issuer", aud="app"))
    await strict.authenticate(token(iss="https://issuer", aud=["other", "app"]))
    near_misses: list[dict[str, Any]] = [{"iss": "https://issuer"}, {"aud": "app"}, {"iss": "other", "aud": "app"}, {}]
    for claims in near_misses:
        with pytest.raises(TokenInvalid):
            await strict.authenticate(token(**claims))


async def test_an_audience_nobody_asked_for_does_not_matter() -> None:
    await authenticator().authenticate(token(aud="whoever"))


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="got 5 bytes; allowed: at least 32"):
        Secret("short")


async def test_a_minted_token_opens_the_door_it_was_made_for() -> None:
    minted = mint_token(SECRET, "user-7", 60, issuer="me", audience="you")
    strict = JwtAuthenticator(Secret(SECRET), StandardRules("me", "you"))
    assert (await strict.authenticate(minted)).user_id == "user-7"
    with pytest.raises(TokenExpired):
        await strict.authenticate(mint_token(SECRET, "user-7", -1, issuer="me", audience="you"))
