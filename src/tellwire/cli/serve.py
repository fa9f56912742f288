"""`tellwire serve`: run the gateway."""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path

import click
import msgspec

from tellwire._version import __version__
from tellwire.auth import development_secret
from tellwire.cli.common import (
    config_option,
    configure_logging,
    current_settings,
    log_format_option,
    log_level_option,
    loop_factory,
    warn_of_unknown_variables,
)
from tellwire.config import Settings
from tellwire.errors import ConfigError
from tellwire.gateway import Node
from tellwire.gateway.garbage import FrozenHeap
from tellwire.gateway.hangup import hold_hangup
from tellwire.gateway.service_manager import ServiceManager
from tellwire.gateway.supervisor import Supervisor
from tellwire.gateway.worker import Worker
from tellwire.ports import SystemClock
from tellwire.server import descriptors


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
@click.option(
    "--engine",
    type=click.Choice(["memory", "sqlite", "redis"]),
    help="Where messages are kept.  [default: sqlite, memory with --dev]",
)
@click.option(
    "--database", metavar="FILE", help="File of the engine sqlite, also with --dev.  [default: tellwire.sqlite3]"
)
@click.option("--workers", type=int, help="Processes at this address; more than 1 need Redis.  [default: 1]")
@click.option("--worker", hidden=True, help="This process as one of the workers; said by their supervisor.")
@log_level_option
@log_format_option
@click.pass_context
def serve(
    context: click.Context,
    config_file: Path | None,
    host: str | None,
    port: int | None,
    dev: bool | None,
    engine: str | None,
    database: str | None,
    workers: int | None,
    worker: str | None,
    log_level: str,
    log_format: str,
) -> None:
    """Run the gateway.

    Devices connect to it by WebSocket; producers publish over its HTTP API.

    SIGTERM, Ctrl-C or `tellwire drain` closes all connections (1012), answers the requests in progress, and exits with
    0. A second signal ends it at once. SIGHUP reads API keys, secrets, key sets and rules of topics again, from
    tellwire.toml and from the files that the settings name.

    Under systemd (Type=notify) it tells when it is ready, reloads and stops, and gives signs of life.

    With --workers, as many processes share the address. A supervisor starts those again that end, and passes signals
    on.
    """
    hold_hangup()
    manager = ServiceManager.take(os.environ)
    if worker is None:
        warn_of_unknown_variables()

    def read() -> Settings:
        options = {"host": host, "port": port, "dev": dev, "engine": engine, "database": database, "workers": workers}
        settings = current_settings(config_file, **options)
        if database and settings.engine is None:
            # In development nothing is kept in a file otherwise.
            settings = msgspec.structs.replace(settings, engine="sqlite")
        return complete(settings)

    settings = read()
    if settings.workers > 1 and worker is None:
        Node(settings)  # raises what a worker would refuse
        configure_logging(log_level, "supervisor", log_format)
        context.exit(asyncio.run(_supervise(settings, manager, context.find_root().obj or ())))
    this = None if worker is None else Worker.of(worker)
    configure_logging(log_level, this.name if this else "", log_format)
    descriptors.raise_limit()
    node = Node(settings)
    heap = FrozenHeap(SystemClock())

    def announce(started: Node) -> None:
        heap.begin()
        if this is None:
            _announce(started.authority, settings)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(node.serve(announce, read, this, manager), heap))


async def _serve(serving: Awaitable[None], heap: FrozenHeap) -> None:
    freezing = asyncio.create_task(heap.watch())
    try:
        await serving
    finally:
        freezing.cancel()


async def _supervise(settings: Settings, manager: ServiceManager, arguments: Sequence[str]) -> int:
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("workers: several need a system with SO_REUSEPORT, such as Linux; allowed: 1")
    supervisor = Supervisor(
        [*_launcher(arguments), *arguments],
        settings.host,
        settings.port,
        count=settings.workers,
        drain_seconds=settings.drain_seconds,
        manager=manager,
    )
    return await supervisor.run(lambda started: _announce(started.authority, settings))


def _launcher(arguments: Sequence[str]) -> list[str]:
    """Return the command that runs this program, without its arguments: as this process was started, if it was."""
    given = sys.argv[1:]
    if given == list(arguments) and sys.orig_argv[len(sys.orig_argv) - len(given) :] == given:
        return [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - len(given)]]
    return [sys.executable, "-m", "tellwire"]


def complete(settings: Settings) -> Settings:
    """Return the settings with the secret of development, if they ask for it and have no other."""
    if settings.dev and not settings.key_sources:
        return msgspec.structs.replace(settings, jwt_secret=development_secret())
    return settings


def _announce(address: str, settings: Settings) -> None:
    click.echo(f"tellwire {__version__}  devices  ws://{address}")
    click.echo(f"{'':{len(f'tellwire {__version__}')}}  publish  http://{address}/v1/publish")
    if settings.dev:
        click.echo("development mode: no API key needed; open another terminal and try")
        url = "" if address.endswith(":8787") else f" --url http://{address}"
        click.echo(f"  tellwire listen --user user-1{url}")
    elif settings.api_key is None:
        click.echo("the HTTP API is closed: set TELLWIRE_API_KEY to publish")
    sys.stdout.flush()
