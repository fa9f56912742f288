"""Faults of the disk and of the file: each is named, and a file that works again is used again."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tellwire.config import Settings
from tellwire.engines.sqlite import database as database_module
from tellwire.engines.sqlite import stream_rows
from tellwire.engines.sqlite.engine import open_sqlite
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.entry import Entry
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.http_client import HttpClient
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.ports import NullObserver, SystemClock
from tellwire.position import START
from tellwire.publication import Publication, user_stream
from tellwire.testing import FakeClock
from tellwire.topics import TopicRules
from tests.conftest import API_KEY, StartGateway
from tests.publications import for_user


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


def note(text: str) -> Publication:
    return for_user("anna", create_message("note", text))


FULL = "database or disk is full"


async def fill(history: SqliteHistory) -> None:
    """Leave no page for anything new."""
    (pages,) = history.database.connection.execute("PRAGMA page_count").fetchone()
    history.database.connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(HistoryUnavailable, match=FULL):
        await history.append(note("x" * 100_000))


async def make_space(history: SqliteHistory) -> None:
    history.database.connection.execute("PRAGMA max_page_count=1000000")


async def test_a_full_disk_is_named_and_so_is_its_end(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    history = SqliteHistory(path, clock)
    await history.append(note("small"))
    assert history.trouble() is None
    await fill(history)
    assert history.trouble() == FULL
    assert f"nothing can be published: {FULL}" in caplog.text
    watching = asyncio.create_task(history.watch())
    await make_space(history)
    while history.trouble() is not None:
        await clock.advance(1)
        await asyncio.sleep(0.01)
    assert "the history can be written again" in caplog.text
    watching.cancel()
    await history.append(note("again"))
    assert len((await history.read(user_stream("anna"), START)).messages) == 2
    await history.close()


async def test_the_first_error_is_raised_when_the_rollback_fails_too(path: Path) -> None:
    history = SqliteHistory(path)
    connection = history.database.connection
    with pytest.raises(sqlite3.OperationalError, match="no such table"), database_module.transaction(connection):
        connection.execute("ROLLBACK")  # as SQLite itself does on a full disk
        connection.execute("SELECT * FROM missing")
    await history.append(note("after it"))
    await history.close()


async def test_a_gateway_that_can_write_nothing_is_not_ready(start_gateway: StartGateway, path: Path) -> None:
    gateway = await start_gateway(engine="sqlite", database=str(path))
    client = HttpClient(gateway.url, 10)

    async def status(path: str) -> int:
        return (await client.send("GET", path)).status

    assert (await status("/readyz"), await status("/healthz")) == (200, 200)
    history = gateway.node.engine.history
    await fill(history)
    assert (await status("/readyz"), await status("/healthz")) == (503, 200)
    body = msgspec.json.encode({"target": {"user": "anna"}, "message": {"type": "note", "data": "x" * 100_000}})
    headers = {"authorization": f"Bearer {API_KEY}", "content-type": "application/json"}
    answer = await client.send("POST", "/v1/publish", body, headers)
    assert answer.status == 503
    assert FULL in msgspec.json.decode(answer.body)["message"]
    await make_space(history)
    async with asyncio.timeout(60):
        while await status("/readyz") != 200:
            await asyncio.sleep(0.1)
    await client.close()


LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.errors import HistoryUnavailable
from tellwire.messages import create_message, create_upload_progress_message
from tellwire.model import Target
from tellwire.publication import Publication, user_stream

async def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    history = SqliteHistory(Path(sys.argv[1]))
    for number in range(1000):
        try:
            await history.append(Publication.of(Target(user="anna"), create_message("note", "x" * 50_000)))
        except HistoryUnavailable as error:
            print(number, error)
            break
    replay = await history.read(user_stream("anna"), "0")
    print(len(replay.messages))

asyncio.run(main())
"""


async def test_a_bound_of_the_system_is_named_and_all_that_was_kept_is_there(path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LIMITED, str(path), stdout=-1)
    out, _ = await asyncio.wait_for(process.communicate(), 45)
    failed, kept = out.decode().splitlines()
    number, _, error = failed.partition(" ")
    assert error == "The history is not available: disk I/O error; SQLITE_IOERR_WRITE"
    assert kept == number


# --- files that cannot be opened --------------------------------------------------------------------------------------


