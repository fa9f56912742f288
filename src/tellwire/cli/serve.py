"""`tellwire serve`: run the gateway."""

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from tellwire._version import __version__
from tellwire.auth import development_secret
from tellwire.cli.common import (
    config_option,
    configure_logging,
    current_settings,
    log_level_option,
    loop_factory,
    warn_of_unknown_variables,
)
from tellwire.config import Settings
from tellwire.gateway import Node


@click.command(epilog="Settings come from options, TELLWIRE_ variables and tellwire.toml: see `tellwire config`.")
@config_option
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 8787]")
@click.option(
    "--dev",
    is_flag=True,
    default=None,
    help="For development, on loopback only: accepts tokens of `tellwire token` and needs no API key.",
)
@log_level_option
def serve(config_file: Path | None, host: str | None, port: int | None, dev: bool | None, log_level: str) -> None:
    """Run the gateway.

    Devices connect to it by WebSocket; producers publish over its HTTP API.

    SIGTERM or Ctrl-C closes every connection with "service restart" (1012), then exits with 0.
    """
    warn_of_unknown_variables()
    settings = current_settings(config_file, host=host, port=port, dev=dev)
    if settings.dev and not settings.key_sources:
        settings = msgspec.structs.replace(settings, jwt_secret=development_secret())
    configure_logging(log_level)
    node = Node(settings)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(node.serve(lambda started: _announce(started, settings)))


def _announce(node: Node, settings: Settings) -> None:
    address = node.authority
    click.echo(f"tellwire {__version__}  devices  ws://{address}")
    click.echo(f"{'':{len(f'tellwire {__version__}')}}  publish  http://{address}/v1/publish")
    if settings.dev:
        click.echo("development mode: no API key needed; open another terminal and try")
        url = "" if node.address[1] == 8787 else f" --url http://{address}"
        click.echo(f"  tellwire listen --user user-1{url}")
    elif settings.api_key is None:
        click.echo("the HTTP API is closed: set TELLWIRE_API_KEY to publish")
    sys.stdout.flush()
