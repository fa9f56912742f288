"""Streams in one SQLite file: the history of a gateway that is one process.

    append ─▶ the stream assigns a number ─▶ the entry waits for the commit of its turn ─▶ and is delivered after it
                       a few entries: on the event loop's thread, into the system's memory ─┤
                       many, or the file is in use, or its disk is slow: on its own thread ─┘
    checkpoint, pruning, reading: always on its own thread, since they wait for the disk

An entry is delivered only after its commit, so after `kill -9` the number of a lost entry can be assigned again.
Streams in use are in memory, as far as there is room; those that are needed at the same time are read together.
"""

import asyncio
import itertools
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from tellwire.engines.sqlite import shut_outs, stream_rows
from tellwire.engines.sqlite.database import CHECKPOINT_PAGES, PAGE_BYTES, Database, checkpoint, empty_log
from tellwire.engines.sqlite.pruning import Kept, Pruning
from tellwire.engines.stream_cache import StreamCache
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable, TellwireError, TooManyEscalations
from tellwire.escalation import EscalationRules, at, waiting
from tellwire.limits import HISTORY_CACHE_BYTES, HISTORY_CACHED_STREAMS, MAX_ESCALATIONS
from tellwire.messages import Escalation
from tellwire.ports import Clock, SystemClock
from tellwire.position import Position, StreamEnd
from tellwire.publication import Publication, StreamKey, is_of_user, stream_of
from tellwire.retention import Retention
from tellwire.stream import DEFAULT_RETENTION, HistoryPage, Replay, Stream
from tellwire.topics import TopicRules

logger = logging.getLogger("tellwire.engines.sqlite")

_PROBE_SECONDS: Final = 1.0
_PRUNE_SECONDS: Final = 30.0
_QUIET_PERIODS: Final = 20
_LOADED_AT_ONCE: Final = 64
_MOST_COMMITTED_HERE: Final = 32
_MOST_BYTES_COMMITTED_HERE: Final = 64 * 1024


class _Commit:
    """Entries that are written together. `outcomes` are of those who wait for them, in the order of the appends.

    `written` is for those who only read: it is done when all entries are in the file.
    """

    __slots__ = ("entries", "outcomes", "written")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.outcomes: list[tuple[Callable[[Any], None], Any]] = []
        self.written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_small(self) -> bool:
        """True if writing it takes some tens of microseconds."""
        return len(self.entries) <= _MOST_COMMITTED_HERE and self._size_bytes() <= _MOST_BYTES_COMMITTED_HERE

    @property
    def pages(self) -> int:
        """About the pages that it adds to the write-ahead log: a row, its place in the index, and long payloads."""
        return 2 * len(self.entries) + self._size_bytes() // PAGE_BYTES

    def write(self, connection: sqlite3.Connection) -> None:
        """Write the entries, all or none."""
        stream_rows.commit(connection, self.entries)

    def _size_bytes(self) -> int:
        return sum(len(entry.payload) for entry in self.entries)


