"""Backups of the files of an engine, while it works with them: a copy beside each file, from which an archive is read.

    each file ─▶ SQLite's backup, some pages at a time ─▶ a copy without a name ─▶ `Archive.chunks`

Between two steps others use the file, and what they write into a part that was copied is written into the copy, too. A
copy is the file as it is when its last step ends. Each file is whole in itself, and none refers to another.
"""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from tellwire.engines.sqlite.archive import Archive, CopiedFile
from tellwire.engines.sqlite.database import Database, alone, copy_pages, words
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.ports import Clock

_SPARE_BYTES: Final = 64 * 1024 * 1024
"""The room that a copy leaves on the disk, for messages that are published meanwhile."""


class SqliteBackups:
    """Backups of these files, by their roles. One is made at a time."""

    def __init__(self, files: Mapping[str, Database], clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._is_making = False

    async def make(self) -> Archive | None:
        """Copy the files. None: a backup is being made. `Archive.close` gives the room of the copies back.

        Raises:
            HistoryUnavailable: there is no room for the copies, or they cannot be made.
        """
        if self._is_making:
            return None
        self._is_making = True
        copies: list[CopiedFile] = []
        with contextlib.ExitStack() as on_error:
            on_error.callback(self._ended)
            for role, database in self._files.items():
                content = await self._copy(database)
                on_error.callback(content.close)
                size_bytes = os.fstat(content.fileno()).st_size
                copies.append(CopiedFile(role, database.version, size_bytes, content))
            on_error.pop_all()
        return _Made(copies, self._clock.now(), self)

    async def _copy(self, database: Database) -> BinaryIO:
        path = copy_path(database.path)
        try:
            _begin(path, database.path)
            await database.copy_to(path)
            return path.open("rb")
        except OSError as error:
            raise HistoryUnavailable(f"its copy cannot be written: {error.strerror}") from error
        finally:
            _unname(path)

    def _ended(self) -> None:
        self._is_making = False


class _Made(Archive):
    def __init__(self, files: list[CopiedFile], made_at: float, backups: SqliteBackups) -> None:
        super().__init__(files, made_at)
        self._backups = backups

    def close(self) -> None:
        super().close()
        self._backups._ended()


def backup_of_files(paths: Mapping[str, Path], now: float) -> Archive:
    """Return a backup of files that no gateway uses.

    Raises:
        ConfigError: one is missing, in use, or not tellwire's.
        HistoryUnavailable: it cannot be copied.
    """
    copies = []
    with contextlib.ExitStack() as on_error:
        for role, path in paths.items():
            copied = _copy_alone(role, path)
            on_error.callback(copied.content.close)
            copies.append(copied)
        on_error.pop_all()
    return Archive(copies, now)


def copy_path(path: Path) -> Path:
    """Return the name that the copy of a file has while it is written."""
    return path.with_name(f"{path.name}-backup")


def _copy_alone(role: str, path: Path) -> CopiedFile:
    if not path.exists():
        raise ConfigError(f"{role} {str(path)!r}: there is no such file")
    copy = copy_path(path)
    try:
        with alone(path, role) as connection:
            _begin(copy, path)
            copy_pages(connection, copy, lambda: None)
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
        content = copy.open("rb")
    except sqlite3.Error as error:
        raise HistoryUnavailable(words(error)) from error
    except OSError as error:
        raise HistoryUnavailable(f"its copy cannot be written: {error.strerror}") from error
    finally:
        _unname(copy)
    return CopiedFile(role, schema, os.fstat(content.fileno()).st_size, content)


def _begin(copy: Path, source: Path) -> None:
    _require_room(source)
    # Of a gateway that was killed one may be there. Nobody else may read it.
    copy.unlink(missing_ok=True)
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _unname(copy: Path) -> None:
    # What is open stays readable, and is gone with the process.
    with contextlib.suppress(OSError):
        copy.unlink(missing_ok=True)


def _require_room(path: Path) -> None:
    beside = [path, path.with_name(f"{path.name}-wal")]
    needed = sum(each.stat().st_size for each in beside if each.exists()) + _SPARE_BYTES
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise HistoryUnavailable(f"its disk has {free:,} bytes left; a backup needs {needed:,} for a while")
