"""The fitness of a Redis for the engine, by the facts that it tells of itself. Pure."""

from collections.abc import Mapping
from typing import Final

from tellwire.engines.redis.link.address import Kind
from tellwire.errors import ConfigError

_OLDEST: Final = 7


def require_fitness(facts: Mapping[str, str], kind: Kind) -> list[str]:
    """Return warnings. `facts` are the fields of `INFO`, and `sharded`.

    Raises:
        ConfigError: the engine cannot work with it.
    """
    version = facts.get("redis_version", "")
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < _OLDEST:
        raise _unfit(f"Redis {version}", f"{_OLDEST}.0 or newer")
    if facts.get("sharded") == "no":
        raise _unfit(f"a server of version {version} without sharded pub/sub (SPUBLISH)", "Redis 7.0 or newer")
    is_cluster = facts.get("redis_mode") == "cluster"
    if is_cluster and kind != "cluster":
        raise _unfit("a node of a Redis Cluster", "an address that begins with redis+cluster://")
    if kind == "cluster" and not is_cluster:
        raise _unfit("a Redis that is no cluster", "an address that begins with redis://")
    if facts.get("role", "master") != "master" and kind != "cluster":
        raise _unfit("a replica, which takes no writes", "the address of its master, or redis+sentinel:// to find it")
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("maxmemory", "0") != "0" and policy != "noeviction":
        return [
            f"Redis has maxmemory-policy {policy}: when its memory is full it deletes histories, and devices miss "
            "messages; with noeviction, publishes are refused until there is room"
        ]
    return []


def _unfit(given: str, needed: str) -> ConfigError:
    return ConfigError(f"TELLWIRE_REDIS_URL: got {given}; needed: {needed}")
