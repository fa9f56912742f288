"""`tellwire backup` and `tellwire restore`: all that a gateway with SQLite keeps, as one file, and back."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from tellwire.cli.admin import Admin, is_unanswered
from tellwire.cli.common import config_option, current_settings
from tellwire.config import Settings
from tellwire.engines.sqlite.archive import PIECE_BYTES, Manifest, NotAnArchive, read_archive
from tellwire.engines.sqlite.backup import backup_of_files
from tellwire.engines.sqlite.engine import paths_of
from tellwire.engines.sqlite.restoring import restore as restore_files
from tellwire.errors import ConfigError, PublishError
from tellwire.server.server import authority_of

# The gateway copies its files before it answers, and a disk may be slow.
_TIMEOUT_SECONDS: Final = 600.0
_PART: Final = ".part"

_file = click.Path(path_type=Path, dir_okay=False, allow_dash=True)
_database_option = click.option(
    "--database", type=click.Path(path_type=Path, dir_okay=False), help="The gateway's file.  [default: as configured]"
)


@click.command()
@click.argument("file", type=_file)
@config_option
@click.option("--url", envvar="TELLWIRE_URL", help="The gateway's URL.  [default: the host and port of the settings]")
@_database_option
def backup(file: Path, config_file: Path | None, url: str | None, database: Path | None) -> None:
    """Back up all that a gateway with SQLite keeps, to FILE; - is standard output.

    The gateway copies its files while it goes on to work. If none answers, they are copied from the disk. FILE has its
    name when it is whole, and only its owner can read it: it holds messages of users.

    The API key comes from TELLWIRE_API_KEY, and needs the scope "admin". With --database no gateway is asked, and none
    may use the file.
    """
    settings = current_settings(config_file)
    chunks, size_bytes, come_from = _source(settings, url, database, stack := contextlib.ExitStack())
    with stack:
        if str(file) == "-":
            for piece in chunks:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        manifest = _save(file, chunks, size_bytes)
    click.echo(f"{file}: {size_bytes:,} bytes from {come_from}, of {_time(manifest)}", err=True)


def _source(
    settings: Settings, url: str | None, database: Path | None, stack: contextlib.ExitStack
) -> tuple[Iterable[bytes], int, str]:
    """Return the pieces of a backup, its length, and its origin. `stack` closes it."""
    if database is not None:
        return _from_files(database, stack)
    address = url or f"http://{authority_of(settings.host, settings.port)}"
    try:
        return _from_gateway(address, stack)
    except PublishError as error:
        if (
            url is not None
            or not is_unanswered(error)
            or settings.chosen_engine != "sqlite"
            or not Path(settings.database).exists()
        ):
            raise
    click.echo(f"tellwire: no gateway answers at {address}; reading {settings.database}", err=True)
    return _from_files(Path(settings.database), stack)


def _from_files(database: Path, stack: contextlib.ExitStack) -> tuple[Iterable[bytes], int, str]:
    archive = stack.enter_context(contextlib.closing(backup_of_files(paths_of(database), time.time())))
    return archive.chunks(), archive.size_bytes, str(database)


def _from_gateway(url: str, stack: contextlib.ExitStack) -> tuple[Iterable[bytes], int, str]:
    response = stack.enter_context(Admin(url).stream("/v1/backup", _TIMEOUT_SECONDS))
    if response.headers.get_content_type() != "application/x-tar":
        raise PublishError(f"The gateway at {url}: this is not a gateway's answer; is this its address?")
    return iter(lambda: response.read(PIECE_BYTES), b""), int(response.headers.get("content-length", "0")), url


def _save(file: Path, chunks: Iterable[bytes], size_bytes: int) -> Manifest:
    """Write a backup, check it, and only then give it its name."""
    part = file.with_name(f"{file.name}{_PART}")
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as written:
            with _progress(size_bytes) as advance:
                for piece in chunks:
                    written.write(piece)
                    advance(len(piece))
            written.flush()
            os.fsync(written.fileno())
        with part.open("rb") as whole:
            manifest = read_archive(whole)
        part.replace(file)
    except NotAnArchive as error:
        raise PublishError(f"{file}: the backup did not arrive as a whole: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


@contextlib.contextmanager
def _progress(size_bytes: int) -> Iterator[Callable[[int], object]]:
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    with click.progressbar(length=size_bytes, label="backup", file=sys.stderr) as bar:
        yield bar.update


def _time(manifest: Manifest) -> str:
    return datetime.fromtimestamp(manifest.made_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@config_option
@_database_option
@click.option("--force", is_flag=True, help="Replace files that are there; what is in them is lost.")
def restore(file: Path, config_file: Path | None, database: Path | None, *, force: bool) -> None:
    """Make the files of a gateway from a backup. No gateway may use them.

    Each stream gets a new epoch, since numbers that were given out after the backup are given out again: clients that
    come back are told that messages may be missing. Users that were deleted after the backup, and shut-outs that were
    ended, are there again.
    """
    settings = current_settings(config_file)
    if database is None and settings.chosen_engine != "sqlite":
        raise ConfigError(f"engine: got {settings.chosen_engine}; allowed: sqlite, or --database FILE")
    target = database or Path(settings.database)
    manifest = restore_files(file, paths_of(target), force=force)
    click.echo(f"{target}: restored from {file}, of {_time(manifest)}; start the gateway", err=True)
