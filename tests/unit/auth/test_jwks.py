"""Key sets: usable keys, and the times of fetches."""

import asyncio
import contextlib
import gzip
import json
import logging
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tellwire.auth import Jwks, JwtAuthenticator, Key, StandardRules, TokenCache, Trust
from tellwire.auth.jwks import fetch_over_http
from tellwire.errors import ConfigError, KeysUnavailable, TokenInvalid
from tellwire.http_client import HttpFailed
from tellwire.limits import JWKS_MAX_AGE_SECONDS, JWKS_MAX_BYTES, JWKS_PENALTY_SECONDS, MAX_KEYS_IN_SET, MAX_KEYS_TRIED
from tellwire.testing import FakeClock

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
URL = "https://issuer.example/jwks.json"


def rsa_jwk(kid: str, **more: Any) -> dict[str, Any]:
    return dict(json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key()))) | {"kid": kid} | more


def ec_jwk(kid: str) -> dict[str, Any]:
    return dict(json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key()))) | {"kid": kid}


async def key_for(keys: Jwks, header: dict[str, Any]) -> Key | None:
    """The first key that a token with this header is tried with, as the authenticator asks for it."""
    await keys.renew()
    found = keys.known(header)
    if not found and await keys.fetch(header):
        found = keys.known(header)
    return found[0] if found else None


def authenticator(keys: Jwks, clock: FakeClock) -> JwtAuthenticator:
    return JwtAuthenticator([Trust(keys, StandardRules())], clock)


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
    verifier = authenticator(keys, clock)
    claims = {"sub": "user-1", "exp": clock.now() + 60}
    for private, algorithm, kid in ((RSA_KEY, "RS256", "r"), (EC_KEY, "ES256", "e")):
        signed = jwt.encode(claims, private, algorithm, {"kid": kid})
        assert (await verifier.authenticate(signed)).user_id == "user-1"


async def test_a_key_works_with_its_own_algorithm_only() -> None:
    keys = Jwks(inline=document(rsa_jwk("r", alg="RS256"), ec_jwk("e")))
    for bad in (header("r", "ES256"), header("e", "RS256"), header("r", "HS256"), header("r", "PS256"), {"kid": "r"}):
        assert await key_for(keys, bad) is None


