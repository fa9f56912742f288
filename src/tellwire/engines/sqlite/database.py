"""One SQLite file of this process: opened, checked, and used on a thread of its own, or for a few rows on the event
loop's. Transactions, and words of errors.

The file belongs to one process at a time. Commits are to the operating system (`synchronous=NORMAL` with a write-ahead
log): a process that is killed loses nothing, a machine that loses power may lose the last moments.
"""

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tellwire.errors import ConfigError, HistoryUnavailable

logger = logging.getLogger("tellwire.engines.sqlite")

T = TypeVar("T")

# "tell" in ASCII: it distinguishes our files from other programs' databases.
_APPLICATION_ID: Final = 0x74656C6C

_BUSY_SECONDS: Final = 5.0
CHECKPOINT_PAGES: Final = 4000
"""Pages in the write-ahead log, 16 MB. The more there are between two checkpoints, the fewer are written twice."""

PAGE_BYTES: Final = 4096
# Longer than this on the event loop's thread, and the disk is too slow for it, for a while.
_LONG_SECONDS: Final = 0.02
_SLOW_SECONDS: Final = 5.0
# About 1 GB is checked in this time.
_CHECK_SECONDS: Final = 2.0
# A step of a copy, 256 KB, and the time after it in which others have the file.
_COPY_PAGES: Final = 64
_COPY_PAUSE_SECONDS: Final = 0.002
# Instructions of SQLite between two looks at the clock.
_CHECK_STEPS: Final = 10_000

# What SQLite itself does not say. Its result codes: https://sqlite.org/rescode.html
_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "is another gateway using it?",
    sqlite3.SQLITE_LOCKED: "is another gateway using it?",
    sqlite3.SQLITE_READONLY: "this user may not write to the file or to its folder",
    sqlite3.SQLITE_CANTOPEN: "is there such a folder, and may this user write to it?",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: move it away to begin anew, or restore a copy",
}


