"""The carrier of producers: chosen by the environment, once per process."""

import functools
import os
from collections.abc import Mapping
from typing import Final

from tellwire.errors import ConfigError
from tellwire.ports import Carrier

_AWS_NAMES: Final = ("CONNECTIONS_TABLE_NAME", "WEBSOCKET_API_ENDPOINT")


def carrier_from_environment(environ: Mapping[str, str]) -> Carrier:
    """Return the carrier that the environment asks for.

    `TELLWIRE_URL` (with `TELLWIRE_API_KEY`): publish to a gateway. `CONNECTIONS_TABLE_NAME` and
    `WEBSOCKET_API_ENDPOINT`: send through API Gateway to the connections in a DynamoDB table; with
    `HISTORY_TABLE_NAME`, keep messages for users in another table, for devices that are away.

    Raises:
        ConfigError: the environment names neither, or both.
    """
    has_url = bool(environ.get("TELLWIRE_URL", "").strip())
    match has_url, [name for name in _AWS_NAMES if environ.get(name, "").strip()]:
        case True, []:
            from tellwire.carriers.http import HttpCarrier

            return HttpCarrier(environ["TELLWIRE_URL"].strip(), environ.get("TELLWIRE_API_KEY", "").strip() or None)
        case False, [_, _]:
            return _on_aws(environ)
        case False, []:
            raise ConfigError(
                "no gateway to publish to: set TELLWIRE_URL, such as http://127.0.0.1:8787, "
                f"or on AWS {' and '.join(_AWS_NAMES)}"
            )
        case False, [one]:
            missing = next(name for name in _AWS_NAMES if name != one)
            raise ConfigError(f"{missing}: not set, and {one} is; allowed: both, or TELLWIRE_URL")
        case _, names:
            raise ConfigError(f"engine: got TELLWIRE_URL and {' and '.join(names)}; allowed: one of the two ways")


def _on_aws(environ: Mapping[str, str]) -> Carrier:
    from tellwire.broker import BrokerCarrier
    from tellwire.engines.aws.engine import aws_engine

    engine = aws_engine(environ)
    return BrokerCarrier(engine.broker, engine.carrier)


@functools.cache
def _carrier_of_process(process_id: int) -> Carrier:
    return carrier_from_environment(os.environ)


def default_carrier() -> Carrier:
    """Return this process's carrier. A child forked before the first publish makes its own; after it, `ConfigError`."""
    return _carrier_of_process(os.getpid())
