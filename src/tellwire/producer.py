"""The carrier of producers: chosen by the environment, once per process."""

import functools
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tellwire.api_keys import producer_key, secret_in
from tellwire.errors import CannotRunHere, ConfigError, shown
from tellwire.limits import MAX_PUBLISH_TIMEOUT_SECONDS, MAX_WAIT_REPLICAS, PUBLISH_TIMEOUT_SECONDS
from tellwire.ports import Carrier

if TYPE_CHECKING:
    from tellwire.engines.redis.producer import RedisProducer

_URL: Final = "TELLWIRE_URL"
_REDIS_NAMES: Final = ("TELLWIRE_REDIS_URL", "TELLWIRE_REDIS_URL_FILE")
_AWS_NAMES: Final = ("CONNECTIONS_TABLE_NAME", "WEBSOCKET_API_ENDPOINT")


def carrier_from_environment(environ: Mapping[str, str]) -> Carrier:
    """Return the carrier that the environment asks for.

    `TELLWIRE_DISABLED=1`: every publish succeeds and goes nowhere, whatever else is set.
    `TELLWIRE_URL` (with `TELLWIRE_API_KEY`, or `TELLWIRE_API_KEY_FILE`): publish to a gateway;
    `TELLWIRE_TIMEOUT_SECONDS` is the time of one publish.
    `TELLWIRE_REDIS_URL` (or `TELLWIRE_REDIS_URL_FILE`), with `TELLWIRE_REDIS_PREFIX` and `TELLWIRE_REDIS_WAIT_REPLICAS`
    as the nodes have them: publish through Redis, without a gateway; beside `TELLWIRE_URL` they are not used.
    `CONNECTIONS_TABLE_NAME` and `WEBSOCKET_API_ENDPOINT`: send through API Gateway to the connections in a DynamoDB
    table; with `HISTORY_TABLE_NAME`, keep messages for users in another table, for devices that are away.

    Raises:
        ConfigError: the environment names none of these ways, or several.
        CannotRunHere: Redis is used for the first time in an exit handler.
    """
    if _is_disabled(environ):
        from tellwire.carriers.nowhere import NowhereCarrier

        return NowhereCarrier()
    ways = _ways(environ)
    match list(ways):
        case ["TELLWIRE_URL"]:
            from tellwire.carriers.http import HttpCarrier

            return HttpCarrier(ways[_URL], api_key_from_environment(environ), _timeout_seconds(environ))
        case ["TELLWIRE_REDIS_URL" | "TELLWIRE_REDIS_URL_FILE"]:
            return redis_producer(environ, _timeout_seconds(environ))
        case ["CONNECTIONS_TABLE_NAME", "WEBSOCKET_API_ENDPOINT"]:
            return _on_aws(environ)
        case []:
            raise ConfigError(
                "no gateway to publish to: set TELLWIRE_URL, such as http://127.0.0.1:8787, "
                f"or {_REDIS_NAMES[0]} beside nodes on Redis, or on AWS {' and '.join(_AWS_NAMES)}; "
                "TELLWIRE_DISABLED=1 publishes nowhere"
            )
        case [one] if one in _AWS_NAMES:
            missing = next(name for name in _AWS_NAMES if name != one)
            raise ConfigError(f"{missing}: not set, and {one} is; allowed: both, or TELLWIRE_URL")
        case ["TELLWIRE_REDIS_URL", "TELLWIRE_REDIS_URL_FILE"] as names:
            raise ConfigError(f"{' and '.join(names)}: got both; allowed: one of them")
        case names:
            raise ConfigError(f"engine: got {' and '.join(names)}; allowed: one of the ways to publish")


