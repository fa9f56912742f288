"""The lists of rows that jobs left out: in memory, or in the gateway's SQLite file.

A list is an upload's last run's. Parts of it may come twice, or in any order: each has its place.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol

from tellwire.errors import HistoryUnavailable
from tellwire.history.database import transaction
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, MAX_ROW_ERRORS
from tellwire.ports import Clock
from tellwire.row_errors import RowError, RowErrorChunk, RowErrorList

_MAX_IN_MEMORY: Final = 500_000
"""Rows of all lists in memory, some 100 MB. The lists unchanged longest go first."""

SCHEMA: Final = """
CREATE TABLE row_error_lists (
    user_id TEXT NOT NULL, upload_id TEXT NOT NULL, started_at TEXT NOT NULL, file_name TEXT NOT NULL,
    total INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (user_id, upload_id)
) WITHOUT ROWID;
CREATE TABLE row_errors (
    user_id TEXT NOT NULL, upload_id TEXT NOT NULL, place INTEGER NOT NULL, row INTEGER NOT NULL, code TEXT NOT NULL,
    message TEXT NOT NULL, PRIMARY KEY (user_id, upload_id, place)
) WITHOUT ROWID;
"""


class _List:
    def __init__(self, started_at: str, file_name: str) -> None:
        self.started_at = started_at
        self.file_name = file_name
        self.total = 0
        self.at = 0.0
        self.rows: dict[int, RowError] = {}


class MemoryRowErrors:
    """A `RowErrorStore` in this process."""

    def __init__(self, clock: Clock, max_rows: int = _MAX_IN_MEMORY) -> None:
        self._clock = clock
        self._max_rows = max_rows
        self._rows = 0
        self._lists: OrderedDict[tuple[str, str], _List] = OrderedDict()

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        key = (chunk.user, chunk.upload_id)
        known = self._lists.get(key)
        if known is not None and known.started_at > chunk.started_at:
            return
        if known is None or known.started_at < chunk.started_at:
            self._forget(key)
            known = self._lists[key] = _List(chunk.started_at, chunk.file_name)
        before = len(known.rows)
        known.rows |= _placed(chunk)
        known.total = max(known.total, chunk.total)
        known.at = self._clock.now()
        self._rows += len(known.rows) - before
        self._lists.move_to_end(key)
        while self._rows > self._max_rows and len(self._lists) > 1:
            self._forget(next(iter(self._lists)))

    async def row_error_list(self, user_id: str, upload_id: str) -> RowErrorList | None:
        known = self._find(user_id, upload_id)
        return None if known is None else RowErrorList(known.file_name, known.started_at, known.total, len(known.rows))

    async def row_errors(
        self, user_id: str, upload_id: str, started_at: str, first: int, at_most: int
    ) -> list[RowError]:
        known = self._find(user_id, upload_id)
        rows = {} if known is None or known.started_at != started_at else known.rows
        return [rows[place] for place in sorted(rows)[first : first + at_most]]

    def _find(self, user_id: str, upload_id: str) -> _List | None:
        oldest = self._clock.now() - HISTORY_MAX_AGE_SECONDS
        while self._lists and next(iter(self._lists.values())).at < oldest:
            self._forget(next(iter(self._lists)))
        return self._lists.get((user_id, upload_id))

    def _forget(self, key: tuple[str, str]) -> None:
        forgotten = self._lists.pop(key, None)
        if forgotten is not None:
            self._rows -= len(forgotten.rows)


class Run(Protocol):
    """Runs work where the database is used."""

    def __call__(self, work: Callable[[], Any]) -> Awaitable[Any]: ...


class SqliteRowErrors:
    """A `RowErrorStore` in the file of an `SqliteHistory`, whose thread does the work."""

    def __init__(self, run: Run, database: Callable[[], sqlite3.Connection], clock: Clock) -> None:
        self._run = run
        self._database = database
        self._clock = clock

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        await self._ask(_add, chunk, self._clock.now())

    async def row_error_list(self, user_id: str, upload_id: str) -> RowErrorList | None:
        found: RowErrorList | None = await self._ask(
            _find, user_id, upload_id, self._clock.now() - HISTORY_MAX_AGE_SECONDS
        )
        return found

    async def row_errors(
        self, user_id: str, upload_id: str, started_at: str, first: int, at_most: int
    ) -> list[RowError]:
        found: list[RowError] = await self._ask(_read, user_id, upload_id, started_at, first, at_most)
        return found

    async def _ask(self, work: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return await self._run(partial(work, self._database(), *arguments))
        except sqlite3.Error as error:
            raise HistoryUnavailable(str(error)) from error


def prune(database: sqlite3.Connection, oldest: float) -> None:
    """Remove the lists that are too old. Within a transaction of the caller's."""
    database.execute(
        "DELETE FROM row_errors WHERE (user_id, upload_id) IN "
        "(SELECT user_id, upload_id FROM row_error_lists WHERE at < ?)",
        (oldest,),
    )
    database.execute("DELETE FROM row_error_lists WHERE at < ?", (oldest,))


def _placed(chunk: RowErrorChunk) -> dict[int, RowError]:
    return {place: error for place, error in enumerate(chunk.errors, chunk.first) if place < MAX_ROW_ERRORS}


def _add(database: sqlite3.Connection, chunk: RowErrorChunk, now: float) -> None:
    upload = (chunk.user, chunk.upload_id)
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
            [(*upload, place, *error) for place, error in _placed(chunk).items()],
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
        "WHERE user_id = ? AND upload_id = ? AND started_at = ? ORDER BY place LIMIT ? OFFSET ?",
        (user_id, upload_id, started_at, at_most, first),
    )
    return [RowError(*row) for row in rows]