async def test_keys_that_a_token_brings_along_are_ignored(clock: FakeClock) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key()))
    provider = Provider(rsa_jwk("r"))
    verifier = authenticator(Jwks(URL, clock=clock, fetch=provider.fetch), clock)
    brought = {"kid": "r", "jwk": public, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5u"}
    with pytest.raises(TokenInvalid, match="signature"):
        await verifier.authenticate(jwt.encode({"sub": "u", "exp": clock.now() + 60}, stranger, "RS256", brought))


async def test_the_set_is_fetched_on_first_use_and_then_kept(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    assert provider.fetches == 0
    for _ in range(5):
        await key_for(keys, header("r"))
    assert provider.fetches == 1


async def test_a_rotated_key_is_found_by_one_more_fetch(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("old"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    await key_for(keys, header("old"))
    provider.keys = [rsa_jwk("new")]
    await clock.advance(JWKS_PENALTY_SECONDS)
    assert await key_for(keys, header("new"))
    assert provider.fetches == 2


async def test_random_key_ids_cannot_flood_the_provider(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    for number in range(50):
        assert await key_for(keys, header(f"random-{number}")) is None
    assert provider.fetches == 1
    await clock.advance(JWKS_PENALTY_SECONDS)
    assert await key_for(keys, header("random")) is None
    assert provider.fetches == 2


async def test_callers_at_the_same_time_share_one_fetch(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    provider.gate = asyncio.Event()
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    callers = [asyncio.create_task(key_for(keys, header("r"))) for _ in range(20)]
    await asyncio.sleep(0)
    callers[0].cancel()  # The caller that started the fetch disconnects; the others still get their key.
    provider.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert provider.fetches == 1
    assert sum(isinstance(result, Key) for result in results) == 19


async def test_a_provider_that_is_down_is_tried_twice_and_then_left_alone(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider(rsa_jwk("r"))
    provider.failing = True
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    with caplog.at_level(logging.WARNING, "tellwire.auth"):
        for _ in range(5):
            with pytest.raises(KeysUnavailable):
                await key_for(keys, header("r"))
    assert provider.fetches == 2
    assert len(caplog.records) == 1
    provider.failing = False
    await clock.advance(JWKS_PENALTY_SECONDS)
    assert await key_for(keys, header("r"))


async def test_keys_we_have_outlive_a_provider_that_is_down(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    await key_for(keys, header("r"))
    provider.failing = True
    await clock.advance(JWKS_MAX_AGE_SECONDS + 1)
    assert await key_for(keys, header("r"))
    assert provider.fetches == 3


async def test_a_withdrawn_key_stops_working_once_the_set_is_old(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    await key_for(keys, header("r"))
    provider.keys = [rsa_jwk("s")]
    await clock.advance(JWKS_MAX_AGE_SECONDS + 1)
    assert await key_for(keys, header("r")) is None


@pytest.mark.parametrize("answer", [b"<html>maintenance</html>", b'{"keys":["\xff"]}', b"[" * 100_000])
async def test_an_answer_that_is_no_key_set_counts_as_unavailable(clock: FakeClock, answer: bytes) -> None:
    async def fetch(url: str) -> bytes:
        return answer

    keys = Jwks(URL, clock=clock, fetch=fetch)
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            await key_for(keys, header("r"))


def test_keys_for_other_uses_are_passed_over() -> None:
    others: list[Any] = [
        None,
        {"kty": []},
        rsa_jwk("enc", use="enc"),
        rsa_jwk("es", alg="ES256"),
        rsa_jwk("private", d="x"),
        {"kty": "oct", "kid": "secret", "k": "AAAA"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
    ]
    with pytest.raises(ConfigError, match="no usable key"):
        Jwks(inline=document(*others))
    Jwks(inline=document(*others, rsa_jwk("good", use="sig", alg="RS256")))


def test_a_coordinate_has_the_length_of_its_curve() -> None:
    for name in ("x", "y"):
        longer = ec_jwk("e")
        longer[name] = jwt.utils.base64url_encode(b"\0" + jwt.utils.base64url_decode(longer[name])).decode()
        with pytest.raises(ConfigError, match="key 'e': it cannot be read"):
            Jwks(inline=document(longer))


async def test_a_token_is_waited_for_while_its_keys_are_too_old_or_unknown(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("r"))
    verifier = authenticator(Jwks(URL, clock=clock, fetch=provider.fetch), clock)
    token = long_lived(clock, RSA_KEY, "r")
    assert verifier.authenticate_at_once(token) is None
    identity = await verifier.authenticate(token)
    assert verifier.authenticate_at_once(token) == identity
    await clock.advance(JWKS_MAX_AGE_SECONDS + 1)
    assert verifier.authenticate_at_once(token) is None
    assert provider.fetches == 1


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


def test_the_query_of_an_address_is_not_quoted() -> None:
    with pytest.raises(ConfigError, match=r"got 'http://issuer\.example/jwks'; allowed: an https") as caught:
        Jwks("http://issuer.example/jwks?code=secret")
    assert "secret" not in str(caught.value)


def test_plain_http_is_for_loopback() -> None:
    Jwks("http://127.0.0.1:9000/jwks.json")


# --- kinds of keys ----------------------------------------------------------------------------------------------------

P384 = ec.generate_private_key(ec.SECP384R1())
P521 = ec.generate_private_key(ec.SECP521R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
ED448_KEY = ed448.Ed448PrivateKey.generate()
SIGNERS: dict[str, Any] = {
    **dict.fromkeys(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], RSA_KEY),
    "ES256": EC_KEY,
    "ES384": P384,
    "ES512": P521,
    "EdDSA": ED25519,
}


def jwk_of(private: Any, **more: Any) -> dict[str, Any]:
    of_kind = next(
        algorithm
        for algorithm in (jwt.algorithms.RSAAlgorithm, jwt.algorithms.ECAlgorithm, jwt.algorithms.OKPAlgorithm)
        if algorithm.to_jwk.__qualname__ and _fits(algorithm, private)
    )
    return dict(json.loads(of_kind.to_jwk(private.public_key()))) | more


def _fits(algorithm: Any, private: Any) -> bool:
    kinds = {
        jwt.algorithms.RSAAlgorithm: rsa.RSAPrivateKey,
        jwt.algorithms.ECAlgorithm: ec.EllipticCurvePrivateKey,
    }
    return isinstance(private, kinds.get(algorithm, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey))


def signed(clock: FakeClock, private: Any, algorithm: str, kid: str | None = None) -> str:
    claims = {"sub": "user-1", "exp": clock.now() + 60}
    return jwt.encode(claims, private, algorithm, None if kid is None else {"kid": kid})


@pytest.mark.parametrize("algorithm", SIGNERS)
@pytest.mark.parametrize("kid", ["k", None])
async def test_every_usual_algorithm_is_verified_with_and_without_a_kid(
    clock: FakeClock, algorithm: str, kid: str | None
) -> None:
    private = SIGNERS[algorithm]
    named = {} if kid is None else {"kid": kid}
    keys = Jwks(inline=document(jwk_of(private, **named), jwk_of(ec.generate_private_key(ec.SECP256R1()))))
    assert (await authenticator(keys, clock).authenticate(signed(clock, private, algorithm, kid))).user_id == "user-1"


async def test_ed448_is_eddsa_too(clock: FakeClock) -> None:
    keys = Jwks(inline=document(jwk_of(ED448_KEY, alg="Ed448")))
    await authenticator(keys, clock).authenticate(signed(clock, ED448_KEY, "EdDSA"))


async def test_a_set_without_kids_works_whichever_key_has_signed(clock: FakeClock) -> None:
    several = [rsa.generate_private_key(65537, 2048) for _ in range(3)]
    keys = Jwks(inline=document(*map(jwk_of, several)))
    for private in several:
        for kid in (None, "a kid that the set does not tell"):
            await authenticator(keys, clock).authenticate(signed(clock, private, "RS256", kid))


async def test_a_token_without_a_kid_is_tried_with_few_keys_only() -> None:
    keys = Jwks(inline=document(*[ec_jwk(f"k{number}") for number in range(MAX_KEYS_IN_SET + 5)]))
    assert len(keys.known({"alg": "ES256"})) == MAX_KEYS_TRIED
    assert len(keys._keys) == MAX_KEYS_IN_SET


async def test_two_keys_of_one_kid_are_both_tried(clock: FakeClock) -> None:
    other = rsa.generate_private_key(65537, 2048)
    keys = Jwks(inline=document(jwk_of(RSA_KEY, kid="k"), jwk_of(other, kid="k"), jwk_of(EC_KEY, kid="k")))
    for private, algorithm in ((RSA_KEY, "RS256"), (other, "RS256"), (EC_KEY, "ES256")):
        await authenticator(keys, clock).authenticate(signed(clock, private, algorithm, "k"))


async def test_a_weak_rsa_key_is_skipped_and_told(caplog: pytest.LogCaptureFixture) -> None:
    weak = jwk_of(rsa.generate_private_key(65537, 1024), kid="weak")
    with pytest.raises(ConfigError, match=r"key 'weak': RSA with 1,024 bits"):
        Jwks(inline=document(weak))
    keys = Jwks(inline=document(weak, rsa_jwk("strong")))
    assert "RSA with 1,024 bits" in caplog.text
    assert await key_for(keys, header("weak")) is None


async def test_a_key_that_was_replaced_under_its_kid_is_found(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("1"))
    verifier = authenticator(Jwks(URL, clock=clock, fetch=provider.fetch), clock)
    await verifier.authenticate(signed(clock, RSA_KEY, "RS256", "1"))
    other = rsa.generate_private_key(65537, 2048)
    provider.keys = [jwk_of(other, kid="1")]
    await clock.advance(JWKS_PENALTY_SECONDS)
    await verifier.authenticate(signed(clock, other, "RS256", "1"))
    assert provider.fetches == 2


# --- withdrawn keys, and steps of the clock ---------------------------------------------------------------------------


def long_lived(clock: FakeClock, private: Any, kid: str) -> str:
    return jwt.encode({"sub": "user-1", "exp": clock.now() + 10 * 365 * 86_400}, private, "RS256", {"kid": kid})


async def test_a_token_of_a_withdrawn_key_is_refused_although_it_was_used_before(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("leaked"))
    cache = TokenCache(authenticator(Jwks(URL, clock=clock, fetch=provider.fetch), clock), clock)
    token = long_lived(clock, RSA_KEY, "leaked")
    await cache.authenticate(token)
    provider.keys = [ec_jwk("new")]
    await clock.advance(JWKS_MAX_AGE_SECONDS + 1)
    with pytest.raises(TokenInvalid):
        await cache.authenticate(token)


@pytest.mark.parametrize("left", [[], [{"kty": "oct", "kid": "other", "k": "AAAA"}]])
async def test_a_set_whose_every_key_was_withdrawn_opens_nothing(
    clock: FakeClock, left: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider(rsa_jwk("leaked"))
    cache = TokenCache(authenticator(Jwks(f"{URL}?code=secret", clock=clock, fetch=provider.fetch), clock), clock)
    token = long_lived(clock, RSA_KEY, "leaked")
    await cache.authenticate(token)
    provider.keys = left
    await clock.advance(JWKS_MAX_AGE_SECONDS + 1)
    with pytest.raises(TokenInvalid):
        await cache.authenticate(token)
    assert "has no usable key" in caplog.text
    assert "code=secret" not in caplog.text
    provider.keys = [rsa_jwk("leaked")]
    await clock.advance(JWKS_PENALTY_SECONDS)
    await cache.authenticate(token)


async def test_it_is_refused_as_soon_as_the_key_set_was_fetched_for_another_token(clock: FakeClock) -> None:
    provider = Provider(rsa_jwk("leaked"))
    cache = TokenCache(authenticator(Jwks(URL, clock=clock, fetch=provider.fetch), clock), clock)
    token = long_lived(clock, RSA_KEY, "leaked")
    await cache.authenticate(token)
    provider.keys = [ec_jwk("new")]
    await clock.advance(JWKS_PENALTY_SECONDS)
    await cache.authenticate(signed(clock, EC_KEY, "ES256", "new"))
    with pytest.raises(TokenInvalid):
        await cache.authenticate(token)


@pytest.mark.parametrize("step", [-3600, -86_400, 86_400])
async def test_a_rotated_key_is_fetched_whatever_the_wall_clock_does(clock: FakeClock, step: float) -> None:
    provider = Provider(rsa_jwk("old"))
    keys = Jwks(URL, clock=clock, fetch=provider.fetch)
    await key_for(keys, header("old"))
    provider.keys = [rsa_jwk("new")]
    clock.step(step)
    await clock.advance(JWKS_PENALTY_SECONDS)
    assert await key_for(keys, header("new"))


async def test_a_provider_that_is_away_does_not_delay_the_tokens_of_another(clock: FakeClock) -> None:
    away, here = Provider(rsa_jwk("a")), Provider(ec_jwk("b"))
    away.failing = True
    sources = [Jwks(URL, clock=clock, fetch=each.fetch) for each in (away, here)]
    verifier = JwtAuthenticator([Trust(each, StandardRules()) for each in sources], clock)
    token = signed(clock, EC_KEY, "ES256", "b")
    await verifier.authenticate(token)
    fetches = away.fetches
    await clock.advance(JWKS_PENALTY_SECONDS)
    await verifier.authenticate(token)
    assert away.fetches == fetches
    with pytest.raises(KeysUnavailable):
        await verifier.authenticate(signed(clock, RSA_KEY, "RS256", "a"))


# --- a real server that serves too much -------------------------------------------------------------------------------


@asynccontextmanager
async def serving(head: bytes, chunks: Iterator[bytes]) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that answers everything with this, and the bytes that it has written."""
    written = [0]
    answering: list[asyncio.Task[Any] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + head + b"\r\n")
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                written[0] += len(chunk)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json", written
        await asyncio.wait([task for task in answering if task is not None], timeout=5)


async def test_a_key_set_without_end_is_not_read_to_its_end() -> None:
    chunks = (b" " * 65_536 for _ in range(4000))
    async with serving(b"", chunks) as (url, written):
        with pytest.raises(HttpFailed, match="over 262,144 bytes"):
            await fetch_over_http(url)
    assert written[0] < 40 * JWKS_MAX_BYTES


async def test_a_compressed_key_set_is_bounded_in_what_it_becomes() -> None:
    bomb = gzip.compress(b" " * 60_000_000)
    head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n" % len(bomb)
    async with serving(head, iter([bomb])) as (url, _):
        tracemalloc.start()
        try:
            with pytest.raises(HttpFailed, match="over 262,144 bytes"):
                await fetch_over_http(url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8_000_000


async def test_a_key_set_of_a_real_server_is_read() -> None:
    body = document(rsa_jwk("r"))
    async with serving(b"Content-Length: %d\r\n" % len(body), iter([body])) as (url, _):
        assert await fetch_over_http(url) == body
