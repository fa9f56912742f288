"""A backup that becomes the files of a gateway: read, checked, and put in the place of the others as a whole.

    archive ─▶ files beside the others, with other names ─▶ checked, and a new epoch ─▶ renamed

What was published after a backup is not in it, and the numbers of those messages are given out again. So each stream
gets a new epoch, and whoever comes back with a cursor of before is told that messages may be missing.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from tellwire.engines.sqlite import requests, row_errors, stream_rows
from tellwire.engines.sqlite.archive import Manifest, NotAnArchive, read_archive
from tellwire.engines.sqlite.database import alone, require_undamaged
from tellwire.errors import ConfigError

SCHEMAS = {"history": stream_rows.VERSION, "row-errors": row_errors.VERSION, "requests": requests.VERSION}
"""The versions of tables that this version of tellwire reads, by the role of their file."""


def restore(source: Path, paths: Mapping[str, Path], *, force: bool = False) -> Manifest:
    """Put the files of a backup in their places. With `force` in those of files that are there.

    Raises:
        ConfigError: a gateway uses the files, or they are there; or the backup cannot be used. Nothing has changed.
        OSError: the backup cannot be read, or a file cannot be written.
    """
    with contextlib.ExitStack() as held:
        for role, path in paths.items():
            held.enter_context(_not_in_use(role, path, force=force))
        new = {role: path.with_name(f"{path.name}-restoring") for role, path in paths.items()}
        held.callback(_remove, *new.values())
        manifest = _unpack(source, new)
        for role, path in new.items():
            _check(path, role)
        for role, path in paths.items():
            _remove(*(path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-shm", "-journal")))
            new[role].replace(path)
    return manifest


@contextlib.contextmanager
def _not_in_use(role: str, path: Path, *, force: bool) -> Iterator[None]:
    if not path.exists():
        yield
        return
    if not force:
        raise ConfigError(f"{role} {str(path)!r}: it is there; --force replaces it, and what is in it is lost")
    with contextlib.ExitStack() as holding:
        try:
            holding.enter_context(alone(path, role))
        except ConfigError as error:
            # A file that is damaged is a reason to restore.
            if not _is_damaged(error):
                raise
        yield


def _is_damaged(error: ConfigError) -> bool:
    cause = error.__cause__
    damaged = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) & 0xFF in damaged


def _unpack(source: Path, new: Mapping[str, Path]) -> Manifest:
    with contextlib.ExitStack() as open_files:
        archive = open_files.enter_context(source.open("rb"))
        files: dict[str, BinaryIO] = {}

        def write(role: str, piece: bytes) -> None:
            if role not in files:
                new[role].unlink(missing_ok=True)
                descriptor = os.open(new[role], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                files[role] = open_files.enter_context(os.fdopen(descriptor, "wb"))
            files[role].write(piece)

        try:
            manifest = read_archive(archive, write)
        except NotAnArchive as error:
            raise ConfigError(
                f"{str(source)!r}: got no whole backup: {error}; allowed: a file of `tellwire backup`"
            ) from error
        _require_schemas(source, manifest)
        for each in files.values():
            each.flush()
            os.fsync(each.fileno())
    return manifest


def _require_schemas(source: Path, manifest: Manifest) -> None:
    for each in manifest.files:
        if each.schema != SCHEMAS[each.role]:
            raise ConfigError(
                f"{str(source)!r}: its {each.role} file has schema {each.schema}; allowed: {SCHEMAS[each.role]}. "
                f"Restore it with tellwire {manifest.tellwire}, which made it"
            )


def _check(path: Path, role: str) -> None:
    with alone(path, role) as connection:
        require_undamaged(connection, role)
        if role == "history":
            stream_rows.begin_epochs(connection)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
