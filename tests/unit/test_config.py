"""Settings: their sources, and the errors about wrong ones."""

from pathlib import Path

import pytest

from tellwire.config import MASK, load_settings, masked, unknown_names
from tellwire.errors import ConfigError

SECRET = "x" * 32


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_line_wins_over_the_environment_over_the_file(here: Path) -> None:
    (here / "tellwire.toml").write_text('host = "10.0.0.1"\nport = 1\nhandshake_burst = 7\n')
    settings = load_settings({"TELLWIRE_PORT": "2", "TELLWIRE_HOST": "10.0.0.2"}, None, {"port": 3, "host": None})
    assert (settings.port, settings.host, settings.handshake_burst) == (3, "10.0.0.2", 7)


def test_lists_are_separated_by_commas(here: Path) -> None:
    settings = load_settings({"TELLWIRE_ALLOWED_ORIGINS": "https://a.example, https://b.example,"})
    assert settings.allowed_origins == ("https://a.example", "https://b.example")


def test_cognito_has_its_usual_names(here: Path) -> None:
    settings = load_settings({"COGNITO_USER_POOL_ID": "us-east-1_a", "COGNITO_CLIENT_ID": "c"})
    assert settings.key_sources == ["COGNITO_USER_POOL_ID"]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"TELLWIRE_PORT": "http"}, "TELLWIRE_PORT: got 'http'; allowed: a whole number"),
        ({"TELLWIRE_PORT": "70000"}, "TELLWIRE_PORT: got '70000'; allowed: a whole number, at most 65535"),
        ({"TELLWIRE_ENGINE": "redis"}, "TELLWIRE_ENGINE: got 'redis'; allowed: memory"),
        ({"TELLWIRE_JWT_SECRET": "short"}, "TELLWIRE_JWT_SECRET: got 5 bytes; allowed: at least 32"),
        ({"TELLWIRE_DEV": "true", "TELLWIRE_HOST": "0.0.0.0"}, "loopback only; got host '0.0.0.0'"),
        ({"COGNITO_CLIENT_ID": "c"}, "allowed: both or neither"),
        ({"TELLWIRE_IDLE_TIMEOUT_SECONDS": "0"}, "TELLWIRE_IDLE_TIMEOUT_SECONDS: got '0'; allowed: a number, above 0"),
        ({"TELLWIRE_DEV": "maybe"}, "TELLWIRE_DEV: got 'maybe'; allowed: true or false"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_given(here: Path, environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ)
    assert words in str(caught.value)


def test_an_unknown_name_in_the_file_is_refused(here: Path) -> None:
    (here / "tellwire.toml").write_text("prot = 1\n")
    with pytest.raises(ConfigError, match=r"tellwire\.toml: there is no setting 'prot'; did you mean port\?"):
        load_settings({})


def test_a_wrong_value_is_named_by_where_it_came_from(here: Path) -> None:
    with pytest.raises(ConfigError, match="--handshake-burst: got 0; allowed: a whole number, at least 1"):
        load_settings({"TELLWIRE_HANDSHAKE_BURST": "5"}, None, {"handshake_burst": 0})
    (here / "tellwire.toml").write_text('port = "x"\n')
    with pytest.raises(ConfigError, match=r"tellwire\.toml: port: got 'x'; allowed: a whole number"):
        load_settings({})


def test_a_file_that_is_not_there_or_not_toml_is_named(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file 'missing\.toml'"):
        load_settings({}, Path("missing.toml"))
    (here / "tellwire.toml").write_text("port = = 1")
    with pytest.raises(ConfigError, match=r"tellwire\.toml: cannot be read as TOML"):
        load_settings({})


def test_secrets_are_masked_when_printed(here: Path) -> None:
    values = masked(load_settings({"TELLWIRE_API_KEY": "k3y", "TELLWIRE_JWT_SECRET": SECRET}))
    assert values["api_key"] == values["jwt_secret"] == MASK
    assert "k3y" not in str(values)
    assert SECRET not in str(values)


def test_a_wrong_secret_is_not_repeated(here: Path) -> None:
    (here / "tellwire.toml").write_text("api_key = [1234567]\n")
    with pytest.raises(ConfigError) as caught:
        load_settings({})
    assert "1234567" not in str(caught.value)


def test_misspelt_variables_are_found() -> None:
    environ = {"TELLWIRE_JWT_SECRETS": "x", "TELLWIRE_PORT": "1", "TELLWIRE_URL": "u", "PATH": "/"}
    assert unknown_names(environ) == ["TELLWIRE_JWT_SECRETS"]
