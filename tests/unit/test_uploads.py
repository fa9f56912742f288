"""What the server says of an upload whose worker is silent, or that a device has cancelled."""

import json
from typing import Any

import msgspec
import pytest

from tellwire.errors import UploadOver
from tellwire.messages import UploadProgress, UploadProgressMessage, UploadStatus, encode_message
from tellwire.stream import Entry, Said, Stream
from tellwire.uploads import cancelled, lapsed

STARTED = "2026-11-28T10:00:00.000Z"
LEASE = 30


def kept(stream: Stream, status: UploadStatus = "running", now: float = 1000, second: int = 0, **data: Any) -> Entry:
    told: dict[str, Any] = {"upload_id": "u1", "file_name": "f.csv", "progress": 40, "message": "Row 40"}
    lease = LEASE if status == "running" else None
    progress = UploadProgress(**(told | {"status": status, "started_at": STARTED, "lease_seconds": lease} | data))
    message = UploadProgressMessage(progress, f"2026-11-28T10:00:{second:02}.000Z")
    entry = stream.append(Said.read(encode_message(message)), now)
    assert entry is not None
    return entry


def data(payload: bytes) -> dict[str, Any]:
    return dict(json.loads(payload)["data"])


def lapse(stream: Stream, entry: Entry, now: float) -> list[Entry]:
    return [taken for said in lapsed(entry, now) if (taken := stream.append(said, now)) is not None]


def test_a_worker_that_is_heard_of_in_time_is_left_alone() -> None:
    entry = kept(Stream("e"), now=1000)
    assert list(lapsed(entry, 1000 + LEASE - 0.001)) == []


@pytest.mark.parametrize("status", ["complete", "failed", "cancelled"])
def test_an_upload_that_has_ended_is_left_alone(status: UploadStatus) -> None:
    assert list(lapsed(kept(Stream("e"), status, lease_seconds=LEASE), 10_000)) == []


def test_an_upload_without_a_lease_may_be_silent_for_ever() -> None:
    assert list(lapsed(kept(Stream("e"), lease_seconds=None), 10**9)) == []


def test_after_its_lease_it_has_stalled_and_after_another_it_has_failed() -> None:
    stream = Stream("e")
    (stalled,) = lapse(stream, kept(stream, now=1000), 1030)
    assert data(stalled.payload) == {
        "uploadId": "u1",
        "fileName": "f.csv",
        "progress": 40,
        "message": "No word from its worker for 30 seconds",
        "status": "stalled",
        "startedAt": STARTED,
        "leaseSeconds": LEASE,
    }
    assert list(lapsed(stalled, 1059)) == []
    failed, error = lapse(stream, stalled, 1060)
    assert data(failed.payload)["status"] == "failed"
    assert "leaseSeconds" not in data(failed.payload)
    assert failed.is_final
    assert error.key is None
    assert data(error.payload)["code"] == "UPLOAD_LOST"
    assert data(error.payload)["details"] == {"uploadId": "u1", "fileName": "f.csv"}


def test_who_looks_only_after_both_finds_it_failed() -> None:
    stream = Stream("e")
    failed, error = lapse(stream, kept(stream, now=1000), 1060)
    assert (data(failed.payload)["status"], data(error.payload)["code"]) == ("failed", "UPLOAD_LOST")


def test_a_stalled_upload_goes_on_with_its_next_word_even_if_its_clock_is_behind() -> None:
    stream = Stream("e")
    lapse(stream, kept(stream, now=1000, second=1), 1030)
    # By the worker's clock it is still the same second.
    assert data(kept(stream, now=1031, second=1, progress=41).payload)["status"] == "running"


def test_a_worker_that_was_heard_of_meanwhile_is_not_declared_silent() -> None:
    stream = Stream("e")
    entry = kept(stream, now=1000, second=0)
    verdict = list(lapsed(entry, 1060))
    kept(stream, now=1059, second=1)
    assert stream.append(verdict[0], 1060) is None


def test_the_worker_has_the_last_word_after_the_server_declared_it_failed() -> None:
    stream = Stream("e")
    lapse(stream, kept(stream, now=1000), 1060)
    assert data(kept(stream, "complete", now=1070, second=2).payload)["status"] == "complete"


def test_what_is_cancelled_looks_like_the_last_state_and_beats_a_worker_whose_clock_is_ahead() -> None:
    stream = Stream("e")
    entry = kept(stream, second=1)
    word = cancelled(entry, 1010)
    kept(stream, second=50, progress=60)
    taken = stream.append(word, 1010)
    assert taken is not None
    assert (data(taken.payload)["status"], data(taken.payload)["progress"]) == ("cancelled", 40)
    late = UploadProgressMessage(msgspec.convert(data(entry.payload), UploadProgress), "2026-11-28T10:00:59.000Z")
    assert stream.append(Said.read(encode_message(late)), 1020) is None


def test_what_has_ended_cannot_be_cancelled() -> None:
    with pytest.raises(UploadOver, match="it is complete"):
        cancelled(kept(Stream("e"), "complete"), 1010)


def test_another_run_of_a_cancelled_upload_begins_anew_and_the_old_one_is_heard_no_more() -> None:
    stream = Stream("e")
    stream.append(cancelled(kept(stream, progress=0), 1010), 1010)
    again = kept(stream, started_at="2026-11-28T10:00:30.000Z", second=31, progress=7)
    assert data(again.payload)["progress"] == 7
    for status in ("running", "complete"):
        old = UploadProgress(upload_id="u1", file_name="f", progress=50, message="", status=status, started_at=STARTED)
        assert (
            stream.append(Said.read(encode_message(UploadProgressMessage(old, "2026-11-28T10:00:59.000Z"))), 1) is None
        )
