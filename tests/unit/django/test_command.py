"""`manage.py tellwire`: tellwire's commands, with the settings of the project."""

import os
from typing import Any

import pytest
from django.core.management import load_command_class
from django.test import override_settings

from tellwire.cli import app
from tests.unit.django.conftest import SECRET, TELLWIRE, URL


def exit_code_of(*arguments: str) -> object:
    command = load_command_class("tellwire.django", "tellwire")
    with pytest.raises(SystemExit) as ended:
        command.run_from_argv(["manage.py", "tellwire", *arguments])
    return ended.value.code


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TELLWIRE_URL", "TELLWIRE_API_KEY", "TELLWIRE_JWT_SECRET"):
        monkeypatch.setenv(name, "")  # so that it is restored


def test_a_command_has_the_settings_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(arguments: Any) -> int:
        seen.update(os.environ, arguments=list(arguments))
        return 3

    monkeypatch.setattr(app, "run", run)
    assert exit_code_of("serve", "--port", "0") == 3
    assert seen["arguments"] == ["serve", "--port", "0"]
    assert (seen["TELLWIRE_URL"], seen["TELLWIRE_JWT_SECRET"]) == (URL, SECRET)


def test_a_token_of_the_command_is_one_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of("token", "--user", "7") == 0
    assert capsys.readouterr().out.count(".") == 2


def test_a_wrong_setting_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with override_settings(TELLWIRE={**TELLWIRE, "ULR": ""}):
        assert exit_code_of("serve") == 2
    assert capsys.readouterr().err.startswith("tellwire: TELLWIRE: got ULR")
