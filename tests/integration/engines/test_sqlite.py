"""The SQLite file: durability, refused files, and atomic commits."""

import asyncio
import itertools
import json
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec import structs

from tellwire.engines.sqlite import stream_rows
from tellwire.engines.sqlite.database import CHECKPOINT_PAGES, PAGE_BYTES, checkpoint
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.entry import Entry
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.limits import HISTORY_MAX_AGE_SECONDS, HISTORY_MAX_MESSAGES, HISTORY_MAX_STATES
from tellwire.messages import (
    UploadProgress,
    UploadProgressMessage,
    create_message,
    create_upload_progress_message,
)
from tellwire.position import START
from tellwire.publication import Publication, user_stream
from tellwire.stream import Replay
from tellwire.testing import FakeClock
from tests.publications import acknowledge, for_user

PUBLISHER = """
import asyncio, sys
from pathlib import Path
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.messages import create_message
from tellwire.model import Target
from tellwire.publication import Publication

async def publish(history, user_id, first):
    for number in range(first, 1_000_000):
        await history.append(Publication.of(Target(user=user_id), create_message("note", number)))
        print(user_id, number, flush=True)

async def main():
    history = SqliteHistory(Path(sys.argv[1]))
    first = int(sys.argv[2])
    await asyncio.gather(*(publish(history, f"user-{user}", first) for user in range(8)))

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


def opened(path: Path, max_cached_streams: int = 10) -> SqliteHistory:
    return SqliteHistory(path, max_cached_streams=max_cached_streams)


def note(number: int) -> Publication:
    return for_user("anna", create_message("note", number))


def numbers(replay: Replay) -> list[int]:
    return [json.loads(message)["data"] for message in replay.messages]


async def test_superseded_runs_parts_and_times_to_live_survive_a_restart(path: Path) -> None:
    def state(run: str, part: str | None, progress: float) -> Publication:
        data = UploadProgress(upload_id="u1", file_name="f", progress=progress, message="", run=run, part=part)
        return for_user("anna", UploadProgressMessage(data))

    clock = FakeClock()
    history = SqliteHistory(path, clock)
    await history.append(state("first", None, 10))
    await history.append(state("second", "1/2", 40))
    await history.append(structs.replace(note(1), ttl_seconds=60))
    before = await history.state(user_stream("anna"), "upload:u1")
    await history.close()
    history = SqliteHistory(path, clock)
    assert await history.state(user_stream("anna"), "upload:u1") == before
    assert await history.append(state("first", None, 100)) is None
    both = await history.append(state("second", "2/2", 60))
    assert both is not None
    assert json.loads(both.payload)["data"]["progress"] == 50
    assert numbers(await history.read(user_stream("anna"), START)) == [1]
    await clock.advance(61)
    assert numbers(await history.read(user_stream("anna"), START)) == []
    await history.close()


async def test_messages_and_positions_survive_a_restart(path: Path) -> None:
    history = opened(path)
    begin = (await history.read(user_stream("anna"), None)).cursor
    for number in range(3):
        await history.append(for_user("anna", note(number)))
    await history.close()
    history = opened(path)
    await history.append(for_user("anna", note(3)))
    replay = await history.read(user_stream("anna"), begin)
    assert (replay.recovered, numbers(replay)) == (True, [0, 1, 2, 3])
    assert replay.cursor.endswith(":4")
    await history.close()


async def test_kill_9_loses_no_acknowledged_message_and_repeats_no_offset(path: Path) -> None:
    acknowledged: dict[str, list[int]] = {f"user-{user}": [] for user in range(8)}
    for round_number in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PUBLISHER, str(path), str(round_number * 1_000), stdout=-1
        )
        assert process.stdout is not None
        lines = [await asyncio.wait_for(process.stdout.readline(), 45) for _ in range(300 + 37 * round_number)]
        process.send_signal(signal.SIGKILL)
        rest = await process.stdout.read()
        await process.wait()
        for line in (*lines, *rest.splitlines(keepends=True)):
            if line.endswith(b"\n"):
                whose, number = line.split()
                acknowledged[whose.decode()].append(int(number))
    history = opened(path)
    for user_id, expected in acknowledged.items():
        epoch = (await history.read(user_stream(user_id), None)).cursor.rpartition(":")[0]
        kept = await history.read(user_stream(user_id), f"{epoch}:0")
        assert kept.recovered
        # The last of each round may be in the file without an acknowledgement.
        assert set(expected) <= set(numbers(kept))
        cursors = [json.loads(message)["cursor"] for message in kept.messages]
        assert cursors == [f"{epoch}:{offset}" for offset in range(1, len(cursors) + 1)]
    await history.close()


async def test_a_disk_that_is_full_is_an_error_and_not_a_hole(path: Path) -> None:
    history = opened(path)
    begin = (await history.read(user_stream("anna"), None)).cursor
    await history.append(for_user("anna", note(0)))
    history.database.connection.execute("PRAGMA max_page_count=1")
    outcomes = await asyncio.gather(
        *(history.append(for_user("anna", for_user("anna", create_message("big", "x" * 100_000)))) for _ in range(3)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [HistoryUnavailable] * 3
    history.database.connection.execute("PRAGMA max_page_count=1000000")
    await history.append(for_user("anna", note(1)))
    replay = await history.read(user_stream("anna"), begin)
    assert (replay.recovered, numbers(replay)) == (True, [0, 1])
    assert replay.cursor.endswith(":2")
    await history.close()


async def test_users_quiet_for_long_leave_memory_and_lose_nothing(path: Path) -> None:
    history = opened(path, max_cached_streams=2)
    begins = [(await history.read(user_stream(f"user-{user}"), None)).cursor for user in range(5)]
    for number, user in itertools.product(range(3), range(5)):
        await history.append(for_user(f"user-{user}", note(number)))
    assert len(history._cache) == 2
    for user, begin in enumerate(begins):
        assert numbers(await history.read(user_stream(f"user-{user}"), begin)) == [0, 1, 2]
    await history.close()


async def test_concurrent_users_evict_no_stream_between_its_load_and_its_append(path: Path) -> None:
    history = opened(path, max_cached_streams=1)
    users = [f"user-{number}" for number in range(20)]
    async with asyncio.TaskGroup() as group:
        for number, user_id in itertools.product(range(5), users):
            group.create_task(history.append(for_user(user_id, note(number))))
    for user_id in users:
        epoch = (await history.read(user_stream(user_id), None)).cursor.rpartition(":")[0]
        kept = await history.read(user_stream(user_id), f"{epoch}:0")
        assert (kept.recovered, numbers(kept)) == (True, [0, 1, 2, 3, 4])
    await history.close()


async def test_a_stream_that_was_evicted_before_its_use_is_loaded_again(path: Path) -> None:
    history = opened(path)
    appending = asyncio.create_task(history.append(for_user("anna", note(0))))
    while not len(history._cache):
        await asyncio.sleep(0)
    history._cache.remove(user_stream("anna"))  # as another user's stream does that is read in the same moment
    await appending
    # Otherwise a second copy would give out the same places.
    position = await history.position(user_stream("anna"))
    assert position is not None
    assert position.offset == 1
    await history.close()


async def test_a_cancelled_publisher_does_not_affect_the_others(path: Path) -> None:
    history = opened(path)
    begin = (await history.read(user_stream("anna"), None)).cursor
    tasks = [asyncio.create_task(history.append(for_user("anna", note(number)))) for number in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    await asyncio.wait(tasks)
    replay = await history.read(user_stream("anna"), begin)
    assert replay.recovered
    assert {*range(10)} - {3} <= {*numbers(replay)}
    await history.close()


async def test_a_second_process_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellwire.engines.sqlite.database._BUSY_SECONDS", 0.05)
    history = opened(path)
    await history.append(for_user("anna", note(1)))
    with pytest.raises(ConfigError, match="is another gateway using it"):
        opened(path)
    await history.close()


def test_a_file_of_another_program_is_not_changed(path: Path, tmp_path: Path) -> None:
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE theirs (x)")
    theirs.close()
    with pytest.raises(ConfigError, match="another program's database"):
        opened(path)
    text = tmp_path / "text"
    text.write_text("no database, and longer than the header of one would be" * 10)
    with pytest.raises(ConfigError, match="cannot be opened"):
        opened(text)
    with pytest.raises(ConfigError, match="cannot be opened"):
        opened(tmp_path / "no" / "directory")


async def test_the_file_keeps_only_so_many_and_numbers_go_on(path: Path) -> None:
    clock = FakeClock()
    history = SqliteHistory(path, clock)
    for number in range(HISTORY_MAX_MESSAGES + 500):
        await history.append(for_user("anna", note(number)))
    for number in range(HISTORY_MAX_STATES + 50):
        await history.append(for_user("anna", progress(100, f"u{number}")))
    await acknowledge(history, "anna", (await history.read(user_stream("anna"), None)).cursor)
    await clock.advance(3600)
    await history.append(for_user("anna", note(0)))
    await history.prune()
    await history.close()
    assert rows(path, "log") == HISTORY_MAX_MESSAGES
    assert HISTORY_MAX_STATES <= rows(path, "states") <= HISTORY_MAX_STATES + 1

    history = SqliteHistory(path, clock)
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.append(for_user("ben", note(0)))
    await history.prune()
    await history.close()
    assert (rows(path, "log"), rows(path, "states")) == (1, 0)

    history = SqliteHistory(path, clock)
    assert (await history.read(user_stream("anna"), None)).cursor.endswith(f":{HISTORY_MAX_MESSAGES + 501}")
    state = await history.append(for_user("anna", progress(1)))
    assert state is not None
    assert state.number == HISTORY_MAX_STATES + 52
    await history.append(for_user("anna", note(1)))
    await clock.advance(HISTORY_MAX_AGE_SECONDS + 1)
    await history.append(for_user("ben", note(1)))
    await history.prune()
    await history.close()
    history = SqliteHistory(path, clock)
    assert (await history.read(user_stream("anna"), None)).cursor.endswith(f":{HISTORY_MAX_MESSAGES + 502}")
    await history.close()


def on_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """All commits on the file's thread, where they may wait."""
    monkeypatch.setattr("tellwire.engines.sqlite.history._MOST_COMMITTED_HERE", 0)


