"""The requests of clients in an SQLite file of their own, so that none delays a publication.

A request is in the file before it is run. So one that was begun by a process that was killed is not run again.
"""

import sqlite3
from functools import partial
from pathlib import Path
from typing import Final

from tellwire.engines.sqlite.database import Database, overwriting, transaction
from tellwire.engines.sqlite.pruning import keep_pruning, prune_rows
from tellwire.errors import RequestRunning
from tellwire.limits import REQUEST_KEEP_SECONDS, REQUESTS_PER_USER
from tellwire.ports import Clock, SystemClock

VERSION: Final = 1
# `number` is the order in which they began. `answer` is NULL until a request has ended.
SCHEMA: Final = """
CREATE TABLE requests (
    number INTEGER PRIMARY KEY, user_id TEXT NOT NULL, id TEXT NOT NULL, begun_at REAL NOT NULL, answer BLOB,
    UNIQUE (user_id, id)
);
CREATE INDEX requests_of_user ON requests (user_id, number)
"""

_PRUNED_AT_ONCE: Final = 1000


class SqliteRequests:
    """A `RequestLedger` in a file, which belongs to one process at a time. `watch` runs as long as it is used.

    Raises:
        ConfigError: the file cannot be opened, belongs to another program or version, is damaged, or is in use.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self.database = Database(path, SCHEMA, VERSION, "requests")

    async def begin(self, user_id: str, request_id: str) -> bytes | None:
        begin = partial(_begin, user_id=user_id, request_id=request_id, now=self._clock.now())
        is_ours, answer = await self.database.run(begin)
        if not is_ours and answer is None:
            raise RequestRunning
        return answer

    async def finish(self, user_id: str, request_id: str, answer: bytes) -> None:
        await self.database.run(partial(_finish, user_id=user_id, request_id=request_id, answer=answer))

    async def forget(self, user_id: str) -> None:
        await self.database.run(partial(_forget, user_id=user_id))

    async def close(self) -> None:
        """Close the file."""
        await self.database.close()

    async def watch(self) -> None:
        """Remove requests that are too old, from time to time. It never returns."""
        await keep_pruning(self.prune, self._clock, "requests")

    async def prune(self) -> None:
        """Remove requests that are too old, some rows at a time, and give free pages back to the file system.

        Raises:
            HistoryUnavailable: not all of it is done.
        """
        await prune_rows(self.database, partial(_remove_old, oldest=self._clock.now() - REQUEST_KEEP_SECONDS))


def _begin(connection: sqlite3.Connection, user_id: str, request_id: str, now: float) -> tuple[bool, bytes | None]:
    """Return True if a request is new, and the answer that it had."""
    known = connection.execute(
        "SELECT number, begun_at, answer FROM requests WHERE user_id = ? AND id = ?", (user_id, request_id)
    ).fetchone()
    if known is not None and known[1] >= now - REQUEST_KEEP_SECONDS:
        return False, known[2]
    with transaction(connection):
        # One that is too old gets a new number, too.
        connection.execute(
            "INSERT OR REPLACE INTO requests (user_id, id, begun_at) VALUES (?, ?, ?)", (user_id, request_id, now)
        )
        connection.execute(
            "DELETE FROM requests WHERE user_id = ?1 AND number <= "
            "(SELECT number FROM requests WHERE user_id = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            (user_id, REQUESTS_PER_USER),
        )
    return True, None


def _finish(connection: sqlite3.Connection, user_id: str, request_id: str, answer: bytes) -> None:
    with transaction(connection):
        connection.execute("UPDATE requests SET answer = ? WHERE user_id = ? AND id = ?", (answer, user_id, request_id))


def _forget(connection: sqlite3.Connection, user_id: str) -> None:
    with overwriting(connection), transaction(connection):
        connection.execute("DELETE FROM requests WHERE user_id = ?", (user_id,))


def _remove_old(connection: sqlite3.Connection, oldest: float) -> bool:
    """Remove some requests that are too old, from the first on. True: the next one is kept."""
    found = connection.execute(
        "SELECT number, begun_at FROM requests ORDER BY number LIMIT ?", (_PRUNED_AT_ONCE,)
    ).fetchall()
    old = [(number,) for number, begun_at in found if begun_at < oldest]
    if old:
        with transaction(connection):
            connection.executemany("DELETE FROM requests WHERE number = ?", old)
    return len(old) < _PRUNED_AT_ONCE
