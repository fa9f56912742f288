"""The cache of verified tokens."""

import pytest

from tellwire.auth import TokenCache
from tellwire.errors import TokenInvalid
from tellwire.limits import JWKS_MAX_AGE_SECONDS
from tellwire.model import Identity, TokenStamp
from tellwire.testing import FakeClock


class Counting:
    """An authenticator that accepts every token except "bad", and counts its calls. It knows no key for "far" ones."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[str] = []
        self.renewals = 0
        self.trusted = {"old", "new"}
        self.ttl_seconds = 60.0
        self.must_renew = False
        self.quick: set[str] = set()

    def authenticate_at_once(self, token: str) -> Identity | None:
        return None if token.startswith("far") else self._verified(token)

    async def authenticate(self, token: str) -> Identity:
        return self._verified(token)

    def _verified(self, token: str) -> Identity:
        self.calls.append(token)
        if token == "bad":
            raise TokenInvalid("it is bad")
        stamp = TokenStamp("old" if token.startswith("old") else "new")
        return Identity(token, self.clock.now() + self.ttl_seconds, {"sub": token}, stamp)

    async def renew(self) -> None:
        self.renewals += 1

    def trusts(self, name: str) -> bool:
        return name in self.trusted

    def is_quick(self, name: str) -> bool:
        return name in self.quick


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_a_token_is_verified_once(clock: FakeClock) -> None:
    counting = Counting(clock)
    cache = TokenCache(counting, clock)
    assert [(await cache.authenticate("a")).user_id for _ in range(3)] == ["a"] * 3
    assert counting.calls == ["a"]


async def test_and_again_when_it_has_expired(clock: FakeClock) -> None:
    counting = Counting(clock)
    cache = TokenCache(counting, clock)
    await cache.authenticate("a")
    await clock.advance(60)
    await cache.authenticate("a")
    assert counting.calls == ["a", "a"]


async def test_refusals_are_not_remembered(clock: FakeClock) -> None:
    counting = Counting(clock)
    cache = TokenCache(counting, clock)
    for _ in range(2):
        with pytest.raises(TokenInvalid):
            await cache.authenticate("bad")
    assert len(counting.calls) == 2


async def test_it_forgets_the_oldest_when_full(clock: FakeClock) -> None:
    counting = Counting(clock)
    cache = TokenCache(counting, clock, max_tokens=2)
    for token in ("a", "b", "c", "c", "a"):
        await cache.authenticate(token)
    assert counting.calls == ["a", "b", "c", "a"]


async def test_it_does_not_hold_the_tokens_themselves(clock: FakeClock) -> None:
    cache = TokenCache(Counting(clock), clock)
    await cache.authenticate("a-very-secret-token")
    assert b"a-very-secret-token" not in b"".join(cache._entries)


async def test_a_token_of_a_key_that_was_withdrawn_is_verified_again(clock: FakeClock) -> None:
    counting = Counting(clock)
    cache = TokenCache(counting, clock)
    for token in ("old-1", "new-1"):
        await cache.authenticate(token)
    counting.trusted = {"new"}
    for token in ("old-1", "new-1"):
        await cache.authenticate(token)
    assert counting.calls == ["old-1", "new-1", "old-1"]


async def test_every_look_into_the_cache_lets_the_keys_be_renewed(clock: FakeClock) -> None:
    counting = Counting(clock)
    cache = TokenCache(counting, clock)
    for _ in range(3):
        await cache.authenticate("a")
    assert counting.renewals == 3


async def test_an_entry_is_not_older_than_a_key_set_may_be(clock: FakeClock) -> None:
    counting = Counting(clock)
    counting.ttl_seconds = 10 * 365 * 86_400.0
    cache = TokenCache(counting, clock)
    await cache.authenticate("a")
    await clock.advance(JWKS_MAX_AGE_SECONDS + 1)
    await cache.authenticate("a")
    assert counting.calls == ["a", "a"]


async def test_it_is_bounded_in_bytes(clock: FakeClock) -> None:
    counting = Counting(clock)
    cache = TokenCache(counting, clock, max_bytes=100_000)
    for number in range(200):
        await cache.authenticate(f"{number}" + "x" * 5000)
    assert 50_000 < cache.size_bytes <= 100_000
    assert len(cache._entries) < 20


async def test_signatures_of_one_token_take_one_entry(clock: FakeClock) -> None:
    # An ECDSA signature has a twin that is as good, and each PyJWT has its own idea of what else is.
    cache = TokenCache(Counting(clock), clock)
    for number in range(50):
        await cache.authenticate(f"head.claims.signature{number}")
    assert len(cache._entries) == 1


async def test_a_token_that_is_verified_quickly_is_not_kept(clock: FakeClock) -> None:
    counting = Counting(clock)
    counting.quick = {"new"}
    cache = TokenCache(counting, clock)
    for token in ("new-1", "old-1", "new-1", "old-1"):
        assert (await cache.authenticate(token)).user_id == token
    assert counting.calls == ["new-1", "old-1", "new-1"]
    assert len(cache._entries) == 1


async def test_nothing_is_waited_for_where_the_keys_are_at_hand(clock: FakeClock) -> None:
    counting = Counting(clock)
    cache = TokenCache(counting, clock)
    first, second = cache.authenticate_at_once("a"), cache.authenticate_at_once("a")
    assert first is not None
    assert first is second
    assert await cache.authenticate("a") is first
    assert counting.calls == ["a"]
    with pytest.raises(TokenInvalid):
        cache.authenticate_at_once("bad")


async def test_a_token_without_a_key_at_hand_is_waited_for_and_then_known(clock: FakeClock) -> None:
    cache = TokenCache(Counting(clock), clock)
    assert cache.authenticate_at_once("far") is None
    identity = await cache.authenticate("far")
    assert cache.authenticate_at_once("far") is identity


async def test_keys_that_are_too_old_are_waited_for_also_if_the_token_is_known(clock: FakeClock) -> None:
    counting = Counting(clock)
    cache = TokenCache(counting, clock)
    cache.authenticate_at_once("a")
    counting.must_renew = True
    assert cache.authenticate_at_once("a") is None
    counting.must_renew = False
    assert cache.authenticate_at_once("a") is not None