def failing_for(user_id: str, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Make the first commit with an entry of a user fail. Return two events: it has begun, and it may end."""
    commit = stream_rows.commit
    on_its_thread(monkeypatch)
    begun, may_end = threading.Event(), threading.Event()

    def faulty(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        if not begun.is_set() and user_id in {entry.target.user for entry in entries}:
            begun.set()
            assert may_end.wait(45)
            raise sqlite3.OperationalError("disk I/O error")
        commit(connection, entries)

    monkeypatch.setattr(stream_rows, "commit", faulty)
    return begun, may_end


async def test_a_batch_that_cannot_be_written_is_not_kept_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = opened(path)
    await history.read(user_stream("anna"), None)
    _, may_end = failing_for("ben", monkeypatch)
    may_end.set()
    # Ben's stream is not in memory; it is read before anything of the batch gets a number.
    with pytest.raises(HistoryUnavailable):
        await history.append_all([for_user("anna", note(1)), for_user("ben", note(2))])
    assert numbers(await history.read(user_stream("anna"), START)) == []
    assert numbers(await history.read(user_stream("ben"), START)) == []
    await history.close()


async def test_entries_that_arrive_during_a_failed_commit_fail_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = opened(path)
    await history.read(user_stream("anna"), None)
    begun, may_end = failing_for("anna", monkeypatch)
    first = asyncio.create_task(history.append(for_user("anna", note(1))))
    assert await asyncio.to_thread(begun.wait, 45)
    second = asyncio.create_task(history.append(for_user("anna", note(2))))
    await asyncio.sleep(0)
    may_end.set()
    for append in (first, second):
        with pytest.raises(HistoryUnavailable):
            await append
    entry = await history.append(for_user("anna", note(3)))
    assert entry is not None
    assert entry.number == 1
    await history.close()


# --- on the event loop's thread, or on the file's ---------------------------------------------------------------------


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads of the commits."""
    seen: list[str] = []
    commit = stream_rows.commit

    def watched(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        seen.append(threading.current_thread().name)
        commit(connection, entries)

    monkeypatch.setattr(stream_rows, "commit", watched)
    return seen


ITS_OWN = "tellwire-history_0"


async def test_a_few_entries_of_a_turn_are_committed_together_and_here(path: Path, threads: list[str]) -> None:
    history = opened(path)
    await history.read(user_stream("anna"), None)
    await asyncio.gather(*(history.append(for_user("anna", note(number))) for number in range(5)))
    assert threads == [threading.current_thread().name]
    await history.close()
    assert rows(path, "log") == 5


@pytest.mark.parametrize(("count", "size"), [(40, 10), (3, 30_000)])
async def test_many_entries_or_long_ones_are_committed_on_the_files_thread(
    path: Path, threads: list[str], count: int, size: int
) -> None:
    history = opened(path)
    await history.read(user_stream("anna"), None)
    await history.append_all([for_user("anna", create_message("note", "x" * size)) for _ in range(count)])
    assert threads == [ITS_OWN]
    await history.close()


async def test_a_commit_waits_for_nothing_on_the_event_loop(path: Path, threads: list[str]) -> None:
    history = opened(path)
    await history.read(user_stream("anna"), None)
    begun, may_end = threading.Event(), threading.Event()

    def busy(connection: sqlite3.Connection) -> None:
        begun.set()
        assert may_end.wait(45)

    working = asyncio.create_task(history.database.run(busy))
    assert await asyncio.to_thread(begun.wait, 45)
    appending = asyncio.create_task(history.append(for_user("anna", note(1))))
    await asyncio.sleep(0.05)
    assert (appending.done(), threads) == (False, [])
    may_end.set()
    await working
    assert await appending is not None
    assert threads == [ITS_OWN]
    await history.close()


async def test_a_slow_disk_is_left_to_the_files_thread(
    path: Path, threads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = opened(path)
    await history.read(user_stream("anna"), None)
    watched = stream_rows.commit

    def slow(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        watched(connection, entries)
        time.sleep(0.03)

    monkeypatch.setattr(stream_rows, "commit", slow)
    for number in range(3):
        await history.append(for_user("anna", note(number)))
    assert threads == [threading.current_thread().name, ITS_OWN, ITS_OWN]
    monkeypatch.setattr(history.database, "_slow_until", 0.0)
    await history.append(for_user("anna", note(3)))
    assert threads[-1] == threading.current_thread().name
    await history.close()


async def test_a_commit_that_fails_here_is_an_error_and_its_number_is_given_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = opened(path)
    await history.read(user_stream("anna"), None)

    def fails(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        connection.execute("INSERT INTO log SELECT * FROM nowhere")

    with monkeypatch.context() as patched:
        patched.setattr(stream_rows, "commit", fails)
        with pytest.raises(HistoryUnavailable, match="nowhere"):
            await history.append(for_user("anna", note(1)))
    assert history.trouble() is not None
    entry = await history.append(for_user("anna", note(2)))
    assert entry is not None
    assert (entry.number, history.trouble()) == (1, None)
    await history.close()


async def test_the_write_ahead_log_is_put_into_the_file_on_its_thread_and_stays_small(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watched(connection: sqlite3.Connection) -> None:
        seen.append(threading.current_thread().name)
        checkpoint(connection)

    monkeypatch.setattr("tellwire.engines.sqlite.history.checkpoint", watched)
    history = opened(path)
    for number in range(6_000):
        await history.append(for_user(f"user-{number % 200}", note(number)))
    wal = path.with_name(f"{path.name}-wal").stat().st_size
    assert seen
    assert set(seen) == {ITS_OWN}
    assert wal < 2 * CHECKPOINT_PAGES * PAGE_BYTES
    await history.close()


def rows(path: Path, table: str) -> int:
    database = sqlite3.connect(path)
    (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    database.close()
    return int(count)


def progress(value: float, upload_id: str = "u1") -> Publication:
    return for_user("anna", create_upload_progress_message(upload_id, "f.csv", value, ""))


async def test_a_file_of_another_schema_is_refused(path: Path) -> None:
    history = opened(path)
    await history.close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version=99")
    newer.close()
    with pytest.raises(ConfigError, match="got schema 99; allowed: 5"):
        opened(path)
