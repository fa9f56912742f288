"""Options, settings, tokens and logging that several commands share."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tellwire.auth import development_secret, mint_token
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


def token_for(settings: Settings, user_id: str, ttl_seconds: float) -> str:
    """Make a token that this machine's gateway accepts.

    Raises:
        ConfigError: the gateway accepts tokens of an identity provider, which only the provider can make.
        InvalidMessage: `user_id` is empty.
    """
    if not user_id.strip():
        raise InvalidMessage("--user", user_id, "a non-empty user id")
    if settings.jwt_secret is None and settings.key_sources:
        raise ConfigError(f"{settings.key_sources[0]} is set: tokens come from your identity provider; pass --token")
    secret = settings.jwt_secret or development_secret()
    return mint_token(secret, user_id, ttl_seconds, issuer=settings.jwt_issuer, audience=settings.jwt_audience)


def configure_logging(level: str) -> None:
    """Log to standard error: tellwire's messages from this level on, warnings of others."""
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", stream=sys.stderr)
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
