"""The clock and the names of keys in tests of the Redis engine."""

import pytest

from tellwire.engines.redis.keys import Names
from tellwire.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def names(redis_prefix: str) -> Names:
    return Names(redis_prefix)
