"""Row errors: added up by cause, within bounds, and lined up for the gateway."""

import asyncio
import math
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from tellwire import progress_sender as reporting
from tellwire import sync
from tellwire.broadcast import Broadcaster
from tellwire.errors import GatewayRefused, GatewayUnreachable, InvalidMessage
from tellwire.limits import MAX_PUBLISH_BYTES, MAX_ROW_ERRORS, ROW_ERRORS_CHUNK
from tellwire.messages import UploadProgressMessage
from tellwire.ports import Carrier
from tellwire.progress import track_upload
from tellwire.progress_state import ProgressState
from tellwire.row_errors import MAX_CAUSES, MAX_ROWS_OF_CAUSE, MAX_TEXT, RowError, RowErrorChunk, RowErrorCounts
from tellwire.testing import MemoryCarrier
from tests.publications import decode_message
from tests.virtual_time import slow_rows


def test_without_row_errors_there_is_no_summary() -> None:
    assert RowErrorCounts().summary is None


def test_row_errors_are_counted_by_cause_the_most_frequent_first() -> None:
    tally = RowErrorCounts()
    tally.add(3, "NO_QUANTITY", "The quantity is missing")
    for row in range(10, 30):
        tally.add(row, "BAD_COLOUR", "There is no such colour")
    assert msgspec.to_builtins(tally.summary) == {
        "total": 21,
        "causes": [
            {"code": "BAD_COLOUR", "message": "There is no such colour", "count": 20, "rows": list(range(10, 20))},
            {"code": "NO_QUANTITY", "message": "The quantity is missing", "count": 1, "rows": [3]},
        ],
    }


def test_a_summary_is_the_same_until_there_are_more() -> None:
    tally = RowErrorCounts()
    tally.add(1, "A", "a")
    assert tally.summary is tally.summary
    before = tally.summary
    tally.add(2, "A", "a")
    assert before is not tally.summary


def test_messages_that_differ_in_every_row_stay_within_bounds() -> None:
    tally = RowErrorCounts()
    for row in range(5000):
        tally.add(row, "BAD", f"{'x' * 1000}"[: 150 + row % 10] + str(row))
    summary = tally.summary
    assert summary is not None
    assert (summary.total, len(summary.causes)) == (5000, MAX_CAUSES)
    assert len(tally._causes) == 1000
    assert all(len(cause.rows) <= MAX_ROWS_OF_CAUSE for cause in summary.causes)
    assert len(msgspec.json.encode(summary)) < 8000


def test_long_texts_are_cut() -> None:
    tally = RowErrorCounts()
    tally.add(1, "C" * 500, "m" * 500)
    assert tally.summary is not None
    (cause,) = tally.summary.causes
    assert (len(cause.code), len(cause.message), cause.message[-1]) == (MAX_TEXT, MAX_TEXT, "…")


class Unshowable:
    """An object that has no text."""

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise RuntimeError("no")


NO_ROWS: tuple[Any, ...] = (-1, 1.5, True, 2**53, "", "x", None, math.nan, math.inf, [], Unshowable(), np.array([1, 2]))


@pytest.mark.parametrize(
    ("row", "listed"),
    [
        (np.int64(17), 17),
        (np.float64(17), 17),
        (Decimal(17), 17),
        ("17", 17),
        (17.0, 17),
        *zip(NO_ROWS, [0] * len(NO_ROWS), strict=True),
    ],
)
def test_a_row_is_counted_whatever_its_number_is(row: Any, listed: int) -> None:
    tally = RowErrorCounts()
    assert tally.add(row, "BAD", "bad") is (listed == 17)
    assert tally.next_part(10) == (1, 0, [RowError(listed, "BAD", "bad")])


@pytest.mark.parametrize(
    ("code", "message", "shown"),
    [
        ("", "", ("UNKNOWN", "")),
        (" ", "m", ("UNKNOWN", "m")),
        (None, None, ("UNKNOWN", "")),
        (404, ValueError("row 3"), ("404", "row 3")),
        (["A"], Unshowable(), ("['A']", "a Unshowable")),
        (np.str_("A"), np.str_("m"), ("A", "m")),
        ("A", b"M\xfcller".decode(errors="surrogateescape"), ("A", "M\ufffdller")),
        ("A" * 300, "m" * 300, ("A" * 199 + "…", "m" * 199 + "…")),
    ],
)
def test_a_row_is_counted_whatever_describes_it(code: Any, message: Any, shown: tuple[str, str]) -> None:
    tally = RowErrorCounts()
    for row in (1, 2):
        tally.add(row, code, message)
    assert tally.next_part(10) == (2, 0, [RowError(1, *shown), RowError(2, *shown)])
    assert tally.summary is not None
    (cause,) = tally.summary.causes
    assert (cause.code, cause.message, cause.count) == (*shown, 2)
    assert all(type(text) is str for text in (cause.code, cause.message))
    msgspec.json.encode(tally.summary)


