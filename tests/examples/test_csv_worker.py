"""The CSV worker: stored parts, messages to the user, and memory."""

import asyncio
import io
import os
import sqlite3
import tracemalloc
from collections import deque
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from examples.parts_upload.csv_worker import import_parts
from examples.parts_upload.make_samples import make_samples, write_parts_list
from examples.parts_upload.report import Report
from tellwire import UploadCancelled, UploadFailed, track_upload
from tellwire.errors import GatewayUnreachable
from tellwire.model import Delivery
from tellwire.testing import MemoryCarrier

HEADER = b"part number,name,colour,quantity\n"


class Desk:
    """A worker, its files and its user."""

    def __init__(self, folder: Path, carrier: MemoryCarrier) -> None:
        self.file = folder / "secret-server-folder" / "parts.csv"
        self.file.parent.mkdir()
        self.database = folder / "parts.sqlite3"
        self.carrier = carrier

    async def upload(self, content: bytes | None = None, **options: Any) -> Report:
        if content is not None:
            self.file.write_bytes(content)
        return await import_parts(self.file, self.database, "user-1", options.pop("upload_id", "moc-1"), **options)

    async def fail(self, content: bytes | None = None) -> dict[str, Any]:
        """Upload a file that fails; return the error that the user received."""
        with pytest.raises(UploadFailed):
            await self.upload(content)
        state, error = self.carrier.sent_to("user-1")[-2:]
        assert state["data"]["status"] == "failed"
        assert error["type"] == "error"
        assert "secret-server-folder" not in str(self.carrier.sent)
        return dict(error["data"])

    def parts(self, upload_id: str = "moc-1") -> list[tuple[Any, ...]]:
        query = "SELECT row_number, part_number, name, colour, quantity FROM parts WHERE upload_id = ?"
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query, (upload_id,)).fetchall()

    def of_type(self, message_type: str) -> list[dict[str, Any]]:
        return [m["data"] for m in self.carrier.sent_to("user-1") if m["type"] == message_type]


@pytest.fixture
def desk(tmp_path: Path, carrier: MemoryCarrier) -> Desk:
    return Desk(tmp_path, carrier)


# --- good files ------------------------------------------------------------------------------------------------------


async def test_ten_rows_are_stored_and_the_user_sees_0_100_and_a_notification(desk: Desk) -> None:
    report = await desk.upload(HEADER + b"".join(b"300%d,Brick,Red,4\n" % n for n in range(10)))
    assert desk.parts() == [(2 + n, f"300{n}", "Brick", "Red", 4) for n in range(10)]
    assert (report.kept, report.skipped) == (10, 0)
    first, *_, last, notification = desk.carrier.sent_to("user-1")
    assert first["data"]["progress"] == 0
    assert (last["data"]["progress"], last["data"]["message"]) == (100, "10 parts imported")
    assert notification["data"] == {
        "title": "Upload complete",
        "message": "parts.csv: 10 parts imported",
        "severity": "success",
    }


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
async def test_what_a_spreadsheet_saves_is_stored(desk: Desk, encoding: str) -> None:
    text = 'Menge;Quantity;Part No.;Colour;Name\r\n\r\n1;4;3001;Weiß;"Brick; 2 × 4\r\n""classic"""\r\n'
    await desk.upload(text.encode(encoding))
    assert desk.parts() == [(3, "3001", 'Brick; 2 × 4\r\n"classic"', "Weiß", 4)]


async def test_duplicates_are_fine(desk: Desk) -> None:
    await desk.upload(HEADER + b"3001,Brick,Red,4\n" * 2)
    assert len(desk.parts()) == 2


async def test_a_header_without_rows_is_complete_with_a_warning(desk: Desk) -> None:
    assert (await desk.upload(HEADER)).total == 0
    assert desk.of_type("upload_progress")[-1]["progress"] == 100
    assert desk.of_type("notification")[0]["severity"] == "warning"


