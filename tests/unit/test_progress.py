"""The progress of uploads: states, their rate, and failures that never stop the job."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellwire.broadcast import Broadcaster
from tellwire.errors import (
    GatewayRefused,
    GatewayUnreachable,
    InvalidMessage,
    MessageTooBig,
    UploadCancelled,
    UploadFailed,
)
from tellwire.limits import MAX_FILE_NAME_CHARACTERS, MAX_WORDS_CHARACTERS
from tellwire.model import Delivery
from tellwire.progress import track_upload
from tellwire.progress_state import ProgressState
from tellwire.publication import Publication
from tellwire.testing import MemoryCarrier
from tests.virtual_time import slow_rows, virtual_time

pytestmark = pytest.mark.virtual_time


class TimedCarrier(MemoryCarrier):
    """Notes when something comes."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    async def deliver(self, publication: Publication) -> Delivery:
        self.times.append(virtual_time().time())
        return await super().deliver(publication)


@pytest.fixture
def carrier() -> TimedCarrier:
    return TimedCarrier()


def track(carrier: Any, **options: Any) -> track_upload:
    options.setdefault("total_rows", 100)
    return track_upload("user-1", "moc-1", "parts.csv", broadcaster=Broadcaster(carrier), **options)


def progress_of(carrier: MemoryCarrier) -> list[float]:
    return [m["data"]["progress"] for m in carrier.sent_to("user-1") if m["type"] == "upload_progress"]


async def until_sent(carrier: MemoryCarrier, count: int) -> None:
    while len(carrier.sent_to("user-1")) < count:
        await asyncio.sleep(0.001)


async def test_a_quick_job_sends_the_first_and_the_last_state(carrier: MemoryCarrier) -> None:
    async with track(carrier) as upload:
        seen = [row async for row in upload.count(range(100))]
    assert seen == list(range(100))
    first, last = carrier.sent_to("user-1")
    started_at = first["data"]["startedAt"]
    assert abs(datetime.fromisoformat(started_at).timestamp() - time.time()) < 60
    assert first["data"] == {
        "uploadId": "moc-1",
        "fileName": "parts.csv",
        "progress": 0,
        "message": "Starting…",
        "currentRow": 0,
        "totalRows": 100,
        "status": "running",
        "startedAt": started_at,
        "run": first["data"]["run"],
        "leaseSeconds": 30,
    }
    assert last["data"] == {
        "uploadId": "moc-1",
        "fileName": "parts.csv",
        "progress": 100,
        "message": "Complete: 100 rows",
        "currentRow": 100,
        "totalRows": 100,
        "status": "complete",
        "startedAt": started_at,
        "run": first["data"]["run"],
    }


async def test_an_async_iterable_is_counted_too(carrier: MemoryCarrier) -> None:
    async def rows() -> AsyncIterator[int]:
        for row in range(7):
            yield row

    async with track(carrier) as upload:
        assert [row async for row in upload.count(rows())] == list(range(7))
        assert upload.rows == 7


async def test_updates_in_between_are_spaced_by_the_interval(carrier: TimedCarrier) -> None:
    async with track(carrier, interval_seconds=0.2) as upload:
        for row in range(1, 101):
            upload.update(rows=row)
            await asyncio.sleep(0.01)
    # A second of work: the first, four in between, and the last.
    gaps = [later - earlier for earlier, later in pairwise(carrier.times)]
    assert len(gaps) == 5
    assert all(0.2 <= round(gap, 6) <= 0.21 for gap in gaps[:-1])


async def test_an_unchanged_state_is_not_sent_again(carrier: MemoryCarrier) -> None:
    async with track(carrier, interval_seconds=0.001) as upload:
        for _ in range(20):
            upload.update(rows=10)
            await asyncio.sleep(0.002)
    assert progress_of(carrier) == [0, 10, 100]


async def test_the_last_update_before_a_pause_is_sent_during_the_pause(carrier: MemoryCarrier) -> None:
    async with track(carrier, interval_seconds=0.01) as upload:
        upload.update(rows=1)
        upload.update(rows=50)
        await asyncio.sleep(0.05)
        assert progress_of(carrier)[-1] == 50


async def test_every_hundred_rows_is_the_guides_way(carrier: MemoryCarrier) -> None:
    async with track(carrier, total_rows=1000, every_rows=100) as upload:
        async for _ in upload.count(range(1000)):
            pass
    assert [m["data"]["currentRow"] for m in carrier.sent_to("user-1")] == [*range(0, 1001, 100), 1000]


