"""The broker of one process: the order of deliveries is that of the history, whoever publishes and in whichever way."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tellwire.carriers.hub import FEW_RECEIVERS, Hub, Sent
from tellwire.engines.local_broker import LocalBroker
from tellwire.engines.memory.history import MemoryHistory
from tellwire.engines.sqlite import stream_rows
from tellwire.engines.sqlite.history import SqliteHistory
from tellwire.entry import Entry
from tellwire.errors import HistoryUnavailable
from tellwire.messages import UploadProgress, UploadProgressMessage, create_message
from tellwire.model import NO_STAMP, ConnectionInfo, Delivery, Target, TokenStamp
from tellwire.ports import LocalHistory, NullObserver, Published
from tellwire.publication import Publication
from tellwire.testing import FakeClock
from tests.publications import for_user, publication

ALL = Target(all=True)


class Device:
    """A connection that reads at once."""

    stamp: TokenStamp = NO_STAMP
    is_open = True

    def __init__(self, user_id: str, number: int = 0) -> None:
        self.connection_id = f"{number}-of-{user_id}"
        self.user_id = user_id
        self.received: list[dict[str, Any]] = []

    def send(self, frames: bytes, now: float, key: str | None = None, *, is_final: bool = False) -> Sent:
        self.received.append(json.loads(frames))
        return Sent.DELIVERED

    def close(self, code: int, reason: str) -> None: ...

    def info(self) -> ConnectionInfo:
        return ConnectionInfo(self.connection_id, self.user_id, "", "", "")

    def data(self) -> list[Any]:
        return [message["data"] for message in self.received]


@pytest.fixture(params=["memory", "sqlite"])
async def history(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LocalHistory]:
    history: LocalHistory = (
        MemoryHistory(FakeClock())
        if request.param == "memory"
        else SqliteHistory(tmp_path / "history.sqlite3", FakeClock())
    )
    yield history
    await history.close()


@pytest.fixture
def anna() -> Device:
    return Device("anna")


@pytest.fixture
def hub(anna: Device) -> Hub:
    hub = Hub(FakeClock(), lambda payload: payload)
    hub.attach(anna)
    return hub


@pytest.fixture
async def broker(history: LocalHistory, hub: Hub) -> LocalBroker:
    return LocalBroker(history, hub)


def note(number: int, user_id: str = "anna") -> Publication:
    return for_user(user_id, create_message("note", number))


def upload(progress: float, status: str = "running", second: int = 0, upload_id: str = "u1") -> Publication:
    data = UploadProgress(upload_id=upload_id, file_name="f", progress=progress, message="", status=status)  # type: ignore[arg-type]
    return for_user("anna", UploadProgressMessage(data, f"2026-11-28T10:00:{second:02}.000Z"))


class Outcomes(list[Published | Exception]):
    """The outcomes of `publish_soon`, in the order in which they came."""

    async def all(self, count: int) -> "Outcomes":
        async with asyncio.timeout(60):
            while len(self) < count:
                await asyncio.sleep(0.001)
        return self


async def test_every_way_to_publish_keeps_one_order(broker: LocalBroker, anna: Device) -> None:
    outcomes = Outcomes()
    broker.publish_soon(note(0), outcomes.append)
    one = asyncio.create_task(broker.publish(note(1)))
    await asyncio.sleep(0)
    broker.publish_soon(note(2), outcomes.append)
    many = asyncio.create_task(broker.publish_all([note(3), note(4)]))
    await asyncio.sleep(0)
    broker.publish_soon(note(5), outcomes.append)
    await asyncio.gather(one, many)
    await outcomes.all(3)
    offsets = [int(message["cursor"].rpartition(":")[2]) for message in anna.received]
    assert offsets == [1, 2, 3, 4, 5, 6]
    assert anna.data() == [0, 1, 2, 3, 4, 5]


async def test_what_is_kept_in_one_turn_is_handed_out_together(
    broker: LocalBroker, hub: Hub, anna: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 1 + FEW_RECEIVERS):
        hub.attach(Device("anna", number))
    await broker.publish_all([note(0), note(0, "ben")])
    calls: list[int] = []
    hand_out = hub.hand_out_together

    def counted(stream: Any, publications: Any) -> list[Delivery]:
        calls.append(len(publications))
        return hand_out(stream, publications)

    monkeypatch.setattr(hub, "hand_out_together", counted)
    outcomes = Outcomes()
    for each in (note(1), note(2), note(3, "ben"), note(4), note(5)):
        broker.publish_soon(each, outcomes.append)
    await outcomes.all(5)
    assert calls == [2, 1, 2]
    assert anna.data() == [0, 1, 2, 4, 5]


async def test_one_for_a_few_devices_is_handed_out_at_once_but_overtakes_nobody(
    broker: LocalBroker, hub: Hub, anna: Device
) -> None:
    await broker.publish(note(0))
    outcomes = Outcomes()
    if isinstance(broker._history, MemoryHistory):
        broker.publish_soon(note(1), outcomes.append)
        assert (len(outcomes), anna.data()) == (1, [0, 1])
    broker.publish_soon(publication(ALL, create_message("note", 2)), outcomes.append)
    broker.publish_soon(note(3), outcomes.append)
    assert 2 not in anna.data()
    await broker.publish(note(4))
    assert [each for each in anna.data() if each != 1] == [0, 2, 3, 4]


async def test_messages_to_all_and_to_connections_are_only_delivered(broker: LocalBroker, anna: Device) -> None:
    assert await broker.publish(publication(ALL, create_message("note", 1))) == Published(None, Delivery(delivered=1))
    some = Target(connections=(anna.connection_id, "nobody"))
    outcome = await broker.publish(publication(some, create_message("note", 2)))
    assert outcome == Published(None, Delivery(delivered=1, gone=1))
    assert anna.data() == [1, 2]


async def test_many_keep_their_order_with_those_that_are_not_kept(broker: LocalBroker, anna: Device) -> None:
    live = publication(ALL, create_message("note", 1))
    outcomes = await broker.publish_all([note(0), live, note(2), note(3)])
    assert [isinstance(each, Published) and each.delivery.delivered for each in outcomes] == [1, 1, 1, 1]
    assert anna.data() == [0, 1, 2, 3]


async def test_a_duplicate_is_answered_and_delivered_to_nobody(broker: LocalBroker, anna: Device) -> None:
    once = note(1)
    outcomes = Outcomes()
    broker.publish_soon(once, outcomes.append)
    broker.publish_soon(once, outcomes.append)
    first, second = await outcomes.all(2)
    assert {isinstance(each, Published) and each.delivery.delivered for each in (first, second)} == {0, 1}
    assert anna.data() == [1]


async def test_a_worker_whose_upload_was_cancelled_is_told_so(broker: LocalBroker) -> None:
    await broker.publish(upload(40))
    await broker.publish(upload(40, "cancelled", second=1))
    outcomes = Outcomes()
    broker.publish_soon(upload(41, second=2), outcomes.append)
    assert await outcomes.all(1) == [Published(None, Delivery(cancelled=True))]


async def test_a_user_with_too_many_uploads_is_told_once(
    broker: LocalBroker, anna: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellwire.limits.MAX_RUNNING_UPLOADS", 1)
    await broker.publish(upload(1))
    for second in range(3):
        assert (await broker.publish(upload(1, second=second, upload_id="one-more"))).entry is None
    assert [message["data"]["code"] for message in anna.received if message["type"] == "error"] == ["TOO_MANY_UPLOADS"]


async def test_linked_publications_are_kept_and_delivered_together_or_not_at_all(
    broker: LocalBroker, anna: Device
) -> None:
    first, second = await broker.publish_linked([upload(1), note(1)])
    assert (first.delivery.delivered, second.delivery.delivered) == (1, 1)
    late = await broker.publish_linked([structs.replace(upload(2), replaces=7), note(2)])
    assert [each.entry for each in late] == [None, None]
    assert len(anna.received) == 2


async def test_every_entry_is_told_before_it_is_delivered(history: LocalHistory, hub: Hub, anna: Device) -> None:
    told: list[tuple[int, int]] = []
    on_kept: Callable[[Entry], None] = lambda entry: told.append((entry.number, len(anna.received)))  # noqa: E731
    await LocalBroker(history, hub, on_kept).publish_all([note(1), note(2)])
    assert told == [(1, 0), (2, 0)]


async def test_a_fault_of_the_hub_fails_its_publishes_and_no_others(
    broker: LocalBroker, hub: Hub, anna: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_out = hub.hand_out_together

    def faulty(stream: Any, publications: Any) -> list[Delivery]:
        if stream == "user:ben":
            raise RuntimeError("a fault")
        return hand_out(stream, publications)

    monkeypatch.setattr(hub, "hand_out_together", faulty)
    outcomes = await broker.publish_all([note(1), note(2, "ben"), note(3)])
    assert [type(each).__name__ for each in outcomes] == ["Published", "RuntimeError", "Published"]
    assert anna.data() == [1, 3]


async def test_an_observer_that_fails_fails_no_publish(history: LocalHistory, hub: Hub, anna: Device) -> None:
    class Faulty(NullObserver):
        def published(self, publication: Publication, published: Published, seconds: float) -> None:
            raise RuntimeError("a fault of the program")

    broker = LocalBroker(history, hub, observer=Faulty())
    outcomes = Outcomes()
    for number in range(3):
        broker.publish_soon(note(number), outcomes.append)
    await outcomes.all(3)
    assert [isinstance(each, Published) for each in outcomes] == [True, True, True]
    assert anna.data() == [0, 1, 2]


async def test_a_caller_that_fails_keeps_no_other_from_its_outcome(history: LocalHistory) -> None:
    outcomes: list[object] = []

    def fails(outcome: object) -> None:
        raise RuntimeError("a fault of a caller")

    await history.append(note(0))
    if isinstance(history, SqliteHistory):
        history.append_soon(note(1), fails)
        history.append_soon(note(2), outcomes.append)
        await history.append(note(3))
        assert len(outcomes) == 1


async def test_a_publisher_that_is_cancelled_disturbs_nobody(broker: LocalBroker, anna: Device) -> None:
    cancelled = asyncio.create_task(broker.publish(note(1)))
    other = asyncio.create_task(broker.publish(note(2)))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert (await other).delivery == Delivery(delivered=1)
    assert anna.data() == [1, 2]


# --- SQLite: after the commit -----------------------------------------------------------------------------------------


@pytest.fixture
async def in_file(tmp_path: Path) -> AsyncIterator[SqliteHistory]:
    history = SqliteHistory(tmp_path / "history.sqlite3", FakeClock())
    yield history
    await history.close()


async def test_nothing_is_delivered_or_answered_before_its_commit(
    in_file: SqliteHistory, hub: Hub, anna: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = LocalBroker(in_file, hub)
    await broker.publish(note(0))
    seen_at_commit: list[list[Any]] = []
    commit = stream_rows.commit

    def watched(connection: Any, entries: Any) -> None:
        seen_at_commit.append([*anna.data(), len(outcomes)])
        commit(connection, entries)
        seen_at_commit.append([*anna.data(), len(outcomes)])

    monkeypatch.setattr(stream_rows, "commit", watched)
    outcomes = Outcomes()
    for number in (1, 2):
        broker.publish_soon(note(number), outcomes.append)
    await outcomes.all(2)
    # Both share a commit, before and after which the device has only the first.
    assert seen_at_commit == [[0, 0], [0, 0]]
    assert anna.data() == [0, 1, 2]


async def test_what_cannot_be_kept_is_not_delivered_and_its_number_is_given_again(
    in_file: SqliteHistory, hub: Hub, anna: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = LocalBroker(in_file, hub)
    await broker.publish(note(0))

    def fails(connection: Any, entries: Any) -> None:
        raise sqlite3.OperationalError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(stream_rows, "commit", fails)
        outcomes = await broker.publish_all([note(1), publication(ALL, create_message("note", 2)), note(3)])
    assert [type(each).__name__ for each in outcomes] == ["HistoryUnavailable", "Published", "HistoryUnavailable"]
    with monkeypatch.context() as patched:
        patched.setattr(stream_rows, "commit", fails)
        with pytest.raises(HistoryUnavailable):
            await broker.publish_linked([upload(1), note(4)])
    published = await broker.publish(note(5))
    assert published.entry is not None
    assert published.entry.number == 2
    assert anna.data() == [0, 2, 5]
