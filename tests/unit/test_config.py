"""Settings: their sources, and the errors about wrong ones."""

from pathlib import Path

import pytest

from tellwire.config import MASK, Settings, load_settings, masked, unknown_names
from tellwire.errors import ConfigError
from tellwire.producer import api_key_from_environment

SECRET = "x" * 32
API_KEY = "0123456789abcdef"


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
        ({"TELLWIRE_ENGINE": "mongo"}, "TELLWIRE_ENGINE: got 'mongo'; allowed: memory, sqlite or redis"),
        ({"TELLWIRE_ENGINE": "redis"}, "TELLWIRE_REDIS_URL: not set; needed"),
        ({"TELLWIRE_REDIS_URL": "redis://h"}, "TELLWIRE_REDIS_URL: got one with the engine sqlite; allowed: with"),
        ({"TELLWIRE_REDIS_PREFIX": "a{b}"}, "TELLWIRE_REDIS_PREFIX: got 'a{b}'; allowed: 1 to 64 letters, digits"),
        ({"TELLWIRE_REDIS_WAIT_REPLICAS": "-1"}, "allowed: a whole number, at least 0"),
        ({"TELLWIRE_JWT_SECRET": "short"}, "TELLWIRE_JWT_SECRET: got 5 bytes; allowed: at least 32"),
        ({"TELLWIRE_DEV": "true", "TELLWIRE_HOST": "0.0.0.0"}, "loopback only; got host '0.0.0.0'"),
        ({"COGNITO_CLIENT_ID": "c"}, "allowed: both or neither"),
        ({"TELLWIRE_IDLE_TIMEOUT_SECONDS": "0"}, "TELLWIRE_IDLE_TIMEOUT_SECONDS: got '0'; allowed: a number, above 0"),
        ({"TELLWIRE_DRAIN_SECONDS": "1e400"}, "TELLWIRE_DRAIN_SECONDS: got '1e400'; allowed: a number"),
        ({"TELLWIRE_DEV": "maybe"}, "TELLWIRE_DEV: got 'maybe'; allowed: true or false"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_given(here: Path, environ: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environ)
    assert words in str(caught.value)


@pytest.mark.parametrize("setting", ["host", "database", "jwt_user_claim"])
def test_an_empty_text_is_no_setting(here: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"--{setting.replace('_', '-')}: got ''; allowed: a text that is not empty"):
        load_settings({}, None, {setting: ""})


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
    values = masked(load_settings({"TELLWIRE_API_KEY": API_KEY, "TELLWIRE_JWT_SECRET": SECRET}))
    assert values["api_key"] == values["jwt_secret"] == MASK
    assert API_KEY not in str(values)
    assert SECRET not in str(values)


def test_a_wrong_secret_is_not_repeated(here: Path) -> None:
    (here / "tellwire.toml").write_text("api_key = [1234567]\n")
    with pytest.raises(ConfigError) as caught:
        load_settings({})
    assert "1234567" not in str(caught.value)


def test_misspelt_variables_are_found() -> None:
    environ = {"TELLWIRE_JWT_SECRETS": "x", "TELLWIRE_PORT": "1", "TELLWIRE_URL": "u", "PATH": "/"}
    assert unknown_names(environ) == ["TELLWIRE_JWT_SECRETS"]


def test_secrets_may_be_in_files(here: Path) -> None:
    (here / "jwt").write_text(f"{SECRET}\n{SECRET}-of-before\n")
    (here / "keys").write_text(f"# keys\nworker:publish:{API_KEY}\n")
    settings = load_settings({"TELLWIRE_JWT_SECRET_FILE": "jwt", "TELLWIRE_API_KEY_FILE": "keys"})
    assert settings.jwt_secrets == (SECRET, f"{SECRET}-of-before")
    assert [key.name for key in settings.api_keys] == ["worker"]
    assert SECRET not in str(masked(settings))


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n  \n"])
def test_a_file_may_begin_with_a_byte_order_mark_and_end_in_any_way(here: Path, end: str) -> None:
    (here / "jwt").write_bytes(f"\ufeff{SECRET}{end}".encode())
    (here / "keys").write_bytes(f"\ufeffworker:publish:{API_KEY}{end}".encode())
    (here / "tellwire.toml").write_bytes(f"\ufeffport = 5{end}".encode())
    settings = load_settings({"TELLWIRE_JWT_SECRET_FILE": "jwt", "TELLWIRE_API_KEY_FILE": "keys"})
    assert (settings.jwt_secrets, settings.port) == ((SECRET,), 5)
    assert [key.name for key in settings.api_keys] == ["worker"]
    assert api_key_from_environment({"TELLWIRE_API_KEY_FILE": "keys"}) == API_KEY


def test_a_secret_comes_one_way(here: Path) -> None:
    (here / "keys").write_text(API_KEY)
    with pytest.raises(ConfigError, match="TELLWIRE_API_KEY and TELLWIRE_API_KEY_FILE: got both"):
        load_settings({"TELLWIRE_API_KEY_FILE": "keys", "TELLWIRE_API_KEY": API_KEY})
    # But the environment wins over the file of settings, whichever way.
    (here / "tellwire.toml").write_text('api_key_file = "missing"\n')
    assert load_settings({"TELLWIRE_API_KEY": API_KEY}).api_keys[0].key == API_KEY
    (here / "tellwire.toml").write_text('api_key = "short"\n')
    assert load_settings({"TELLWIRE_API_KEY_FILE": "keys"}).api_keys[0].key == API_KEY


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "TELLWIRE_JWT_SECRET_FILE: 'secret' cannot be read: No such file or directory"),
        (b"\n", "TELLWIRE_JWT_SECRET_FILE: 'secret' is empty"),
        (b"\xff" * 40, "TELLWIRE_JWT_SECRET_FILE: 'secret' cannot be read: it is not UTF-8"),
        (b"short", "got 5 bytes; allowed: at least 32"),
    ],
)
def test_a_file_without_a_secret_is_named(here: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (here / "secret").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings({"TELLWIRE_JWT_SECRET_FILE": "secret"})
    assert words in str(caught.value)


def test_several_sources_of_keys_may_be_trusted(here: Path) -> None:
    (here / "tellwire.toml").write_text(
        f'jwt_secret = ["{SECRET}", "{SECRET}2"]\njwks_url = "https://a.example/jwks"\njwt_audience = ["a", "b"]\n'
    )
    settings = load_settings({"TELLWIRE_JWT_ISSUER": "https://a.example, https://b.example"})
    assert settings.jwt_secrets == (SECRET, f"{SECRET}2")
    assert settings.jwks_urls == ("https://a.example/jwks",)
    assert (settings.jwt_issuers, settings.jwt_audiences) == (("https://a.example", "https://b.example"), ("a", "b"))


def test_a_traceback_with_values_shows_no_secret() -> None:
    word = "pa55word-0123456789-abcdefghijkl"
    settings = Settings(engine="redis", redis_url=f"redis://:{word}@h", api_key=word, jwt_secret=word)
    assert "pa55" not in repr(settings)
    assert "pa55" not in str(list(settings.__rich_repr__()))
    assert repr(Settings(port=1, jwt_secret=SECRET)) == f"Settings(port=1, jwt_secret={MASK!r})"


def test_a_prefix_of_redis_keys_is_checked_in_settings_that_are_made_in_python_too() -> None:
    with pytest.raises(ConfigError, match=r"redis_prefix: got 'a\{b\}'; allowed: 1 to 64 letters"):
        Settings(engine="redis", redis_url="redis://localhost", redis_prefix="a{b}")
