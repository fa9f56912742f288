"""Pruning: entries that are too old, or that a stream does not keep any more, leave the file in small steps.

Each step is a transaction of a few milliseconds, so that commits come between two of them. A step looks at the next
rows of one table, in the order in which they lie in the file. At last free pages go back to the file system, so that
the file shrinks.
"""

import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple

from tellwire.engines.sqlite.database import Database, transaction
from tellwire.errors import HistoryUnavailable
from tellwire.ports import Clock
from tellwire.publication import StreamKey
from tellwire.retention import Retention
from tellwire.stream import Stream

logger = logging.getLogger("tellwire.engines.sqlite")

STREAM_KEEP_SECONDS: Final = 30 * 24 * 3600.0
"""Time for which the last numbers of a stream without entries are kept. After it, a client that comes back to it is
told that something may be missing."""

_PRUNE_SECONDS: Final = 60.0
_STEP_SECONDS: Final = 0.004
_LEAST_ROWS: Final = 16
_MOST_ROWS: Final = 4096
_VACUUMED_PAGES: Final = 128
# Free pages are used again, which is cheaper than to give them back. 4 MB, and a quarter of the file.
_FREE_PAGES: Final = 1024
_FREE_SHARE: Final = 0.25


class Kept(NamedTuple):
    """The oldest entries that an active stream keeps: the offset, and the version of an upload that has ended.

    The newest entry is never older than these: only its age removes it, and then its number is remembered.
    """

    stream: StreamKey
    first_offset: int
    first_ended_version: int

    @classmethod
    def of(cls, key: StreamKey, stream: Stream) -> "Kept":
        """Return the oldest entries of a stream."""
        return cls(key, min(stream.first_offset, stream.offset), min(stream.first_ended_version, stream.version))


Step = Callable[[sqlite3.Connection], None]


