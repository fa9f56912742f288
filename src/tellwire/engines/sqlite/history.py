"""Streams in one SQLite file: the history of a gateway that is one process.

    append ─▶ the stream assigns a number ─▶ the entry waits for a commit ─▶ and is delivered after it
                                                └ entries that arrive during one commit share the next

An entry is delivered only after its commit, so after `kill -9` the number of a lost entry can be assigned again.
Commits are to the operating system (`synchronous=NORMAL` with a write-ahead log): a process that is killed loses
nothing, a machine that loses power may lose the last moments.
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
from typing import Final, TypeVar

from tellwire.engines.memory.history import new_epoch
from tellwire.engines.sqlite import row_errors
from tellwire.engines.sqlite.database import transaction
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.limits import (
    HISTORY_CACHED_STREAMS,
    HISTORY_MAX_AGE_SECONDS,
    HISTORY_MAX_MESSAGES,
    HISTORY_MAX_STATES,
)
from tellwire.ports import Clock, SystemClock
from tellwire.publication import Publication, StreamKey, stream_of, stream_target
from tellwire.stream import SEEN, Entry, Position, Replay, Stream

logger = logging.getLogger("tellwire.engines.sqlite")

T = TypeVar("T")

SCHEMA_VERSION: Final = 3

# The log is in the order of its appends, so a commit for many streams writes few pages. Numbers never begin again in
# one file: `streams` has the last numbers of streams whose entries were removed.
_SCHEMA: Final = """
CREATE TABLE store (epoch TEXT NOT NULL);
CREATE TABLE streams (stream TEXT PRIMARY KEY, offset INTEGER NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    stream TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, stored_at REAL NOT NULL,
    published_at REAL NOT NULL, payload BLOB NOT NULL
);
CREATE INDEX log_by_stream ON log (stream, number);
CREATE TABLE states (
    stream TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    stored_at REAL NOT NULL, published_at REAL NOT NULL, status TEXT, run REAL, lease_seconds REAL,
    is_final BOOLEAN NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (stream, key)
) WITHOUT ROWID;
"""

_PRUNE_SECONDS: Final = 300.0
# 16 MB. The longer the time between two checkpoints, the fewer pages are written twice.
_CHECKPOINT_PAGES: Final = 4000
_BUSY_SECONDS: Final = 5.0

# "tell" in ASCII: it distinguishes our files from other programs' databases.
_APPLICATION_ID: Final = 0x74656C6C


_Commit = asyncio.Future[None]
"""A future that is done when all its entries are in the file."""


class SqliteHistory:
    """A `History` in a file, which belongs to one process at a time.

    Raises:
        ConfigError: the file cannot be opened, belongs to another program or version, or is in use.
    """

    def __init__(
        self, path: Path, clock: Clock | None = None, max_cached_streams: int = HISTORY_CACHED_STREAMS
    ) -> None:
        self._clock = clock or SystemClock()
        self._max_cached_streams = max_cached_streams
        self._streams: OrderedDict[StreamKey, Stream] = OrderedDict()
        self._loading: dict[StreamKey, asyncio.Task[None]] = {}
        self._waiting: list[Entry] = []
        self._next: _Commit | None = None  # the commit of the waiting entries
        self._last_commit: dict[StreamKey, _Commit] = {}
        self._committing: asyncio.Task[None] | None = None
        self._pruned_at = 0.0
        self._active: set[StreamKey] = set()  # the streams with entries since the last pruning
        self._database, self._epoch = _open(path)
        # One thread: SQLite allows one writer at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tellwire-history")
        self.row_errors = row_errors.SqliteRowErrors(self._run, self._database, self._clock)

    async def append(self, publication: Publication) -> Entry | None:
        stream_key = stream_of(publication)
        stream = await self._stream(stream_key)
        entry = stream.append(publication, self._clock.now())
        await self._wait_for_commit(stream_key, entry)
        return entry

    async def append_all(self, publications: Sequence[Publication]) -> list[Entry | None]:
        entries: list[Entry | None] = []
        commits: set[_Commit] = set()
        for publication in publications:
            stream_key = stream_of(publication)
            stream = self._streams.get(stream_key) or await self._stream(stream_key)
            entry = stream.append(publication, self._clock.now())
            entries.append(entry)
            if (commit := self._schedule_commit(stream_key, entry)) is not None:
                commits.add(commit)
        for commit in commits:
            await asyncio.shield(commit)
        return entries

    async def read(self, stream: StreamKey, cursor: str | None) -> Replay:
        replay = (await self._stream(stream)).read(cursor, self._clock.now())
        # A client must not receive an entry that a crash could remove.
        await self._wait_for_commit(stream)
        return replay

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        entry = (await self._stream(stream)).state(key, self._clock.now())
        await self._wait_for_commit(stream)
        return entry

    async def position(self, stream: StreamKey) -> Position | None:
        position = (await self._stream(stream)).position
        await self._wait_for_commit(stream)
        return position

    async def leased_uploads(self) -> AsyncIterator[Entry]:
        try:
            streams = await self._run(partial(_streams_with_leases, self._database))
        except sqlite3.Error as error:
            raise HistoryUnavailable(str(error)) from error
        for stream in streams:
            for entry in (await self._stream(stream)).leased_uploads():
                yield entry

    async def close(self) -> None:
        """Commit the entries that wait, and close the file."""
        if self._committing is not None:
            await asyncio.wait([self._committing])
        await self._run(self._database.close)
        self._thread.shutdown()

    # --- streams ------------------------------------------------------------------------------------------------------

    async def _stream(self, key: StreamKey) -> Stream:
        # Two objects for one stream would give out the same numbers: only one that is cached now is used.
        while (stream := self._streams.get(key)) is None:
            loading = self._loading.get(key)
            if loading is None:
                loading = self._loading[key] = asyncio.create_task(self._load(key))
                loading.add_done_callback(lambda _: self._loading.pop(key, None))
            # Shielded: others wait for the same stream if this caller is cancelled.
            await asyncio.shield(loading)
        self._streams.move_to_end(key)
        return stream

    async def _load(self, key: StreamKey) -> None:
        try:
            stream = await self._run(partial(_read_stream, self._database, self._epoch, key))
        except sqlite3.Error as error:
            raise HistoryUnavailable(str(error)) from error
        self._streams[key] = stream
        for other in list(itertools.islice(self._streams, max(0, len(self._streams) - self._max_cached_streams))):
            if other not in self._last_commit:
                del self._streams[other]

    # --- commits ------------------------------------------------------------------------------------------------------

    def _schedule_commit(self, stream: StreamKey, entry: Entry | None) -> _Commit | None:
        """Put an entry into the next commit, and return the last commit that its stream is waiting for."""
        if entry is None:
            # A double: the first publication of this id may still be waiting for its commit.
            return self._last_commit.get(stream)
        self._waiting.append(entry)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        self._last_commit[stream] = self._next
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return self._next

    async def _wait_for_commit(self, stream: StreamKey, entry: Entry | None = None) -> None:
        """Wait until an entry, and all earlier ones of its stream, are in the file."""
        commit = self._schedule_commit(stream, entry)
        if commit is not None:
            # Shielded: others wait for the same commit if this caller is cancelled.
            await asyncio.shield(commit)

    async def _commit_all(self) -> None:
        while (taken := self._take_waiting()) is not None:
            commit, entries = taken
            try:
                await self._run(partial(_commit, self._database, entries))
            except sqlite3.Error as error:
                logger.error("the history cannot be written: %s", error)  # noqa: TRY400 - raised to the publishers
                self._roll_back(commit, entries, error)
                # Entries that arrived in the meantime have later numbers, so they fail, too.
                if (later := self._take_waiting()) is not None:
                    self._roll_back(*later, error)
                continue
            self._end(commit, entries)
            commit.set_result(None)
            await self._prune_in_time(entries)
        self._committing = None

    def _take_waiting(self) -> tuple[_Commit, list[Entry]] | None:
        """Take the waiting entries and their commit; None if there are none."""
        commit, self._next = self._next, None
        entries, self._waiting = self._waiting, []
        return None if commit is None else (commit, entries)

    async def _prune_in_time(self, entries: Sequence[Entry]) -> None:
        self._active.update(map(stream_of, entries))
        now = self._clock.now()
        if now - self._pruned_at >= _PRUNE_SECONDS:
            active, self._active = self._active, set()
            self._pruned_at = now
            try:
                await self._run(partial(_prune, self._database, active, now - HISTORY_MAX_AGE_SECONDS))
            except sqlite3.Error as error:
                logger.warning("entries that are too old stay in the history for now: %s", error)

    def _roll_back(self, commit: _Commit, entries: Sequence[Entry], error: sqlite3.Error) -> None:
        """Drop the streams whose entries are not in the file, so that they are loaded again."""
        self._end(commit, entries)
        for entry in entries:
            self._streams.pop(stream_of(entry), None)
        commit.set_exception(HistoryUnavailable(str(error)))
        commit.exception()  # mark it as retrieved, as all publishers may have been cancelled

    def _end(self, commit: _Commit, entries: Sequence[Entry]) -> None:
        for stream in map(stream_of, entries):
            if self._last_commit.get(stream) is commit:
                del self._last_commit[stream]

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
    # Exclusive: a second process would assign the same numbers.
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
    elif version != SCHEMA_VERSION:
        raise ConfigError(
            f"history {str(path)!r}: got schema {version}; allowed: {SCHEMA_VERSION}. Move the file away to begin again"
        )
    database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    database.execute("COMMIT")
    return str(database.execute("SELECT epoch FROM store").fetchone()[0])


def _execute_all(database: sqlite3.Connection, statements: str) -> None:
    # Not `executescript`, which commits first.
    for statement in statements.split(";"):
        database.execute(statement)


def _read_stream(database: sqlite3.Connection, epoch: str, key: StreamKey) -> Stream:
    last = database.execute("SELECT offset, version FROM streams WHERE stream = ?", (key,)).fetchone()
    offset, version = last or (0, 0)
    target = stream_target(key)
    log = database.execute(
        "SELECT id, type, payload, published_at, number, stored_at FROM log WHERE stream = ? ORDER BY number", (key,)
    )
    states = database.execute(
        "SELECT id, type, payload, published_at, key, status, run, lease_seconds, number, stored_at "
        "FROM states WHERE stream = ? ORDER BY number",
        (key,),
    )
    entries = [Entry(target, key, *fields, number=number, stored_at=stored_at) for *fields, number, stored_at in log]
    offset = max(offset, *(entry.number for entry in entries)) if entries else offset
    kept = [Entry(target, key, *fields, number=number, stored_at=stored_at) for *fields, number, stored_at in states]
    version = max(version, *(entry.number for entry in kept)) if kept else version
    return Stream(epoch, offset, version, [*entries, *kept])


def _streams_with_leases(database: sqlite3.Connection) -> list[StreamKey]:
    found = database.execute("SELECT DISTINCT stream FROM states WHERE lease_seconds IS NOT NULL AND NOT is_final")
    return [StreamKey(stream) for (stream,) in found]


def _commit(database: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    log = [
        (stream_of(e), e.number, e.id, e.type, e.stored_at, e.published_at, e.payload) for e in entries if e.key is None
    ]
    # Only the newest state of a key: it replaces the others in this commit.
    states = {(stream_of(e), e.key): _state_row(e) for e in entries if e.key is not None}
    with transaction(database):
        database.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)", log)
        database.executemany(
            "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", states.values()
        )


def _state_row(e: Entry) -> tuple[object, ...]:
    order = (stream_of(e), e.key, e.number, e.id, e.type, e.stored_at, e.published_at)
    return (*order, e.status, e.run, e.lease_seconds, e.is_final, e.payload)


def _prune(database: sqlite3.Connection, active: Iterable[StreamKey], oldest: float) -> None:
    """Remove entries that are too old, and those of active streams above the maximum number."""
    with transaction(database):
        # From the oldest entry to the first one that is kept; the rest of the log is not read.
        found = database.execute(
            "SELECT rowid FROM log WHERE stored_at >= ? ORDER BY rowid LIMIT 1", (oldest,)
        ).fetchone()
        first_kept = found[0] if found else 2**62
        database.execute(
            "INSERT INTO streams SELECT stream, max(number), 0 FROM log WHERE rowid < ? GROUP BY stream "
            "ON CONFLICT DO UPDATE SET offset = max(offset, excluded.offset)",
            (first_kept,),
        )
        database.execute("DELETE FROM log WHERE rowid < ?", (first_kept,))
        database.execute(
            "INSERT INTO streams SELECT stream, 0, max(number) FROM states WHERE stored_at < ? GROUP BY stream "
            "ON CONFLICT DO UPDATE SET version = max(version, excluded.version)",
            (oldest,),
        )
        database.execute("DELETE FROM states WHERE stored_at < ?", (oldest,))
        row_errors.prune(database, oldest)
        database.executemany(
            "DELETE FROM log WHERE stream = ?1 AND number <= (SELECT max(number) - ?2 FROM log WHERE stream = ?1)",
            [(stream, HISTORY_MAX_MESSAGES) for stream in active],
        )
        database.executemany(
            "DELETE FROM states WHERE stream = ?1 AND key != ?3 AND number <= "
            "(SELECT number FROM states WHERE stream = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            [(stream, HISTORY_MAX_STATES, SEEN) for stream in active],
        )
