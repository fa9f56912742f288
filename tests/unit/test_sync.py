"""The synchronous names: one background loop, many threads."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import tellwire
from tellwire import background, producer, sync
from tellwire.background import run
from tellwire.broadcast import Broadcaster
from tellwire.errors import InvalidMessage, UploadFailed
from tellwire.model import Delivery
from tellwire.testing import MemoryCarrier

HELLO = sync.create_notification_message("Hello", "World", "info")


@pytest.fixture
def carrier() -> MemoryCarrier:
    return MemoryCarrier()


def test_the_names_are_the_same_as_the_asynchronous_ones() -> None:
    for name in ("broadcast_to_user", "broadcast_to_connection", "broadcast_to_connections", "broadcast_to_all"):
        assert getattr(sync, name).__name__ == getattr(tellwire, name).__name__
    assert {name for name in tellwire.__all__ if name.startswith(("create_", "track_"))} <= set(sync.__all__)


def test_each_function_returns_the_delivery(carrier: MemoryCarrier) -> None:
    with sync.use_broadcaster(Broadcaster(carrier)):
        assert sync.broadcast_to_user("u", HELLO) == Delivery(delivered=1)
        assert sync.broadcast_to_connection("c", HELLO) == Delivery(delivered=1)
        assert sync.broadcast_to_connections(["a", "b"], HELLO) == Delivery(delivered=1)
        assert sync.broadcast_to_all(HELLO) == Delivery(delivered=1)


def test_errors_reach_the_caller(carrier: MemoryCarrier) -> None:
    with sync.use_broadcaster(Broadcaster(carrier)), pytest.raises(InvalidMessage):
        sync.broadcast_to_user("", HELLO)


def test_the_forms_that_never_raise_do_not(carrier: MemoryCarrier, caplog: pytest.LogCaptureFixture) -> None:
    def all_four(user_id: str) -> list[Delivery | None]:
        return [
            sync.try_broadcast_to_user(user_id, HELLO),
            sync.try_broadcast_to_connection("c", HELLO),
            sync.try_broadcast_to_connections(["a", "b"], HELLO),
            sync.try_broadcast_to_all(HELLO),
        ]

    with sync.use_broadcaster(Broadcaster(carrier)) as broadcaster:
        assert all_four("u") == [Delivery(delivered=1)] * 4
        assert all_four("")[0] is None
        carrier.error = OSError("no disk")
        assert all_four("u") == [None] * 4
        assert broadcaster.failures == 5
    producer._carrier_of_process.cache_clear()
    assert all_four("u") == [None] * 4
    assert "set TELLWIRE_URL" in caplog.text


async def test_they_do_not_either_where_synchronous_code_cannot_wait(carrier: MemoryCarrier) -> None:
    async def on_the_background_loop() -> Delivery | None:
        return sync.try_broadcast_to_all(HELLO)

    work = asyncio.run_coroutine_threadsafe(on_the_background_loop(), background.background_loop())
    with sync.use_broadcaster(Broadcaster(carrier)):
        assert await asyncio.wrap_future(work) is None


def test_many_threads_share_one_loop(carrier: MemoryCarrier) -> None:
    def send(number: int) -> None:
        with sync.use_broadcaster(Broadcaster(carrier)):
            sync.broadcast_to_user(f"user-{number}", HELLO)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send, range(300)))
    assert len(carrier.sent) == 300
    assert [thread.name for thread in threading.enumerate()].count(f"tellwire-{os.getpid()}") == 1


def test_an_upload_shows_progress_from_0_to_100(carrier: MemoryCarrier) -> None:
    with (
        sync.use_broadcaster(Broadcaster(carrier)),
        sync.track_upload("u", "moc-1", "parts.csv", 100, interval_seconds=0.005) as upload,
    ):
        for row in upload.count(range(100)):
            while len(carrier.sent) < row // 30 + 1:
                time.sleep(0.001)
    shown = [message["data"]["progress"] for message in carrier.sent_to("u")]
    assert shown[0] == 0
    assert shown[-1] == 100
    assert shown == sorted(shown)
    assert len(shown) > 3
    assert upload.rows == 100
    assert upload.sent == len(shown)
    assert upload.failures == 0


def test_every_hundred_rows_works_here_too(carrier: MemoryCarrier) -> None:
    with sync.track_upload("u", "m", "f.csv", 300, every_rows=100, broadcaster=Broadcaster(carrier)) as upload:
        for _ in upload.count(range(300)):
            pass
    assert [message["data"]["progress"] for message in carrier.sent_to("u")][-1] == 100
    assert len(carrier.sent) <= 5


def test_updates_by_hand_from_several_threads_only_rise(carrier: MemoryCarrier) -> None:
    with sync.track_upload("u", "m", "f.csv", 1000, interval_seconds=0.001, broadcaster=Broadcaster(carrier)) as upload:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda row: upload.update(rows=row), range(1000)))
        upload.summary = "done"
    shown = [message["data"]["progress"] for message in carrier.sent_to("u")]
    assert shown == sorted(shown)
    assert carrier.sent_to("u")[-1]["data"]["message"] == "done"


def test_an_exception_is_told_and_raised(carrier: MemoryCarrier) -> None:
    with (
        pytest.raises(UploadFailed),
        sync.track_upload("u", "m", "f.csv", broadcaster=Broadcaster(carrier)),
    ):
        raise UploadFailed("NO_HEADER", "No header")
    assert carrier.sent_to("u")[-1]["data"]["code"] == "NO_HEADER"


def rows_of(carrier: MemoryCarrier) -> Generator[int, None, None]:
    with sync.track_upload("u", "m", "f.csv", 10, broadcaster=Broadcaster(carrier)) as upload:
        yield from upload.count(range(10))


def test_a_generator_that_is_closed_was_interrupted(carrier: MemoryCarrier) -> None:
    rows = rows_of(carrier)
    assert next(rows) == 0
    rows.close()
    assert carrier.sent_to("u")[-1]["data"]["code"] == "UPLOAD_INTERRUPTED"


def test_a_generator_may_be_closed_on_the_background_loop(carrier: MemoryCarrier) -> None:
    rows = rows_of(carrier)
    next(rows)

    async def close() -> None:
        rows.close()

    run(close())
    ends_at = time.monotonic() + 45
    while carrier.sent_to("u")[-1]["type"] != "error":
        assert time.monotonic() < ends_at, carrier.sent_to("u")
        time.sleep(0.01)


async def test_an_asynchronous_upload_is_updated_from_threads(carrier: MemoryCarrier) -> None:
    never = threading.Event()

    def job(upload: tellwire.Upload, first: int) -> None:
        for row in range(first, 1000, 4):
            upload.update(rows=row + 1)
            upload.row_error(row, "BAD", "It is bad")
            if row % 40 == first:
                never.wait(0.01)

    async with tellwire.track_upload(
        "u", "m", "f.csv", 1000, interval_seconds=0.005, broadcaster=Broadcaster(carrier)
    ) as upload:
        await asyncio.gather(*[asyncio.to_thread(job, upload, first) for first in range(4)])
    shown = [message["data"]["progress"] for message in carrier.sent_to("u")]
    assert shown == sorted(shown)
    assert len(shown) > 5
    assert upload.rows == 1000
    assert carrier.sent_to("u")[-1]["data"]["rowErrors"]["total"] == 1000


def test_rows_never_go_backwards_with_several_threads(carrier: MemoryCarrier) -> None:
    seen: list[int] = []
    done = threading.Event()

    def watch(upload: sync.Upload) -> None:
        while not done.is_set():
            seen.append(upload.rows)

    def update(upload: sync.Upload, first: int) -> None:
        for row in range(first, 4000, 4):
            upload.update(rows=row)

    def count(upload: sync.Upload) -> int:
        return sum(1 for _ in upload.count(range(1000)))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with sync.track_upload("u", "m", "f.csv", 20_000, broadcaster=Broadcaster(carrier)) as upload:
            watcher = threading.Thread(target=watch, args=(upload,))
            watcher.start()
            with ThreadPoolExecutor(4) as pool:
                updates = [pool.submit(update, upload, first) for first in range(2)]
                counts = [pool.submit(count, upload) for _ in range(2)]
                assert [each.result() for each in counts] == [1000, 1000]
                for each in updates:
                    each.result()
            done.set()
            watcher.join()
    finally:
        sys.setswitchinterval(before)
    assert seen == sorted(seen)
    assert upload.rows >= 3997


@pytest.mark.parametrize("by", ["update", "count"])
def test_an_update_that_is_interrupted_replaces_no_newer_count(
    by: str, carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def slow_max(*values: int) -> int:
        if values[1] == 5:
            begun.set()
            time.sleep(0.1)
        return max(*values)

    monkeypatch.setattr("tellwire.progress_state.max", slow_max, raising=False)
    with sync.track_upload("u", "m", "f.csv", 100, broadcaster=Broadcaster(carrier)) as upload:
        thread = threading.Thread(target=lambda: upload.update(rows=5))
        thread.start()
        begun.wait(45)
        if by == "update":
            upload.update(rows=10)
        else:
            assert list(upload.count("x")) == ["x"]
        thread.join()
        assert upload.rows == (10 if by == "update" else 6)


def run_and_be_interrupted(work: Coroutine[Any, Any, Any]) -> None:
    run(work)
    raise KeyboardInterrupt


def be_interrupted(work: Coroutine[Any, Any, Any]) -> None:
    work.close()
    raise KeyboardInterrupt


def seen_by(carrier: MemoryCarrier, messages: int) -> list[str]:
    """Wait until a carrier has got so many messages; return the status or the code of each."""
    ends_at = time.monotonic() + 5
    while len(carrier.sent) < messages and time.monotonic() < ends_at:
        time.sleep(0.01)
    return [each["data"].get("status") or each["data"]["code"] for each in carrier.sent_to("user-1")]


def test_a_thread_that_is_interrupted_while_it_enters_the_block_leaves_no_upload_that_seems_to_run(
    carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ctrl-C, a time limit of Celery, an alarm: they come at any moment, also after the upload has begun.
    upload = sync.track_upload("user-1", "moc-1", "parts.csv", broadcaster=Broadcaster(carrier), lease_seconds=1)
    monkeypatch.setattr(sync, "run_here", run_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt), upload:
        raise AssertionError
    assert seen_by(carrier, 3) == ["running", "failed", "UPLOAD_INTERRUPTED"]
    monkeypatch.setattr(sync, "run_here", be_interrupted)
    with pytest.raises(KeyboardInterrupt), upload:
        raise AssertionError
    time.sleep(0.5)  # longer than a renewal of the lease
    assert len(carrier.sent) == 3  # the second one did not begin, and the first one's lease is not renewed


@pytest.mark.parametrize("interrupt", [be_interrupted, run_and_be_interrupted])
def test_a_thread_that_is_interrupted_while_it_leaves_the_block_has_left_it(
    carrier: MemoryCarrier, monkeypatch: pytest.MonkeyPatch, interrupt: Callable[..., None]
) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        sync.track_upload("user-1", "moc-1", "parts.csv", broadcaster=Broadcaster(carrier)),
    ):
        monkeypatch.setattr(sync, "run_here", interrupt)
    assert seen_by(carrier, 2) == ["running", "complete"]