async def test_no_report_about_a_row_ends_a_job(caplog: pytest.LogCaptureFixture) -> None:
    carrier = Lists()
    async with track(carrier) as upload:
        for row in (np.int64(1), "2", None, Unshowable(), -1):
            upload.row_error(row, None, ValueError("bad"))
    assert carrier.sent_to("user-1")[-1]["data"]["status"] == "complete"
    assert carrier.rows == [1, 2, 0, 0, 0]
    assert caplog.text.count("row_error: got np.int64(1), None; allowed: a row from 0, and a code") == 1


def test_the_list_is_bounded_and_all_row_errors_are_counted() -> None:
    tally = RowErrorCounts()
    for row in range(MAX_ROW_ERRORS):
        tally.add(row, "A", "a")
        if row % 1000 == 999:
            tally.mark_sent(*hand_on(tally))
    assert tally.unsent == 0
    for row in range(10):
        tally.add(row, "A", "a")
    assert tally.unsent == 10
    assert tally.next_part(5) == (MAX_ROW_ERRORS + 10, MAX_ROW_ERRORS, [])
    tally.mark_sent(MAX_ROW_ERRORS + 10, 0)
    assert tally.unsent == 0


def hand_on(tally: RowErrorCounts) -> tuple[int, int]:
    total, _, errors = tally.next_part(1000)
    return total, len(errors)


def test_row_errors_that_are_added_during_a_send_are_in_the_next_chunk() -> None:
    tally = RowErrorCounts()
    tally.add(1, "A", "a")
    total, first, errors = tally.next_part(10)
    tally.add(2, "A", "a")
    tally.mark_sent(total, len(errors))
    assert (first, [error.row for error in errors], tally.unsent) == (0, [1], 1)
    assert tally.next_part(10) == (2, 1, [RowError(2, "A", "a")])


def test_without_a_list_no_row_errors_are_collected() -> None:
    tally = RowErrorCounts()
    tally.add(1, "A", "a")
    tally.keep_no_list()
    tally.add(2, "A", "a")
    assert (tally.unsent, tally.next_part(10)[2]) == (0, [])
    assert tally.summary is not None
    assert tally.summary.total == 2


def test_text_that_utf_8_cannot_encode_is_replaced() -> None:
    tally = RowErrorCounts()
    tally.add(1, "BAD", b"M\xfcller is no number".decode(errors="surrogateescape"))
    assert tally.summary is not None
    assert tally.summary.causes[0].message == "M\ufffdller is no number"
    msgspec.json.encode(tally.summary)


def test_the_longest_chunk_fits_into_one_publish() -> None:
    errors = [RowError(2**53 - 1, "\1" * MAX_TEXT, "\1" * MAX_TEXT)] * ROW_ERRORS_CHUNK
    chunk = RowErrorChunk("u" * 1000, "i" * 1000, "f" * 1000, "2026-11-28T10:00:00.000Z", 10**6, 10**5, errors)
    assert len(msgspec.json.encode(chunk)) < MAX_PUBLISH_BYTES


@pytest.mark.parametrize(
    "row_errors",
    [
        {"total": -1, "causes": []},
        {"total": 1, "causes": [{"code": "", "message": "", "count": 1, "rows": []}]},
        {"total": 1, "causes": [{"code": "A", "message": "", "count": -1, "rows": []}]},
        {"total": 1, "causes": [{"code": "A", "message": "", "count": 99, "rows": list(range(11))}]},
        {"total": 99, "causes": [{"code": "A", "message": "", "count": 1, "rows": []}] * 21},
    ],
)
def test_a_published_state_with_more_than_there_may_be_is_refused(row_errors: dict[str, Any]) -> None:
    data = {"uploadId": "u1", "fileName": "f", "progress": 1, "message": "", "rowErrors": row_errors}
    with pytest.raises(InvalidMessage, match=r"data\.rowErrors"):
        decode_message(msgspec.json.encode({"type": "upload_progress", "data": data}))