class Pruning:
    """One pass over the file, as steps for its thread. How many rows a step takes follows from the time it takes.

    No stream's messages are removed before they are `shortest_age_seconds` old: younger ones are not looked at.
    """

    def __init__(
        self,
        kept: Sequence[Kept],
        retention_of: Callable[[StreamKey], Retention],
        now: float,
        rows: int = 256,
        shortest_age_seconds: float = 0.0,
    ) -> None:
        self._kept = kept
        self._retention_of = retention_of
        self._youngest = now - shortest_age_seconds
        self._now = now
        self._with_kept: set[str] = set()  # streams of which a message stays, and so all after it
        self._is_at_end = False
        self._after: tuple[object, ...] = ()
        self.rows = rows

    def steps(self) -> Iterator[Step]:
        """Yield the steps; each is to be called before the next one is taken."""
        yield from self._until_end(self._old_messages, (-1,))
        yield from self._until_end(self._surplus)
        yield from self._until_end(self._old_states, ("", ""))
        yield from self._until_end(self._old_streams, ("",))
        yield from self._until_end(vacuum)

    def _until_end(self, step: Callable[[sqlite3.Connection], bool], after: tuple[object, ...] = ()) -> Iterator[Step]:
        self._is_at_end, self._after = False, after

        def work(connection: sqlite3.Connection) -> None:
            self._is_at_end = step(connection)

        while not self._is_at_end:
            yield self._timed(work)

    def _timed(self, work: Step) -> Step:
        def timed(connection: sqlite3.Connection) -> None:
            began_at = time.perf_counter()
            work(connection)
            took_seconds = time.perf_counter() - began_at
            if took_seconds > _STEP_SECONDS:
                self.rows = max(_LEAST_ROWS, self.rows // 2)
            elif took_seconds < _STEP_SECONDS / 4:
                self.rows = min(_MOST_ROWS, self.rows * 2)

        return timed

    def _old_messages(self, connection: sqlite3.Connection) -> bool:
        """Remove the next messages that are too old, from the oldest on. True: those that follow are too young."""
        found = connection.execute(
            "SELECT rowid, stream, number, stored_at FROM log WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (*self._after, self.rows),
        ).fetchall()
        old: list[tuple[int]] = []
        last: dict[str, int] = {}
        for rowid, stream, number, stored_at in found:
            if stored_at >= self._youngest:
                found = []
                break
            if stream in self._with_kept or stored_at >= self._now - self._retention_of(stream).max_age_seconds:
                self._with_kept.add(stream)
            else:
                old.append((rowid,))
                last[stream] = number
        if old:
            with transaction(connection):
                self._remember(connection, [(stream, number, 0) for stream, number in last.items()])
                connection.executemany("DELETE FROM log WHERE rowid = ?", old)
        self._after = found[-1][:1] if found else ()
        return not found

    def _surplus(self, connection: sqlite3.Connection) -> bool:
        """Remove entries that the next active streams have dropped. True: there are no further streams."""
        # Each may have several rows.
        count = max(1, self.rows // 16)
        streams, self._kept = self._kept[:count], self._kept[count:]
        if not streams:
            return True
        with transaction(connection):
            for stream, first_offset, first_ended_version in streams:
                connection.execute("DELETE FROM log WHERE stream = ? AND number < ?", (stream, first_offset))
                connection.execute(
                    "DELETE FROM states WHERE stream = ? AND is_final AND number < ?", (stream, first_ended_version)
                )
        return not self._kept

    def _old_states(self, connection: sqlite3.Connection) -> bool:
        """Remove the next states that are too old. True: there are no further states."""
        found = connection.execute(
            "SELECT stream, key, number, stored_at, status IS NULL OR is_final FROM states "
            "WHERE (stream, key) > (?, ?) ORDER BY stream, key LIMIT ?",
            (*self._after, self.rows),
        ).fetchall()
        old = [
            (stream, key, number)
            for stream, key, number, stored_at, has_ended in found
            if stored_at < self._now - self._age_of_state(stream, has_ended=has_ended)
        ]
        if old:
            with transaction(connection):
                self._remember(connection, [(stream, 0, number) for stream, _, number in old])
                connection.executemany("DELETE FROM states WHERE stream = ? AND key = ? AND number = ?", old)
        self._after = found[-1][:2] if found else ()
        return not found

    def _age_of_state(self, stream: StreamKey, *, has_ended: bool) -> float:
        retention = self._retention_of(stream)
        return retention.max_age_seconds if has_ended else retention.running_max_age_seconds

    def _old_streams(self, connection: sqlite3.Connection) -> bool:
        """Remove the next rows of `streams` that nobody comes back to. True: there are no further ones."""
        found = connection.execute(
            "SELECT stream, offset, version, removed_at FROM streams WHERE stream > ? ORDER BY stream LIMIT ?",
            (*self._after, self.rows),
        ).fetchall()
        oldest = self._now - STREAM_KEEP_SECONDS
        remove_streams(connection, [row[:3] for row in found if row[3] < oldest])
        self._after = found[-1][:1] if found else ()
        return not found

    def _remember(self, connection: sqlite3.Connection, last: Sequence[tuple[str, int, int]]) -> None:
        """Keep the numbers of entries that are removed, so that they are not given out again."""
        connection.executemany(
            "INSERT INTO streams VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET offset = max(offset, excluded.offset), "
            "version = max(version, excluded.version), removed_at = excluded.removed_at",
            [(*each, self._now) for each in last],
        )


def remove_streams(connection: sqlite3.Connection, rows: Sequence[tuple[str, int, int]]) -> None:
    """Remove rows of `streams` (name, offset, version): numbers of new streams begin above theirs."""
    if not rows:
        return
    with transaction(connection):
        offset, version = max(row[1] for row in rows), max(row[2] for row in rows)
        connection.execute("UPDATE store SET offset = max(offset, ?), version = max(version, ?)", (offset, version))
        connection.executemany("DELETE FROM streams WHERE stream = ?", [row[:1] for row in rows])


def vacuum(connection: sqlite3.Connection) -> bool:
    """Give some free pages back to the file system. True: there are few."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if free <= max(_FREE_PAGES, pages * _FREE_SHARE):
        return True
    # Each page is a row without columns, at the first of which `execute` would end.
    connection.executescript(f"PRAGMA incremental_vacuum({_VACUUMED_PAGES})")
    return False


async def prune_rows(database: Database, remove_old: Callable[[sqlite3.Connection], bool]) -> None:
    """Remove rows that are too old, some at a time, and give free pages back to the file system.

    Raises:
        HistoryUnavailable: not all of it is done.
    """
    for step in (remove_old, vacuum):
        while not await database.run(step):
            pass


async def keep_pruning(prune: Callable[[], Awaitable[None]], clock: Clock, name: str) -> None:
    """Prune from time to time. It never returns. `name`: that of the rows, in the log."""
    while True:
        await clock.sleep(_PRUNE_SECONDS)
        try:
            await prune()
        except HistoryUnavailable as error:
            logger.warning("%s that are too old stay for now: %s", name, error)
        except Exception:
            # Nobody else would notice that this has ended.
            logger.exception("old %s cannot be removed, trying again", name)
