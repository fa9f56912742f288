"""`tellwire config`: print the settings that the gateway would use."""

from pathlib import Path

import click
import msgspec

from tellwire.cli.common import config_option, current_settings, warn_of_unknown_variables
from tellwire.config import ENVIRONMENT_NAMES, masked


@click.command()
@config_option
def config(config_file: Path | None) -> None:
    """Print every setting, its value and its environment variable. Secrets are masked."""
    values = masked(current_settings(config_file))
    width = max(map(len, values))
    for name, value in values.items():
        shown = "" if value is None else msgspec.json.encode(value).decode()
        click.echo(f"{name:<{width}} = {shown:<24} # {ENVIRONMENT_NAMES[name]}")
    warn_of_unknown_variables()
