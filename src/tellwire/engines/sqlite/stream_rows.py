"""Streams as rows of an SQLite file: their tables, how they are read, and how entries are written.

A number is given out once in the life of a file. `streams` has the last numbers of streams whose entries were removed;
a stream that the file knows nothing of begins above `store.offset` and `store.version`, the highest numbers of all rows
of `streams` that were removed. So an epoch, which is made of the file's epoch and the stream's name, never means two
messages with the same offset, and a cursor of another user's stream is noticed.

A stream that was forgotten gets another epoch: its name is replaced in it by a random one, which `forgotten` has. That
table knows streams by their first epoch, and so no names.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from tellwire.engines.sqlite.database import overwriting, transaction
from tellwire.entry import Entry
from tellwire.limits import HISTORY_HEAD_SECONDS
from tellwire.model import Target, new_epoch
from tellwire.parts import Part
from tellwire.publication import StreamKey, stream_of, stream_target
from tellwire.retention import Retention
from tellwire.stream import Stream

VERSION: Final = 5

# The log is in the order of its appends, so a commit for many streams writes few pages.
SCHEMA: Final = """
CREATE TABLE store (epoch TEXT NOT NULL, offset INTEGER NOT NULL, version INTEGER NOT NULL);
CREATE TABLE streams (
    stream TEXT PRIMARY KEY, offset INTEGER NOT NULL, version INTEGER NOT NULL, removed_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE forgotten (epoch TEXT PRIMARY KEY, salt TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    stream TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, stored_at REAL NOT NULL,
    published_at REAL NOT NULL, ttl_seconds REAL, payload BLOB NOT NULL
);
CREATE INDEX log_by_stream ON log (stream, number);
CREATE TABLE states (
    stream TEXT NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL,
    stored_at REAL NOT NULL, published_at REAL NOT NULL, status TEXT, run TEXT, lease_seconds REAL, ttl_seconds REAL,
    past_runs TEXT NOT NULL, parts TEXT NOT NULL, is_final BOOLEAN NOT NULL, payload BLOB NOT NULL,
    PRIMARY KEY (stream, key)
) WITHOUT ROWID
"""

_EPOCH_BYTES: Final = 6

_runs: Final = msgspec.json.Decoder(dict[str, str])
_parts: Final = msgspec.json.Decoder(tuple[Part, ...])


def file_epoch(connection: sqlite3.Connection) -> str:
    """Return the epoch of the file, which is made when it is first used."""
    with transaction(connection):
        found = connection.execute("SELECT epoch FROM store").fetchone()
        if found is None:
            found = (new_epoch(),)
            connection.execute("INSERT INTO store VALUES (?, 0, 0)", found)
    return str(found[0])


def begin_epochs(connection: sqlite3.Connection) -> None:
    """Give each stream another epoch: its numbers may have been given out already, for other messages."""
    with transaction(connection):
        connection.execute("UPDATE store SET epoch = ?", (new_epoch(),))
        connection.execute("DELETE FROM forgotten")


def stream_epoch(epoch: str, stream: StreamKey) -> str:
    """Return the epoch of a stream in the file of an epoch."""
    return hashlib.blake2b(f"{epoch} {stream}".encode(), digest_size=_EPOCH_BYTES).hexdigest()


def read_streams(
    connection: sqlite3.Connection,
    epoch: str,
    keys: Sequence[StreamKey],
    retention_of: Callable[[StreamKey], Retention],
) -> list[Stream]:
    """Read all that the file has of these streams."""
    lowest = connection.execute("SELECT offset, version FROM store").fetchone()
    return [_read_stream(connection, epoch, key, lowest, retention_of(key)) for key in keys]


def _read_stream(
    connection: sqlite3.Connection, epoch: str, key: StreamKey, lowest: tuple[int, int], retention: Retention
) -> Stream:
    target = stream_target(key)
    log = connection.execute(
        "SELECT id, type, payload, published_at, ttl_seconds, number, stored_at FROM log WHERE stream = ? "
        "ORDER BY number",
        (key,),
    )
    messages = [_message(target, key, *row) for row in log]
    found = connection.execute(
        "SELECT id, type, payload, published_at, key, status, run, lease_seconds, ttl_seconds, past_runs, parts, "
        "number, stored_at FROM states WHERE stream = ? ORDER BY number",
        (key,),
    )
    states = [_state(target, key, *row) for row in found]
    if messages:
        _require_whole(messages)
    known = connection.execute("SELECT offset, version FROM streams WHERE stream = ?", (key,)).fetchone() or (0, 0)
    last = (messages[-1].number if messages else 0, states[-1].number if states else 0)
    offset, version = (max(a, b) or c for a, b, c in zip(known, last, lowest, strict=True))
    return Stream(_present_epoch(connection, epoch, key), offset, version, [*messages, *states], retention)


def _present_epoch(connection: sqlite3.Connection, epoch: str, key: StreamKey) -> str:
    first = stream_epoch(epoch, key)
    salt = connection.execute("SELECT salt FROM forgotten WHERE epoch = ?", (first,)).fetchone()
    return first if salt is None else stream_epoch(salt[0], key)


def _require_whole(messages: Sequence[Entry]) -> None:
    # A file can be damaged where SQLite does not notice it.
    if messages[-1].number - messages[0].number != len(messages) - 1:
        raise sqlite3.DatabaseError("messages are missing: the file is damaged")


def forget(connection: sqlite3.Connection, epoch: str, key: StreamKey, now: float) -> None:
    """Delete all rows of a stream. Later numbers begin above its last ones, in another epoch."""
    last = [
        connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table} WHERE stream = ?", (key,)).fetchone()[0]  # noqa: S608 - names of ours
        for table, column in (("log", "number"), ("streams", "offset"), ("states", "number"), ("streams", "version"))
    ]
    with overwriting(connection), transaction(connection):
        for table in ("log", "states", "streams"):
            connection.execute(f"DELETE FROM {table} WHERE stream = ?", (key,))  # noqa: S608 - names of ours
        connection.execute(
            "UPDATE store SET offset = max(offset, ?), version = max(version, ?)", (max(last[:2]), max(last[2:]))
        )
        # By then nobody comes back with a cursor from before.
        connection.execute("DELETE FROM forgotten WHERE at < ?", (now - HISTORY_HEAD_SECONDS,))
        connection.execute(
            "INSERT OR REPLACE INTO forgotten VALUES (?, ?, ?)", (stream_epoch(epoch, key), new_epoch(), now)
        )


def streams_with_leases(connection: sqlite3.Connection) -> list[StreamKey]:
    """Return the streams with an upload that has not ended."""
    found = connection.execute("SELECT DISTINCT stream FROM states WHERE status IS NOT NULL AND NOT is_final")
    return [StreamKey(stream) for (stream,) in found]


def commit(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Write entries, all or none."""
    log = [
        (stream_of(e), e.number, e.id, e.type, e.stored_at, e.published_at, e.ttl_seconds, e.payload)
        for e in entries
        if e.key is None
    ]
    # Only the newest state of a key: it replaces the others in this commit.
    states = {(stream_of(e), e.key): _state_row(e) for e in entries if e.key is not None}
    with transaction(connection):
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)", log)
        connection.executemany(
            "INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", states.values()
        )


