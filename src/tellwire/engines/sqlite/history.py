"""A history in one SQLite file: the store of a gateway that is one process.

    append ─▶ the user's stream gives it its place ─▶ waits for the commit ─▶ and only then is it delivered
                                                        └ everything that came during the last one goes with the next

What has its place but is not committed nobody has seen: after `kill -9` the same place is given to another message, and
no client can tell. Commits are to the operating system (`synchronous=NORMAL` with a write-ahead log): a process that is
killed loses nothing, a machine that loses power may lose the last moments.
"""

import asyncio
import itertools
import logging
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from tellwire.engines.memory.history import new_epoch
from tellwire.engines.sqlite import row_errors
from tellwire.engines.sqlite.database import transaction
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.limits import (
    HISTORY_CACHED_USERS,
    HISTORY_MAX_AGE_SECONDS,
    HISTORY_MAX_MESSAGES,
    HISTORY_MAX_STATES,
)
from tellwire.ports import Clock, SystemClock
from tellwire.stream import SEEN, Entry, Replay, Said, Stream

logger = logging.getLogger("tellwire.history")

T = TypeVar("T")

SCHEMA_VERSION: Final = 2

# The log is in the order it was said, so that a commit writes a few pages however many users it is for. Numbers never
# begin anew while the file lasts: `users` has the last ones of what has been removed.
_SCHEMA: Final = """
CREATE TABLE store (epoch TEXT NOT NULL);
CREATE TABLE users (user_id TEXT PRIMARY KEY, offset INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    user_id TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, said_at REAL NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX log_by_user ON log (user_id, number);
CREATE TABLE states (
    user_id TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, at REAL NOT NULL,
    said_at REAL NOT NULL, is_final BOOLEAN NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (user_id, key)
) WITHOUT ROWID;
"""
_LOG_IN_ORDER: Final = """
ALTER TABLE log RENAME TO log_1;
CREATE TABLE log (
    user_id TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, said_at REAL NOT NULL,
    payload BLOB NOT NULL
);
INSERT INTO log SELECT user_id, number, id, at, said_at, payload FROM log_1 ORDER BY at, number;
DROP TABLE log_1;
CREATE INDEX log_by_user ON log (user_id, number);
DROP INDEX states_by_age;
"""
_MIGRATIONS: Final = {1: (_LOG_IN_ORDER, row_errors.SCHEMA)}
"""What makes a file of one version one of the next."""

_PRUNE_SECONDS: Final = 300.0
# 16 MB. The more there is between two checkpoints, the fewer pages are written twice.
_CHECKPOINT_PAGES: Final = 4000
_BUSY_SECONDS: Final = 5.0

# "tell", so that nobody else's database is taken for ours.
_APPLICATION_ID: Final = 0x74656C6C


class _Write(NamedTuple):
    """An entry on its way into the file."""

    user_id: str
    entry: Entry


_Commit = asyncio.Future[None]
"""Done when everything that goes with it is in the file."""


