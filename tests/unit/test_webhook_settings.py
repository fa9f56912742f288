"""The setting `webhooks`: names and addresses."""

import json
from pathlib import Path
from typing import Any

import pytest

from tellwire.config import Settings, load_settings
from tellwire.errors import ConfigError
from tellwire.gateway.webhooks import targets_of
from tellwire.limits import MAX_WEBHOOK_TARGETS

MAIL = "https://shop.example/mail"
SECRET = "s" * 24


def test_the_environment_has_names_and_addresses_as_json() -> None:
    settings = load_settings({"TELLWIRE_WEBHOOKS": json.dumps({"mail": MAIL})})
    assert settings.webhook_urls == {"mail": MAIL}
    assert settings.escalation_rules.targets == frozenset({"mail"})


def test_the_file_has_a_table(tmp_path: Path) -> None:
    file = tmp_path / "tellwire.toml"
    file.write_text(f'[webhooks]\nmail = "{MAIL}"\n')
    assert load_settings({}, file).webhook_urls == {"mail": MAIL}


def test_a_file_of_its_own_may_have_them(tmp_path: Path) -> None:
    file = tmp_path / "webhooks.json"
    file.write_text(json.dumps({"mail": MAIL}))
    assert load_settings({"TELLWIRE_WEBHOOKS_FILE": str(file)}).webhook_urls == {"mail": MAIL}


def test_without_it_there_is_no_target() -> None:
    assert Settings().escalation_rules.targets == frozenset()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "names and addresses"),
        ("[]", "names and addresses"),
        ({"mail": 7}, "names and addresses"),
        ({"": MAIL}, "letters, digits"),
        ({"a b": MAIL}, "letters, digits"),
        ({"mail\n": MAIL}, "letters, digits"),
        ({f"t{number}": MAIL for number in range(MAX_WEBHOOK_TARGETS + 1)}, "at most 100"),
    ],
)
def test_others_are_refused_with_the_form_that_is_allowed(given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        Settings(webhooks=given)
    assert "TELLWIRE_WEBHOOKS" in str(raised.value)


def test_each_needs_an_address_and_a_secret() -> None:
    with pytest.raises(ConfigError, match=r"TELLWIRE_WEBHOOK_SECRET: not set.*TELLWIRE_WEBHOOKS: mail"):
        targets_of(Settings(webhooks={"mail": MAIL}))
    with pytest.raises(ConfigError, match="TELLWIRE_WEBHOOKS: mail"):
        targets_of(Settings(webhooks={"mail": "ftp://x"}, webhook_secret=SECRET))
    assert set(targets_of(Settings(webhooks={"mail": MAIL}, webhook_secret=SECRET))) == {"escalation mail"}


def test_the_wait_is_as_long_as_the_history_at_most() -> None:
    assert Settings(history_max_age_seconds=3600).escalation_rules.longest_seconds == 3600
    assert Settings(history_max_age_seconds=30 * 24 * 3600).escalation_rules.longest_seconds == 7 * 24 * 3600
