"""Lists of row errors in an SQLite file of their own, so that neither long lists nor downloads delay a publication.

Each run of an upload has a list. Chunks may arrive twice, or in any order, because each row error has its place.
"""

import sqlite3
from functools import partial
from pathlib import Path
from typing import Final

from tellwire.engines.sqlite.database import Database, overwriting, transaction
from tellwire.engines.sqlite.pruning import keep_pruning, prune_rows
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, MAX_ROW_ERRORS
from tellwire.ports import Clock, SystemClock
from tellwire.row_errors import KEPT_RUNS, Place, RowError, RowErrorChunk, RowErrorList, RowErrorPage

VERSION: Final = 2
SCHEMA: Final = """
CREATE TABLE lists (
    list INTEGER PRIMARY KEY, user_id TEXT NOT NULL, upload_id TEXT NOT NULL, run TEXT NOT NULL,
    file_name TEXT NOT NULL, kept INTEGER NOT NULL, at REAL NOT NULL, UNIQUE (user_id, upload_id, run)
);
CREATE INDEX lists_by_age ON lists (at);
CREATE TABLE parts (
    list INTEGER NOT NULL, part INTEGER NOT NULL, total INTEGER NOT NULL, PRIMARY KEY (list, part)
) WITHOUT ROWID;
CREATE TABLE row_errors (
    list INTEGER NOT NULL, part INTEGER NOT NULL, row_index INTEGER NOT NULL, row INTEGER NOT NULL,
    code TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (list, part, row_index)
) WITHOUT ROWID
"""

_BEFORE_ALL: Final = (-1, -1)
_PRUNED_AT_ONCE: Final = 1000


class SqliteRowErrors:
    """A `RowErrorStore` in a file, which belongs to one process at a time. `watch` runs as long as it is used.

    Raises:
        ConfigError: the file cannot be opened, belongs to another program or version, is damaged, or is in use.
    """

    def __init__(
        self, path: Path, clock: Clock | None = None, max_age_seconds: float = HISTORY_MAX_AGE_SECONDS
    ) -> None:
        self._clock = clock or SystemClock()
        self._max_age_seconds = max_age_seconds
        self.database = Database(path, SCHEMA, VERSION, "row errors")

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        await self.database.run(partial(_add, chunk=chunk, now=self._clock.now()))

    async def row_error_list(self, user_id: str, upload_id: str, run: str | None = None) -> RowErrorList | None:
        oldest = self._clock.now() - self._max_age_seconds
        return await self.database.run(partial(_find, upload=(user_id, upload_id), run=run, oldest=oldest))

    async def row_errors(
        self, user_id: str, upload_id: str, run: str, after: Place | None, at_most: int
    ) -> RowErrorPage:
        return await self.database.run(
            partial(_read, upload=(user_id, upload_id), run=run, after=after or _BEFORE_ALL, at_most=at_most)
        )

    async def forget(self, user_id: str) -> None:
        await self.database.run(partial(_forget, user_id=user_id))

    async def close(self) -> None:
        """Close the file."""
        await self.database.close()

    async def watch(self) -> None:
        """Remove lists that are too old, from time to time. It never returns."""
        await keep_pruning(self.prune, self._clock, "row errors")

    async def prune(self) -> None:
        """Remove lists that are too old, some rows at a time, and give free pages back to the file system.

        Raises:
            HistoryUnavailable: not all of it is done.
        """
        await prune_rows(self.database, partial(_remove_old, oldest=self._clock.now() - self._max_age_seconds))


def _remove_old(connection: sqlite3.Connection, oldest: float) -> bool:
    """Remove some rows of a list that is too old. True: there is none."""
    found = connection.execute("SELECT list FROM lists WHERE at < ? ORDER BY at LIMIT 1", (oldest,)).fetchone()
    if found is None:
        return True
    with transaction(connection):
        removed = connection.execute(
            "DELETE FROM row_errors WHERE list = ?1 AND (part, row_index) IN "
            "(SELECT part, row_index FROM row_errors WHERE list = ?1 ORDER BY part, row_index LIMIT ?2)",
            (*found, _PRUNED_AT_ONCE),
        )
        if removed.rowcount < _PRUNED_AT_ONCE:
            connection.execute("DELETE FROM parts WHERE list = ?", found)
            connection.execute("DELETE FROM lists WHERE list = ?", found)
    return False


def _add(connection: sqlite3.Connection, chunk: RowErrorChunk, now: float) -> None:
    upload = (chunk.user_id, chunk.upload_id)
    with transaction(connection):
        connection.execute(
            "INSERT INTO lists (user_id, upload_id, run, file_name, kept, at) VALUES (?, ?, ?, ?, 0, ?) "
            "ON CONFLICT DO UPDATE SET at = excluded.at",
            (*upload, chunk.run, chunk.file_name, now),
        )
        number, kept = connection.execute(
            "SELECT list, kept FROM lists WHERE user_id = ? AND upload_id = ? AND run = ?", (*upload, chunk.run)
        ).fetchone()
        connection.execute(
            "INSERT INTO parts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET total = max(total, excluded.total)",
            (number, chunk.part_number, chunk.total),
        )
        rows = [(number, *place, *error) for place, error in chunk.by_place().items()]
        added = connection.executemany(
            "INSERT OR IGNORE INTO row_errors VALUES (?, ?, ?, ?, ?, ?)", rows[: MAX_ROW_ERRORS - kept]
        )
        connection.execute("UPDATE lists SET kept = kept + ? WHERE list = ?", (added.rowcount, number))
        # Those of earlier runs are removed with the old ones, some rows at a time.
        connection.execute(
            "UPDATE lists SET at = 0 WHERE list IN (SELECT list FROM lists WHERE user_id = ? AND upload_id = ? "
            "ORDER BY at DESC LIMIT -1 OFFSET ?)",
            (*upload, KEPT_RUNS),
        )


def _forget(connection: sqlite3.Connection, user_id: str) -> None:
    with overwriting(connection), transaction(connection):
        of_user = "list IN (SELECT list FROM lists WHERE user_id = ?)"
        for table in ("row_errors", "parts", "lists"):
            connection.execute(f"DELETE FROM {table} WHERE {of_user}", (user_id,))  # noqa: S608 - names of ours


def _find(
    connection: sqlite3.Connection, upload: tuple[str, str], run: str | None, oldest: float
) -> RowErrorList | None:
    known = connection.execute(
        "SELECT file_name, run, (SELECT sum(total) FROM parts WHERE parts.list = lists.list), kept FROM lists "
        "WHERE user_id = ?1 AND upload_id = ?2 AND (?3 IS NULL OR run = ?3) AND at >= ?4 ORDER BY list DESC LIMIT 1",
        (*upload, run, oldest),
    ).fetchone()
    return known and RowErrorList(*known)


def _read(
    connection: sqlite3.Connection, upload: tuple[str, str], run: str, after: Place, at_most: int
) -> RowErrorPage:
    rows = connection.execute(
        "SELECT part, row_index, row, code, message FROM row_errors WHERE list = "
        "(SELECT list FROM lists WHERE user_id = ? AND upload_id = ? AND run = ?) AND (part, row_index) > (?, ?) "
        "ORDER BY part, row_index LIMIT ?",
        (*upload, run, *after, at_most),
    ).fetchall()
    last = (rows[-1][0], rows[-1][1]) if len(rows) == at_most else None
    return RowErrorPage([RowError(*row[2:]) for row in rows], last)
