"""Key sets: usable keys, and the times of fetches."""

import asyncio
import json
import logging
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tellwire.auth import Jwks, JwtAuthenticator, StandardRules
from tellwire.errors import ConfigError, KeysUnavailable, TokenInvalid
from tellwire.limits import JWKS_MAX_AGE_SECONDS, JWKS_PENALTY_SECONDS
from tellwire.testing import FakeClock

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
URL = "https://issuer.example/jwks.json"


def rsa_jwk(kid: str, **more: Any) -> dict[str, Any]:
    return dict(json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key()))) | {"kid": kid} | more


def ec_jwk(kid: str) -> dict[str, Any]:
    return dict(json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key()))) | {"kid": kid}


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


class Provider:
    """An identity provider whose key set can change, fail, and be slow."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.fetches = 0
        self.failing = False
        self.gate: asyncio.Event | None = None

    async def fetch(self, url: str) -> bytes:
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failing:
            raise OSError("no route to host")
        return document(*self.keys)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def header(kid: Any, alg: str = "RS256") -> dict[str, Any]:
    return {"kid": kid, "alg": alg}


async def test_rs256_and_es256_tokens_are_verified_with_an_inline_set(clock: FakeClock) -> None:
    keys = Jwks(inline=document(rsa_jwk("r"), ec_jwk("e")))
    authenticator = JwtAuthenticator(keys, StandardRules(), clock)
    claims = {"sub": "user-1", "exp": clock.now() + 60}
    for private, algorithm, kid in ((RSA_KEY, "RS256", "r"), (EC_KEY, "ES256", "e")):
        signed = jwt.encode(claims, private, algorithm, {"kid": kid})
        assert (await authenticator.authenticate(signed)).user_id == "user-1"


async def test_a_key_works_with_its_own_algorithm_only() -> None:
    keys = Jwks(inline=document(rsa_jwk("r"), ec_jwk("e")))
    for bad in (header("r", "ES256"), header("e", "RS256"), header("r", "HS256"), header("r", "PS256"), {"kid": "r"}):
        with pytest.raises(TokenInvalid):
            await keys.key_for(bad)


@pytest.mark.parametrize("kid", [None, 5, ["r"], {"a": 1}])
async def test_a_token_must_name_its_key(kid: Any) -> None:
    with pytest.raises(TokenInvalid, match="names no key"):
        await Jwks(inline=document(rsa_jwk("r"))).key_for(header(kid))


async def test_keys_that_a_token_brings_along_are_ignored(clock: FakeClock) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key()))
    provider = Provider(rsa_jwk("r"))
    authenticator = JwtAuthenticator(Jwks(URL, clock=clock, fetch=provider.fetch), StandardRules(), clock)
    brought = {"kid": "r", "jwk": public, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5u"}
    with pytest.raises(TokenInvalid, match="signature"):
        await authenticator.authenticate(jwt.encode({"sub": "u", "exp": clock.now() + 60}, stranger, "RS256", brought))


async def test_the_set_is_fetched_on_first_use_and_then_kept(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    assert provider.fetches == 0
    for _ in range(5):
        await keys.key_for(header("r"))
    assert provider.fetches == 1


async def test_a_rotated_key_is_found_by_one_more_fetch(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("old"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    await keys.key_for(header("old"))
    provider.keys = [rsa_jwk("new")]
    await clock.advance(JWKS_PENALTY_SECONDS)
    assert await keys.key_for(header("new"))
    assert provider.fetches == 2


async def test_random_key_ids_cannot_flood_the_provider(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    for number in range(50):
        with pytest.raises(TokenInvalid, match="not in the key set"):
            await keys.key_for(header(f"random-{number}"))
    assert provider.fetches == 1
    await clock.advance(JWKS_PENALTY_SECONDS)
    with pytest.raises(TokenInvalid):
        await keys.key_for(header("random"))
    assert provider.fetches == 2


async def test_callers_at_the_same_time_share_one_fetch(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    provider.gate = asyncio.Event()
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    callers = [asyncio.create_task(keys.key_for(header("r"))) for _ in range(20)]
    await asyncio.sleep(0)
    callers[0].cancel()  # The caller that started the fetch disconnects; the others still get their key.
    provider.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert provider.fetches == 1
    assert sum(isinstance(result, tuple) for result in results) == 19


async def test_a_provider_that_is_down_is_tried_twice_and_then_left_alone(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider(rsa_jwk("r"))
    provider.failing = True
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    with caplog.at_level(logging.WARNING, "tellwire.auth"):
        for _ in range(5):
            with pytest.raises(KeysUnavailable):
                await keys.key_for(header("r"))
    assert provider.fetches == 2
    assert len(caplog.records) == 1
    provider.failing = False
    await clock.advance(JWKS_PENALTY_SECONDS)
    assert await keys.key_for(header("r"))


async def test_keys_we_have_outlive_a_provider_that_is_down(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    await keys.key_for(header("r"))
    provider.failing = True
    await clock.advance(JWKS_MAX_AGE_SECONDS + 1)
    assert await keys.key_for(header("r"))
    assert provider.fetches == 3


async def test_a_withdrawn_key_stops_working_once_the_set_is_old(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    await keys.key_for(header("r"))
    provider.keys = [rsa_jwk("s")]
    await clock.advance(JWKS_MAX_AGE_SECONDS + 1)
    with pytest.raises(TokenInvalid):
        await keys.key_for(header("r"))


@pytest.mark.parametrize("answer", [b"<html>maintenance</html>", b'{"keys":["\xff"]}', b"[" * 100_000])
async def test_an_answer_that_is_no_key_set_counts_as_unavailable(clock: FakeClock, answer: bytes) -> None:
    async def fetch(url: str) -> bytes:
        return answer

    keys = Jwks(URL, clock=clock, fetch=fetch)
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            await keys.key_for(header("r"))


def test_keys_for_other_uses_are_passed_over() -> None:
    others: list[Any] = [
        None,
        {"kty": []},
        rsa_jwk("enc", use="enc"),
        rsa_jwk("ps", alg="PS256"),
        {"kty": "oct", "kid": "secret", "k": "AAAA"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
    ]
    with pytest.raises(ConfigError, match="no usable key"):
        Jwks(inline=document(*others))
    Jwks(inline=document(*others, rsa_jwk("good", use="sig", alg="RS256")))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": 5}', '{"keys": []}', '{"keys": [5]}', "nonsense"])
def test_what_is_no_key_set_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="JWKS"):
        Jwks(inline=text)


@pytest.mark.parametrize(
    "url", ["http://issuer.example/jwks", "ftp://x", "issuer.example", "", "http://127.evil.example/"]
)
def test_keys_come_over_https_only(url: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        Jwks(url)


def test_plain_http_is_for_loopback() -> None:
    Jwks("http://127.0.0.1:9000/jwks.json")
