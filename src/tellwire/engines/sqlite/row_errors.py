"""Lists of row errors in the gateway's SQLite file.

An upload has the list of its last run. Chunks may arrive twice, or in any order, because each row has its index.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

from tellwire.engines.sqlite.database import transaction
from tellwire.errors import HistoryUnavailable
from tellwire.limits import HISTORY_MAX_AGE_SECONDS
from tellwire.ports import Clock
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList

SCHEMA: Final = """
CREATE TABLE row_error_lists (
    user_id TEXT NOT NULL, upload_id TEXT NOT NULL, started_at TEXT NOT NULL, file_name TEXT NOT NULL,
    total INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (user_id, upload_id)
) WITHOUT ROWID;
CREATE TABLE row_errors (
    user_id TEXT NOT NULL, upload_id TEXT NOT NULL, row_index INTEGER NOT NULL, row INTEGER NOT NULL,
    code TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (user_id, upload_id, row_index)
) WITHOUT ROWID;
"""


class Run(Protocol):
    """A function that runs work in the database's thread."""

    def __call__(self, work: Callable[[], Any]) -> Awaitable[Any]: ...


class SqliteRowErrors:
    """A `RowErrorStore` in the file, and on the thread, of an `SqliteHistory`."""

    def __init__(self, run: Run, database: sqlite3.Connection, clock: Clock) -> None:
        self._run = run
        self._database = database
        self._clock = clock

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        await self._call(_add, chunk, self._clock.now())

    async def row_error_list(self, user_id: str, upload_id: str) -> RowErrorList | None:
        found: RowErrorList | None = await self._call(
            _find, user_id, upload_id, self._clock.now() - HISTORY_MAX_AGE_SECONDS
        )
        return found

    async def row_errors(
        self, user_id: str, upload_id: str, started_at: str, first: int, at_most: int
    ) -> list[RowError]:
        found: list[RowError] = await self._call(_read, user_id, upload_id, started_at, first, at_most)
        return found

    async def _call(self, work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self._run(partial(work, self._database, *arguments))
        except sqlite3.Error as error:
            raise HistoryUnavailable(str(error)) from error


def prune(database: sqlite3.Connection, oldest: float) -> None:
    """Remove the lists that are too old. The caller opens the transaction."""
    database.execute(
        "DELETE FROM row_errors WHERE (user_id, upload_id) IN "
        "(SELECT user_id, upload_id FROM row_error_lists WHERE at < ?)",
        (oldest,),
    )
    database.execute("DELETE FROM row_error_lists WHERE at < ?", (oldest,))


def _add(database: sqlite3.Connection, chunk: RowErrorChunk, now: float) -> None:
    upload = (chunk.user_id, chunk.upload_id)
    with transaction(database):
        known = database.execute(
            "SELECT started_at, total FROM row_error_lists WHERE user_id = ? AND upload_id = ?", upload
        ).fetchone()
        started_at, total = known or ("", 0)
        if started_at > chunk.started_at:
            return
        if started_at < chunk.started_at:
            total = 0
            database.execute("DELETE FROM row_errors WHERE user_id = ? AND upload_id = ?", upload)
        database.execute(
            "INSERT OR REPLACE INTO row_error_lists VALUES (?, ?, ?, ?, ?, ?)",
            (*upload, chunk.started_at, chunk.file_name, max(total, chunk.total), now),
        )
        database.executemany(
            "INSERT OR REPLACE INTO row_errors VALUES (?, ?, ?, ?, ?, ?)",
            [(*upload, row_index, *error) for row_index, error in chunk.by_index().items()],
        )


def _find(database: sqlite3.Connection, user_id: str, upload_id: str, oldest: float) -> RowErrorList | None:
    known = database.execute(
        "SELECT file_name, started_at, total, (SELECT count(*) FROM row_errors WHERE user_id = ?1 AND upload_id = ?2) "
        "FROM row_error_lists WHERE user_id = ?1 AND upload_id = ?2 AND at >= ?3",
        (user_id, upload_id, oldest),
    ).fetchone()
    return known and RowErrorList(*known)


def _read(
    database: sqlite3.Connection, user_id: str, upload_id: str, started_at: str, first: int, at_most: int
) -> list[RowError]:
    rows = database.execute(
        "SELECT row, code, message FROM row_errors JOIN row_error_lists USING (user_id, upload_id) "
        "WHERE user_id = ? AND upload_id = ? AND started_at = ? ORDER BY row_index LIMIT ? OFFSET ?",
        (user_id, upload_id, started_at, at_most, first),
    )
    return [RowError(*row) for row in rows]
