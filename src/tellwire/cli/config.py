"""`tellwire config`: print the settings that the gateway would use, as TOML, or check them."""

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from tellwire.cli.common import config_option, current_settings, warn_of_unknown_variables
from tellwire.cli.serve import complete
from tellwire.config import ENVIRONMENT_NAMES, MASK, Settings, masked, origins
from tellwire.gateway import Node


@click.command()
@config_option
@click.option("--check", is_flag=True, help="Print nothing but what `tellwire serve` would refuse; exit with 2 then.")
@click.option("--dev", is_flag=True, default=None, help="With the settings of `tellwire serve --dev`.")
def config(config_file: Path | None, check: bool, dev: bool | None) -> None:
    """Print every setting as TOML, with its environment variable and where its value comes from.

    A setting without a value is a comment, and so is a secret, which is not printed. The exit code is 2 if `tellwire
    serve` would refuse the settings.
    """
    settings = current_settings(config_file, dev=dev)
    if not check:
        _print(settings, config_file)
    warn_of_unknown_variables()
    Node(complete(settings))  # raises what `serve` refuses


def _print(settings: Settings, config_file: Path | None) -> None:
    sources = origins(os.environ, config_file)
    chosen = {"engine": settings.chosen_engine, "drain_spread_seconds": settings.spread_seconds}
    values: dict[str, Any] = masked(settings) | chosen
    lines = {}
    for name, value in values.items():
        is_comment = value in (None, MASK) or (name in chosen and getattr(settings, name) is None)
        lines[name] = f"{'# ' if is_comment else ''}{name} = {'' if value is None else _toml(value)}"
    width = max(map(len, lines.values()))
    for name, line in lines.items():
        source = sources.get(name, "not set" if values[name] is None else "default")
        click.echo(f"{line:<{min(width, 48)}} # {ENVIRONMENT_NAMES[name]}: {source}")


def _toml(value: Any) -> str:
    match value:
        case dict():
            pairs = ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items())
            return f"{{ {pairs} }}"
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