class SqliteHistory:
    """A `History` in a file, which belongs to one process at a time."""

    def __init__(self, path: Path, clock: Clock | None = None, max_cached_users: int = HISTORY_CACHED_USERS) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._max_cached_users = max_cached_users
        self._streams: OrderedDict[str, Stream] = OrderedDict()
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._waiting: list[_Write] = []
        self._next: _Commit | None = None  # of what is waiting
        self._last_of: dict[str, _Commit] = {}
        self._committing: asyncio.Task[None] | None = None
        self._pruned_at = 0.0
        self._active: set[str] = set()  # the users to whom something was said since
        self.row_errors = row_errors.SqliteRowErrors(self._run, lambda: self._database, self._clock)

    def open(self) -> None:
        """Open the file, or make it.

        Raises:
            ConfigError: it cannot be opened, is another program's, of another version, or in use.
        """
        self._database, self._epoch = _open(self._path)
        # One thread: SQLite writes one after the other anyway.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tellwire-history")

    async def append(self, user_id: str, said: Said) -> Entry | None:
        stream = await self._stream(user_id)
        entry = stream.append(said, self._clock.now())
        await self._written(user_id, entry)
        return entry

    async def append_all(self, messages: Sequence[tuple[str, Said]]) -> list[Entry | None]:
        entries: list[Entry | None] = []
        commits: set[_Commit] = set()
        for user_id, said in messages:
            stream = self._streams.get(user_id) or await self._stream(user_id)
            entry = stream.append(said, self._clock.now())
            entries.append(entry)
            if (commit := self._write(user_id, entry)) is not None:
                commits.add(commit)
        for commit in commits:
            await asyncio.shield(commit)
        return entries

    async def acknowledge(self, user_id: str, cursor: str) -> Entry | None:
        stream = await self._stream(user_id)
        entry = stream.acknowledge(cursor, self._clock.now())
        await self._written(user_id, entry)
        return entry

    async def read(self, user_id: str, cursor: str | None) -> Replay:
        stream = await self._stream(user_id)
        replay = stream.read(cursor, self._clock.now())
        # What a client has been told must not be forgotten.
        await self._written(user_id)
        return replay

    async def state(self, user_id: str, key: str) -> Entry | None:
        stream = await self._stream(user_id)
        entry = stream.state(key, self._clock.now())
        await self._written(user_id)
        return entry

    async def leased(self) -> AsyncIterator[tuple[str, Entry]]:
        try:
            users = await self._run(partial(_users_in_progress, self._database))
        except sqlite3.Error as error:
            raise HistoryUnavailable(str(error)) from error
        for user_id in users:
            for entry in (await self._stream(user_id)).leased():
                yield user_id, entry

    async def close(self) -> None:
        """Commit what waits, and close the file."""
        if self._committing is not None:
            await asyncio.wait([self._committing])
        await self._run(self._database.close)
        self._thread.shutdown()

    # --- streams ------------------------------------------------------------------------------------------------------

    async def _stream(self, user_id: str) -> Stream:
        # There must not be two of one user, which would give out the same places: only one that is kept now is used.
        while (stream := self._streams.get(user_id)) is None:
            loading = self._loading.get(user_id)
            if loading is None:
                loading = self._loading[user_id] = asyncio.create_task(self._load(user_id))
                loading.add_done_callback(lambda _: self._loading.pop(user_id, None))
            # Shielded: whoever asked first may give up while others wait for the same.
            await asyncio.shield(loading)
        self._streams.move_to_end(user_id)
        return stream

    async def _load(self, user_id: str) -> None:
        try:
            stream = await self._run(partial(_read_stream, self._database, self._epoch, user_id))
        except sqlite3.Error as error:
            raise HistoryUnavailable(str(error)) from error
        self._streams[user_id] = stream
        for other in list(itertools.islice(self._streams, max(0, len(self._streams) - self._max_cached_users))):
            if other not in self._last_of:
                del self._streams[other]

    # --- commits ------------------------------------------------------------------------------------------------------

    def _write(self, user_id: str, entry: Entry | None) -> _Commit | None:
        """Put an entry into the next commit, and return the last one that a user's stream is waiting for."""
        if entry is None:
            # The first one to bring it may be waiting still; what it waits for, we do.
            return self._last_of.get(user_id)
        self._waiting.append(_Write(user_id, entry))
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        self._last_of[user_id] = self._next
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return self._next

    async def _written(self, user_id: str, entry: Entry | None = None) -> None:
        """Wait until an entry, and everything else that has its place in a user's stream, is in the file."""
        commit = self._write(user_id, entry)
        if commit is not None:
            # Shielded: whoever waits may give up, and others wait for the same.
            await asyncio.shield(commit)

    async def _commit_all(self) -> None:
        while (taken := self._take()) is not None:
            commit, writes = taken
            try:
                await self._run(partial(_commit, self._database, writes))
            except sqlite3.Error as error:
                logger.error("the history cannot be written: %s", error)  # noqa: TRY400 - the publishers raise it
                self._take_back(commit, writes, error)
                # What came meanwhile has places after those.
                if (later := self._take()) is not None:
                    self._take_back(*later, error)
                continue
            self._end(commit, writes)
            commit.set_result(None)
            await self._prune_in_time(writes)
        self._committing = None

    def _take(self) -> tuple[_Commit, list[_Write]] | None:
        """Take what waits, and what is waited for; None if nothing is."""
        commit, self._next = self._next, None
        writes, self._waiting = self._waiting, []
        return None if commit is None else (commit, writes)

    async def _prune_in_time(self, batch: Sequence[_Write]) -> None:
        self._active.update(write.user_id for write in batch)
        now = self._clock.now()
        if now - self._pruned_at >= _PRUNE_SECONDS:
            active, self._active = self._active, set()
            self._pruned_at = now
            try:
                await self._run(partial(_prune, self._database, active, now - HISTORY_MAX_AGE_SECONDS))
            except sqlite3.Error as error:
                logger.warning("what is too old stays in the history for now: %s", error)

    def _take_back(self, commit: _Commit, writes: Sequence[_Write], error: sqlite3.Error) -> None:
        """Let streams forget what is not in the file: they are read from it anew."""
        self._end(commit, writes)
        for write in writes:
            self._streams.pop(write.user_id, None)
        commit.set_exception(HistoryUnavailable(str(error)))
        commit.exception()  # the publishers may have given up

    def _end(self, commit: _Commit, writes: Sequence[_Write]) -> None:
        for write in writes:
            if self._last_of.get(write.user_id) is commit:
                del self._last_of[write.user_id]

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _open(path: Path) -> tuple[sqlite3.Connection, str]:
    try:
        database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            return database, _prepare(database, path)
        except BaseException:
            database.close()
            raise
    except sqlite3.Error as error:
        raise ConfigError(f"history {str(path)!r}: cannot be opened: {error}; is another gateway using it?") from error


