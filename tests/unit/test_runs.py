"""Runs of uploads as jobs begin them: waiting, tried again, shared, superseded, and their words."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from tellwire import sync
from tellwire.broadcast import Broadcaster
from tellwire.broker import BrokerCarrier, ComposedBroker
from tellwire.engines.memory.history import MemoryHistory
from tellwire.errors import GatewayUnreachable, InvalidMessage, UploadCancelled, UploadFailed, UploadWillRetry
from tellwire.limits import PART_INTERVAL_SECONDS, QUEUED_LEASE_SECONDS, RETRY_GRACE_SECONDS
from tellwire.progress import track_upload
from tellwire.progress_state import ProgressState
from tellwire.publication import user_stream
from tellwire.queued import queue_upload
from tellwire.testing import FakeClock, MemoryCarrier
from tellwire.uploads import cancelled


@pytest.fixture
def carrier() -> MemoryCarrier:
    return MemoryCarrier()


@pytest.fixture
def history() -> MemoryHistory:
    return MemoryHistory(FakeClock())


@pytest.fixture
def kept(carrier: MemoryCarrier, history: MemoryHistory) -> Broadcaster:
    """A broadcaster with a history."""
    return Broadcaster(BrokerCarrier(ComposedBroker(history, carrier), carrier))


def track(broadcaster: Broadcaster, **options: Any) -> track_upload:
    return track_upload("user-1", "moc-1", "parts.csv", 10, broadcaster=broadcaster, **options)


def states_of(carrier: MemoryCarrier) -> list[dict[str, Any]]:
    return [message["data"] for message in carrier.sent_to("user-1") if message["type"] == "upload_progress"]


def errors_of(carrier: MemoryCarrier) -> list[str]:
    return [message["data"]["code"] for message in carrier.sent_to("user-1") if message["type"] == "error"]


async def attempt(broadcaster: Broadcaster, error: BaseException, **options: Any) -> None:
    with pytest.raises(type(error)):
        async with track(broadcaster, **options):
            raise error


# --- trying again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("will_retry", "lease_seconds"),
    [
        (True, QUEUED_LEASE_SECONDS),
        (30, 30 + RETRY_GRACE_SECONDS),
        (lambda error: isinstance(error, ConnectionError), QUEUED_LEASE_SECONDS),
        (lambda error: 5, 5 + RETRY_GRACE_SECONDS),
        (float("nan"), QUEUED_LEASE_SECONDS),
    ],
)
async def test_an_attempt_that_is_tried_again_ends_without_an_error(
    carrier: MemoryCarrier, will_retry: Any, lease_seconds: float
) -> None:
    await attempt(Broadcaster(carrier), ConnectionError("secret"), will_retry=will_retry)
    last = states_of(carrier)[-1]
    assert (last["status"], last["message"], last["leaseSeconds"]) == ("retrying", "It is tried again…", lease_seconds)
    assert errors_of(carrier) == []


def asks_in_vain(error: BaseException) -> bool:
    raise RuntimeError("a fault of the job")


@pytest.mark.parametrize(
    ("will_retry", "error"),
    [
        (False, ConnectionError()),
        (lambda error: isinstance(error, ConnectionError), ValueError()),
        (True, UploadFailed("NO_HEADER", "No header")),
        (asks_in_vain, ConnectionError()),
    ],
)
async def test_an_attempt_that_is_not_tried_again_fails(
    carrier: MemoryCarrier, will_retry: bool | Callable[[BaseException], bool], error: Exception
) -> None:
    await attempt(Broadcaster(carrier), error, will_retry=will_retry)
    assert states_of(carrier)[-1]["status"] == "failed"
    assert len(errors_of(carrier)) == 1


async def test_a_cancelled_job_is_not_tried_again(carrier: MemoryCarrier) -> None:
    await attempt(Broadcaster(carrier), UploadCancelled(), will_retry=True)
    assert states_of(carrier)[-1]["status"] == "cancelled"


async def test_a_job_says_itself_that_it_will_be_tried_again(carrier: MemoryCarrier) -> None:
    error = ExceptionGroup("several", [UploadWillRetry("The shop does not answer", within_seconds=240)])
    await attempt(Broadcaster(carrier), error)
    last = states_of(carrier)[-1]
    assert (last["status"], last["message"], last["leaseSeconds"]) == ("retrying", "The shop does not answer", 300)
    assert errors_of(carrier) == []


@pytest.mark.parametrize("run", [None, "task-7"])
async def test_the_next_attempt_begins_anew_under_any_name(
    carrier: MemoryCarrier, kept: Broadcaster, run: str | None
) -> None:
    await attempt(kept, ConnectionError(), run=run, will_retry=True)
    async with track(kept, run=run):
        pass
    assert [state["status"] for state in states_of(carrier)] == ["running", "retrying", "running", "complete"]
    assert errors_of(carrier) == []


@pytest.mark.parametrize(("failures", "codes"), [(2, []), (3, ["UPLOAD_FAILED"])])
def test_a_celery_task_that_is_tried_again_shows_an_error_only_for_its_last_attempt(
    carrier: MemoryCarrier, kept: Broadcaster, failures: int, codes: list[str]
) -> None:
    attempts = 0

    # As in docs/how-to/producers.md.
    @Celery("imports").task(  # type: ignore[untyped-decorator]
        bind=True, autoretry_for=(ConnectionError,), default_retry_delay=0, max_retries=2, shared=False
    )
    def import_parts(task: Any) -> None:
        nonlocal attempts

        def will_retry(error: BaseException) -> bool:
            return isinstance(error, ConnectionError) and task.request.retries < task.max_retries

        run = task.request.id
        with sync.track_upload("user-1", "moc-1", "f.csv", run=run, will_retry=will_retry, broadcaster=kept):
            attempts += 1
            if attempts <= failures:
                raise ConnectionError

    import_parts.apply()
    statuses = [state["status"] for state in states_of(carrier)]
    assert statuses == [*["running", "retrying"] * 2, "running", "failed" if codes else "complete"]
    assert errors_of(carrier) == codes


# --- waiting ----------------------------------------------------------------------------------------------------------


async def test_an_upload_is_shown_while_it_waits_for_its_worker(carrier: MemoryCarrier, kept: Broadcaster) -> None:
    run = await queue_upload("user-1", "moc-1", "parts.csv", broadcaster=kept)
    async with track(kept, run=run):
        pass
    queued, running, complete = states_of(carrier)
    assert {queued["run"], running["run"], complete["run"]} == {run}
    assert (queued["status"], queued["message"], queued["progress"]) == ("queued", "Waiting…", 0)
    assert queued["leaseSeconds"] == QUEUED_LEASE_SECONDS
    assert complete["status"] == "complete"


async def test_a_gateway_out_of_reach_does_not_keep_an_upload_from_its_queue(carrier: MemoryCarrier) -> None:
    carrier.error = GatewayUnreachable("http://gateway", "away")
    assert await queue_upload("user-1", "moc-1", "f.csv", run="task-7", broadcaster=Broadcaster(carrier)) == "task-7"
    with pytest.raises(InvalidMessage):
        await queue_upload("user-1", "", "f.csv", broadcaster=Broadcaster(carrier))


def test_synchronous_code_queues_an_upload_too(carrier: MemoryCarrier) -> None:
    run = sync.queue_upload("user-1", "moc-1", "parts.csv", message="In line", broadcaster=Broadcaster(carrier))
    (queued,) = states_of(carrier)
    assert (queued["run"], queued["message"]) == (run, "In line")


@pytest.mark.parametrize("waits_for", ["a worker", "another attempt"])
async def test_an_upload_that_is_cancelled_while_it_waits_is_not_begun(
    kept: Broadcaster, history: MemoryHistory, waits_for: str
) -> None:
    if waits_for == "a worker":
        await queue_upload("user-1", "moc-1", "parts.csv", run="task-7", broadcaster=kept)
    else:
        await attempt(kept, ConnectionError(), run="task-7", will_retry=True)
    entry = await history.state(user_stream("user-1"), "upload:moc-1")
    assert entry is not None
    await history.append(cancelled(entry, entry.stored_at))
    with pytest.raises(UploadCancelled):
        async with track(kept, run="task-7", interval_seconds=0.001) as upload:
            async for _ in upload.count(range(10**9)):
                pass


# --- twice, and together ----------------------------------------------------------------------------------------------


async def test_of_an_upload_that_is_begun_twice_the_user_sees_the_newer_run(
    carrier: MemoryCarrier, kept: Broadcaster
) -> None:
    with pytest.raises(ConnectionError):
        async with track(kept) as first:
            async with track(kept) as second:
                second.update(rows=5)
            assert not second.superseded
            raise ConnectionError
    assert first.superseded
    assert [state["status"] for state in states_of(carrier)] == ["running", "running", "complete"]
    assert errors_of(carrier) == []


async def test_parts_that_all_fail_show_one_error(carrier: MemoryCarrier, kept: Broadcaster) -> None:
    for part in ("1/3", "2/3", "3/3"):
        await attempt(kept, UploadFailed("NO_HEADER", "No header"), run="import-17", part=part)
    assert errors_of(carrier) == ["NO_HEADER"]
    await attempt(kept, UploadFailed("NO_HEADER", "No header"), run="import-18", part="1/3")
    assert errors_of(carrier) == ["NO_HEADER", "NO_HEADER"]


async def test_devices_see_parts_as_one_upload(carrier: MemoryCarrier, kept: Broadcaster) -> None:
    async with track(kept, run="import-17", part="1/2") as one, track(kept, run="import-17", part="2/2") as two:
        one.update(rows=10)
        two.update(rows=4)
    assert all("part" not in state for state in states_of(carrier))
    assert [state["status"] for state in states_of(carrier)].count("complete") == 1
    last = states_of(carrier)[-1]
    assert (last["progress"], last["currentRow"], last["message"]) == (100, 14, "Complete: 14 rows")


def test_the_more_parts_the_more_seldom_each_publishes(carrier: MemoryCarrier) -> None:
    upload = track(Broadcaster(carrier), run="import-17", part="3/100")._upload
    assert upload._interval_seconds == 100 * PART_INTERVAL_SECONDS


@pytest.mark.parametrize(("run", "part"), [(None, "1/2"), ("r", "3/2"), ("r", 3), ("", None), ("r" * 201, None)])
def test_a_wrong_run_or_part_is_refused_at_once(carrier: MemoryCarrier, run: Any, part: Any) -> None:
    with pytest.raises(InvalidMessage):
        track(Broadcaster(carrier), run=run, part=part)


# --- words, and clocks ------------------------------------------------------------------------------------------------


def test_more_rows_than_there_should_be_are_counted_without_a_total() -> None:
    state = ProgressState("moc-1", "parts.csv", 2)
    state.update(2, None, None)
    assert (state.show("running").message, state.show("running").total_rows) == ("Row 2 of 2", 2)
    state.update(8, None, None)
    shown = state.show("running")
    assert (shown.message, shown.current_row, shown.total_rows, shown.progress) == ("Row 8", 8, None, 99)
    assert (state.show("complete").message, state.show("complete").total_rows) == ("Complete: 8 rows", 8)


def test_the_times_of_states_rise_although_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    state = ProgressState("moc-1", "parts.csv")
    first = state.message_of("running").timestamp
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert state.message_of("running").timestamp >= first


def test_a_total_that_is_known_late_is_shown_and_progress_never_goes_back(carrier: MemoryCarrier) -> None:
    with sync.track_upload("user-1", "moc-1", "f.csv", broadcaster=Broadcaster(carrier)) as upload:
        upload.update(rows=30, total_rows=40)
        known = upload._upload._state.show("running")
        upload.update(total_rows=100)
        grown = upload._upload._state.show("running")
        with pytest.raises(InvalidMessage):
            upload.update(total_rows=-1)
    assert (known.progress, known.total_rows, known.message) == (75, 40, "Row 30 of 40")
    assert (grown.progress, grown.total_rows) == (75, 100)