async def test_counting_yields_to_the_event_loop(carrier: MemoryCarrier) -> None:
    turns = 0

    async def other_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(other_work())
    async with track(carrier, interval_seconds=0.25) as upload:
        async for _ in upload.count(slow_rows(1000, seconds=0.01)):
            pass
    other.cancel()
    # Ten seconds of work: with each update that is due.
    assert turns > 38


async def test_progress_never_goes_backwards_and_stays_below_100_until_the_end(carrier: MemoryCarrier) -> None:
    async with track(carrier, total_rows=10, interval_seconds=0.001) as upload:
        for rows in (5, 3, 10, 25, 1):
            upload.update(rows=rows)
            await asyncio.sleep(0.003)
    assert progress_of(carrier) == [0, 50, 99, 100] or progress_of(carrier) == [0, 50, 99, 99, 100]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=20), st.none() | st.integers(0, 200))
def test_counts_never_fall(updates: list[tuple[int, int]], total: int | None) -> None:
    tally = ProgressState("a", "f", total_rows=total, total_bytes=150)
    shown = [tally.show("running").progress]
    for rows, bytes_read in updates:
        tally.update(rows, bytes_read, None)
        shown.append(tally.show("running").progress)
    assert shown == sorted(shown)
    assert shown[-1] < 100
    assert tally.show("complete").progress == 100


async def test_bytes_give_the_progress_if_the_rows_are_unknown(carrier: MemoryCarrier) -> None:
    async with track(carrier, total_rows=None, total_bytes=1000, interval_seconds=0.001) as upload:
        upload.update(rows=3, bytes_read=250)
        await until_sent(carrier, 2)
    half = carrier.sent_to("user-1")[1]["data"]
    assert half["progress"] == 25
    assert half["message"] == "Row 3"
    assert "totalRows" not in half


async def test_a_message_replaces_the_generated_text(carrier: MemoryCarrier) -> None:
    async with track(carrier, interval_seconds=0.001) as upload:
        upload.update(rows=1, message="Saving to the database")
        await until_sent(carrier, 2)
        upload.summary = "1 part, none left out"
    words = [m["data"]["message"] for m in carrier.sent_to("user-1")]
    assert words == ["Starting…", "Saving to the database", "1 part, none left out"]


async def test_an_exception_sends_a_failed_state_and_an_error_and_is_raised_again(carrier: MemoryCarrier) -> None:
    with pytest.raises(ZeroDivisionError):
        async with track(carrier) as upload:
            upload.update(rows=40)
            raise ZeroDivisionError("/srv/secret/path")
    failed, error = carrier.sent_to("user-1")[-2:]
    assert failed["data"]["status"] == "failed"
    assert failed["data"]["progress"] == 40
    assert error["data"] == {
        "code": "UPLOAD_FAILED",
        "message": "parts.csv could not be processed",
        "details": {"uploadId": "moc-1", "fileName": "parts.csv"},
    }
    assert "secret" not in str(carrier.sent)


async def test_upload_failed_chooses_the_text(carrier: MemoryCarrier) -> None:
    with pytest.raises(UploadFailed):
        async with track(carrier):
            raise UploadFailed("NO_HEADER", "The first line must name the columns")
    assert carrier.sent_to("user-1")[-1]["data"]["code"] == "NO_HEADER"
    assert carrier.sent_to("user-1")[-1]["data"]["message"] == "The first line must name the columns"


@pytest.mark.parametrize("failure", [UploadFailed("", "x"), UploadFailed("BAD", ValueError("row 3"))])  # type: ignore[arg-type]
async def test_a_failure_with_an_empty_code_gets_the_general_text(
    carrier: MemoryCarrier, failure: UploadFailed
) -> None:
    with pytest.raises(UploadFailed):
        async with track(carrier):
            raise failure
    failed, error = carrier.sent_to("user-1")[-2:]
    assert failed["data"]["status"] == "failed"
    assert error["data"]["code"] == "UPLOAD_FAILED"


async def test_a_late_update_cannot_replace_the_final_state(carrier: MemoryCarrier) -> None:
    async with track(carrier) as upload:
        upload.update(rows=10)
    await asyncio.sleep(0.3)
    upload.update(rows=50)
    await asyncio.sleep(0.05)
    assert carrier.sent_to("user-1")[-1]["data"]["status"] == "complete"


async def test_a_summary_that_is_no_text_is_refused_where_it_is_set(carrier: MemoryCarrier) -> None:
    async with track(carrier) as upload:
        with pytest.raises(InvalidMessage, match="summary: got 5"):
            upload.summary = 5  # type: ignore[assignment]


