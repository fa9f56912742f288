"""The parts of all uploads, in a SQLite database: an import puts them in, and `page_of_parts` reads them again.

Rules:
- An upload is stored completely or not at all; the same upload again replaces its earlier parts.
- Parts wait in a temporary table, which belongs to one connection and is gone with it. The database is locked for one
  short transaction at the end, on a thread of its own: other imports and the event loop go on.
- A database that is busy is tried again, so that an import can be cancelled meanwhile.
"""

import asyncio
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from examples.parts_upload.parts import Part
from tellwire import UploadFailed

# Other imports into the same database store their parts within so many tries.
BUSY_TRIES: Final = 60
_TRY_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.05
_PRIMARY_CODE: Final = 0xFF

_COLUMNS = """
    row_number INTEGER NOT NULL,
    part_number TEXT NOT NULL, name TEXT NOT NULL, colour TEXT NOT NULL, quantity INTEGER NOT NULL
"""
_TABLE = f"""
CREATE TABLE IF NOT EXISTS parts (
    upload_id TEXT NOT NULL, {_COLUMNS},
    PRIMARY KEY (upload_id, row_number)
) WITHOUT ROWID
"""

_PAGE = """
SELECT row_number, part_number, name, colour, quantity FROM parts WHERE upload_id = ?
ORDER BY row_number LIMIT ? OFFSET ?
"""


class PartsStore:
    """The parts of one upload, until `commit` puts them in the place of its earlier ones."""

    def __init__(self, connection: sqlite3.Connection, upload_id: str) -> None:
        self._connection = connection
        self._upload_id = upload_id
        connection.execute(f"CREATE TEMPORARY TABLE new_parts ({_COLUMNS})")

    def add(self, parts: Iterable[Part]) -> None:
        """Add parts."""
        self._connection.executemany("INSERT INTO temp.new_parts VALUES (?, ?, ?, ?, ?)", parts)

    async def commit(self) -> None:
        """Store all parts; they replace the earlier ones of this upload.

        Raises:
            UploadFailed: the database is busy with something longer than imports.
        """
        for _ in range(BUSY_TRIES):
            try:
                return await self._commit_on_thread()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)
        raise UploadFailed("DATABASE_BUSY", "The database is busy. Try again in a minute.")

    async def _commit_on_thread(self) -> None:
        job = asyncio.ensure_future(asyncio.to_thread(self._commit))
        try:
            await asyncio.shield(job)
        except asyncio.CancelledError:
            # The connection must not be closed under the thread.
            self._connection.interrupt()
            await asyncio.wait({job})
            raise

    def _commit(self) -> None:
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(_TABLE)
            self._connection.execute("DELETE FROM parts WHERE upload_id = ?", (self._upload_id,))
            self._connection.execute("INSERT INTO parts SELECT ?, * FROM temp.new_parts", (self._upload_id,))


@contextmanager
def opened_store(database: Path, upload_id: str) -> Iterator[PartsStore]:
    """Open the store of an upload. Without `commit` nothing of it is kept."""
    with closing(sqlite3.connect(database, _TRY_SECONDS, check_same_thread=False, isolation_level=None)) as connection:
        yield PartsStore(connection, upload_id)


class StoredParts(NamedTuple):
    """Some of the parts of an upload, in the order of its rows, and the number of all."""

    total: int
    parts: list[Part]


def page_of_parts(database: Path, upload_id: str, offset: int, limit: int) -> StoredParts:
    """Return up to `limit` parts of an upload, after the first `offset` ones. An upload that is not stored has none."""
    if not database.exists():
        return StoredParts(0, [])
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", _TRY_SECONDS, uri=True)) as connection:
        try:
            # One snapshot, also if the upload is replaced meanwhile.
            connection.execute("BEGIN")
            [total] = connection.execute("SELECT count(*) FROM parts WHERE upload_id = ?", (upload_id,)).fetchone()
            rows = connection.execute(_PAGE, (upload_id, limit, offset)).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # a first import has not come to its table
                return StoredParts(0, [])
            raise
    return StoredParts(total, [Part(*row) for row in rows])
