"""Which engine a producer uses: read from the environment, once per process."""

import functools
import os
from collections.abc import Mapping

from tellwire.errors import ConfigError
from tellwire.ports import Carrier


def carrier_from_environment(environ: Mapping[str, str]) -> Carrier:
    """Return the carrier that the environment asks for.

    `TELLWIRE_URL` (with `TELLWIRE_API_KEY`): publish to a gateway.

    Raises:
        ConfigError: the environment names none.
    """
    url = environ.get("TELLWIRE_URL", "").strip()
    if url:
        from tellwire.carriers.http import HttpCarrier

        return HttpCarrier(url, environ.get("TELLWIRE_API_KEY", "").strip() or None)
    raise ConfigError("no gateway to publish to: set TELLWIRE_URL, such as http://127.0.0.1:8787")


@functools.cache
def _carrier_of_process(process_id: int) -> Carrier:
    return carrier_from_environment(os.environ)


def default_carrier() -> Carrier:
    """Return this process's carrier. A child forked before the first publish makes its own; after it, `ConfigError`."""
    return _carrier_of_process(os.getpid())
