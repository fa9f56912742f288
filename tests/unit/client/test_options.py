"""How long a client waits for what."""

from dataclasses import fields

import pytest

from tellwire.client import Timing
from tellwire.errors import ConfigError
from tellwire.limits import IDLE_TIMEOUT_SECONDS, MAX_CONNECTION_SECONDS


@pytest.mark.parametrize("name", [each.name for each in fields(Timing)])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_a_duration_is_more_than_zero(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got {value}; allowed: more than 0"):
        Timing(**{name: value})


def test_the_defaults_fit_the_servers() -> None:
    timing = Timing()
    assert timing.heartbeat_seconds + timing.answer_seconds < IDLE_TIMEOUT_SECONDS
    assert timing.replace_seconds * 1.04 + 2 * timing.connect_seconds < MAX_CONNECTION_SECONDS
