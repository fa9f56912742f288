"""Backups of SQLite's files while an engine works with them, and files that are restored from one."""

import asyncio
import contextlib
import io
import json
import shutil
import sqlite3
from collections import namedtuple
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tellwire.config import Settings
from tellwire.engine import Engine
from tellwire.engines.sqlite import database as database_module
from tellwire.engines.sqlite.archive import ROLES, read_archive
from tellwire.engines.sqlite.backup import backup_of_files
from tellwire.engines.sqlite.engine import open_sqlite, paths_of
from tellwire.engines.sqlite.restoring import SCHEMAS, restore
from tellwire.errors import ConfigError, HistoryUnavailable
from tellwire.messages import create_message
from tellwire.ports import Backup, NullObserver, SystemClock
from tellwire.position import START, Position
from tellwire.publication import user_stream
from tellwire.topics import TopicRules
from tests.publications import for_user

FIXTURES = Path(__file__).parents[2] / "data" / "schemas"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live.sqlite3"


def names_beside(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir() if not each.name.startswith(path.name)}


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Engine]:
    settings = Settings(database=str(path), jwt_secret="s" * 40)
    async with await open_sqlite(settings, SystemClock(), NullObserver(), TopicRules()) as engine:
        yield engine


async def say(engine: Engine, text: str, user_id: str = "anna") -> None:
    await engine.broker.publish(for_user(user_id, create_message("note", text)))


async def words(engine: Engine, user_id: str = "anna") -> list[str]:
    assert engine.history is not None
    replay = await engine.history.read(user_stream(user_id), START)
    return [json.loads(each)["data"] for each in replay.messages]


def write(file: Path, backup: Backup) -> None:
    file.write_bytes(b"".join(backup.chunks()))
    backup.close()


async def made(engine: Engine, file: Path) -> None:
    assert engine.backups is not None
    backup = await engine.backups.make()
    assert backup is not None
    await asyncio.to_thread(write, file, backup)


async def cursor(engine: Engine) -> Position:
    assert engine.history is not None
    found = Position.parse((await engine.history.read(user_stream("anna"), START)).cursor)
    assert found is not None
    return found


async def test_messages_that_are_published_during_a_copy_are_answered_and_the_copy_is_whole(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_COPY_PAGES", 1)
    async with opened(path) as engine:
        for number in range(100):
            await say(engine, f"{number:4000}", "bea")
        making = asyncio.create_task(made(engine, tmp_path / "b.tar"))
        during = 0
        while not making.done():
            await say(engine, str(during))
            await asyncio.sleep(0)
            during += 1
        await making
    assert during > 10
    restore(tmp_path / "b.tar", paths_of(tmp_path / "new.sqlite3"))
    async with opened(tmp_path / "new.sqlite3") as engine:
        assert [int(each) for each in await words(engine, "bea")] == list(range(100))
        kept = [int(each) for each in await words(engine)]
    # Those that were published until the end of the copy, in their order and without a gap.
    assert 0 < kept[-1] < during
    assert kept == list(range(kept[0], kept[-1] + 1))
    assert names_beside(path) == {"b.tar", "new.sqlite3", "new.sqlite3-row-errors", "new.sqlite3-requests"}


async def test_one_backup_is_made_at_a_time(path: Path) -> None:
    async with opened(path) as engine:
        assert engine.backups is not None
        first = await engine.backups.make()
        assert first is not None
        assert await engine.backups.make() is None
        first.close()
        second = await engine.backups.make()
        assert second is not None
        second.close()


async def begun_copy(engine: Engine, path: Path) -> "asyncio.Task[Backup | None]":
    """Begin a backup, and return it when its file is there."""
    assert engine.backups is not None
    making = asyncio.create_task(engine.backups.make())
    while not path.with_name("live.sqlite3-backup").exists():
        await asyncio.sleep(0.01)
    return making


async def test_an_engine_that_closes_gives_up_its_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_COPY_PAGES", 1)
    monkeypatch.setattr(database_module, "_COPY_PAUSE_SECONDS", 60.0)
    async with opened(path) as engine:
        making = await begun_copy(engine, path)
        await say(engine, "goes on")
    with pytest.raises(HistoryUnavailable, match="given up"):
        await making
    assert not path.with_name("live.sqlite3-backup").exists()


async def test_a_cancelled_backup_leaves_nothing_and_another_one_is_made(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_COPY_PAGES", 1)
    monkeypatch.setattr(database_module, "_COPY_PAUSE_SECONDS", 60.0)
    async with opened(path) as engine:
        making = await begun_copy(engine, path)
        assert engine.backups is not None
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
        assert not path.with_name("live.sqlite3-backup").exists()
        monkeypatch.setattr(database_module, "_COPY_PAUSE_SECONDS", 0.0)
        again = await engine.backups.make()
        assert again is not None
        again.close()


async def test_a_disk_without_room_is_named_before_a_byte_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(100, 99, 1))
    async with opened(path) as engine:
        assert engine.backups is not None
        with pytest.raises(HistoryUnavailable, match="its disk has 1 bytes left; a backup needs"):
            await engine.backups.make()
        await say(engine, "goes on")


async def test_a_restored_stream_has_another_epoch_and_its_messages(path: Path, tmp_path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "one")
        await made(engine, tmp_path / "b.tar")
        before = await cursor(engine)
        await say(engine, "lost")
    restore(tmp_path / "b.tar", paths_of(path), force=True)
    async with opened(path) as engine:
        assert await words(engine) == ["one"]
        assert (await cursor(engine)).epoch != before.epoch
        assert engine.history is not None
        assert not (await engine.history.read(user_stream("anna"), str(before))).recovered


async def test_a_stream_that_was_forgotten_gets_another_epoch_too(path: Path, tmp_path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "one")
        await engine.forget_user("anna")
        await say(engine, "two")
        before = await cursor(engine)
        await made(engine, tmp_path / "b.tar")
    restore(tmp_path / "b.tar", paths_of(path), force=True)
    async with opened(path) as engine:
        assert (await cursor(engine)).epoch != before.epoch


async def test_files_that_a_gateway_uses_are_neither_restored_nor_copied_from_the_disk(
    path: Path, tmp_path: Path
) -> None:
    async with opened(path) as engine:
        await say(engine, "one")
        await made(engine, tmp_path / "b.tar")
        with pytest.raises(ConfigError, match="is another gateway using it"):
            await asyncio.to_thread(restore, tmp_path / "b.tar", paths_of(path), force=True)
        with pytest.raises(ConfigError, match="is another gateway using it"):
            await asyncio.to_thread(backup_of_files, paths_of(path), 0.0)
        await say(engine, "two")
    async with opened(path) as engine:
        assert await words(engine) == ["one", "two"]


async def test_files_that_are_there_are_replaced_by_force_alone(path: Path, tmp_path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "one")
    write(tmp_path / "b.tar", backup_of_files(paths_of(path), 0.0))
    async with opened(path) as engine:
        await say(engine, "two")
    with pytest.raises(ConfigError, match="it is there; --force replaces it"):
        restore(tmp_path / "b.tar", paths_of(path))
    async with opened(path) as engine:
        assert await words(engine) == ["one", "two"]


def damage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)
    path.with_name(f"{path.name}-wal").write_bytes(b"stale")


