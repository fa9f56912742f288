"""The Redis of the engine `redis`: its version, whether it keeps its data, and how far away it is."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

from tellwire.cli.doctor.findings import Finding, error, ok, warning
from tellwire.errors import ConfigError

_SLOW_SECONDS: Final = 0.005
_OLDEST: Final = (7, 0)


def redis_findings(facts: Mapping[str, Any], ping_seconds: float) -> Iterator[Finding]:
    """Look at the answer to INFO, and the time of a PING."""
    version = str(facts.get("redis_version", "unknown"))
    numbers = tuple(int(each) for each in version.split(".")[:2] if each.isdecimal())
    if numbers < _OLDEST:
        yield error("redis version", version, "Use Redis 7.0 or newer, or Valkey")
    else:
        yield ok("redis version", version)
    has_file, has_snapshots = facts.get("aof_enabled") == 1, facts.get("save_is_set", True)
    if has_file:
        yield ok("redis persistence", "appendonly is on")
    elif has_snapshots:
        found = "snapshots alone: a crash loses the last minutes, and clients are told that messages may be missing"
        yield warning("redis persistence", found, "CONFIG SET appendonly yes, and CONFIG REWRITE")
    else:
        found = "none: a restart loses all messages"
        yield warning("redis persistence", found, "CONFIG SET appendonly yes, and CONFIG REWRITE")
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("maxmemory", 0) and policy != "noeviction":
        found = f"{policy}: keys of streams are removed while they are needed"
        yield error("redis memory", found, "CONFIG SET maxmemory-policy noeviction")
    told = warning if ping_seconds > _SLOW_SECONDS else None
    found = f"a PING takes {ping_seconds * 1000:.1f} ms"
    yield ok("redis latency", found) if told is None else told("redis latency", found, "Put the gateway nearer to it")


async def check_redis(url: str) -> list[Finding]:
    """Ask a Redis, if its package is installed."""
    if "+" in url.partition(":")[0]:
        remedy = "Run doctor for one of its masters: TELLWIRE_REDIS_URL=redis://…"
        return [warning("redis", "a cluster, or one behind Sentinels, is not examined", remedy)]
    try:
        # By its name: only the engine needs the package.
        facts_of = import_module("tellwire.engines.redis.examining").facts_of
    except ModuleNotFoundError:
        return [error("redis", "the package redis is not installed", "pip install 'tellwire[redis]'")]
    try:
        facts, ping_seconds = await facts_of(url)
    except ConfigError as failed:
        return [error("redis", str(failed), "Start it, or set TELLWIRE_REDIS_URL to its address")]
    return list(redis_findings(facts, ping_seconds))