class SqliteHistory:
    """A `LocalHistory` in a file, which belongs to one process at a time. `watch` runs as long as it is used.

    Raises:
        ConfigError: the file cannot be opened, belongs to another program or version, is damaged, or is in use.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock | None = None,
        max_cached_streams: int = HISTORY_CACHED_STREAMS,
        retention: Retention = DEFAULT_RETENTION,
        cache_bytes: int = HISTORY_CACHE_BYTES,
        topics: TopicRules | None = None,
        escalations: EscalationRules | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._retention = retention
        self._topics = topics or TopicRules(retention)
        self._escalations = escalations or EscalationRules()
        self.on_escalation: Callable[[Entry], None] = lambda entry: None
        self._cache = StreamCache(cache_bytes, max_cached_streams)
        self._wanted: dict[StreamKey, asyncio.Future[None]] = {}
        self._loading: asyncio.Task[None] | None = None
        self._held: dict[StreamKey, list[Callable[[], None]]] = {}  # while that of its escalations is loaded
        self._next: _Commit | None = None  # takes entries until the commit before it has ended
        self._last_commit: dict[StreamKey, _Commit] = {}
        self._committing: asyncio.Task[None] | None = None
        self._active: set[StreamKey] = set()  # the streams with entries since the last pruning
        self._pruned_rows = 256
        self.database = Database(
            path, f"{stream_rows.SCHEMA};{shut_outs.SCHEMA}", stream_rows.VERSION, checkpoints=False
        )
        self._pages = 0  # since the last checkpoint
        self._checkpointing: asyncio.Task[None] | None = None
        self._epoch = stream_rows.file_epoch(self.database.connection)
        self._trouble: str | None = None
        self.shut_outs = shut_outs.SqliteShutOuts(self.database, self._clock)

    def trouble(self) -> str | None:
        """Return the reason for which nothing can be published at the moment; None if it can."""
        return self._trouble

    def append_soon(self, publication: Publication, done: Callable[[Entry | TellwireError | None], None]) -> None:
        if publication.escalation is not None:
            self._append_escalated_soon(publication, publication.escalation, done)
            return
        key = stream_of(publication)
        stream = self._cache.get(key)
        if stream is None or key in self._held:
            self._when_usable(key, partial(self.append_soon, publication, done), done)
            return
        entry = self._append(key, stream, publication)
        self._when_written(key, [] if entry is None else [entry], done, entry)

    def append_linked_soon(
        self, publications: Sequence[Publication], done: Callable[[list[Entry | None] | HistoryUnavailable], None]
    ) -> None:
        key = stream_of(publications[0])
        stream = self._cache.get(key)
        if stream is None or key in self._held:
            self._when_usable(key, partial(self.append_linked_soon, publications, done), done)
            return
        entries: list[Entry | None] = []
        for publication in publications:
            is_wanted = not entries or entries[0] is not None
            entries.append(self._append(key, stream, publication) if is_wanted else None)
        self._when_written(key, [each for each in entries if each is not None], done, entries)

    async def append(self, publication: Publication) -> Entry | None:
        (outcome,) = await self.append_all([publication])
        return outcome

    async def append_linked(self, publications: Sequence[Publication]) -> list[Entry | None]:
        outcome: asyncio.Future[list[Entry | None]] = asyncio.get_running_loop().create_future()
        self.append_linked_soon(publications, partial(_resolve, outcome))
        return await outcome

    async def append_all(self, publications: Sequence[Publication]) -> list[Entry | None]:
        # Before anything gets a number, so that all of it is in one commit.
        missing = [self._want(key) for key in dict.fromkeys(map(stream_of, publications)) if key not in self._cache]
        if missing:
            # One that cannot be loaded is an error when it is used.
            await asyncio.wait(missing)
        loop = asyncio.get_running_loop()
        outcomes: list[asyncio.Future[Entry | None]] = [loop.create_future() for _ in publications]
        for publication, outcome in zip(publications, outcomes, strict=True):
            self.append_soon(publication, partial(_resolve, outcome))
        return await asyncio.gather(*outcomes)

    async def read(self, stream: StreamKey, cursor: str | None, version: int | None = None) -> Replay:
        replay = (await self._stream(stream)).read(cursor, self._clock.now(), version)
        # A client must not receive an entry that a crash could remove.
        await self._wait_for_commit(stream)
        return replay

    async def page(self, stream: StreamKey, before: int | None, limit: int, max_bytes: int) -> HistoryPage:
        page = (await self._stream(stream)).page(before, limit, max_bytes, self._clock.now())
        await self._wait_for_commit(stream)
        return page

    async def state(self, stream: StreamKey, key: str) -> Entry | None:
        entry = (await self._stream(stream)).state(key, self._clock.now())
        await self._wait_for_commit(stream)
        return entry

    async def end(self, stream: StreamKey) -> StreamEnd | None:
        await self._stream(stream)
        return self.known_end(stream)

    def known_end(self, stream: StreamKey) -> StreamEnd | None:
        known = self._cache.get(stream)
        return None if known is None else StreamEnd(known.position, known.version)

    async def position(self, stream: StreamKey) -> Position | None:
        position = (await self._stream(stream)).position
        await self._wait_for_commit(stream)
        return position

    async def forget(self, stream: StreamKey) -> None:
        while (pending := self._pending(stream)) is not None:
            # Shielded: others wait for it as well. If it fails, there is so much less to delete.
            await asyncio.wait([asyncio.shield(pending)])
        # Whoever wants the stream from here on reads it on the file's thread, after this.
        self._cache.remove(stream)
        await self.database.run(partial(stream_rows.forget, epoch=self._epoch, key=stream, now=self._clock.now()))

    async def leased_uploads(self) -> AsyncIterator[Entry]:
        for stream in await self.database.run(stream_rows.streams_with_leases):
            for entry in (await self._stream(stream)).leased_uploads():
                yield entry

    async def close(self) -> None:
        """Commit the entries that wait, and close the file."""
        self._commit_turn()
        for task in (self._committing, self._checkpointing):
            if task is not None:
                await asyncio.wait([task])
        await self.database.close()

    def _pending(self, stream: StreamKey) -> asyncio.Future[None] | None:
        """Return the load, or the commit, that a stream waits for."""
        commit = self._last_commit.get(stream)
        return self._wanted.get(stream) or (None if commit is None else commit.written)

    # --- escalations --------------------------------------------------------------------------------------------------

    def _append_escalated_soon(
        self, publication: Publication, escalation: Escalation, done: Callable[[Any], None]
    ) -> None:
        """Keep a publication and the first state of its escalation in one commit: both, or none."""
        state = waiting(publication, escalation)
        key, key_of_state = stream_of(publication), stream_of(state)
        stream = self._cache.get(key)
        again = partial(self._append_escalated_soon, publication, escalation, done)
        if stream is None or key in self._held:
            self._when_usable(key, again, done)
            return
        escalations = self._cache.get(key_of_state)
        if escalations is None:
            # What comes later must not overtake it.
            self._held[key] = []
            self._want(key_of_state).add_done_callback(partial(self._release, key, again, done))
            return
        try:
            self._escalations.check(escalation)
            if not stream.knows(publication.id) and not escalations.has_room(state):
                raise TooManyEscalations(MAX_ESCALATIONS)
        except TellwireError as error:
            done(error)
            return
        # No room is made in between: it could be that of the other one.
        entry = stream.append(publication, self._clock.now())
        kept = None
        if entry is not None:
            kept = escalations.append(at(state, stream.epoch, entry.number), self._clock.now())
        self._when_written(key, [] if entry is None else [entry], done, entry)
        if kept is not None:
            # In the same commit, as it is the same turn.
            self._when_written(key_of_state, [kept], self._note_escalation, kept)
        for each in (key, key_of_state):
            self._cache.measure(each)
        self._make_room()

    def _release(
        self,
        key: StreamKey,
        use: Callable[[], None],
        done: Callable[[HistoryUnavailable], None],
        wanted: asyncio.Future[None],
    ) -> None:
        """Go on with a stream that has waited for that of its escalations."""
        waiting_for_it = self._held.pop(key)
        error = wanted.exception()
        if error is None:
            use()
        else:
            done(HistoryUnavailable(str(getattr(error, "reason", error))))
        for each in waiting_for_it:
            each()

    def _note_escalation(self, outcome: Entry | HistoryUnavailable) -> None:
        if isinstance(outcome, Entry):
            self.on_escalation(outcome)

    # --- streams ------------------------------------------------------------------------------------------------------

    def _append(self, key: StreamKey, stream: Stream, publication: Publication) -> Entry | None:
        entry = stream.append(publication, self._clock.now())
        if entry is not None:
            self._cache.measure(key)
            self._make_room()
        return entry

    async def _stream(self, key: StreamKey) -> Stream:
        # Two objects for one stream would give out the same numbers: only one that is cached now is used.
        while (stream := self._cache.get(key)) is None:
            # Shielded: others wait for the same stream if this caller is cancelled.
            await asyncio.shield(self._want(key))
        return stream

    def _when_usable(self, key: StreamKey, use: Callable[[], None], done: Callable[[HistoryUnavailable], None]) -> None:
        """Call `use` when a stream is loaded and nothing holds it, or `done` if it cannot be loaded."""
        if key in self._held:
            self._held[key].append(use)
        else:
            self._when_loaded(key, use, done)

    def _when_loaded(self, key: StreamKey, use: Callable[[], None], done: Callable[[HistoryUnavailable], None]) -> None:
        """Call `use` when a stream has been loaded, or `done` if it cannot be."""

        def loaded(wanted: asyncio.Future[None]) -> None:
            error = wanted.exception()
            if error is None:
                use()
            else:
                done(HistoryUnavailable(str(getattr(error, "reason", error))))

        self._want(key).add_done_callback(loaded)

    def _want(self, key: StreamKey) -> asyncio.Future[None]:
        """Return a future that is done when a stream has been loaded."""
        loaded = self._wanted.get(key)
        if loaded is None:
            loaded = self._wanted[key] = asyncio.get_running_loop().create_future()
            if self._loading is None:
                self._loading = asyncio.create_task(self._load_wanted())
        return loaded

    async def _load_wanted(self) -> None:
        while keys := list(itertools.islice(self._wanted, _LOADED_AT_ONCE)):
            try:
                await self._load(keys)
            except HistoryUnavailable:
                # One that is damaged must not keep the others.
                for key in keys:
                    try:
                        await self._load([key])
                    except HistoryUnavailable as error:
                        failed = self._wanted.pop(key)
                        failed.set_exception(error)
                        failed.exception()  # mark it as retrieved, as whoever wanted it may be gone
            # Who wanted them goes first.
            for _ in range(3):
                await asyncio.sleep(0)
            self._make_room()
        self._loading = None

    async def _load(self, keys: Sequence[StreamKey]) -> None:
        read = partial(stream_rows.read_streams, epoch=self._epoch, keys=keys, retention_of=self._retention_of)
        for key, stream in zip(keys, await self.database.run(read), strict=True):
            self._cache.add(key, stream)
            self._wanted.pop(key).set_result(None)

    def _retention_of(self, stream: StreamKey) -> Retention:
        return (None if is_of_user(stream) else self._topics.retention_of(stream)) or self._retention

    def _make_room(self) -> None:
        """Drop the streams that were not used longest, as long as there are too many; not those with a commit."""
        for key in self._cache.oldest(_LOADED_AT_ONCE) if self._cache.is_full else ():
            if self._cache.is_full and key not in self._last_commit:
                self._cache.remove(key)

    # --- commits ------------------------------------------------------------------------------------------------------

    def _when_written(
        self, stream: StreamKey, entries: Sequence[Entry], done: Callable[[Any], None], outcome: Any
    ) -> None:
        """Call `done` with an outcome when these entries, and all earlier ones of their stream, are in the file."""
        if entries:
            commit = self._last_commit[stream] = self._next_commit()
            commit.entries += entries
        elif stream in self._last_commit:
            # A duplicate: the first publication of this id may still be waiting.
            commit = self._last_commit[stream]
        else:
            done(outcome)
            return
        commit.outcomes.append((done, outcome))

    def _next_commit(self) -> _Commit:
        if self._next is None:
            self._next = _Commit()
            if self._committing is None:
                asyncio.get_running_loop().call_soon(self._commit_turn)
        return self._next

    def _commit_turn(self) -> None:
        """Commit the entries of this turn of the event loop: here if they are few, otherwise on the file's thread."""
        commit = self._next
        if commit is None or self._committing is not None:
            return
        try:
            is_written = commit.is_small and self.database.run_here(commit.write)
        except HistoryUnavailable as error:
            self._next = None
            self._failed(commit, error)
            return
        if is_written:
            self._next = None
            self._written(commit)
        else:
            self._committing = asyncio.create_task(self._commit_all())

    async def _wait_for_commit(self, stream: StreamKey) -> None:
        """Wait until all entries of a stream are in the file."""
        commit = self._last_commit.get(stream)
        if commit is not None:
            # Shielded: others wait for the same commit if this caller is cancelled.
            await asyncio.shield(commit.written)

    async def _commit_all(self) -> None:
        while (commit := self._take_next()) is not None:
            try:
                await self.database.run(commit.write)
            except HistoryUnavailable as error:
                # Entries that arrived in the meantime have later numbers, so they fail, too.
                later = self._take_next()
                self._failed(commit, error)
                if later is not None:
                    self._failed(later, error)
                continue
            self._written(commit)
        self._committing = None

    def _written(self, commit: _Commit) -> None:
        self._note_trouble(None)
        self._active.update(map(stream_of, commit.entries))
        self._end(commit)
        commit.written.set_result(None)
        for done, outcome in commit.outcomes:
            _tell(done, outcome)
        self._pages += commit.pages
        if self._pages >= CHECKPOINT_PAGES and self._checkpointing is None:
            self._checkpointing = asyncio.create_task(self._checkpoint())

    async def _checkpoint(self) -> None:
        # Commits come after it, on the file's thread, and not at the expense of the event loop.
        self._pages = 0
        try:
            await self.database.run(checkpoint)
        except HistoryUnavailable as error:
            logger.warning("the write-ahead log cannot be put into the file for now: %s", error.reason)
        finally:
            self._checkpointing = None

    def _take_next(self) -> _Commit | None:
        commit, self._next = self._next, None
        return commit

    def _failed(self, commit: _Commit, error: HistoryUnavailable) -> None:
        """Drop the streams whose entries are not in the file, so that they are loaded again."""
        self._note_trouble(error)
        self._end(commit)
        for entry in commit.entries:
            self._cache.remove(stream_of(entry))
        commit.written.set_exception(HistoryUnavailable(error.reason))
        commit.written.exception()  # mark it as retrieved, as nobody may wait for it
        for done, _ in commit.outcomes:
            _tell(done, HistoryUnavailable(error.reason))

    def _end(self, commit: _Commit) -> None:
        for stream in map(stream_of, commit.entries):
            if self._last_commit.get(stream) is commit:
                del self._last_commit[stream]

    def _note_trouble(self, error: HistoryUnavailable | None) -> None:
        trouble = None if error is None else error.reason
        if trouble != self._trouble:
            if trouble is None:
                logger.warning("the history can be written again")
            else:
                logger.error("nothing can be published: %s", trouble)
            self._trouble = trouble

    # --- in the background --------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Prune from time to time, and find out whether a file in trouble can be written again. It never returns."""
        prune_at = self._clock.monotonic() + _PRUNE_SECONDS
        while True:
            await self._clock.sleep(_PROBE_SECONDS)
            try:
                if self._trouble is not None:
                    await self._probe()
                if self._clock.monotonic() >= prune_at:
                    prune_at = self._clock.monotonic() + _PRUNE_SECONDS
                    await self.prune()
            except HistoryUnavailable as error:
                logger.warning("entries that are too old stay in the file for now: %s", error.reason)
            except Exception:
                # Nobody else would notice that this has ended.
                logger.exception("the history cannot be pruned, trying again")

    async def _probe(self) -> None:
        try:
            await self.database.run(stream_rows.probe)
        except HistoryUnavailable as error:
            self._note_trouble(error)
        else:
            self._note_trouble(None)

    async def prune(self) -> None:
        """Remove entries that are not kept any more from the file, and streams that nobody uses from memory.

        Raises:
            HistoryUnavailable: not all of it is done.
        """
        for key, _ in self._cache.unused(_QUIET_PERIODS):
            if key not in self._last_commit:
                self._cache.remove(key)
        self._cache.new_period()
        active, self._active = self._active, set()
        kept = [Kept.of(key, stream) for key in active if (stream := self._cache.peek(key)) is not None]
        pruning = Pruning(
            kept, self._retention_of, self._clock.now(), self._pruned_rows, self._topics.shortest_age_seconds
        )
        for step in pruning.steps():
            await self.database.run(step)
        self._pruned_rows = pruning.rows
        await self.database.run(empty_log)


def _resolve(future: asyncio.Future[Any], outcome: Any) -> None:
    # Who waits may have been cancelled.
    if future.done():
        return
    if isinstance(outcome, TellwireError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _tell(done: Callable[[Any], None], outcome: Any) -> None:
    try:
        done(outcome)
    except Exception:
        # The others of this commit wait for theirs.
        logger.exception("the outcome of a publication could not be told")
