"""Options, settings, tokens and logging that several commands share."""

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from tellwire.cli.json_log import JsonFormatter
from tellwire.config import Settings, load_settings, unknown_names
from tellwire.errors import ConfigError, InvalidMessage

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "http://127.0.0.1:8787"


def config_option(command: F) -> F:
    """Add `--config FILE`."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        envvar="TELLWIRE_CONFIG",
        help="Settings file.  [default: tellwire.toml, if there is one]",
    )(command)


def url_option(help_text: str) -> Callable[[F], F]:
    """Add `--url`."""
    return click.option("--url", envvar="TELLWIRE_URL", default=DEFAULT_URL, show_default=True, help=help_text)


def log_level_option(command: F) -> F:
    """Add `--log-level`."""
    levels = click.Choice(["debug", "info", "warning", "error"])
    return click.option("--log-level", type=levels, default="info", show_default=True)(command)


def current_settings(config_file: Path | None, **overrides: Any) -> Settings:
    """Return the settings of this command. An override that is None counts as not given."""
    return load_settings(os.environ, config_file, overrides)


def warn_of_unknown_variables() -> None:
    """Print a warning for each TELLWIRE_ variable that is not a setting."""
    for name in unknown_names(os.environ):
        click.echo(f"tellwire: {name} is set, but there is no such setting", err=True)


def info_in(text: str | None) -> dict[str, Any] | None:
    """Return the object of an option `--info`; None: it was not given.

    Raises:
        InvalidMessage: it is no JSON object.
    """
    if text is None:
        return None
    try:
        return msgspec.json.decode(text.encode(errors="replace"), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidMessage("--info", text, 'a JSON object, such as {"name": "Ann"}') from error


def token_for(
    settings: Settings,
    user_id: str,
    ttl_seconds: float,
    topics: Sequence[str] = (),
    info: Mapping[str, Any] | None = None,
) -> str:
    """Make a token that this machine's gateway accepts. `topics` are patterns of those that it allows to follow, `info`
    is for others in a topic to see.

    Raises:
        ConfigError: the gateway accepts tokens of an identity provider, which only the provider can make.
        InvalidMessage: `user_id` is empty.
    """
    from tellwire.auth import development_secret, mint_token  # imported here: few commands make tokens

    if not user_id.strip():
        raise InvalidMessage("--user", user_id, "a non-empty user id")
    if not settings.jwt_secrets and settings.key_sources:
        raise ConfigError(f"{settings.key_sources[0]} is set: tokens come from your identity provider; pass --token")
    secret = next(iter(settings.jwt_secrets), None) or development_secret()
    return mint_token(
        secret,
        user_id,
        ttl_seconds,
        issuer=next(iter(settings.jwt_issuers), None),
        audience=next(iter(settings.jwt_audiences), None),
        user_claim=settings.jwt_user_claim,
        topics=topics,
        topics_claim=settings.jwt_topics_claim,
        info=info,
        info_claim=settings.jwt_info_claim,
    )


def log_format_option(command: F) -> F:
    """Add `--log-format`."""
    formats = click.Choice(["text", "json"])
    return click.option("--log-format", type=formats, default="text", envvar="TELLWIRE_LOG_FORMAT", show_default=True)(
        command
    )


def configure_logging(level: str, process: str = "", log_format: str = "text") -> None:
    """Log to standard error: tellwire's messages from this level on, warnings of others. `process` names one of several
    that share it.
    """
    name = f" {process}" if process else ""
    logging.basicConfig(format=f"%(asctime)s %(levelname)-7s{name} %(name)s: %(message)s", stream=sys.stderr)
    if log_format == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter(process))
    logging.getLogger("tellwire").setLevel(level.upper())
    for others in ("uvicorn", "watchfiles"):
        # By name: a handler may lower the level of the root logger.
        logging.getLogger(others).setLevel("WARNING")


def loop_factory() -> Any:
    """Return uvloop's event loop factory if it is installed, else None."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