async def test_a_cancelled_job_says_it_was_interrupted(carrier: MemoryCarrier) -> None:
    async def job() -> None:
        async with track(carrier):
            await asyncio.sleep(60)

    task = asyncio.create_task(job())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert carrier.sent_to("user-1")[-1]["data"]["code"] == "UPLOAD_INTERRUPTED"


async def test_an_unreachable_gateway_is_logged_once_and_counted_and_the_job_goes_on(
    carrier: MemoryCarrier, caplog: pytest.LogCaptureFixture
) -> None:
    carrier.error = GatewayUnreachable("http://gateway", "Connection refused")
    with caplog.at_level(logging.WARNING, "tellwire.progress"):
        async with track(carrier, interval_seconds=0.001) as upload:
            for row in range(1, 6):
                upload.update(rows=row)
                await asyncio.sleep(0.003)
    # The first, five updates, and the last.
    assert upload.failures == 7
    assert upload.sent == 0
    assert len(caplog.records) == 1


async def test_even_a_carrier_that_crashes_does_not_break_the_job(carrier: MemoryCarrier) -> None:
    carrier.error = RuntimeError("a bug")
    async with track(carrier) as upload:
        upload.update(rows=1)
    assert upload.failures >= 1


class SlowCarrier(MemoryCarrier):
    """Takes its time, and notices when two messages are on their way at once."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.under_way = 0

    async def deliver(self, publication: Publication) -> Delivery:
        self.under_way += 1
        assert self.under_way == 1
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        return await super().deliver(publication)


async def test_a_slow_gateway_gets_the_newest_state_not_the_backlog() -> None:
    carrier = SlowCarrier(0.5)
    async with track(carrier, interval_seconds=0.01) as upload:
        for row in range(1, 100):
            upload.update(rows=row)
            await asyncio.sleep(0.01)
    # In 0.99 s, one is through and one is on its way, which is of the time when the first was through.
    assert progress_of(carrier) == [0, 50, 100]


async def test_a_slow_gateway_does_not_delay_the_job() -> None:
    carrier = SlowCarrier(2)
    async with track(carrier, interval_seconds=0.01) as upload:
        began = virtual_time().time()
        async for _ in upload.count(slow_rows(300, seconds=0.01)):
            pass
        took = virtual_time().time() - began
    # Three seconds of work, and what every update that is due gives the gateway: a four-hundredth of a second.
    assert 3 < took < 3 * 1.3


async def test_a_job_that_pauses_renews_its_lease(carrier: TimedCarrier) -> None:
    async with track(carrier, lease_seconds=30, every_rows=50):
        began = virtual_time().time()
        await asyncio.sleep(95)
    assert [round(at - began) for at in carrier.times[:-1]] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert progress_of(carrier) == [0] * 10 + [100]


@pytest.mark.parametrize("update", [{"rows": -1}, {"rows": 1.5}, {"bytes_read": "5"}, {"message": 5}])
async def test_an_invalid_update_raises_at_its_call(carrier: MemoryCarrier, update: dict[str, Any]) -> None:
    async with track(carrier) as upload:
        with pytest.raises(InvalidMessage):
            upload.update(**update)


@pytest.mark.parametrize(
    "options",
    [{"total_rows": -1}, {"total_bytes": 1.5}, {"interval_seconds": 0}, {"every_rows": 0}, {"every_rows": True}],
)
def test_bad_options_are_refused_at_once(carrier: MemoryCarrier, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        track(carrier, **options)


def test_an_empty_id_is_refused_before_the_work_begins(carrier: MemoryCarrier) -> None:
    with pytest.raises(InvalidMessage, match="uploadId"):
        track_upload("u", "", "f.csv", broadcaster=Broadcaster(carrier))
    with pytest.raises(InvalidMessage, match=r"target\.user"):
        track_upload("", "a", "f.csv", broadcaster=Broadcaster(carrier))


async def test_a_total_of_zero_rows_is_complete_at_the_end(carrier: MemoryCarrier) -> None:
    async with track(carrier, total_rows=0) as upload:
        async for _ in upload.count([]):
            pass
    assert progress_of(carrier) == [0, 100]


async def test_jobs_without_a_due_update_are_cancelled_too() -> None:
    # As slow ones: the ticker takes every update before them.
    carrier = MemoryCarrier(Delivery(cancelled=True))
    with pytest.raises(UploadCancelled):
        async with track(carrier) as upload:
            upload._next_at = float("inf")
            async for _ in upload.count(range(20)):
                await asyncio.sleep(0)
    assert upload.rows < 20
    assert carrier.sent_to("user-1")[-1]["data"]["status"] == "cancelled"


class Small(MemoryCarrier):
    """A carrier that takes small messages only, as an older gateway or a proxy does."""

    def __init__(self, max_bytes: int, refusal: Exception | None = None) -> None:
        super().__init__()
        self.max_bytes = max_bytes
        self.refusal = refusal

    async def deliver(self, publication: Publication) -> Delivery:
        if len(publication.payload) > self.max_bytes:
            raise self.refusal or MessageTooBig(len(publication.payload), self.max_bytes)
        return await super().deliver(publication)


@pytest.mark.parametrize("refusal", [None, GatewayRefused(413, "UNKNOWN", "HTML"), InvalidMessage("data", "x", "less")])
async def test_a_last_state_that_is_refused_is_sent_without_its_words(refusal: Exception | None) -> None:
    carrier = Small(600, refusal)
    async with track(carrier) as upload:
        async for row in upload.count(range(100)):
            upload.row_error(row, f"CODE_{row}", "It is bad")
        upload.summary = "skipped: " + ", ".join(map(str, range(30_000)))
    last = carrier.sent_to("user-1")[-1]["data"]
    assert (last["status"], last["progress"], last["message"], last["currentRow"]) == ("complete", 100, "Complete", 100)
    assert "rowErrors" not in last
    assert upload.failures > 0


async def test_an_error_that_is_refused_is_sent_without_its_words() -> None:
    carrier = Small(600)
    with pytest.raises(UploadFailed):
        async with track(carrier):
            raise UploadFailed("BAD_ROWS", "row " * 1000)
    failed, error = carrier.sent_to("user-1")[-2:]
    assert failed["data"]["status"] == "failed"
    assert (error["data"]["code"], error["data"]["details"]) == ("BAD_ROWS", {"uploadId": "moc-1"})


async def test_words_of_any_kind_and_length_lose_no_message(carrier: MemoryCarrier) -> None:
    not_utf_8 = b"caf\xe9.csv".decode(errors="surrogateescape")
    upload_id = np.str_(not_utf_8)
    name = np.str_(not_utf_8 * 50_000)
    async with track_upload("user-1", upload_id, name, 3, broadcaster=Broadcaster(carrier)) as upload:
        upload.update(rows=1, message=np.str_(not_utf_8 * 50_000))
        await asyncio.sleep(1)
        upload.summary = np.str_(not_utf_8 * 50_000)
    first, middle, last = (message["data"] for message in carrier.sent_to("user-1"))
    assert {each["uploadId"] for each in (first, middle, last)} == {"caf\\udce9.csv"}
    assert {len(each["fileName"]) for each in (first, middle, last)} == {MAX_FILE_NAME_CHARACTERS}
    assert first["fileName"].startswith("caf\ufffd.csv")
    assert len(middle["message"]) == len(last["message"]) == MAX_WORDS_CHARACTERS
    assert last["message"].endswith("…")
    assert (last["status"], upload.failures) == ("complete", 0)
    with pytest.raises(UploadFailed):
        async with track(carrier):
            raise UploadFailed(np.str_("BAD"), not_utf_8 * 50_000)
    assert carrier.sent_to("user-1")[-1]["data"]["message"].startswith("caf\ufffd")


async def test_the_longest_words_fit_into_a_message(carrier: MemoryCarrier) -> None:
    # Each of these characters has six bytes in JSON.
    words = "\x01" * 10_000
    async with track_upload("user-1", "\x01" * 1000, words, 3, broadcaster=Broadcaster(carrier)) as upload:
        for cause in range(100):
            upload.row_error(cause, f"{cause}{words}", words)
        upload.summary = words
    assert (carrier.sent_to("user-1")[-1]["data"]["status"], upload.failures) == ("complete", 0)


async def test_numbers_of_other_libraries_count(carrier: MemoryCarrier) -> None:
    options = {"total_rows": np.int64(10), "interval_seconds": np.float64(0.1), "lease_seconds": np.float32(20)}
    async with track(carrier, **options) as upload:
        upload.update(rows=np.int64(5), bytes_read=np.uint8(7))
        await asyncio.sleep(1)
        for row in np.flatnonzero(np.array([0, 1, 1])):
            upload.row_error(row, "BAD", "bad")
    middle, last = (message["data"] for message in carrier.sent_to("user-1")[-2:])
    assert (middle["progress"], middle["currentRow"], middle["totalRows"], middle["leaseSeconds"]) == (50, 5, 10, 20)
    assert last["rowErrors"]["causes"][0]["rows"] == [1, 2]
    async with track(carrier, total_rows=None, every_rows=np.int64(2)) as upload:
        async for _ in upload.count(range(4)):
            pass


@pytest.mark.parametrize("option", ["total_rows", "total_bytes", "every_rows", "interval_seconds", "lease_seconds"])
@pytest.mark.parametrize("value", [True, np.True_, "5", math.nan, np.float64("nan"), Decimal(-1)], ids=repr)
def test_what_is_no_number_is_refused_at_the_call(carrier: MemoryCarrier, option: str, value: Any) -> None:
    with pytest.raises(InvalidMessage, match=f"{option}: got"):
        track(carrier, **{option: value})


async def test_counts_beyond_all_floats_disturb_no_job(carrier: MemoryCarrier) -> None:
    # Python shows no number of more than 4,300 digits, and a client of JavaScript reads none above 2**53 exactly.
    async with track(carrier, total_rows=10**5000, interval_seconds=10**400) as upload:
        upload.update(rows=10**4999)
    async with track(carrier, total_rows=10**400) as upload:
        upload.update(rows=10**399)
        await asyncio.sleep(1)
        upload.update(rows=10**5000)
    assert carrier.sent_to("user-1")[-2]["data"]["progress"] == 10
    last = carrier.sent_to("user-1")[-1]["data"]
    assert (last["status"], last["currentRow"], upload.failures) == ("complete", 2**53 - 1, 0)


class Lazy:
    """A string that is translated when it is shown, as Django's and Flask-Babel's: it has a string's methods."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._text, name)


