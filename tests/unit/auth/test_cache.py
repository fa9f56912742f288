"""The cache of verified tokens."""

import pytest

from tellwire.auth import TokenCache
from tellwire.errors import TokenInvalid
from tellwire.model import Identity
from tellwire.testing import FakeClock


class Counting:
    """An authenticator that accepts every token except "bad", and counts its calls."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[str] = []

    async def authenticate(self, token: str) -> Identity:
        self.calls.append(token)
        if token == "bad":
            raise TokenInvalid("it is bad")
        return Identity(token, self.clock.now() + 60)


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
    assert b"a-very-secret-token" not in b"".join(cache._identities)