def _ways(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are set and name a way to publish."""
    ways = {name: environ.get(name, "").strip() for name in (_URL, *_REDIS_NAMES, *_AWS_NAMES)}
    if ways[_URL]:
        # Nodes and producers often have one environment, and a node needs Redis's address.
        ways |= dict.fromkeys(_REDIS_NAMES, "")
    return {name: value for name, value in ways.items() if value}


def _is_disabled(environ: Mapping[str, str]) -> bool:
    given = environ.get("TELLWIRE_DISABLED", "")
    match given.strip().lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "" | "0" | "false" | "no" | "off":
            return False
        case _:
            raise ConfigError(f"TELLWIRE_DISABLED: got {shown(given)}; allowed: 1 or 0")


def _timeout_seconds(environ: Mapping[str, str]) -> float:
    given = environ.get("TELLWIRE_TIMEOUT_SECONDS", "").strip()
    try:
        seconds = float(given) if given else PUBLISH_TIMEOUT_SECONDS
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_PUBLISH_TIMEOUT_SECONDS:
        allowed = f"a number of seconds above 0, and at most {MAX_PUBLISH_TIMEOUT_SECONDS:,}"
        raise ConfigError(f"TELLWIRE_TIMEOUT_SECONDS: got {shown(given)}; allowed: {allowed}")
    return seconds


def _wait_replicas(environ: Mapping[str, str]) -> int:
    given = environ.get("TELLWIRE_REDIS_WAIT_REPLICAS", "").strip()
    try:
        count = int(given or 0)
    except ValueError:
        count = -1
    if not 0 <= count <= MAX_WAIT_REPLICAS:
        allowed = f"a whole number from 0 to {MAX_WAIT_REPLICAS}"
        raise ConfigError(f"TELLWIRE_REDIS_WAIT_REPLICAS: got {shown(given)}; allowed: {allowed}")
    return count


def api_key_from_environment(environ: Mapping[str, str]) -> str | None:
    """Return the key in `TELLWIRE_API_KEY`, or in the file that `TELLWIRE_API_KEY_FILE` names; None: neither is set.

    Raises:
        ConfigError: both are set, the file cannot be read, or there is no key for publishing.
    """
    given, path = (environ.get(name, "").strip() for name in ("TELLWIRE_API_KEY", "TELLWIRE_API_KEY_FILE"))
    if given and path:
        raise ConfigError("TELLWIRE_API_KEY and TELLWIRE_API_KEY_FILE: got both; allowed: one of them")
    if path:
        return producer_key(secret_in(path, "TELLWIRE_API_KEY_FILE"), "TELLWIRE_API_KEY_FILE")
    return producer_key(given) if given else None


def publishes_through_redis(environ: Mapping[str, str]) -> bool:
    """Return True if the environment names a Redis, and no gateway."""
    return not environ.get(_URL, "").strip() and any(environ.get(name, "").strip() for name in _REDIS_NAMES)


def redis_producer(environ: Mapping[str, str], timeout_seconds: float) -> "RedisProducer":
    """Return a carrier that publishes through the Redis that the environment names.

    Raises:
        ConfigError: the address, or another setting of it, is not valid.
        CannotRunHere: it is used for the first time in an exit handler.
    """
    try:
        from tellwire.engines.redis.producer import RedisProducer
    except RuntimeError as error:
        # It imports the thread pools of the standard library, which Python refuses in an exit handler.
        raise CannotRunHere("an exit handler cannot import the package redis: publish before, or import it") from error

    url, path = (environ.get(name, "").strip() for name in _REDIS_NAMES)
    return RedisProducer(
        url or secret_in(path, "TELLWIRE_REDIS_URL_FILE"),
        prefix=environ.get("TELLWIRE_REDIS_PREFIX", "").strip() or "tellwire",
        wait_replicas=_wait_replicas(environ),
        timeout_seconds=timeout_seconds,
    )


def _on_aws(environ: Mapping[str, str]) -> Carrier:
    from tellwire.broker import BrokerCarrier
    from tellwire.engines.aws.engine import aws_engine

    engine = aws_engine(environ)
    return BrokerCarrier(engine.broker, engine.carrier)


@functools.cache
def _carrier_of_process(process_id: int) -> Carrier:
    return carrier_from_environment(os.environ)


def default_carrier() -> Carrier:
    """Return this process's carrier. A forked child makes its own."""
    return _carrier_of_process(os.getpid())


def forget_carrier() -> None:
    """Forget the carrier of this process: the environment has changed in a test, and the next publish reads it."""
    _carrier_of_process.cache_clear()