class Database:
    """A file with the tables of `schema`, and the thread that uses it. `name` is for error messages.

    Without `checkpoints`, whoever uses it calls `checkpoint` from time to time.

    Raises:
        ConfigError: the file cannot be opened, belongs to another program or version, is damaged, or is in use.
    """

    def __init__(
        self, path: Path, schema: str, version: int, name: str = "history", *, checkpoints: bool = True
    ) -> None:
        self.path = path
        self.version = version
        self.connection = _open(path, schema, version, name)
        if not checkpoints:
            self.connection.execute("PRAGMA wal_autocheckpoint=0")
        # Whoever has it uses the connection: one transaction at a time.
        self._lock = threading.Lock()
        self._slow_until = 0.0
        self._copies: dict[asyncio.Future[None], threading.Event] = {}
        # One thread: SQLite allows one writer at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"tellwire-{name.replace(' ', '-')}")

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` on the file's thread.

        Raises:
            HistoryUnavailable: an error of SQLite, in its words; or another one, which is logged, such as that a row of
                a damaged file cannot be read.
        """
        with self._told():
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._locked, work)

    def run_here(self, work: Callable[[sqlite3.Connection], object]) -> bool:
        """Call `work` on this thread, if it need not wait: for a few rows that is less than the way to the other thread
        and back. False: it was not called, since the file is in use, or its disk is slow.

        Raises:
            HistoryUnavailable: as `run`.
        """
        began_at = time.monotonic()
        if began_at < self._slow_until or not self._lock.acquire(blocking=False):
            return False
        try:
            with self._told():
                work(self.connection)
        finally:
            self._lock.release()
            ended_at = time.monotonic()
            if ended_at - began_at > _LONG_SECONDS:
                self._slow_until = ended_at + _SLOW_SECONDS
        return True

    async def copy_to(self, path: Path) -> None:
        """Copy the file to another, in steps between which others use it. The copy is as the file is at its end.

        Raises:
            HistoryUnavailable: it cannot be read or written, or the file is closed before the copy is whole.
        """
        stopped = threading.Event()
        copying = asyncio.get_running_loop().run_in_executor(None, self._copy, path, stopped)
        self._copies[copying] = stopped
        try:
            with self._told():
                await asyncio.shield(copying)
        finally:
            stopped.set()
            await asyncio.wait([copying])
            del self._copies[copying]

    def _copy(self, path: Path, stopped: threading.Event) -> None:
        def between() -> None:
            self._lock.release()
            try:
                # A lock is not fair: who waits for it must have the time to get it.
                is_stopped = stopped.wait(_COPY_PAUSE_SECONDS)
            finally:
                self._lock.acquire()
            if is_stopped:
                raise HistoryUnavailable("the copy was given up")

        with self._lock:
            copy_pages(self.connection, path, between)

    def _locked(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            return work(self.connection)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise HistoryUnavailable(words(error)) from error
        except HistoryUnavailable:
            raise
        except Exception as error:
            # Whoever waits for a commit or a stream must get an answer in any case.
            logger.exception("%s cannot be read or written", self.path)
            raise HistoryUnavailable("its file cannot be read or written; the server's log has more") from error

    async def close(self) -> None:
        """Close the file, after all work. Copies of it are given up."""
        for stopped in self._copies.values():
            stopped.set()
        if self._copies:
            await asyncio.wait(list(self._copies))
        with contextlib.suppress(HistoryUnavailable):
            await self.run(sqlite3.Connection.close)
        self._thread.shutdown()


def copy_pages(connection: sqlite3.Connection, path: Path, between: Callable[[], None]) -> None:
    """Copy a database to an empty file, some pages at a time. `between` is called after each step."""

    def stepped(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise HistoryUnavailable("its file is in use")  # it would be asked again without an end
        between()

    copy = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        # Without a journal: a copy that is not whole is worth nothing.
        copy.execute("PRAGMA journal_mode=OFF")
        copy.execute("PRAGMA synchronous=OFF")
        connection.backup(copy, pages=_COPY_PAGES, progress=stepped)
        # As one file without a log beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
    finally:
        copy.close()


@contextmanager
def alone(path: Path, name: str) -> Iterator[sqlite3.Connection]:
    """Open a file of tellwire's that nobody else uses, and let nobody else use it meanwhile. Its log is emptied.

    Raises:
        ConfigError: it is in use, damaged, or another program's.
    """
    try:
        with contextlib.closing(sqlite3.connect(path.absolute(), timeout=0, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            (owner,) = connection.execute("PRAGMA application_id").fetchone()
            if owner != _APPLICATION_ID:
                raise ConfigError(f"{name} {str(path)!r}: got another program's database; allowed: tellwire's")
            # A log would be removed by its name when the file is closed, and that may be another's by then.
            connection.execute("PRAGMA journal_mode=DELETE").fetchall()
            # The lock stays after its transaction.
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            yield connection
    except sqlite3.Error as error:
        raise ConfigError(f"{name} {str(path)!r}: cannot be opened: {words(error)}") from error


def checkpoint(connection: sqlite3.Connection) -> None:
    """Write the pages of the write-ahead log into the file. It waits for the disk."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def empty_log(connection: sqlite3.Connection) -> None:
    """Write the pages of the write-ahead log into the file, and give its space back to the file system."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit the block's statements together; on an error, roll all of them back."""
    if connection.in_transaction:
        # An earlier rollback failed, as on a full disk.
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself. Whatever this raises, the first error is the cause.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextmanager
def overwriting(connection: sqlite3.Connection) -> Iterator[None]:
    """Overwrite the rows that the block deletes with zeros, in the file and in its write-ahead log."""
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete=ON")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete={before}")
    empty_log(connection)


def words(error: sqlite3.Error) -> str:
    """Describe an error: SQLite's text, and a hint where it does not say enough."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return str(error)
    primary = code & 0xFF
    hint = error.sqlite_errorname if primary == sqlite3.SQLITE_IOERR else _HINTS.get(primary)
    return f"{error}; {hint}" if hint else str(error)


def _open(path: Path, schema: str, version: int, name: str) -> sqlite3.Connection:
    try:
        # Absolute: SQLite takes `:memory:`, `file:…` and an empty name for something else than a file.
        connection = sqlite3.connect(
            path.absolute(), timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, schema, version, f"{name} {str(path)!r}")
            require_undamaged(connection, f"{name} {str(path)!r}")
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        # Of a file that is read-only SQLite says several things.
        said = words(error) if _is_writable(path) else f"{error}; {_HINTS[sqlite3.SQLITE_READONLY]}"
        said = "it is a folder; allowed: a file" if path.is_dir() else said
        raise ConfigError(f"{name} {str(path)!r}: cannot be opened: {said}") from error
    return connection


def _is_writable(path: Path) -> bool:
    """Return False if this user may not write to a file that exists, or to its folder."""
    known = [each for each in (path, path.parent) if os.access(each, os.F_OK)]
    as_effective = os.access in os.supports_effective_ids
    return path.is_dir() or all(os.access(each, os.W_OK, effective_ids=as_effective) for each in known)


def _prepare(connection: sqlite3.Connection, schema: str, version: int, name: str) -> None:
    # Exclusive: a second process would assign the same numbers.
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    # Before the first table: free pages can then be given back to the file system.
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit={CHECKPOINT_PAGES * PAGE_BYTES}")
    with transaction(connection):
        (known,) = connection.execute("PRAGMA user_version").fetchone()
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (known, owner, tables) == (0, 0, 0):
            # Not `executescript`, which commits first.
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        elif owner != _APPLICATION_ID:
            raise ConfigError(f"{name}: got another program's database; allowed: tellwire's, or a new file")
        elif known != version:
            raise ConfigError(f"{name}: got schema {known}; allowed: {version}. Move the file away to begin again")
        connection.execute(f"PRAGMA user_version={version}")


def require_undamaged(connection: sqlite3.Connection, name: str) -> None:
    """Look for damage, for a few seconds at most.

    Raises:
        ConfigError: it is damaged.
    """
    give_up_at = time.monotonic() + _CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > give_up_at, _CHECK_STEPS)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        logger.info("%s is big, so only a part of it was checked for damage", name)
        return
    finally:
        connection.set_progress_handler(None, 0)
    if found != "ok":
        raise ConfigError(f"{name}: {found.strip()}; {_HINTS[sqlite3.SQLITE_CORRUPT]}")