async def test_words_that_are_translated_when_shown_are_words(carrier: MemoryCarrier) -> None:
    words: Any = Lazy("grüße")
    async with track_upload("user-1", "moc-1", words, broadcaster=Broadcaster(carrier)) as upload:
        upload.update(message=words)
        await asyncio.sleep(1)
        upload.summary = words
    middle, last = (message["data"] for message in carrier.sent_to("user-1")[-2:])
    assert (middle["message"], last["message"], last["fileName"]) == ("grüße", "grüße", "grüße")
    with pytest.raises(UploadFailed):
        async with track(carrier):
            raise UploadFailed("BAD", words)
    assert carrier.sent_to("user-1")[-1]["data"]["message"] == "grüße"


async def test_a_user_who_is_not_signed_in_is_named(carrier: MemoryCarrier) -> None:
    user: Any = None
    with pytest.raises(InvalidMessage, match=r"target\.user: got None; allowed: a non-empty string"):
        track_upload(user, "moc-1", "parts.csv", broadcaster=Broadcaster(carrier))


class Endless(ExceptionGroup[Exception]):
    """A group that holds itself."""

    @property
    def exceptions(self) -> tuple["Endless"]:
        return (self,)


def nested(depth: int) -> Exception:
    error: Exception = UploadFailed("BAD", "The words")
    for _ in range(depth):
        error = ExceptionGroup("deeper", [error])
    return error


