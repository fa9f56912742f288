"""States of an upload that the server publishes: its worker is silent, or a device has cancelled it."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tellwire.broker import BrokerCarrier, ComposedBroker
from tellwire.carriers.hub import Hub
from tellwire.engines.memory.history import MemoryHistory
from tellwire.entry import Entry
from tellwire.errors import AwsUnreachable, UploadOver
from tellwire.lease_expiry import LeaseExpiry
from tellwire.limits import MAX_LEASE_SECONDS
from tellwire.messages import UploadProgress, UploadProgressMessage, UploadStatus, create_message
from tellwire.model import Delivery
from tellwire.position import START
from tellwire.publication import Publication, user_stream
from tellwire.server.framing import text_frames
from tellwire.stream import Stream
from tellwire.testing import FakeClock
from tellwire.uploads import cancelled, on_lease_expired
from tests.publications import for_user

STARTED = "2026-11-28T10:00:00.000Z"
LEASE = 30
NOON = datetime(2026, 11, 28, 10, tzinfo=UTC).timestamp()
"""The start of each test, in epoch seconds."""


def state(status: UploadStatus, second: int = 0, **data: Any) -> Publication:
    told: dict[str, Any] = {"upload_id": "u1", "file_name": "f.csv", "progress": 40, "message": "Row 40"}
    lease = LEASE if status == "running" else None
    progress = UploadProgress(**(told | {"status": status, "started_at": STARTED, "lease_seconds": lease} | data))
    message = UploadProgressMessage(progress, f"2026-11-28T10:00:{second:02}.000Z")
    return for_user("anna", message)


def kept(stream: Stream, status: UploadStatus = "running", now: float = 0, second: int = 0, **data: Any) -> Entry:
    entry = stream.append(state(status, second, **data), NOON + now)
    assert entry is not None
    return entry


def data(payload: bytes) -> dict[str, Any]:
    return dict(json.loads(payload)["data"])


def expire(stream: Stream, entry: Entry, now: float) -> list[Entry]:
    return [
        taken
        for publication in on_lease_expired(entry, NOON + now - entry.stored_at, NOON + now)
        if (taken := stream.append(publication, NOON + now)) is not None
    ]


def test_a_worker_that_renews_its_lease_in_time_stays_running() -> None:
    entry = kept(Stream("e"))
    assert list(on_lease_expired(entry, LEASE - 0.001, NOON)) == []


@pytest.mark.parametrize("status", ["complete", "failed", "cancelled"])
def test_an_upload_that_has_ended_stays_as_it_is(status: UploadStatus) -> None:
    assert list(on_lease_expired(kept(Stream("e"), status, lease_seconds=LEASE), 10_000, NOON)) == []


def test_an_upload_without_a_lease_does_not_stall_and_fails_after_a_day() -> None:
    stream = Stream("e")
    entry = kept(stream, lease_seconds=None)
    assert list(on_lease_expired(entry, MAX_LEASE_SECONDS - 1, NOON)) == []
    failed, error = expire(stream, entry, MAX_LEASE_SECONDS)
    assert (data(failed.payload)["status"], data(error.payload)["code"]) == ("failed", "UPLOAD_LOST")


def test_an_upload_stalls_after_its_lease_and_fails_after_a_second_one() -> None:
    stream = Stream("e")
    (stalled,) = expire(stream, kept(stream), 30)
    assert data(stalled.payload) == {
        "uploadId": "u1",
        "fileName": "f.csv",
        "progress": 40,
        "message": "No word from its worker for 30 seconds",
        "status": "stalled",
        "startedAt": STARTED,
        "leaseSeconds": LEASE,
    }
    assert list(on_lease_expired(stalled, 29, NOON + 59)) == []
    failed, error = expire(stream, stalled, 60)
    assert data(failed.payload)["status"] == "failed"
    assert "leaseSeconds" not in data(failed.payload)
    assert failed.is_final
    assert error.key is None
    assert data(error.payload)["code"] == "UPLOAD_LOST"
    assert data(error.payload)["details"] == {"uploadId": "u1", "fileName": "f.csv"}


@pytest.mark.parametrize(
    ("status", "text", "lost"),
    [
        ("queued", "It has waited for a worker for 60 minutes", "no worker began it"),
        ("retrying", "It has waited for another attempt for 60 minutes", "no other attempt began"),
        ("running", "No word from its worker for 60 minutes", "its worker fell silent"),
    ],
)
def test_an_upload_that_waits_for_too_long_stalls_and_fails_too(status: UploadStatus, text: str, lost: str) -> None:
    stream = Stream("e")
    (stalled,) = expire(stream, kept(stream, status, lease_seconds=3600), 3600)
    assert (data(stalled.payload)["status"], data(stalled.payload)["message"]) == ("stalled", text)
    another = Stream("e")
    late = expire(another, kept(another, status, lease_seconds=3600), 7200)
    for failed, error in (expire(stream, stalled, 7200), late):
        assert (data(failed.payload)["status"], data(error.payload)["code"]) == ("failed", "UPLOAD_LOST")
        assert data(failed.payload)["message"].lower() == lost
        assert data(error.payload)["message"] == f"f.csv was lost: {lost}"


def test_an_upload_is_failed_if_its_lease_is_checked_only_after_both_expiries() -> None:
    stream = Stream("e")
    failed, error = expire(stream, kept(stream), 60)
    assert (data(failed.payload)["status"], data(error.payload)["code"]) == ("failed", "UPLOAD_LOST")


def test_a_stalled_upload_continues_with_its_next_state_even_if_its_clock_is_behind() -> None:
    stream = Stream("e")
    expire(stream, kept(stream, second=1), 30)
    # By the worker's clock it is still the same second.
    assert data(kept(stream, now=31, second=1, progress=41).payload)["status"] == "running"


@pytest.mark.parametrize("after", [30, 60])
@pytest.mark.parametrize("second", [0, 1])
def test_an_update_in_the_meantime_prevents_the_lease_expiry(after: int, second: int) -> None:
    stream = Stream("e")
    verdict = list(on_lease_expired(kept(stream), after, NOON + after))
    kept(stream, now=after - 1, second=second, current_row=41)
    assert stream.append(verdict[0], NOON + after) is None


async def test_no_error_is_published_if_the_failed_state_was_not_kept() -> None:
    clock = FakeClock(NOON)
    history = MemoryHistory(clock)
    leases = LeaseExpiry(ComposedBroker(history, Hub(clock, text_frames)), clock)
    entry = await history.append(for_user("anna", state("running")))
    assert entry is not None
    await history.append(for_user("anna", state("running", second=1)))
    await clock.advance(2 * LEASE)
    assert not await leases.expire(entry)
    assert (await history.read(user_stream("anna"), START)).messages == []


def test_a_workers_final_state_replaces_the_servers_failed_state() -> None:
    stream = Stream("e")
    expire(stream, kept(stream), 60)
    assert data(kept(stream, "complete", now=70, second=2).payload)["status"] == "complete"


def test_a_cancelled_state_is_like_the_last_one_and_outranks_a_worker_whose_clock_is_ahead() -> None:
    stream = Stream("e")
    entry = kept(stream, second=1)
    word = cancelled(entry, NOON + 10)
    kept(stream, second=50, progress=60)
    taken = stream.append(word, NOON + 10)
    assert taken is not None
    assert (data(taken.payload)["status"], data(taken.payload)["progress"]) == ("cancelled", 40)
    late = UploadProgressMessage(msgspec.convert(data(entry.payload), UploadProgress), "2026-11-28T10:00:59.000Z")
    assert stream.append(for_user("anna", late), NOON + 20) is None


def test_an_upload_that_has_ended_cannot_be_cancelled() -> None:
    with pytest.raises(UploadOver, match="it is complete"):
        cancelled(kept(Stream("e"), "complete"), NOON + 10)


def test_another_run_of_a_cancelled_upload_begins_and_the_old_run_is_ignored() -> None:
    stream = Stream("e")
    stream.append(cancelled(kept(stream, progress=0), NOON + 10), NOON + 10)
    again = kept(stream, started_at="2026-11-28T10:00:30.000Z", second=31, progress=7)
    assert data(again.payload)["progress"] == 7
    for status in ("running", "complete"):
        old = UploadProgress(upload_id="u1", file_name="f", progress=50, message="", status=status, started_at=STARTED)
        late = for_user("anna", UploadProgressMessage(old, "2026-11-28T10:00:59.000Z"))
        assert stream.append(late, NOON + 59) is None


class Unreachable(Hub):
    async def deliver(self, publication: Publication) -> Delivery:
        raise AwsUnreachable("DynamoDB Query", "it is away")


async def test_a_kept_publication_that_cannot_be_delivered_is_no_failure() -> None:
    clock = FakeClock(NOON)
    history = MemoryHistory(clock)
    broker = ComposedBroker(history, Unreachable(clock, text_frames))
    entry = await history.append(for_user("anna", state("running", lease_seconds=LEASE)))
    assert entry is not None
    await clock.advance(2 * LEASE)
    assert await LeaseExpiry(broker, clock).expire(entry)
    # The error is published, too, although the state could not be delivered.
    assert len((await history.read(user_stream("anna"), START)).messages) == 1
    carrier = BrokerCarrier(broker, Hub(clock, text_frames))
    assert await carrier.deliver(for_user("anna", create_message("note", 1))) == Delivery(unsent=1)