def _prepare(database: sqlite3.Connection, path: Path) -> str:
    # Exclusive: a second process would give out the same numbers.
    database.execute("PRAGMA locking_mode=EXCLUSIVE")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
    database.execute("BEGIN IMMEDIATE")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (owner,) = database.execute("PRAGMA application_id").fetchone()
    if version == 0 and owner == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
        _execute_all(database, _SCHEMA)
        _execute_all(database, row_errors.SCHEMA)
        database.execute("INSERT INTO store VALUES (?)", (new_epoch(),))
        database.execute(f"PRAGMA application_id={_APPLICATION_ID}")
    elif owner != _APPLICATION_ID:
        raise ConfigError(f"history {str(path)!r}: got another program's database; allowed: tellwire's, or a new file")
    elif version not in (SCHEMA_VERSION, *_MIGRATIONS):
        raise ConfigError(f"history {str(path)!r}: got schema {version}; allowed: {SCHEMA_VERSION} and before")
    else:
        for before in range(version, SCHEMA_VERSION):
            for statements in _MIGRATIONS[before]:
                _execute_all(database, statements)
    database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    database.execute("COMMIT")
    return str(database.execute("SELECT epoch FROM store").fetchone()[0])


def _execute_all(database: sqlite3.Connection, statements: str) -> None:
    # Not `executescript`, which commits first.
    for statement in statements.split(";"):
        database.execute(statement)


def _read_stream(database: sqlite3.Connection, epoch: str, user_id: str) -> Stream:
    user = database.execute("SELECT offset, version FROM users WHERE user_id = ?", (user_id,)).fetchone()
    offset, version = user or (0, 0)
    log = database.execute(
        "SELECT id, number, payload, at, said_at FROM log WHERE user_id = ? ORDER BY number", (user_id,)
    )
    states = database.execute(
        "SELECT key, number, payload, at, said_at FROM states WHERE user_id = ? ORDER BY number", (user_id,)
    )
    entries = [Entry(*row) for row in log]
    entries += [_state_entry(*row) for row in states]
    offset = max([offset, *(entry.number for entry in entries if entry.key is None)])
    version = max([version, *(entry.number for entry in entries if entry.key is not None)])
    return Stream(epoch, offset, version, entries)


def _state_entry(key: str, number: int, payload: bytes, at: float, said_at: float) -> Entry:
    said = Said.read(payload)
    return Entry(said.id, number, payload, at, said_at, key, said.status, said.run, said.lease_seconds)


def _users_in_progress(database: sqlite3.Connection) -> list[str]:
    return [user_id for (user_id,) in database.execute("SELECT DISTINCT user_id FROM states WHERE NOT is_final")]


def _commit(database: sqlite3.Connection, batch: Sequence[_Write]) -> None:
    log = [(user_id, e.number, e.id, e.at, e.said_at, e.payload) for user_id, e in batch if e.key is None]
    # Of each state, the newest: the others would be replaced within this commit.
    states = {
        (user_id, e.key): (user_id, e.key, e.number, e.id, e.at, e.said_at, e.is_final, e.payload)
        for user_id, e in batch
        if e.key is not None
    }
    with transaction(database):
        database.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", log)
        database.executemany("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?, ?, ?)", states.values())


def _prune(database: sqlite3.Connection, active: Iterable[str], oldest: float) -> None:
    """Remove what is too old, and what is too much of the users to whom something was said."""
    with transaction(database):
        # From the oldest on, as far as it goes: the rest of the log is not looked at.
        found = database.execute("SELECT rowid FROM log WHERE at >= ? ORDER BY rowid LIMIT 1", (oldest,)).fetchone()
        first_kept = found[0] if found else 2**62
        database.execute(
            "INSERT INTO users SELECT user_id, max(number), 0 FROM log WHERE rowid < ? GROUP BY user_id "
            "ON CONFLICT DO UPDATE SET offset = max(offset, excluded.offset)",
            (first_kept,),
        )
        database.execute("DELETE FROM log WHERE rowid < ?", (first_kept,))
        database.execute(
            "INSERT INTO users SELECT user_id, 0, max(number) FROM states WHERE at < ? GROUP BY user_id "
            "ON CONFLICT DO UPDATE SET version = max(version, excluded.version)",
            (oldest,),
        )
        database.execute("DELETE FROM states WHERE at < ?", (oldest,))
        row_errors.prune(database, oldest)
        database.executemany(
            "DELETE FROM log WHERE user_id = ?1 AND number <= (SELECT max(number) - ?2 FROM log WHERE user_id = ?1)",
            [(user_id, HISTORY_MAX_MESSAGES) for user_id in active],
        )
        database.executemany(
            "DELETE FROM states WHERE user_id = ?1 AND key != ?3 AND number <= "
            "(SELECT number FROM states WHERE user_id = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            [(user_id, HISTORY_MAX_STATES, SEEN) for user_id in active],
        )
