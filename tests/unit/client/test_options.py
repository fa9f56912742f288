"""The options of a client."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tellwire.client import ClientOptions
from tellwire.client.options import HEARTBEAT_SECONDS, ROTATE_AFTER_SECONDS
from tellwire.errors import ConfigError
from tellwire.limits import IDLE_TIMEOUT_SECONDS, MAX_CONNECTION_SECONDS

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "clients.md").read_text()
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


def test_the_page_has_every_option_and_its_default() -> None:
    of_page = dict(re.findall(r"^\| `(\w+_seconds)` \| ([^|]+?) \|", PAGE, re.MULTILINE))
    assert set(of_page) == set(NAMES)
    for each in fields(ClientOptions):
        expected = {"heartbeat_seconds": HEARTBEAT_SECONDS, "rotate_after_seconds": ROTATE_AFTER_SECONDS}
        default = expected.get(each.name, each.default)
        assert float(of_page[each.name].split(" ")[-1].replace(",", "")) == default, each.name