async def test_a_damaged_file_is_replaced_and_another_programs_is_not(path: Path, tmp_path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "one")
        await made(engine, tmp_path / "b.tar")
    damage(path)
    restore(tmp_path / "b.tar", paths_of(path), force=True)
    async with opened(path) as engine:
        assert await words(engine) == ["one"]
    database = path.with_name("theirs.sqlite3")
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(ConfigError, match="another program's database"):
        restore(tmp_path / "b.tar", paths_of(database), force=True)
    with contextlib.closing(sqlite3.connect(database)) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


async def test_a_backup_that_was_cut_changes_nothing(path: Path, tmp_path: Path) -> None:
    async with opened(path) as engine:
        await say(engine, "one")
        await made(engine, tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    (tmp_path / "b.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="got no whole backup"):
        restore(tmp_path / "b.tar", paths_of(path), force=True)
    async with opened(path) as engine:
        assert await words(engine) == ["one"]


# --- versions of tables -----------------------------------------------------------------------------------------------


def build(path: Path, versions: dict[str, int]) -> None:
    """Make the files of an engine from the statements that are kept of each version."""
    for role, file in paths_of(path).items():
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.executescript((FIXTURES / f"{role}-{versions[role]}.sql").read_text())


async def test_files_of_these_versions_are_read(path: Path) -> None:
    # Who changes a table adds the statements of its new version, and says here what becomes of files of the old one.
    build(path, SCHEMAS)
    async with opened(path) as engine:
        assert await words(engine) == ["one", "two"]
        assert engine.row_errors is not None
        assert await engine.row_errors.row_error_list("anna", "u1") is not None
        await say(engine, "three")


@pytest.mark.parametrize("file", sorted(FIXTURES.glob("*.sql")), ids=lambda file: file.stem)
async def test_a_file_of_another_version_is_refused_and_stays_as_it_is(path: Path, file: Path) -> None:
    role, _, version = file.stem.rpartition("-")
    if int(version) == SCHEMAS[role]:
        return
    build(path, SCHEMAS | {role: int(version)})
    target = paths_of(path)[role]
    with contextlib.closing(sqlite3.connect(target)) as connection:
        before = list(connection.iterdump())
    with pytest.raises(ConfigError, match=f"got schema {version}; allowed: {SCHEMAS[role]}"):
        async with opened(path):
            pass
    with contextlib.closing(sqlite3.connect(target)) as connection:
        assert list(connection.iterdump()) == before


@pytest.mark.parametrize("role", ROLES)
async def test_a_backup_of_a_newer_version_names_the_version_that_made_it(
    path: Path, tmp_path: Path, role: str
) -> None:
    build(path, SCHEMAS)
    with contextlib.closing(sqlite3.connect(paths_of(path)[role])) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMAS[role] + 1}")
    write(tmp_path / "b.tar", backup_of_files(paths_of(path), 0.0))
    read_archive(io.BytesIO((tmp_path / "b.tar").read_bytes()))
    with pytest.raises(ConfigError, match=f"its {role} file has schema .* Restore it with tellwire"):
        restore(tmp_path / "b.tar", paths_of(tmp_path / "new.sqlite3"))
    assert not (tmp_path / "new.sqlite3").exists()
