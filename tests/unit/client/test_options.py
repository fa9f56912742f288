"""The options of a client."""

from dataclasses import fields

import pytest

from tellwire.client import ClientOptions
from tellwire.client.options import HEARTBEAT_SECONDS, ROTATE_AFTER_SECONDS
from tellwire.errors import ConfigError
from tellwire.limits import IDLE_TIMEOUT_SECONDS, MAX_CONNECTION_SECONDS

NAMES = [each.name for each in fields(ClientOptions)]
MAY_BE_0 = ["heartbeat_seconds", "rotate_after_seconds"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_a_duration_is_a_number_of_seconds(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got {value}; allowed: "):
        ClientOptions(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_only_a_heartbeat_and_an_age_may_be_0_for_never(name: str) -> None:
    if name in MAY_BE_0:
        ClientOptions(**{name: 0})
    else:
        with pytest.raises(ConfigError, match=f"{name}: got 0; allowed: more than 0"):
            ClientOptions(**{name: 0})


def test_the_defaults_fit_the_servers() -> None:
    options = ClientOptions()
    assert HEARTBEAT_SECONDS + options.answer_timeout_seconds < IDLE_TIMEOUT_SECONDS
    assert ROTATE_AFTER_SECONDS * 1.04 + 2 * options.connect_timeout_seconds < MAX_CONNECTION_SECONDS
