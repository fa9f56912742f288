"""Settings of the gateway: from the command line, the environment and `tellwire.toml`, in that order of precedence.

Every setting has one name: `port` in the file is `TELLWIRE_PORT` in the environment (Cognito's two have AWS's usual
names). `tellwire config` prints them all, with secrets masked.

A secret may be in a file of its own: `jwt_secret_file` names it, which is `TELLWIRE_JWT_SECRET_FILE`. It is read when
the settings are made, so settings that are made again have what the file says then.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from tellwire import limits
from tellwire.api_keys import ApiKey, parse_api_keys, secret_in
from tellwire.errors import ConfigError, shown
from tellwire.escalation import EscalationRules
from tellwire.model import is_loopback
from tellwire.retention import HistoryBytes, HistorySeconds, Retention
from tellwire.text import REDIS_PREFIX_PATTERN, REDIS_PREFIX_WORDS
from tellwire.topic_members import INFO_CLAIM
from tellwire.topic_settings import parse_topics
from tellwire.topics import CLAIM, TopicRules
from tellwire.webhook_settings import parse_webhooks

CONFIG_FILE: Final = Path("tellwire.toml")
MASK: Final = "********"

_SECRETS: Final = frozenset({"api_key", "jwt_secret", "redis_url", "webhook_secret"})
_IN_FILES: Final = ("api_key", "jwt_secret", "jwks", "redis_url", "topics", "webhook_secret", "webhooks")
_LISTS: Final = frozenset(
    {
        "allowed_origins",
        "connect_webhook_headers",
        "jwks_url",
        "jwt_audience",
        "jwt_issuer",
        "message_webhook_types",
        "trusted_proxies",
    }
)
_PRODUCER_NAMES: Final = frozenset(
    f"TELLWIRE_{name}" for name in ("URL", "API_KEY", "CONFIG", "TOKEN", "DISABLED", "TIMEOUT_SECONDS", "LOG_FORMAT")
)

_EXPECTED: Final = re.compile(r"Expected `([a-z]+)[^`]*`(?: (<=|>=|>) ([0-9.]+))?")
_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "array": "a list of texts",
}
_COMPARISONS: Final = {"<=": "at most", ">=": "at least", ">": "above"}

Seconds = Annotated[float, Meta(gt=0, le=limits.LONGEST_SECONDS)]
SecondsOrNever = Annotated[float, Meta(ge=0, le=limits.LONGEST_SECONDS)]
Leeway = Annotated[float, Meta(ge=0, le=300)]
CacheBytes = Annotated[int, Meta(ge=limits.MIN_HISTORY_CACHE_BYTES)]
NotEmpty = Annotated[str, Meta(min_length=1)]
AtLeastOne = Annotated[int, Meta(ge=1)]
RedisPrefix = Annotated[str, Meta(pattern=REDIS_PREFIX_PATTERN)]
WaitReplicas = Annotated[int, Meta(ge=0, le=limits.MAX_WAIT_REPLICAS)]
EngineName = Literal["memory", "sqlite", "redis"]
OneOrMore = str | tuple[str, ...] | None


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of `tellwire serve`. Sizes are bytes, times are seconds."""

    # An empty one would be every address of the machine.
    host: NotEmpty = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8787
    engine: EngineName | None = None
    database: NotEmpty = "tellwire.sqlite3"
    redis_url: str | None = None
    redis_url_file: str | None = None
    redis_prefix: RedisPrefix = "tellwire"
    redis_wait_replicas: WaitReplicas = 0
    dev: bool = False

    api_key: OneOrMore = None
    api_key_file: str | None = None
    jwt_secret: OneOrMore = None
    jwt_secret_file: str | None = None
    jwks_url: OneOrMore = None
    jwks: str | None = None
    jwks_file: str | None = None
    jwt_issuer: OneOrMore = None
    jwt_audience: OneOrMore = None
    token_cookie: NotEmpty | None = None
    connect_webhook_url: str | None = None
    connect_webhook_headers: tuple[str, ...] = ("cookie", "authorization")
    jwt_user_claim: NotEmpty = "sub"
    jwt_topics_claim: NotEmpty = CLAIM
    jwt_info_claim: NotEmpty = INFO_CLAIM
    jwt_leeway_seconds: Leeway = limits.JWT_LEEWAY_SECONDS
    cognito_user_pool_id: str | None = None
    cognito_client_id: str | None = None

    topics: str | tuple[Any, ...] | None = None
    topics_file: str | None = None
    webhooks: str | dict[str, Any] | None = None
    webhooks_file: str | None = None
    webhook_secret: OneOrMore = None
    webhook_secret_file: str | None = None
    topic_auth_url: str | None = None
    topic_auth_cache_seconds: SecondsOrNever = limits.TOPIC_RIGHTS_CACHE_SECONDS
    message_webhook_url: str | None = None
    message_webhook_types: tuple[str, ...] = ()

    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    handshakes_per_second: Seconds = limits.HANDSHAKES_PER_SECOND
    handshake_burst: AtLeastOne = limits.HANDSHAKE_BURST

    connections_per_user: AtLeastOne = limits.CONNECTIONS_PER_USER
    connections_per_address: AtLeastOne = limits.CONNECTIONS_PER_ADDRESS
    max_connections: AtLeastOne = limits.MAX_CONNECTIONS
    messages_per_second: AtLeastOne = limits.MESSAGES_PER_SECOND
    message_burst: AtLeastOne = limits.MESSAGE_BURST
    publishes_per_second: AtLeastOne | None = None
    publish_burst: AtLeastOne = limits.PUBLISH_BURST
    hello_interval_seconds: AtLeastOne = limits.HELLO_INTERVAL_SECONDS
    subscriptions_per_connection: AtLeastOne = limits.MAX_SUBSCRIPTIONS
    replay_bytes_per_second: AtLeastOne = limits.REPLAY_BYTES_PER_SECOND

    ping_after_seconds: SecondsOrNever = limits.SERVER_PING_SECONDS
    idle_timeout_seconds: Seconds = limits.IDLE_TIMEOUT_SECONDS
    max_connection_seconds: Seconds = limits.MAX_CONNECTION_SECONDS
    outbox_max_messages: AtLeastOne = limits.OUTBOX_MAX_MESSAGES
    outbox_max_bytes: AtLeastOne = limits.OUTBOX_MAX_BYTES
    compression: bool = False

    history_max_age_seconds: HistorySeconds = limits.HISTORY_MAX_AGE_SECONDS
    history_max_messages: AtLeastOne = limits.HISTORY_MAX_MESSAGES
    history_max_bytes: HistoryBytes = limits.HISTORY_MAX_BYTES
    history_cache_bytes: CacheBytes = limits.HISTORY_CACHE_BYTES
    finished_keep_seconds: SecondsOrNever = limits.FINISHED_KEEP_SECONDS

    console: bool = False
    metrics: bool = False
    tracing: bool = False
    metrics_port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    metrics_host: NotEmpty = "127.0.0.1"

    drain_seconds: Seconds = limits.DRAIN_SECONDS
    drain_spread_seconds: SecondsOrNever | None = None
    workers: Annotated[int, Meta(ge=1, le=limits.MAX_WORKERS)] = 1

    def __post_init__(self) -> None:
        for name in _IN_FILES:
            path = getattr(self, f"{name}_file")
            if path is not None:
                msgspec.structs.force_setattr(self, name, secret_in(path, environment_name(f"{name}_file")))
        _ = self.api_keys, self.topic_rules, self.webhook_urls
        self._require_redis_for_redis()
        for secret in self.jwt_secrets:
            size = len(secret.encode())
            if size < limits.MIN_SECRET_BYTES:
                raise ConfigError(f"TELLWIRE_JWT_SECRET: got {size} bytes; allowed: at least {limits.MIN_SECRET_BYTES}")
        if (self.cognito_user_pool_id is None) != (self.cognito_client_id is None):
            raise ConfigError("COGNITO_USER_POOL_ID and COGNITO_CLIENT_ID: got one of them; allowed: both or neither")
        if self.spread_seconds > self.drain_seconds:
            raise ConfigError(
                f"TELLWIRE_DRAIN_SPREAD_SECONDS: got {self.spread_seconds:g}; allowed: at most the "
                f"{self.drain_seconds:g} seconds of drain_seconds, in which all must be over"
            )
        self._check_workers()
        if self.dev and not is_loopback(self.host):
            raise ConfigError(
                f"--dev opens the HTTP API without a key, so it listens on loopback only; got host {self.host!r}"
            )

    def _require_redis_for_redis(self) -> None:
        # A struct that is made in Python checks no pattern.
        if not re.fullmatch(REDIS_PREFIX_PATTERN, self.redis_prefix):
            raise ConfigError(f"redis_prefix: got {shown(self.redis_prefix)}; allowed: {REDIS_PREFIX_WORDS}")
        if self.chosen_engine == "redis" and not self.redis_url:
            raise ConfigError("TELLWIRE_REDIS_URL: not set; needed: the address of a Redis, for the engine redis")
        if self.redis_url and self.chosen_engine != "redis":
            # Producers without HTTP take it; a gateway beside them would keep its messages elsewhere.
            raise ConfigError(
                f"TELLWIRE_REDIS_URL: got one with the engine {self.chosen_engine}; allowed: with TELLWIRE_ENGINE=redis"
            )

    def _check_workers(self) -> None:
        reasons = {
            "sqlite": "with the engine sqlite; allowed: 1, because only one process can use its file",
            "memory": "with the engine memory; allowed: 1, because each would have a history of its own",
        }
        reason = "with --dev; allowed: 1, because development is one process" if self.dev else None
        reason = reason or reasons.get(self.chosen_engine)
        if self.workers > 1 and reason is not None:
            raise ConfigError(f"workers: got {self.workers} {reason}. TELLWIRE_ENGINE=redis is for several")

    def __repr__(self) -> str:
        # As a traceback that shows values has it: msgspec's own has the secrets.
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        values = masked(self).items()
        defaults = {each.name: each.default for each in msgspec.structs.fields(self)}
        return [(name, value) for name, value in values if value != defaults[name]]

    @property
    def chosen_engine(self) -> EngineName:
        """The engine: the one that is set, else SQLite, or memory in development."""
        return self.engine or ("memory" if self.dev else "sqlite")

    @property
    def spread_seconds(self) -> float:
        """The time over which a drain closes connections: as it is set, else half of `drain_seconds`."""
        return self.drain_seconds / 2 if self.drain_spread_seconds is None else self.drain_spread_seconds

    @property
    def retention(self) -> Retention:
        """The bounds of one user's history."""
        return Retention(
            max_age_seconds=self.history_max_age_seconds,
            max_messages=self.history_max_messages,
            max_bytes=self.history_max_bytes,
            finished_keep_seconds=self.finished_keep_seconds,
        )

    @property
    def topic_rules(self) -> TopicRules:
        """The rules of topics."""
        rules = () if self.topics is None else parse_topics(self.topics, self.retention)
        return TopicRules(self.retention, rules)

    @property
    def api_keys(self) -> tuple[ApiKey, ...]:
        """The keys of the HTTP API; none: it is closed."""
        return () if self.api_key is None else parse_api_keys(self.api_key)

    @property
    def jwt_secrets(self) -> tuple[str, ...]:
        """The secrets of tokens, the newest first: a line each in a text."""
        return _lines(self.jwt_secret)

    @property
    def webhook_urls(self) -> dict[str, str]:
        """The addresses of the targets of escalations, by name."""
        return {} if self.webhooks is None else parse_webhooks(self.webhooks)

    @property
    def escalation_rules(self) -> EscalationRules:
        """The targets of escalations, and the longest wait for one."""
        longest = min(self.history_max_age_seconds, limits.MAX_ESCALATION_SECONDS)
        return EscalationRules(frozenset(self.webhook_urls), longest)

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that sign webhooks, the newest first: a line each in a text."""
        return _lines(self.webhook_secret)

    @property
    def jwks_urls(self) -> tuple[str, ...]:
        """The addresses of key sets."""
        return _several(self.jwks_url)

    @property
    def jwt_issuers(self) -> tuple[str, ...]:
        """The issuers of tokens; none: any."""
        return _several(self.jwt_issuer)

    @property
    def jwt_audiences(self) -> tuple[str, ...]:
        """The audiences of tokens; none: any."""
        return _several(self.jwt_audience)

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


RELOADED: Final = tuple(
    name
    for name in Settings.__struct_fields__
    if name.startswith(("api_key", "jwt_", "jwks", "cognito_", "topics", "webhook_secret"))
)
"""The settings that a running gateway takes anew: keys and secrets, and the rules of topics."""


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
    found: dict[str, Any] = {}
    for layer in (from_file, from_environment, given):
        _require_one_way(layer)
        # A secret of an upper layer takes the place of one that a lower layer has in the other way.
        other_ways = {_other_way(name) for name in layer}
        found = {name: value for name, value in found.items() if name not in other_ways} | layer
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


def _several(value: OneOrMore) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else value


def _lines(value: OneOrMore) -> tuple[str, ...]:
    return tuple(line.strip() for text in _several(value) for line in text.splitlines() if line.strip())


def _other_way(setting: str) -> str:
    return setting.removesuffix("_file") if setting.endswith("_file") else f"{setting}_file"


def _require_one_way(layer: Mapping[str, Any]) -> None:
    for name in _IN_FILES:
        if name in layer and f"{name}_file" in layer:
            both = f"{environment_name(name)} and {environment_name(f'{name}_file')}"
            raise ConfigError(f"{both}: got both; allowed: one of them")


def masked(settings: Settings) -> dict[str, Any]:
    """Return the settings for printing, with secrets masked."""
    values = msgspec.structs.asdict(settings)
    return {name: MASK if name in _SECRETS and value is not None else value for name, value in values.items()}


def origins(environ: Mapping[str, str], config_file: Path | None = None) -> dict[str, str]:
    """Return the source of each setting that is set, by its name: the environment, or the name of the file.

    Raises:
        ConfigError: the file cannot be read.
    """
    from_file = dict.fromkeys(_from_file(config_file), str(config_file or CONFIG_FILE))
    return from_file | dict.fromkeys(_from_environment(environ), "environment")


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """Return the TELLWIRE_ variables that are not settings, probably misspelt ones."""
    known = set(ENVIRONMENT_NAMES.values()) | _PRODUCER_NAMES
    return sorted(name for name in environ if name.startswith("TELLWIRE_") and name not in known)


def _from_file(config_file: Path | None) -> dict[str, Any]:
    path = config_file or CONFIG_FILE
    try:
        return _from_toml(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        if config_file is None:
            return {}
        raise ConfigError(f"--config: there is no file {str(path)!r}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error


def _from_toml(text: str) -> dict[str, Any]:
    import tomllib  # imported here, as a function on AWS has no file

    return tomllib.loads(text)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting, name in ENVIRONMENT_NAMES.items():
        value = environ.get(name, "").strip()
        if value:
            found[setting] = [item.strip() for item in value.split(",") if item.strip()] if setting in _LISTS else value
    return found


def _unknown(from_file: Mapping[str, Any], config_file: Path | None) -> ConfigError:
    unknown = next(name for name in from_file if name not in Settings.__struct_fields__)
    import difflib  # only for this: a function on AWS has no file

    close = difflib.get_close_matches(unknown, Settings.__struct_fields__, 1)
    hint = f"did you mean {close[0]}?" if close else "`tellwire config` lists them all"
    return ConfigError(f"{config_file or CONFIG_FILE}: there is no setting {shown(unknown)}; {hint}")


def _allowed(setting: str, reason: str) -> str:
    """Describe the allowed values in words, from the decoder's reason, such as "Expected `int` <= 65535"."""
    if setting == "engine":
        return "memory, sqlite or redis"
    if setting == "redis_prefix":
        return REDIS_PREFIX_WORDS
    if reason.startswith("Expected `str` of length"):
        return "a text that is not empty"
    match = _EXPECTED.match("Expected `float`" if reason == "Number out of range" else reason)
    if match is None:
        return reason
    bound = f", {_COMPARISONS[match[2]]} {match[3].removesuffix('.0')}" if match[2] else ""
    return _KINDS.get(match[1], match[1]) + bound
