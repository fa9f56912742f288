"""The facts of a Redis for an operator: its answer to INFO, whether it makes snapshots, and the time of a PING."""

import asyncio
import time
from statistics import median
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from tellwire.errors import ConfigError

_PINGS: Final = 20
_SECONDS: Final = 20.0
_CALL_SECONDS: Final = 5.0


async def facts_of(url: str) -> tuple[dict[str, Any], float]:
    """Return the facts, with `save_is_set`, and the median time of a PING in seconds.

    Raises:
        ConfigError: it cannot be asked. The text has no URL, which may hold a password.
    """
    try:
        client = Redis.from_url(url, socket_timeout=_CALL_SECONDS, socket_connect_timeout=_CALL_SECONDS)
    except ValueError as error:
        raise ConfigError("it cannot be asked at an address of this kind") from error
    try:
        async with asyncio.timeout(_SECONDS):
            return await _facts(client), await _ping_seconds(client)
    except (RedisError, OSError, TimeoutError) as error:
        raise ConfigError(f"it cannot be asked: {str(error)[:200] or type(error).__name__}") from error
    finally:
        await client.aclose()


async def _facts(client: Any) -> dict[str, Any]:
    facts = dict(await client.info("everything"))
    try:
        facts["save_is_set"] = bool((await client.config_get("save")).get("save"))
    except ResponseError:  # a service that allows no CONFIG
        facts["save_is_set"] = True
    return facts


async def _ping_seconds(client: Any) -> float:
    times = []
    for _ in range(_PINGS):
        began_at = time.perf_counter()
        await client.ping()
        times.append(time.perf_counter() - began_at)
    return median(times)
