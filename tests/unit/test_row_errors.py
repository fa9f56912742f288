"""Row errors: added up by cause, within bounds, and lined up for the gateway."""

from typing import Any

import msgspec
import pytest

from tellwire.broadcast import Broadcaster
from tellwire.errors import GatewayUnreachable, InvalidMessage
from tellwire.limits import MAX_ROW_ERRORS, ROW_ERRORS_CHUNK
from tellwire.progress import track_upload
from tellwire.row_errors import MAX_CAUSES, MAX_ROWS_OF_CAUSE, MAX_TEXT, RowErrorChunk, RowErrorTally
from tellwire.testing import MemoryCarrier


def test_without_any_there_is_nothing_to_show() -> None:
    assert RowErrorTally().summary is None


def test_they_are_added_up_by_cause_the_most_frequent_first() -> None:
    tally = RowErrorTally()
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
    tally = RowErrorTally()
    tally.add(1, "A", "a")
    assert tally.summary is tally.summary
    before = tally.summary
    tally.add(2, "A", "a")
    assert before is not tally.summary


def test_messages_that_differ_in_every_row_stay_within_bounds() -> None:
    tally = RowErrorTally()
    for row in range(5000):
        tally.add(row, "BAD", f"{'x' * 1000}"[: 150 + row % 10] + str(row))
    summary = tally.summary
    assert summary is not None
    assert (summary.total, len(summary.causes)) == (5000, MAX_CAUSES)
    assert len(tally._causes) == 1000
    assert all(len(cause.rows) <= MAX_ROWS_OF_CAUSE for cause in summary.causes)
    assert len(msgspec.json.encode(summary)) < 8000


def test_long_texts_are_cut() -> None:
    tally = RowErrorTally()
    tally.add(1, "C" * 500, "m" * 500)
    assert tally.summary is not None
    (cause,) = tally.summary.causes
    assert (len(cause.code), len(cause.message), cause.message[-1]) == (MAX_TEXT, MAX_TEXT, "…")


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        (-1, "A", ""),
        (1.5, "A", ""),
        (True, "A", ""),
        ("1", "A", ""),
        (1, "", ""),
        (1, " ", ""),
        (1, None, ""),
        (1, "A", 5),
    ],
)
def test_a_wrong_one_is_refused_and_counts_nowhere(row: Any, code: Any, message: Any) -> None:
    tally = RowErrorTally()
    with pytest.raises(InvalidMessage, match="allowed: "):
        tally.add(row, code, message)
    assert (tally.total, tally.waiting) == (0, 0)


def test_only_so_many_wait_for_the_gateway() -> None:
    tally = RowErrorTally()
    for row in range(MAX_ROW_ERRORS + 10):
        tally.add(row, "A", "a")
        if tally.waiting == 1000:
            tally.handed_on(1000)
    assert (tally.total, tally.next_chunk(5)) == (MAX_ROW_ERRORS + 10, (MAX_ROW_ERRORS, []))


class Lists(MemoryCarrier):
    """A carrier that takes row errors, and fails so many times before."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures = failures
        self.chunks: list[RowErrorChunk] = []

    async def add_row_errors(self, chunk: RowErrorChunk) -> None:
        if self.failures:
            self.failures -= 1
            raise GatewayUnreachable("http://gateway", "it is away", not_sent=True)
        self.chunks.append(chunk)

    @property
    def rows(self) -> list[int]:
        return [error.row for chunk in self.chunks for error in chunk.errors]


def track(carrier: MemoryCarrier) -> track_upload:
    return track_upload("user-1", "u1", "f.csv", 2000, broadcaster=Broadcaster(carrier), interval_seconds=0.001)


async def test_a_job_hands_them_on_in_parts_each_in_its_place() -> None:
    carrier = Lists()
    async with track(carrier) as upload:
        async for row in upload.count(range(2000)):
            upload.row_error(row, "BAD", "It is bad")
    assert carrier.rows == list(range(2000))
    places = 0
    for chunk in carrier.chunks:
        assert (chunk.user, chunk.upload_id, chunk.file_name, chunk.first) == ("user-1", "u1", "f.csv", places)
        assert len(chunk.errors) <= ROW_ERRORS_CHUNK
        places += len(chunk.errors)
    last = carrier.sent_to("user-1")[-1]["data"]
    assert (last["status"], last["rowErrors"]["total"]) == ("complete", 2000)
    assert {chunk.started_at for chunk in carrier.chunks} == {last["startedAt"]}


async def test_what_the_gateway_did_not_take_is_offered_again() -> None:
    carrier = Lists(failures=1)
    async with track(carrier) as upload:
        async for row in upload.count(range(2000)):
            upload.row_error(row, "BAD", "It is bad")
            if row % 100 == 99:
                await upload._reporter.breathe()
    assert upload.failures == 1
    assert carrier.rows == list(range(2000))


async def test_a_carrier_that_keeps_no_lists_still_shows_the_summary() -> None:
    carrier = MemoryCarrier()
    async with track(carrier) as upload:
        upload.row_error(7, "BAD", "It is bad")
    assert upload.failures == 0
    assert carrier.sent_to("user-1")[-1]["data"]["rowErrors"]["causes"][0]["rows"] == [7]
