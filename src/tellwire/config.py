"""Settings of the gateway: from the command line, the environment and `tellwire.toml`, in that order of precedence.

Every setting has one name: `port` in the file is `TELLWIRE_PORT` in the environment (Cognito's two have AWS's usual
names). `tellwire config` prints them all, with secrets masked.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from tellwire import limits
from tellwire.errors import ConfigError, shown
from tellwire.model import is_loopback, require_api_key

CONFIG_FILE: Final = Path("tellwire.toml")
MASK: Final = "********"

_SECRETS: Final = frozenset({"api_key", "jwt_secret"})
_LISTS: Final = frozenset({"allowed_origins", "trusted_proxies"})
_PRODUCER_NAMES: Final = frozenset({"TELLWIRE_URL", "TELLWIRE_API_KEY", "TELLWIRE_CONFIG", "TELLWIRE_TOKEN"})

_EXPECTED: Final = re.compile(r"Expected `([a-z]+)[^`]*`(?: (<=|>=|>) ([0-9.]+))?")
_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "array": "a list of texts",
}
_COMPARISONS: Final = {"<=": "at most", ">=": "at least", ">": "above"}

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
SecondsOrNever = Annotated[float, Meta(ge=0, le=31_536_000)]
AtLeastOne = Annotated[int, Meta(ge=1)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of `tellwire serve`. Sizes are bytes, times are seconds."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8787
    engine: Literal["memory", "sqlite"] | None = None
    database: str = "tellwire.sqlite3"
    dev: bool = False

    api_key: str | None = None
    jwt_secret: str | None = None
    jwks_url: str | None = None
    jwks: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    cognito_user_pool_id: str | None = None
    cognito_client_id: str | None = None

    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    handshakes_per_second: Seconds = limits.HANDSHAKES_PER_SECOND
    handshake_burst: AtLeastOne = limits.HANDSHAKE_BURST

    ping_after_seconds: SecondsOrNever = limits.SERVER_PING_SECONDS
    idle_timeout_seconds: Seconds = limits.IDLE_TIMEOUT_SECONDS
    max_connection_seconds: Seconds = limits.MAX_CONNECTION_SECONDS
    outbox_max_messages: AtLeastOne = limits.OUTBOX_MAX_MESSAGES
    outbox_max_bytes: AtLeastOne = limits.OUTBOX_MAX_BYTES
    drain_seconds: Seconds = limits.DRAIN_SECONDS

    def __post_init__(self) -> None:
        if self.api_key is not None:
            require_api_key(self.api_key)
        if self.jwt_secret is not None and len(self.jwt_secret.encode()) < limits.MIN_SECRET_BYTES:
            raise ConfigError(
                f"TELLWIRE_JWT_SECRET: got {len(self.jwt_secret.encode())} bytes; "
                f"allowed: at least {limits.MIN_SECRET_BYTES}"
            )
        if (self.cognito_user_pool_id is None) != (self.cognito_client_id is None):
            raise ConfigError("COGNITO_USER_POOL_ID and COGNITO_CLIENT_ID: got one of them; allowed: both or neither")
        if self.dev and not is_loopback(self.host):
            raise ConfigError(
                f"--dev opens the HTTP API without a key, so it listens on loopback only; got host {self.host!r}"
            )

    @property
    def chosen_engine(self) -> Literal["memory", "sqlite"]:
        """The engine: the one that is set, else SQLite, or memory in development."""
        return self.engine or ("memory" if self.dev else "sqlite")

    @property
    def key_sources(self) -> list[str]:
        """The names of the settings for the verification of tokens that are set."""
        sources = {
            "TELLWIRE_JWT_SECRET": self.jwt_secret,
            "TELLWIRE_JWKS_URL or TELLWIRE_JWKS": self.jwks_url or self.jwks,
            "COGNITO_USER_POOL_ID": self.cognito_user_pool_id,
        }
        return [name for name, value in sources.items() if value]


def environment_name(setting: str) -> str:
    """Return the environment variable of a setting."""
    return setting.upper() if setting.startswith("cognito_") else f"TELLWIRE_{setting.upper()}"


ENVIRONMENT_NAMES: Final = {name: environment_name(name) for name in Settings.__struct_fields__}


def load_settings(
    environ: Mapping[str, str], config_file: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Load the settings from all sources. `overrides` are the command line's; one that is None counts as not given.

    `config_file` None means `tellwire.toml` in the working directory, if it exists.

    Raises:
        ConfigError: a setting is not valid; the text names the setting, the given value and the allowed ones.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    from_file, from_environment = _from_file(config_file), _from_environment(environ)
    found = from_file | from_environment | given
    try:
        return msgspec.convert(found, Settings, strict=False)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigError):
            raise error.__cause__ from None
        reason, _, path = str(error).partition(" - at `$.")
        setting = path.rstrip("`").partition("[")[0]
        if not setting:
            raise _unknown(from_file, config_file) from None
        if setting in given:
            origin = f"--{setting.replace('_', '-')}"
        elif setting in from_environment:
            origin = environment_name(setting)
        else:
            origin = f"{config_file or CONFIG_FILE}: {setting}"
        shown_value = MASK if setting in _SECRETS else shown(found[setting])
        raise ConfigError(f"{origin}: got {shown_value}; allowed: {_allowed(setting, reason)}") from None


def masked(settings: Settings) -> dict[str, Any]:
    """Return the settings for printing, with secrets masked."""
    values = msgspec.structs.asdict(settings)
    return {name: MASK if name in _SECRETS and value is not None else value for name, value in values.items()}


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """Return the TELLWIRE_ variables that are not settings, probably misspelt ones."""
    known = set(ENVIRONMENT_NAMES.values()) | _PRODUCER_NAMES
    return sorted(name for name in environ if name.startswith("TELLWIRE_") and name not in known)


def _from_file(config_file: Path | None) -> dict[str, Any]:
    path = config_file or CONFIG_FILE
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        if config_file is None:
            return {}
        raise ConfigError(f"--config: there is no file {str(path)!r}") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting, name in ENVIRONMENT_NAMES.items():
        value = environ.get(name, "").strip()
        if value:
            found[setting] = [item.strip() for item in value.split(",") if item.strip()] if setting in _LISTS else value
    return found


def _unknown(from_file: Mapping[str, Any], config_file: Path | None) -> ConfigError:
    unknown = next(name for name in from_file if name not in Settings.__struct_fields__)
    close = difflib.get_close_matches(unknown, Settings.__struct_fields__, 1)
    hint = f"did you mean {close[0]}?" if close else "`tellwire config` lists them all"
    return ConfigError(f"{config_file or CONFIG_FILE}: there is no setting {shown(unknown)}; {hint}")


def _allowed(setting: str, reason: str) -> str:
    """Describe the allowed values in words, from the decoder's reason, such as "Expected `int` <= 65535"."""
    if setting == "engine":
        return "memory or sqlite"
    match = _EXPECTED.match(reason)
    if match is None:
        return reason
    bound = f", {_COMPARISONS[match[2]]} {match[3].removesuffix('.0')}" if match[2] else ""
    return _KINDS.get(match[1], match[1]) + bound
