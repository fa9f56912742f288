"""Shut-outs in the gateway's SQLite file: a few rows, which are read once, when the gateway starts."""

import sqlite3
from collections.abc import Iterable
from functools import partial
from typing import Final

from tellwire.engines.sqlite.database import Database, transaction
from tellwire.ports import Clock
from tellwire.shut_out import ShutOut

SCHEMA: Final = """
CREATE TABLE shut_outs (
    user_id TEXT NOT NULL, key TEXT NOT NULL, until REAL NOT NULL, reason TEXT NOT NULL, token_id TEXT,
    issued_before REAL, PRIMARY KEY (user_id, key)
) WITHOUT ROWID
"""


class SqliteShutOuts:
    """A `ShutOutFile` in the file of an `SqliteHistory`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def load(self) -> list[ShutOut]:
        return await self._database.run(partial(_load, now=self._clock.now()))

    async def keep(self, entry: ShutOut) -> None:
        await self._database.run(partial(_keep, entry=entry))

    async def remove(self, user_id: str, keys: Iterable[str]) -> None:
        await self._database.run(partial(_remove, rows=[(user_id, key) for key in keys]))


def _load(connection: sqlite3.Connection, now: float) -> list[ShutOut]:
    with transaction(connection):
        connection.execute("DELETE FROM shut_outs WHERE until <= ?", (now,))
    rows = connection.execute("SELECT user_id, until, reason, token_id, issued_before FROM shut_outs")
    return [ShutOut(*row) for row in rows]


def _keep(connection: sqlite3.Connection, entry: ShutOut) -> None:
    row = (entry.user_id, entry.key, entry.until, entry.reason, entry.token_id, entry.issued_before)
    with transaction(connection):
        connection.execute("INSERT OR REPLACE INTO shut_outs VALUES (?, ?, ?, ?, ?, ?)", row)


def _remove(connection: sqlite3.Connection, rows: list[tuple[str, str]]) -> None:
    with transaction(connection):
        connection.executemany("DELETE FROM shut_outs WHERE user_id = ? AND key = ?", rows)
