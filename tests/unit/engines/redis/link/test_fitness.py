"""The fitness of a Redis, by the facts that it tells of itself."""

import pytest

from tellwire.engines.redis.link.address import Kind
from tellwire.engines.redis.link.fitness import require_fitness
from tellwire.errors import ConfigError

FIT = {"redis_version": "7.0.15", "redis_mode": "standalone", "role": "master", "maxmemory": "0", "sharded": "yes"}


@pytest.mark.parametrize(
    ("kind", "facts", "words"),
    [
        ("standalone", {"redis_version": "6.2.14"}, "got Redis 6.2.14; needed: 7.0 or newer"),
        ("standalone", {"sharded": "no"}, "without sharded pub/sub"),
        (
            "standalone",
            {"redis_mode": "cluster"},
            "node of a Redis Cluster; needed: an address that begins with redis\\+cluster",
        ),
        ("sentinel", {"redis_mode": "cluster"}, "got a node of a Redis Cluster"),
        ("cluster", {}, "got a Redis that is no cluster"),
        ("standalone", {"role": "slave"}, "got a replica"),
    ],
)
def test_an_unfit_redis_is_refused_in_words(kind: Kind, facts: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        require_fitness(FIT | facts, kind)


def test_a_fit_one_has_no_warnings() -> None:
    assert require_fitness(FIT, "standalone") == []
    assert require_fitness(FIT | {"redis_mode": "cluster", "role": "slave"}, "cluster") == []
    assert require_fitness(FIT | {"redis_version": "8.2.0"}, "sentinel") == []


def test_one_that_deletes_keys_when_it_is_full_is_warned_of() -> None:
    (words,) = require_fitness(FIT | {"maxmemory": "100", "maxmemory_policy": "allkeys-lru"}, "standalone")
    assert "allkeys-lru" in words
    # It expires keys that have a time to live, and all of ours have one.
    assert require_fitness(FIT | {"maxmemory": "100", "maxmemory_policy": "volatile-lru"}, "standalone")
    assert require_fitness(FIT | {"maxmemory": "100", "maxmemory_policy": "noeviction"}, "standalone") == []
    assert require_fitness(FIT | {"maxmemory": "0", "maxmemory_policy": "allkeys-lru"}, "standalone") == []
