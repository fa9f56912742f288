"""JWTs: user and expiry of accepted tokens, and all reasons for refusal."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tellwire.auth import Jwks, JwtAuthenticator, Secrets, StandardRules, Trust, mint_token
from tellwire.errors import ConfigError, InvalidMessage, TokenExpired, TokenInvalid, TokenMissing
from tellwire.testing import FakeClock

SECRET = "a-secret-that-is-long-enough-for-hs256"
NOW = 1_700_000_000.0


def authenticator(rules: StandardRules | None = None, **options: Any) -> JwtAuthenticator:
    return JwtAuthenticator([Trust(Secrets([SECRET]), rules or StandardRules())], FakeClock(NOW), **options)


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
        {"sub": True},
        {"sub": 5.0},
        {"sub": ["user-1"]},
        {"sub": "x" * 2044},
        {"sub": "half a character: \ud800"},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": 1e300},
        {"nbf": NOW + 11},
        {"nbf": "x"},
        {"iat": NOW + 11},
        {"iat": True},
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


@pytest.mark.parametrize("algorithm", ["none", "None", "hs256", "RS256", ""])
async def test_only_the_pinned_algorithm_is_accepted(algorithm: str) -> None:
    with pytest.raises(TokenInvalid):
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
        await JwtAuthenticator([Trust(keys, StandardRules())], FakeClock(NOW)).authenticate(
            f"{confused}.{signature.rstrip(b'=').decode()}"
        )


async def test_issuer_and_audience_are_checked_when_configured() -> None:
    strict = authenticator(StandardRules(["https://issuer"], ["app"]))
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
        Secrets([SECRET, "short"])


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+S0kVqjT1m0vJ0d8sG me@here",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=",
        '{"kty": "RSA", "e": "AQAB", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4"}',
        '{"keys": [{"alg": "RS256", "kty": "RSA", "e": "AQAB", "n": "0vx7agoebGcQSuuPiLJXZptN9nn"}]}',
    ],
)
def test_a_key_that_others_know_is_no_secret(secret: str) -> None:
    with pytest.raises(ConfigError, match="got a public key or a certificate") as caught:
        Secrets([SECRET, secret])
    assert secret[:30] not in str(caught.value)


def test_a_secret_may_hold_every_character() -> None:
    for secret in ('{"secret": "a text of 32 bytes or more"}', "-" * 40, "a secret -- BEGIN of more than 32 bytes"):
        Secrets([secret])


async def test_a_minted_token_opens_the_door_it_was_made_for() -> None:
    minted = mint_token(SECRET, "user-7", 60, issuer="me", audience="you")
    strict = JwtAuthenticator([Trust(Secrets([SECRET]), StandardRules(["me"], ["you"]))])
    assert (await strict.authenticate(minted)).user_id == "user-7"
    with pytest.raises(TokenExpired):
        await strict.authenticate(mint_token(SECRET, "user-7", -1, issuer="me", audience="you"))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("ahead", [0.9, 2, 5, 10])
async def test_a_provider_whose_clock_is_ahead_has_ten_seconds(claim: str, ahead: float) -> None:
    claims: dict[str, Any] = {claim: NOW + ahead}
    identity = await authenticator().authenticate(token(**claims))
    assert identity.user_id == "user-1"


async def test_the_leeway_is_a_setting_and_exp_has_none() -> None:
    await authenticator(leeway_seconds=60).authenticate(token(nbf=NOW + 59, iat=NOW + 59))
    with pytest.raises(TokenInvalid, match="its nbf is 1 seconds ahead of our clock"):
        await authenticator(leeway_seconds=0).authenticate(token(nbf=NOW + 1))
    with pytest.raises(TokenExpired):
        await authenticator(leeway_seconds=60).authenticate(token(exp=NOW))


@pytest.mark.parametrize(("value", "user"), [(5, "5"), (-1, "-1"), (10**30, "1" + "0" * 30), ("ada", "ada")])
async def test_the_user_may_be_in_another_claim_and_a_whole_number(value: Any, user: str) -> None:
    signed = token(user_id=value, sub=None)
    assert (await authenticator(user_claim="user_id").authenticate(signed)).user_id == user
    with pytest.raises(TokenInvalid, match="its sub is missing"):
        await authenticator().authenticate(signed)


@pytest.mark.parametrize("header", [{"crit": ["foo"], "foo": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}])
async def test_a_header_that_demands_an_extension_is_refused(header: dict[str, Any]) -> None:
    text = unsigned({"alg": "HS256"} | header, {"sub": "user-1", "exp": NOW + 60})[:-1]
    signature = jwt.algorithms.get_default_algorithms()["HS256"].sign(text.encode(), SECRET.encode())
    signed = f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(TokenInvalid, match="crit"):
        await authenticator().authenticate(signed)


@pytest.mark.parametrize("change", ["{}=", "{}==", "{}!!", "{}\n", " {}", "{}.", "{}%3D"])
async def test_a_token_has_one_spelling(change: str) -> None:
    good = token()
    await authenticator().authenticate(good)
    with pytest.raises(TokenInvalid, match="malformed"):
        await authenticator().authenticate(change.format(good))


async def test_the_spare_bits_of_the_last_character_make_no_other_spelling() -> None:
    good = token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(good[-1])
    for other in range(last - last % 4, last - last % 4 + 4):
        if other != last:
            with pytest.raises(TokenInvalid, match="malformed"):
                await authenticator().authenticate(good[:-1] + alphabet[other])


async def test_secrets_are_rotated_by_trusting_both() -> None:
    old, new = "the-old-secret-of-more-than-32-bytes", "the-new-secret-of-more-than-32-bytes"
    both = JwtAuthenticator([Trust(Secrets([new, old]), StandardRules())], FakeClock(NOW))
    for secret in (old, new):
        identity = await both.authenticate(token(secret))
        assert both.trusts(identity.stamp.key)
    with pytest.raises(TokenInvalid, match="signature"):
        await both.authenticate(token())


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_long_secret_is_for_the_longer_hashes_as_well() -> None:
    longest = "s" * 32 + "t" * 32
    long = JwtAuthenticator([Trust(Secrets([longest]), StandardRules())], FakeClock(NOW))
    for algorithm in ("HS256", "HS384", "HS512"):
        await long.authenticate(token(longest, algorithm))
    with pytest.raises(TokenInvalid):
        await authenticator().authenticate(token(SECRET, "HS512"))


async def test_the_stamp_tells_one_token_from_another() -> None:
    identity = await authenticator().authenticate(token(jti="t-1", iat=NOW - 5))
    assert (identity.stamp.token_id, identity.stamp.issued_at) == ("t-1", NOW - 5)
    other = await authenticator().authenticate(token(jti=5))
    assert (other.stamp.token_id, other.stamp.issued_at) == (None, None)


@pytest.mark.parametrize("user_id", ["", "  ", None, 5, True, b"ada", "\ud800", "x" * 2044])
def test_a_token_is_not_minted_for_a_user_that_is_none(user_id: Any) -> None:
    with pytest.raises(InvalidMessage, match="user_id: got"):
        mint_token(SECRET, user_id)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), "60", True, None])
def test_a_token_is_not_minted_for_a_time_that_is_none(seconds: Any) -> None:
    with pytest.raises(InvalidMessage, match="ttl_seconds: got"):
        mint_token(SECRET, "ada", seconds)


async def test_a_minted_token_has_an_info_of_the_user() -> None:
    anybody = JwtAuthenticator([Trust(Secrets([SECRET]), StandardRules())])
    identity = await anybody.authenticate(mint_token(SECRET, "ada", info={"name": "Ada"}))
    assert identity.claims["info"] == {"name": "Ada"}


@pytest.mark.parametrize("info", [[], "Ada", {"at": object()}, {"name": "x" * 1024}])
def test_no_token_is_minted_with_an_info_that_does_not_count(info: Any) -> None:
    with pytest.raises(InvalidMessage, match="info: got "):
        mint_token(SECRET, "ada", info=info)


def test_a_minted_token_is_what_another_library_makes() -> None:
    minted = mint_token(SECRET, "grün-7", 60, issuer="me", audience="you", token_id="t-1")
    claims = jwt.decode(minted, SECRET, ["HS256"], issuer="me", audience="you")
    assert claims == {"sub": "grün-7", "iat": claims["iat"], "exp": claims["iat"] + 60} | {
        "iss": "me",
        "aud": "you",
        "jti": "t-1",
    }
    assert jwt.get_unverified_header(minted) == {"alg": "HS256", "typ": "JWT"}


async def test_a_minted_token_has_the_claims_that_a_gateway_may_want() -> None:
    minted = mint_token(SECRET, "ada", user_claim="user_id", token_id="t-1")
    identity = await JwtAuthenticator([Trust(Secrets([SECRET]), StandardRules())], user_claim="user_id").authenticate(
        minted
    )
    assert (identity.user_id, identity.stamp.token_id) == ("ada", "t-1")
