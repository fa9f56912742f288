"""The setting `TELLWIRE`: its checks, and the variables that it fills in."""

from typing import Any

import pytest
from django.test import override_settings

from tellwire.django import user_id_of
from tellwire.django.apps import check_settings
from tellwire.django.configuration import configuration
from tests.unit.django.conftest import TELLWIRE, URL, User


def name_of(user: User) -> str:
    return user.username


def test_a_good_setting_passes_the_check() -> None:
    assert check_settings() == []
    assert configuration().address == URL


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (["URL"], "TELLWIRE: got .* allowed: a dictionary with some of URL, PUBLIC_URL"),
        ({**TELLWIRE, "ULR": 1}, "got ULR; allowed: a dictionary"),
        ({**TELLWIRE, "URL": None}, r"TELLWIRE\['URL'\]: got NoneType; allowed: a text"),
        ({**TELLWIRE, "URL": "gateway:8787"}, "gateway:8787"),
        ({**TELLWIRE, "URL": ""}, "no gateway to publish to: set TELLWIRE_URL"),
        ({**TELLWIRE, "JWT_SECRET": ""}, r"TELLWIRE\['JWT_SECRET'\]: not set"),
        ({**TELLWIRE, "JWT_SECRET": "short"}, "at least 32"),
        ({**TELLWIRE, "TOKEN_TTL_SECONDS": "1h"}, r"TOKEN_TTL_SECONDS.*a number of seconds"),
        ({**TELLWIRE, "USER": "no.such.function"}, "USER.*no.such.function"),
        ({**TELLWIRE, "USER": 5}, "a function of a user"),
    ],
)
def test_a_wrong_setting_is_told_by_the_check(setting: Any, words: str) -> None:
    with override_settings(TELLWIRE=setting):
        (problem,) = check_settings()
    assert problem.id == "tellwire.E001"
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(problem.msg)
    assert "for-tests" not in problem.msg


def test_the_environment_comes_first() -> None:
    variables = configuration().variables({})
    assert variables == {
        "TELLWIRE_URL": URL,
        "TELLWIRE_API_KEY": TELLWIRE["API_KEY"],
        "TELLWIRE_JWT_SECRET": TELLWIRE["JWT_SECRET"],
    }
    environ = {"TELLWIRE_URL": "http://elsewhere", "TELLWIRE_API_KEY_FILE": "key", "TELLWIRE_JWKS_URL": "https://x"}
    assert configuration().variables(environ) == {}
    with override_settings(TELLWIRE={"DISABLED": True}):
        assert configuration().variables({}) == {"TELLWIRE_DISABLED": "1"}
        assert configuration().variables({"TELLWIRE_DISABLED": "0"}) == {}


def test_without_a_gateway_in_development_nothing_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with override_settings(TELLWIRE={"DISABLED": True}, DEBUG=True):
        assert check_settings() == []
        assert len(configuration().secret) >= 32


@pytest.mark.parametrize("choice", [name_of, "tests.unit.django.test_configuration.name_of"])
def test_a_function_chooses_the_id_of_a_user(choice: Any, ada: User) -> None:
    assert user_id_of(ada) == "7"
    with override_settings(TELLWIRE={**TELLWIRE, "USER": choice}):
        assert user_id_of(ada) == "name-7"