def probe(connection: sqlite3.Connection) -> None:
    """Write something, so that an error that lasts is raised again."""
    with transaction(connection):
        connection.execute("UPDATE store SET epoch = epoch")


def _message(target: Target, stream: StreamKey, *row: Any) -> Entry:
    message_id, message_type, payload, published_at, ttl_seconds, number, stored_at = row
    return Entry(
        target,
        stream,
        message_id,
        message_type,
        payload,
        published_at,
        ttl_seconds=ttl_seconds,
        number=number,
        stored_at=stored_at,
    )


def _state(target: Target, stream: StreamKey, *row: Any) -> Entry:
    *fields, ttl_seconds, past_runs, parts, number, stored_at = row
    message_id, message_type, payload, published_at, key, status, run, lease_seconds = fields
    return Entry(
        target,
        stream,
        message_id,
        message_type,
        payload,
        published_at,
        key,
        status,
        run,
        lease_seconds,
        ttl_seconds=ttl_seconds,
        past_runs=_runs.decode(past_runs),
        parts=_parts.decode(parts),
        number=number,
        stored_at=stored_at,
    )


def _state_row(e: Entry) -> tuple[object, ...]:
    order = (stream_of(e), e.key, e.number, e.id, e.type, e.stored_at, e.published_at)
    upload = (e.status, e.run, e.lease_seconds, e.ttl_seconds)
    before = (msgspec.json.encode(dict(e.past_runs)).decode(), msgspec.json.encode(e.parts).decode())
    return (*order, *upload, *before, e.is_final, e.payload)