@pytest.mark.parametrize(("error", "code"), [(nested(5000), "BAD"), (Endless("x", [ValueError()]), "UPLOAD_FAILED")])
async def test_groups_nested_deeper_than_functions_end_an_upload(
    carrier: MemoryCarrier, error: Exception, code: str
) -> None:
    try:
        async with track(carrier):
            raise error
    except ExceptionGroup as raised:
        assert raised is error  # noqa: PT017 - pytest would show it, and recurse
    assert carrier.sent_to("user-1")[-1]["data"]["code"] == code


@pytest.mark.parametrize("answer", [10**400, 0, np.True_, np.int64(5), Decimal(3), "yes"], ids=repr)
async def test_whatever_is_a_number_or_true_says_that_a_job_is_tried_again(carrier: MemoryCarrier, answer: Any) -> None:
    with pytest.raises(ConnectionError):
        async with track(carrier, will_retry=lambda _: answer):
            raise ConnectionError
    assert carrier.sent_to("user-1")[-1]["data"]["status"] == "retrying"


@pytest.mark.parametrize("answer", [np.False_, None, (), "", np.array([1, 0])], ids=repr)
async def test_whatever_is_false_says_that_it_is_not(carrier: MemoryCarrier, answer: Any) -> None:
    with pytest.raises(ConnectionError):
        async with track(carrier, will_retry=lambda _: answer):
            raise ConnectionError
    assert carrier.sent_to("user-1")[-1]["data"]["code"] == "UPLOAD_FAILED"