@contextmanager
def somebody_else() -> Iterator[None]:
    """Be a user who may not do everything, as root may."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_a_hint_of_another_gateway_is_given_only_for_a_locked_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_BUSY_SECONDS", 0.05)
    history = SqliteHistory(path)
    with pytest.raises(ConfigError, match="database is locked; is another gateway using it"):
        SqliteHistory(path)
    await history.close()
    (tmp_path / "folder").mkdir()
    text = tmp_path / "text"
    text.write_text("no database, and longer than the header of one would be" * 10)
    for other, said in (
        (tmp_path / "no" / "h.sqlite3", "unable to open database file; is there such a folder"),
        (tmp_path / "folder", "it is a folder; allowed: a file"),
        (text, "file is not a database"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            SqliteHistory(other)
        assert "another gateway" not in str(caught.value)


@pytest.mark.parametrize("name", [":memory:", "file:h.sqlite3?mode=memory", "file::memory:?cache=shared"])
async def test_a_name_that_sqlite_takes_for_memory_is_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    history = SqliteHistory(Path(name))
    await history.append(note("kept"))
    await history.close()
    history = SqliteHistory(Path(name))
    position = await history.position(user_stream("anna"))
    assert position is not None
    assert position.offset == 1
    await history.close()


async def test_a_gateway_whose_file_lacks_a_table_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite3"
    await SqliteHistory(path).close()
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE shut_outs")
    connection.close()
    with pytest.raises(ConfigError, match=r"h\.sqlite3': cannot be read: no such table"):
        await open_sqlite(Settings(database=str(path)), SystemClock(), NullObserver(), TopicRules())


def let_others_read(path: Path) -> None:
    path.chmod(0o444)
    for folder in [*path.parents][:-2]:
        folder.chmod(0o755)


async def test_a_file_that_may_not_be_written_is_named(path: Path) -> None:
    await SqliteHistory(path).close()
    let_others_read(path)
    with somebody_else(), pytest.raises(ConfigError, match="this user may not write to") as caught:
        SqliteHistory(path)
    assert "another gateway" not in str(caught.value)


async def written(path: Path) -> None:
    history = SqliteHistory(path)
    for number in range(300):
        await history.append(note(f"{number} " + "x" * 400))
    await history.close()


def damage(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(os.urandom(60))


@pytest.mark.parametrize("page", [2, 5, 9, 20])
async def test_a_damaged_file_is_refused_when_it_is_opened(path: Path, page: int) -> None:
    await written(path)
    damage(path, page)
    with pytest.raises(ConfigError, match="the file is damaged: move it away") as caught:
        SqliteHistory(path)
    assert "another gateway" not in str(caught.value)


async def test_a_file_that_is_cut_off_is_refused(path: Path) -> None:
    await written(path)
    os.truncate(path, 10 * 4096)
    with pytest.raises(ConfigError, match="the file is damaged: move it away"):
        SqliteHistory(path)


async def test_a_log_with_a_gap_is_damage_and_no_number_is_given_out_again(path: Path) -> None:
    await written(path)
    other = sqlite3.connect(path)
    other.execute("DELETE FROM log WHERE number BETWEEN 100 AND 200")
    other.commit()
    other.close()
    history = SqliteHistory(path)
    with pytest.raises(HistoryUnavailable, match="messages are missing: the file is damaged"):
        await history.append(note("one more"))
    await history.append(for_user("ben", create_message("note", "as ever")))
    await history.close()


async def test_a_row_that_cannot_be_read_is_an_error_for_its_user_alone(path: Path) -> None:
    history = SqliteHistory(path)
    await history.append(for_user("anna", create_upload_progress_message("u1", "f.csv", 50, "")))
    await history.close()
    other = sqlite3.connect(path)
    other.execute("UPDATE states SET past_runs = '{'")
    other.commit()
    other.close()
    history = SqliteHistory(path)
    async with asyncio.timeout(60):
        for _ in range(2):
            with pytest.raises(HistoryUnavailable, match="the server's log has more"):
                await history.append(note("one more"))
        assert await history.append(for_user("ben", create_message("note", "as ever"))) is not None
        outcomes = await asyncio.gather(
            *(history.append(for_user(user, create_message("note", ""))) for user in ("anna", "carl", "dora")),
            return_exceptions=True,
        )
    assert [isinstance(outcome, HistoryUnavailable) for outcome in outcomes] == [True, False, False]
    await history.close()


async def test_a_commit_that_fails_for_another_reason_is_an_error_and_no_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = SqliteHistory(path)
    commit = stream_rows.commit

    def faulty(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
        raise OverflowError("Python int too large to convert to SQLite INTEGER")

    monkeypatch.setattr(stream_rows, "commit", faulty)
    async with asyncio.timeout(60):
        with pytest.raises(HistoryUnavailable, match="the server's log has more"):
            await history.append(note("first"))
        monkeypatch.setattr(stream_rows, "commit", commit)
        entry = await history.append(note("second"))
    assert entry is not None
    assert entry.number == 1
    await history.close()


async def test_old_entries_that_cannot_be_removed_are_no_reason_not_to_publish(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    history = SqliteHistory(path, clock)

    async def fails() -> None:
        raise HistoryUnavailable("disk I/O error")

    monkeypatch.setattr(history, "prune", fails)
    watching = asyncio.create_task(history.watch())
    await clock.advance(40)
    assert "too old stay in the file for now: disk I/O error" in caplog.text
    assert history.trouble() is None
    watching.cancel()
    await history.close()


async def test_a_check_of_a_big_file_ends_in_time(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await written(path)
    monkeypatch.setattr(database_module, "_CHECK_SECONDS", -1.0)
    monkeypatch.setattr(database_module, "_CHECK_STEPS", 1)
    with caplog.at_level("INFO"):
        history = SqliteHistory(path)
    assert "only a part of it was checked for damage" in caplog.text
    await history.append(note("and it is used"))
    await history.close()
