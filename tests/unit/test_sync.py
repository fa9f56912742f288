"""The synchronous names: one background loop, many threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import tellwire
from tellwire import sync
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


def test_many_threads_share_one_loop(carrier: MemoryCarrier) -> None:
    def send(number: int) -> None:
        with sync.use_broadcaster(Broadcaster(carrier)):
            sync.broadcast_to_user(f"user-{number}", HELLO)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send, range(300)))
    assert len(carrier.sent) == 300
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("tellwire-")]) == 1


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
