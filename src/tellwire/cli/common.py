"""What several commands share: the settings, the development secret, the address of the gateway."""

import logging
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tellwire.auth import mint_token
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
    """Return the settings of this command. Those given as None were not given."""
    return load_settings(os.environ, config_file, overrides)


def warn_of_misspelt_variables() -> None:
    """Say which TELLWIRE_ variables nothing reads."""
    for name in unknown_names(os.environ):
        click.echo(f"tellwire: {name} is set, but there is no such setting", err=True)


def development_secret() -> str:
    """Return this machine's own secret for development, made on first use and readable by its owner only.

    A secret in a README would be everybody's: whoever left `--dev` on would take tokens from anyone.

    Raises:
        ConfigError: the file cannot be read or written.
    """
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = state / "tellwire" / "dev-secret"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text().strip()
        with os.fdopen(file, "w") as new:
            new.write(secret := secrets.token_hex(32))
    except OSError as error:
        raise ConfigError(
            f"the development secret cannot be kept ({error.strerror}): set TELLWIRE_JWT_SECRET"
        ) from error
    return secret


def token_for(settings: Settings, user_id: str, ttl_seconds: float) -> str:
    """Make a token that this machine's gateway accepts.

    Raises:
        ConfigError: the gateway takes tokens of an identity provider, which only that can make.
        InvalidMessage: `user_id` is empty.
    """
    if not user_id.strip():
        raise InvalidMessage("--user", user_id, "a non-empty user id")
    if settings.jwt_secret is None and settings.key_sources:
        raise ConfigError(f"{settings.key_sources[0]} is set: tokens come from your identity provider; pass --token")
    secret = settings.jwt_secret or development_secret()
    return mint_token(secret, user_id, ttl_seconds, issuer=settings.jwt_issuer, audience=settings.jwt_audience)


def configure_logging(level: str) -> None:
    """Log to standard error, ours at this level, others' warnings."""
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("tellwire").setLevel(level.upper())
    for others in ("uvicorn", "watchfiles"):
        # By name: a handler may well lower the level of everybody.
        logging.getLogger(others).setLevel("WARNING")


def loop_factory() -> Any:
    """Return the faster event loop where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