async def test_progress_goes_by_bytes_and_never_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # One update per row instead of by time, so that the test does not wait.
    monkeypatch.setattr("examples.parts_upload.csv_worker.track_upload", partial(track_upload, every_rows=1000))
    content = HEADER + b"3001,Brick,Red,4\n" * 20_000
    await desk.upload(content)
    states = desk.of_type("upload_progress")
    progress = [state["progress"] for state in states]
    assert progress[0] == 0
    assert progress[-1] == 100
    assert progress == sorted(progress)
    assert len(set(progress)) >= 20
    halfway = states[len(states) // 2]
    read = len(HEADER) + halfway["currentRow"] * len(b"3001,Brick,Red,4\n")
    assert halfway["progress"] == pytest.approx(100 * read / len(content), abs=6)
    assert "totalRows" not in halfway


async def test_a_total_that_is_known_is_shown(desk: Desk) -> None:
    await desk.upload(HEADER + b"3001,Brick,Red,4\n" * 5, total_rows=5)
    first = desk.of_type("upload_progress")[0]
    assert (first["currentRow"], first["totalRows"]) == (0, 5)


# --- bad rows --------------------------------------------------------------------------------------------------------


async def test_a_row_with_bad_bytes_is_left_out_and_the_others_kept(desk: Desk) -> None:
    # UTF-8 elsewhere, so these are no letters of Windows-1252.
    await desk.upload(HEADER + b"3001,Brick,Red,4\n3002,M\xfcller,Red,4\n3003,M\xc3\xbcller,Red,4\n")
    assert [part[1:3] for part in desk.parts()] == [("3001", "Brick"), ("3003", "Müller")]
    (error,) = desk.of_type("error")
    assert (error["code"], error["message"]) == ("BAD_ROWS", "1 of 3 rows was left out")
    (cause,) = error["details"]["causes"]
    assert (cause["cause"], cause["rows"]) == ("BAD_ENCODING", [3])


async def test_the_sample_has_12_bad_rows_of_every_cause_and_they_come_in_one_message(
    desk: Desk, tmp_path: Path
) -> None:
    desk.file = make_samples(tmp_path / "samples").parts_list
    report = await desk.upload()
    assert (report.kept, report.skipped) == (9_988, 12)
    assert len(desk.parts()) == 9_988
    (error,) = desk.of_type("error")
    assert error["message"] == "12 of 10,000 rows were left out"
    assert {cause["cause"]: cause["count"] for cause in error["details"]["causes"]} == {
        "BAD_QUANTITY": 5,
        "MISSING_PART_NUMBER": 3,
        "WRONG_COLUMNS": 1,
        "BAD_ENCODING": 2,
        "MALFORMED": 1,
    }
    bad_rows = {row for cause in error["details"]["causes"] for row in cause["rows"]}
    assert bad_rows == {2 + nth * 10_000 // 13 for nth in range(1, 13)}
    assert bad_rows.isdisjoint(part[0] for part in desk.parts())
    (notification,) = desk.of_type("notification")
    assert notification["severity"] == "warning"
    assert [m["type"] for m in desk.carrier.sent_to("user-1")][-3:] == ["upload_progress", "error", "notification"]


async def test_a_file_of_bad_rows_only_still_ends_at_100(desk: Desk) -> None:
    await desk.upload(HEADER + b"x\n" * 3000)
    assert desk.parts() == []
    (cause,) = desk.of_type("error")[0]["details"]["causes"]
    assert (cause["count"], len(cause["rows"]), cause["more"]) == (3000, 20, True)
    assert desk.of_type("upload_progress")[-1]["message"] == "0 parts imported, 3,000 rows left out"


# --- files that are not parts lists ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "EMPTY_FILE"),
        (b"\n\n", "EMPTY_FILE"),
        (b"3001,Brick,Red,4\n", "BAD_HEADER"),
        (b"name,quantity\nBrick,4\n", "BAD_HEADER"),
        (b"part,qty,qty\n3001,4,4\n", "BAD_HEADER"),
        (b'"part,qty\n' * 3, "BAD_HEADER"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00", "NOT_TEXT"),
        (b"\x00" * 100_000, "NOT_TEXT"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "NOT_TEXT"),
        (b"<?xml version='1.0'?><INVENTORY/>", "NOT_TEXT"),
    ],
)
async def test_a_file_that_is_no_parts_list_fails_with_words_for_the_user(
    desk: Desk, content: bytes, code: str
) -> None:
    error = await desk.fail(content)
    assert error["code"] == code
    assert error["details"] == {"uploadId": "moc-1", "fileName": "parts.csv"}


async def test_a_missing_file_fails_with_words_for_the_user(desk: Desk) -> None:
    assert (await desk.fail()) == {
        "code": "FILE_MISSING",
        "message": "parts.csv does not exist.",
        "details": {"uploadId": "moc-1", "fileName": "parts.csv"},
    }


async def test_a_folder_fails_with_words_for_the_user(desk: Desk) -> None:
    desk.file.mkdir()
    assert (await desk.fail())["code"] == "NOT_A_FILE"


async def test_a_file_that_may_not_be_read_fails_with_words_for_the_user(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path, mode: str, buffering: int) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    desk.file.write_bytes(HEADER)
    monkeypatch.setattr(Path, "open", forbidden)
    assert (await desk.fail())["code"] == "FILE_UNREADABLE"


# --- storing ---------------------------------------------------------------------------------------------------------


async def test_the_same_upload_again_replaces_its_parts_and_no_others(desk: Desk) -> None:
    await desk.upload(HEADER + b"3001,Brick,Red,4\n3002,Brick,Red,4\n")
    await desk.upload(HEADER + b"3003,Brick,Red,4\n", upload_id="moc-2")
    await desk.upload(HEADER + b"3004,Brick,Red,4\n")
    assert [part[1] for part in desk.parts("moc-1")] == ["3004"]
    assert [part[1] for part in desk.parts("moc-2")] == ["3003"]


async def test_an_upload_that_is_interrupted_stores_nothing_and_keeps_what_was_there(desk: Desk) -> None:
    async def interrupt() -> None:
        raise asyncio.CancelledError

    await desk.upload(HEADER + b"3001,Brick,Red,4\n")
    with pytest.raises(asyncio.CancelledError):
        await desk.upload(HEADER + b"3002,Brick,Red,4\n" * 2000, pause=interrupt)
    assert [part[1] for part in desk.parts()] == ["3001"]
    assert desk.of_type("error")[-1]["code"] == "UPLOAD_INTERRUPTED"


async def test_an_upload_that_is_cancelled_stops_stores_nothing_and_says_so(desk: Desk) -> None:
    await desk.upload(HEADER + b"3001,Brick,Red,4\n")
    desk.carrier.answer = Delivery(cancelled=True)
    with pytest.raises(UploadCancelled):
        await desk.upload(HEADER + b"3002,Brick,Red,4\n" * 2000)
    assert [part[1] for part in desk.parts()] == ["3001"]
    last = desk.carrier.sent_to("user-1")[-1]["data"]
    assert (last["status"], last["message"]) == ("cancelled", "Cancelled after 500 rows. Nothing of it was kept.")


async def test_an_upload_that_is_cancelled_after_its_last_row_stores_nothing_either(desk: Desk) -> None:
    async def cancel() -> None:
        desk.carrier.answer = Delivery(cancelled=True)
        while not any(message["data"].get("currentRow") for message in desk.carrier.sent_to("user-1")):
            await asyncio.sleep(0.01)

    await desk.upload(HEADER, upload_id="another")
    desk.carrier.sent.clear()
    with pytest.raises(UploadCancelled):
        await desk.upload(HEADER + b"3002,Brick,Red,4\n", pause=cancel)
    assert desk.parts() == []


async def test_a_gateway_that_is_away_does_not_disturb_the_work(desk: Desk) -> None:
    desk.carrier.error = GatewayUnreachable("http://gateway", "Connection refused")
    report = await desk.upload(HEADER + b"3001,Brick,Red,4\nbad\n")
    assert (report.kept, report.skipped) == (1, 1)
    assert len(desk.parts()) == 1


# --- files that change, and databases that are shared ----------------------------------------------------------------

MANY = HEADER + b"3001,Brick,Red,4\n" * 2000


def _grow(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"3002,Brick,Red,4\n")


def _shrink(file: Path) -> None:
    os.truncate(file, len(MANY) // 2)


def _write_anew(file: Path) -> None:
    file.write_bytes(MANY.replace(b"3001", b"3002"))
    os.utime(file, ns=(1, 1))


def _replace(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_bytes(MANY)
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize("change", [_grow, _shrink, _write_anew, _replace, Path.unlink])
async def test_a_file_that_changes_while_it_is_read_is_never_complete(
    desk: Desk, change: Callable[[Path], object]
) -> None:
    await desk.upload(HEADER + b"3000,Brick,Red,4\n")
    changes = [change]

    async def pause() -> None:
        if changes:
            changes.pop()(desk.file)

    with pytest.raises(UploadFailed, match="FILE_CHANGED"):
        await desk.upload(MANY, pause=pause)
    assert [part[1] for part in desk.parts()] == ["3000"]
    assert desk.of_type("upload_progress")[-1]["status"] == "failed"


async def test_a_file_that_cannot_be_read_to_its_end_fails_with_words_for_the_user(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.FileIO):
        reads = 0

        def readinto(self, buffer: Any, /) -> int:
            self.reads += 1
            if self.reads > 2:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer) or 0

    desk.file.write_bytes(MANY)
    monkeypatch.setattr(Path, "open", lambda path, *_, **__: Broken(path))
    assert (await desk.fail())["message"] == "parts.csv cannot be read to its end."


async def test_two_imports_into_one_database_do_not_wait_for_each_other(desk: Desk, tmp_path: Path) -> None:
    desk.file.write_bytes(MANY)
    is_other_done = asyncio.Event()
    first = asyncio.create_task(desk.upload(upload_id="first", pause=is_other_done.wait))
    # The first one is in the middle of its file meanwhile.
    await desk.upload(upload_id="second")
    assert not first.done()
    is_other_done.set()
    await first
    assert len(desk.parts("first")) == len(desk.parts("second")) == 2000


async def test_the_same_upload_twice_at_once_is_stored_once(desk: Desk) -> None:
    desk.file.write_bytes(MANY)
    await asyncio.gather(desk.upload(), desk.upload())
    assert len(desk.parts()) == 2000


async def test_the_event_loop_goes_on_while_the_database_is_busy(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.upload(HEADER)
    # A single try: on the loop it would end before this test goes on.
    monkeypatch.setattr("examples.parts_upload.parts_store.BUSY_TRIES", 1)
    monkeypatch.setattr("examples.parts_upload.parts_store._TRY_SECONDS", 30.0)
    is_read = asyncio.Event()

    async def pause() -> None:
        is_read.set()

    with closing(sqlite3.connect(desk.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        upload = asyncio.create_task(desk.upload(HEADER + b"3001,Brick,Red,4\n", pause=pause))
        await is_read.wait()
        # Enough turns for the upload to try its transaction; it cannot end before the other one does.
        for _ in range(20):
            await asyncio.sleep(0)
        other.execute("COMMIT")
    await upload
    assert len(desk.parts()) == 1


async def test_a_database_that_stays_busy_fails_the_upload_with_words(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.upload(HEADER)
    monkeypatch.setattr("examples.parts_upload.parts_store.BUSY_TRIES", 1)
    monkeypatch.setattr("examples.parts_upload.parts_store._TRY_SECONDS", 0.0)
    with closing(sqlite3.connect(desk.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await desk.fail(MANY))["code"] == "DATABASE_BUSY"


async def test_an_upload_can_be_interrupted_while_the_database_is_busy(desk: Desk) -> None:
    await desk.upload(HEADER)
    is_read = asyncio.Event()

    async def pause() -> None:
        is_read.set()

    with closing(sqlite3.connect(desk.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        upload = asyncio.create_task(desk.upload(HEADER + b"3001,Brick,Red,4\n", pause=pause))
        await is_read.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
    assert desk.parts() == []


# --- cost ------------------------------------------------------------------------------------------------------------


async def test_twenty_thousand_rows_take_no_more_memory_than_two(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # What the test would record is not the worker's.
    monkeypatch.setattr(desk.carrier, "sent", deque(maxlen=1))
    monkeypatch.setattr(desk.carrier, "row_errors", deque(maxlen=1))
    peaks, sizes = [], []
    for rows in (2_000, 20_000):
        with desk.file.open("wb") as file:
            write_parts_list(rows, file)
        tracemalloc.start()
        try:
            report = await desk.upload()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert report.total == rows
        sizes.append(desk.file.stat().st_size)
    # Less than a quarter of what the file has grown.
    assert sizes[1] - sizes[0] > 400_000
    assert peaks[1] - peaks[0] < 100_000


async def test_other_tasks_have_their_turn_after_every_batch(desk: Desk) -> None:
    turns = 0

    async def other_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(other_work())
    await desk.upload(HEADER + b"3001,Brick,Red,4\n" * 10_000, batch_rows=100)
    other.cancel()
    assert turns >= 100