class Lists(MemoryCarrier):
    """A carrier that remembers the parts of lists, and fails with each of these first."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)
        self.chunks: list[RowErrorChunk] = []

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.chunks.append(chunk)
        await super().add_row_errors(chunk)

    @property
    def rows(self) -> list[int]:
        return [error.row for error in self.row_errors]


def track(carrier: Carrier) -> track_upload:
    return track_upload("user-1", "u1", "f.csv", 2000, broadcaster=Broadcaster(carrier), interval_seconds=0.001)


@pytest.mark.virtual_time
async def test_a_job_sends_row_errors_in_chunks_with_their_index() -> None:
    carrier = Lists()
    async with track(carrier) as upload:
        async for row in upload.count(slow_rows(2000, seconds=0.001)):
            upload.row_error(row, "BAD", "It is bad")
    assert carrier.rows == list(range(2000))
    assert len(carrier.chunks) > 1
    places = 0
    for chunk in carrier.chunks:
        assert (chunk.user_id, chunk.upload_id, chunk.file_name, chunk.first) == ("user-1", "u1", "f.csv", places)
        assert len(chunk.errors) <= ROW_ERRORS_CHUNK
        places += len(chunk.errors)
    last = carrier.sent_to("user-1")[-1]["data"]
    assert (last["status"], last["rowErrors"]["total"], carrier.chunks[-1].total) == ("complete", 2000, 2000)
    assert {chunk.run for chunk in carrier.chunks} == {last["run"]}


def test_synchronous_code_does_the_same() -> None:
    carrier = Lists()
    broadcaster = Broadcaster(carrier)
    with sync.track_upload("user-1", "u1", "f.csv", broadcaster=broadcaster, interval_seconds=0.001) as upload:
        for row in upload.count(range(2000)):
            upload.row_error(row, "BAD", "It is bad")
    assert carrier.rows == list(range(2000))
    assert carrier.sent_to("user-1")[-1]["data"]["rowErrors"]["total"] == 2000


@pytest.mark.virtual_time
async def test_a_chunk_that_was_not_stored_is_sent_again() -> None:
    carrier = Lists(GatewayUnreachable("http://gateway", "it is away", not_sent=True))
    async with track(carrier) as upload:
        async for row in upload.count(slow_rows(2000, seconds=0.001)):
            upload.row_error(row, "BAD", "It is bad")
    assert upload.failures == 1
    assert carrier.rows == list(range(2000))


@pytest.mark.virtual_time
async def test_a_gateway_that_refuses_a_list_gets_no_more_chunks(caplog: pytest.LogCaptureFixture) -> None:
    carrier = Lists(GatewayRefused(404, "NOT_FOUND", "Nothing is here"))
    async with track(carrier) as upload:
        async for row in upload.count(slow_rows(2000, seconds=0.001)):
            upload.row_error(row, "BAD", "It is bad")
    assert carrier.chunks == []
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "there will be no list of the rows left out"
    ]
    assert carrier.sent_to("user-1")[-1]["data"]["rowErrors"]["total"] == 2000


class Plain:
    """A carrier that has the three things that all carriers have."""

    def __init__(self, carrier: MemoryCarrier) -> None:
        self.deliver = carrier.deliver
        self.connections = carrier.connections
        self.disconnect = carrier.disconnect


async def test_a_carrier_that_keeps_no_lists_still_shows_the_summary() -> None:
    carrier = MemoryCarrier()
    async with track(Plain(carrier)) as upload:
        upload.row_error(7, "BAD", "It is bad")
    assert (upload.failures, upload._state.row_errors.next_part(1)[2]) == (0, [])
    assert carrier.sent_to("user-1")[-1]["data"]["rowErrors"]["causes"][0]["rows"] == [7]


class Slow(MemoryCarrier):
    """A carrier that never ends to take a list."""

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        await asyncio.Event().wait()


@pytest.mark.virtual_time
async def test_a_list_that_cannot_be_sent_leaves_time_for_the_final_state() -> None:
    carrier = Slow()
    async with track(carrier) as upload:
        upload.row_error(7, "BAD", "It is bad")
    assert carrier.sent_to("user-1")[-1]["data"]["status"] == "complete"
    assert upload.failures == 1


async def test_a_long_list_does_not_delay_newer_states() -> None:
    carrier = Lists()
    tally = ProgressState("u1", "f.csv")
    reporter = reporting.ProgressSender(Broadcaster(carrier), "user-1", tally)
    for row in range(10 * ROW_ERRORS_CHUNK):
        tally.row_errors.add(row, "BAD", "It is bad")
    sent_with: list[int] = []

    async def take(chunk: RowErrorChunk) -> None:
        sent_with.append(len(carrier.sent))
        if len(sent_with) < 5:
            reporter.offer(UploadProgressMessage(tally.show("running")))

    carrier.add_row_errors = take  # type: ignore[method-assign]
    reporter.offer(UploadProgressMessage(tally.show("running")))
    while reporter._is_sending:
        await reporter.yield_to_sender()
    # As long as there is a newer state, it goes after each part; without one, the rest of the list does.
    assert sent_with == [1, 2, 3, 4, 5, 5, 5, 5, 5, 5]
